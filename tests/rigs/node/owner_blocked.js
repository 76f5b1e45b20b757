'use strict';
// owner-blocked: the last client's request takes a computation that never ends. The event loop is in it when all of
// them hang up, and nobody is there to see it. The healthy one computes in pieces.
const fs = require('fs');
const net = require('net');
const { Rig, REPLY } = require('./rig');

const LOOK_AGAIN = 200;
const PIECE = 5;
const rig = new Rig();
let looked = Date.now();
let reported = false;
// The loop hears nothing any more, the end of stdin either.
const stdin = fs.openSync('/proc/self/fd/0', fs.constants.O_RDONLY | fs.constants.O_NONBLOCK);

function endIfAsked() {
  try {
    if (fs.readSync(stdin, Buffer.alloc(1)) === 0) process.exit(0);
  } catch (error) {
    if (error.code !== 'EAGAIN') throw error;
  }
}

function report() {
  looked = Date.now();
  if (reported || !rig.complete()) return;
  reported = true;
  console.log('leaking', rig.connections);
}

function checkStock(lasts) {
  let answer = 7;
  const began = Date.now();
  for (let step = 1; step % 100000 !== 0 || Date.now() - began < lasts; step += 1) {
    answer = Math.imul(answer, 1103515245) | 1;
    if (step % 100000 === 0 && Date.now() - looked > LOOK_AGAIN) {
      report();
      endIfAsked();
    }
  }
  return answer;
}

function handleRequest() {
  this.write(REPLY);
  rig.served += 1;
  if (rig.served === rig.connections && !rig.healthy) checkStock(Infinity);
  else setImmediate(checkStock, PIECE);
}

rig.listen(net.createServer((socket) => socket.on('data', handleRequest)));
