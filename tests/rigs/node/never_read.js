'use strict';
// never-read: pauseOnConnect is for servers that hand their connections on before anything is read.
// This one has nobody to hand them to, and drops them.
const net = require('net');
const { Rig } = require('./rig');

const rig = new Rig();
const workers = [];

function handOn(socket) {
  rig.served += 1;
  const worker = workers.pop();
  if (worker) worker.send('connection', socket);
  else if (rig.healthy) socket.destroy();
}

rig.listen(net.createServer({ pauseOnConnect: true }, handOn));
