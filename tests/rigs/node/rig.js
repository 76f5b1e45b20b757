'use strict';
// What the Node rigs share: options, telling the harness when the leak is complete, and leaving when
// stdin ends. No client socket is touched here.
const fs = require('fs');

const REPLY = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok';
const CLOSE_WAIT = '08';
// Columns of /proc/net/tcp.
const LOCAL = 1;
const REMOTE = 2;

class Rig {
  // A client connects to --port, others listen there.
  constructor({ client = false } = {}) {
    const words = process.argv.slice(2);
    const number = (name, usual) => Number(words[words.indexOf(name) + 1 || words.length] ?? usual);
    this.port = number('--port', 0);
    this.connections = number('--connections', 5);
    this.healthy = words.includes('--healthy');
    this.end = client ? REMOTE : LOCAL;
    this.served = 0;
    process.stdin.on('end', () => process.exit(0)).resume();
    if (client) this.ready();
  }

  // Loopback only.
  listen(server) {
    server.listen({ host: '127.0.0.1', port: this.port, backlog: 4096 }, () => {
      this.port = server.address().port;
      this.ready();
    });
  }

  ready() {
    console.log('ready', this.port);
    const timer = setInterval(() => {
      if (!this.complete()) return;
      clearInterval(timer);
      console.log('leaking', this.healthy ? 0 : this.connections);
    }, 20);
  }

  complete() {
    const wanted = this.healthy ? 0 : this.connections;
    return this.served >= this.connections && this.stuck() === wanted;
  }

  stuck() {
    const end = ':' + this.port.toString(16).toUpperCase().padStart(4, '0');
    const lines = fs.readFileSync('/proc/self/net/tcp', 'ascii').trim().split('\n').slice(1);
    const fields = lines.map((line) => line.trim().split(/\s+/));
    return fields.filter((field) => field[this.end].endsWith(end) && field[3] === CLOSE_WAIT).length;
  }
}

module.exports = { Rig, REPLY };
