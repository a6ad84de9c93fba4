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
  const wall = { isBlocking: true, upgrades: 0, requests: [], cut: () => sockets.forEach((socket) => socket.destroy()) };
  const note = (data) => {
    const lines = data.toString("latin1").split("\r\n");
    wall.requests.push(...lines.filter((line) => line.endsWith(" HTTP/1.1")));
  };
  const server = createServer((client) => {
    sockets.add(client);
    client.on("error", () => {}).on("close", () => sockets.delete(client));
    client.once("data", (head) => {
      const text = head.toString("latin1");
      const isUpgrade = /^upgrade:/im.test(text);
      note(head);
      if (isUpgrade) wall.upgrades++;
      if (isUpgrade && wall.isBlocking) return client.end("HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n");
      const onward = connect(Number(port), hostname);
      sockets.add(onward);
      onward.on("error", () => client.destroy()).on("close", () => sockets.delete(onward));
      client.on("close", () => onward.destroy());
      onward.write(head);
      client.on("data", note);
      onward.pipe(client).pipe(onward);
    });
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
