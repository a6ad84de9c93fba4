// A Socket.IO server with the event names of Hubbub: one node of a cluster over Redis.
//   node server.js PORT REDIS_URL redis|streams

const { createServer } = require("node:http");
const { Server } = require("socket.io");
const { createClient } = require("redis");

async function adapter(url, kind) {
  const client = createClient({ url });
  await client.connect();
  if (kind === "streams") return require("@socket.io/redis-streams-adapter").createAdapter(client);
  const subscriber = client.duplicate();
  await subscriber.connect();
  return require("@socket.io/redis-adapter").createAdapter(client, subscriber);
}

async function main([port, url, kind]) {
  const http = createServer();
  const io = new Server(http, { adapter: await adapter(url, kind), transports: ["websocket"] });
  io.on("connection", (socket) => {
    socket.on("join", ({ room }, ack) => {
      socket.join(room);
      ack({ type: "joined" });
    });
    socket.on("send", ({ room, body }, ack) => {
      io.to(room).emit("message", body);
      ack({ type: "sent" });
    });
  });
  http.listen(Number(port), "127.0.0.1");
}

main(process.argv.slice(2));
