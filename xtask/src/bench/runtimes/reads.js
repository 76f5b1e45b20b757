// Both ends of every connection in one thread. A line on stdin is a job: "reads N" or "connections N". Node reads sockets from
// its own loop, with no JavaScript on the stack; a call of the program's own has it there.
'use strict';
const { once } = require('events');
const fs = require('fs');
const net = require('net');
const readline = require('readline');

const BATCH = 16384;
const byte = Buffer.alloc(1);
const listen = net.createServer({ pauseOnConnect: true });

async function pair() {
  const accepted = once(listen, 'connection');
  const near = net.connect(listen.address().port, '127.0.0.1');
  const [[far]] = await Promise.all([accepted, once(near, 'connect')]);
  return [near, far];
}

function take(socket) {
  fs.readSync(socket._handle.fd, byte, 0, 1, null);
}

function reads(client, server, count) {
  for (let left = count; left > 0; left -= BATCH) {
    const now = Math.min(left, BATCH);
    client.write('x'.repeat(now));
    for (let at = 0; at < now; at += 1) take(server);
  }
}

async function connections(count) {
  for (let at = 0; at < count; at += 1) {
    const [near, far] = await pair();
    near.write('x');
    take(far);
    near.destroy();
    far.destroy();
  }
}

async function main() {
  await once(listen.listen(0, '127.0.0.1'), 'listening');
  const [client, server] = await pair();
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const [kind, count] = line.split(' ');
    if (kind === 'reads') reads(client, server, Number(count));
    else await connections(Number(count));
    console.log('done');
  }
  process.exit(0);
}

main();
