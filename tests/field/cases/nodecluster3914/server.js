// cluster with 2 workers (round robin); a request makes its worker wait for an outside program, synchronously.
const cluster = require('cluster'), http = require('http'), { execFileSync } = require('child_process');
function makeThumbnail(name) { return execFileSync('sleep', ['120']).toString() + name; }
if (cluster.isPrimary) { cluster.fork(); cluster.fork(); }
else http.createServer((q, r) => r.end(q.url === '/thumb' ? makeThumbnail('a') : 'ok')).listen(+process.env.PORT, '127.0.0.1');
