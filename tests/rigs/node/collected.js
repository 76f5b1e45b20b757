'use strict';
// Functions that write once and are dropped, each of the same shape and called by its connection's local port. V8 collects
// them, and where they were come others.
const net = require('net');
const vm = require('vm');

const COUNT = Number(process.argv[2]);
// More than Node reads ahead, and what is left fits into the kernel's buffer.
const ANSWER = Buffer.alloc(110 * 1024);
const held = [];
let garbage;

function writer(port) {
  return vm.runInThisContext(`(function w_${port}(socket) {\n  socket.write('used');\n})`, { filename: `/gone/${port}.js` });
}

function next() {
  if (held.length === COUNT) {
    console.log('stuck');
    return;
  }
  const socket = net.connect(server.address().port, '127.0.0.1', () => {
    held.push(socket);
    whenReadAhead(socket, 0, () => {
      writer(socket.localPort)(socket);
      garbage = Array.from({ length: 5000 }, (_, n) => ({ n }));
      if (held.length % 5 === 0) gc();
      next();
    });
  });
}

// Its last use is what comes now.
function whenReadAhead(socket, before, then) {
  const there = socket.readableLength;
  setTimeout(() => (there > 0 && there === before ? then() : whenReadAhead(socket, there, then)), 20);
}

const server = net.createServer({ allowHalfOpen: true }, (socket) => socket.resume().end(ANSWER));
server.listen(0, '127.0.0.1', () => {
  console.log(server.address().port);
  // What runs is noticed only after its first calls.
  for (let early = 0; early < 300; early += 1) {
    const peer = net.connect(server.address().port, '127.0.0.1');
    peer.resume().end('early');
  }
  setTimeout(next, 4000);
});
process.stdin.on('end', () => process.exit(0)).resume();
