'use strict';
// Two functions, each with one call that writes last: same thread, same depth, same way through Node's streams and the
// interpreter. Nobody takes what comes on the connections that are kept, so Node stops reading and their end is not seen.
//
// Native frames do not tell them apart. With `at-once` those that are kept are written to in turn within microseconds.
const net = require('net');

const KEPT = 10;
// More than Node reads ahead, and what is left fits into the kernel's buffer.
const ANSWER = Buffer.alloc(110 * 1024);
const held = [];
const [rounds, atOnce] = [Number(process.argv[2]) * KEPT, process.argv[3] === 'at-once'];

function askOrders(socket) {
  socket.write('orders');
}

function askStock(socket) {
  socket.write('stock');
}

function ask(socket, number) {
  const write = number % 2 ? askOrders : askStock;
  write(socket);
}

function keep(socket, number) {
  held.push(socket);
  setTimeout(() => {
    if (!atOnce) ask(socket, number);
    else if (held.length === KEPT) held.forEach(ask);
    open(number + 1);
  }, 30);
}

function use(socket, number) {
  ask(socket, number);
  socket.resume().end();
  // What runs is noticed only some time after its first calls.
  const pause = number + 1 === rounds ? 3000 : 0;
  socket.on('close', () => setTimeout(open, pause, number + 1));
}

function open(number) {
  if (number === rounds + KEPT) {
    console.log('stuck');
    return;
  }
  const socket = net.connect(server.address().port, '127.0.0.1', () => {
    if (number < rounds) use(socket, number);
    else keep(socket, number);
  });
}

const server = net.createServer({ allowHalfOpen: true }, (socket) => socket.resume().end(ANSWER));
server.listen(0, '127.0.0.1', () => {
  console.log(server.address().port);
  open(0);
});
process.stdin.on('end', () => process.exit(0)).resume();
