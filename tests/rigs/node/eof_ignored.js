'use strict';
// eof-ignored: a server with allowHalfOpen, which makes the program responsible for ending what its
// client has ended, and no handler for 'end'. Node reads the end of the stream and stops there.
const net = require('net');
const { Rig, REPLY } = require('./rig');

const rig = new Rig();

function handleClientAndForget() {
  this.write(REPLY);
}

function serveConnection(socket) {
  socket.on('data', handleClientAndForget);
  socket.on('end', () => {
    rig.served += 1;
    if (rig.healthy) socket.end();
  });
}

rig.listen(net.createServer({ allowHalfOpen: true }, serveConnection));
