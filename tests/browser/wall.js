// A network that lets no WebSocket through.

import { once } from "node:events";
import { connect, createServer } from "node:net";

/**
 * A network in front of a node: it passes everything on but WebSockets, whose upgrade it refuses,
 * as long as `isBlocking`. `cut()` ends what is open; `upgrades`
 * are counted, the lines of `requests` kept.
 */
export async function startWall(t, node) {
  const { hostname, port } = new URL(node);
  const sockets = new Set();
  const cut = () => {
    for (const socket of sockets) socket.destroy();
  };
  const wall = { isBlocking: true, upgrades: 0, requests: [], cut };
  const server = createServer((client) => {
    const onward = connect(Number(port), hostname);
    for (const [socket, other] of [[client, onward], [onward, client]]) {
      sockets.add(socket);
      socket.on("error", () => {}).on("close", () => {
        sockets.delete(socket);
        other.destroy();
      });
    }
    // Connections are kept for further requests: each may be an upgrade.
    client.on("data", (data) => {
      const text = data.toString("latin1");
      wall.requests.push(...text.split("\r\n").filter((line) => line.endsWith(" HTTP/1.1")));
      const isUpgrade = / HTTP\/1.1\r\n/.test(text) && /^upgrade:/im.test(text);
      if (isUpgrade) wall.upgrades++;
      if (isUpgrade && wall.isBlocking) client.end("HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n");
      else onward.write(data);
    });
    onward.pipe(client);
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  wall.close = async () => {
    const closed = new Promise((done) => server.close(done));
    wall.cut();
    await closed;
  };
  t.after(wall.close);
  wall.url = `http://127.0.0.1:${server.address().port}`;
  return wall;
}
