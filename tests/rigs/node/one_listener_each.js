'use strict';
// One server, whose connections are heard by two functions in turn: they are read by the same event loop, at the same
// place, on the same thread. Whoever goes by stacks alone takes them for one.
const net = require('net');

const COUNT = Number(process.argv[2]);
const held = [];

function readOrders(chunk) {
  this.write(chunk);
}

class Stock {
  read(chunk) {
    this.last = chunk.length;
  }
}

const stock = new Stock();

function accepted(socket) {
  if (held.push(socket) % 2) socket.on('data', readOrders);
  else socket.on('data', stock.read.bind(stock));
  socket.on('end', () => {
    if (++ended === 2 * COUNT) console.log('leaked');
  });
}

let ended = 0;
const server = net.createServer({ allowHalfOpen: true }, accepted);
server.listen(0, '127.0.0.1', () => console.log(server.address().port));
process.stdin.on('end', () => process.exit(0)).resume();
