// A server whose test forgets a connection when LEAK is set.
import net from "node:net";
import test from "node:test";
import { once } from "node:events";
import { setTimeout } from "node:timers/promises";

function handleClient(connection) {
  const leaks = process.env.LEAK !== undefined;
  connection.on("end", () => leaks || connection.end());
  connection.resume();
  // A connection that is waited for would keep the test from ending.
  if (leaks) connection.unref();
}

test("a client is served", async () => {
  const server = net.createServer({ allowHalfOpen: true }, handleClient);
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const client = net.connect(server.address().port, "127.0.0.1");
  const [connection] = await once(server, "connection");
  client.end();
  await once(connection, "end");
  client.destroy();
  server.close();
});

test("that takes a while", () => setTimeout(1500));
