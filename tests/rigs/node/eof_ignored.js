// eof-ignored: the server allows half-open connections, and its handler of the end does nothing.
const net = require('net');
const fs = require('fs');

const option = (name, other) => {
  const at = process.argv.indexOf(name);
  return at < 0 ? other : Number(process.argv[at + 1]);
};
const healthy = process.argv.includes('--healthy');
const connections = option('--connections', 5);
const kept = [];
let served = 0;

function handleClientAndForget(socket) {
  socket.on('data', () => socket.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok'));
  socket.on('error', () => {});
  socket.on('end', () => {
    if (healthy) socket.end();
    kept.push(socket);
    served += 1;
  });
}

function stuckOn(port) {
  const suffix = ':' + port.toString(16).toUpperCase().padStart(4, '0');
  const isStuck = (line) => {
    const fields = line.trim().split(/\s+/);
    return fields.length > 3 && fields[1].endsWith(suffix) && fields[3] === '08';
  };
  return fs.readFileSync('/proc/self/net/tcp', 'utf8').split('\n').filter(isStuck).length;
}

const server = net.createServer({ allowHalfOpen: true }, handleClientAndForget);
server.listen(option('--port', 0), '127.0.0.1', () => {
  const port = server.address().port;
  console.log(`ready ${port}`);
  const wanted = healthy ? 0 : connections;
  const timer = setInterval(() => {
    if (served >= connections && stuckOn(port) === wanted) {
      console.log(`leaking ${wanted}`);
      clearInterval(timer);
    }
  }, 20);
});
process.stdin.on('end', () => process.exit(0)).resume();
