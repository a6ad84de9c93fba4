// A network that lets no WebSocket through.

import { once } from "node:events";
import { connect, createServer } from "node:net";

/**
 * A network in front of a node: it passes everything on but WebSockets, whose upgrade it refuses,
 * as long as `isBlocking`. `cut()` ends what is open; `upgrades` and `requests` are counted.
 */
export async function startWall(t, node) {
  const { hostname, port } = new URL(node);
  const sockets = new Set();
  const wall = { isBlocking: true, upgrades: 0, requests: [], cut: () => sockets.forEach((socket) => socket.destroy()) };
  const server = createServer((client) => {
    sockets.add(client);
    client.on("error", () => {}).on("close", () => sockets.delete(client));
    client.once("data", (head) => {
      const text = head.toString("latin1");
      const isUpgrade = /^upgrade:/im.test(text);
      wall.requests.push(text.split("\r\n")[0]);
      if (isUpgrade) wall.upgrades++;
      if (isUpgrade && wall.isBlocking) return client.end("HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n");
      const onward = connect(Number(port), hostname);
      sockets.add(onward);
      onward.on("error", () => client.destroy()).on("close", () => sockets.delete(onward));
      client.on("close", () => onward.destroy());
      onward.write(head);
      onward.pipe(client).pipe(onward);
    });
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(() => {
    server.close();
    wall.cut();
  });
  wall.url = `http://127.0.0.1:${server.address().port}`;
  return wall;
}
