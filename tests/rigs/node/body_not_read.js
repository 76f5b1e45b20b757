'use strict';
// lost-reference in a client: only the status of the answer is looked at, the body is not read.
// When its buffer is full Node stops reading, the rest stays in the kernel, the end is never seen and
// the connection never goes back to its agent. The healthy twin throws the body away.
const http = require('http');
const { Rig } = require('./rig');

const rig = new Rig({ client: true });
const agent = new http.Agent({ keepAlive: true });

function ask() {
  const request = { host: '127.0.0.1', port: rig.port, path: '/item', agent };
  http.get(request, (answer) => {
    rig.served += 1;
    if (rig.healthy) answer.resume();
  });
}

for (let i = 0; i < rig.connections; i += 1) ask();
