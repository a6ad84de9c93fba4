// The SDK under Node, as it is, against real nodes: several addresses, a killed node, a blocked way.

import assert from "node:assert/strict";
import { test } from "node:test";

import { Hubbub } from "../../static/sdk/hubbub.js";
import { startCluster, startFastDemo } from "../browser/cluster.js";
import { startWall } from "../browser/wall.js";
import { SECRET, makeToken, until } from "./kit.js";

/** A client that ends with the test. */
function open(t, options) {
  const chat = new Hubbub({ storage: false, ...options });
  t.after(() => chat.close());
  return chat;
}

/** Joins and collects the numbers that the room's messages carry. */
async function listen(chat, room = "lobby", options = { recent: 0 }) {
  const numbers = [];
  const handle = await chat.join(room, { ...options, on: { message: ({ body }) => numbers.push(body.n) } });
  return { room: handle, numbers };
}

const count = (n) => Array.from({ length: n }, (_, i) => i);
const isOnline = (chat) => () => chat.state.state === "online";

test("a node killed -9: the client goes on at the next one, nothing lost, nothing twice", async (t) => {
  const nodes = await startCluster(t, 3);
  const urls = nodes.map(({ url }) => url);
  const sender = open(t, { urls: [urls[0], urls[1]], name: "Sender" });
  const reader = open(t, { urls: [urls[0], urls[2]], name: "Reader" });
  const witness = open(t, { urls: urls[2], name: "Witness" });
  const [{ room }, heard, seen] = await Promise.all([listen(sender), listen(reader), listen(witness)]);
  assert.deepEqual([sender.node, reader.node, witness.node], ["node-1", "node-1", "node-3"]);
  const acks = [];
  for (const n of count(300)) {
    // Sends wait in the outbox, at most 100 of them.
    if (n >= 80) await acks[n - 80];
    acks.push(room.send({ n }));
    if (n === 120) await nodes[0].kill();
  }
  const offsets = (await Promise.all(acks)).map(({ offset }) => offset);
  assert.deepEqual(offsets, [...offsets].sort((a, b) => a - b), "in the order of sending");
  await until("all is heard", () => heard.numbers.length >= 300 && seen.numbers.length >= 300);
  assert.deepEqual(heard.numbers, count(300));
  assert.deepEqual(seen.numbers, count(300));
  assert.deepEqual([sender.node, reader.node], ["node-2", "node-3"]);
});

for (const transports of [["websocket"], ["sse"]]) {
  test(`a frozen node is left ten seconds after the first send, over ${transports}`, async (t) => {
    const [frozen, next] = await startCluster(t, 2);
    const chat = open(t, { urls: [frozen.url, next.url], name: "Sender", transports });
    const witness = open(t, { urls: next.url, name: "Witness" });
    const [{ room }, seen] = await Promise.all([listen(chat), listen(witness)]);
    await until("the node's name", () => chat.node === "node-1");
    frozen.freeze();
    const began = Date.now();
    const sends = count(40).map((n) => room.send({ n }));
    const offsets = (await Promise.all(sends)).map(({ offset }) => offset);
    const took = Date.now() - began;
    assert.ok(took > 9_000 && took < 20_000, `all are acked after ${took} ms`);
    assert.deepEqual(offsets, [...offsets].sort((a, b) => a - b), "in the order of sending");
    await until("all is heard", () => seen.numbers.length >= 40);
    assert.deepEqual(seen.numbers, count(40), "each once");
    assert.equal(chat.node, "node-2");
  });
}

test("a node that refuses connections is passed over at once", async (t) => {
  const { urls } = await startFastDemo(t);
  const dead = await startWall(t, urls[0]);
  for (const isDown of [false, true]) {
    if (isDown) await dead.close();
    const began = Date.now();
    const chat = open(t, { urls: [dead.url, urls[1]] });
    await until("online", isOnline(chat));
    assert.ok(Date.now() - began < 5_000, "not the ten seconds of a node that says nothing");
  }
});

test("where WebSocket is blocked: events by SSE, sends by REST, over cuts, and back when it opens", async (t) => {
  const { urls } = await startFastDemo(t);
  const walls = await Promise.all(urls.slice(0, 2).map((url) => startWall(t, url)));
  const blocked = open(t, { urls: walls.map(({ url }) => url), name: "Blocked" });
  const free = open(t, { urls: urls[2], name: "Free" });
  const theirs = await listen(free);
  for (const n of [0, 1, 2]) await theirs.room.send({ n });
  const mine = await listen(blocked, "lobby", { recent: 2 });
  assert.deepEqual([blocked.state.transport, free.state.transport], ["sse", "websocket"]);
  assert.deepEqual(mine.numbers, [1, 2]);
  assert.ok(walls[0].upgrades + walls[1].upgrades >= 3);
  assert.ok(blocked.node && blocked.limits.frame_bytes > 0, "the node is known");

  const sent = await mine.room.send({ n: 3 }, { nonce: "once" });
  assert.deepEqual(await mine.room.send({ n: 3 }, { nonce: "once" }).then(({ offset, duplicate }) => [offset, duplicate]), [sent.offset, true]);
  await assert.rejects(mine.room.send({ n: 4 }, { nonce: "once" }), { code: "conflict" });
  const changes = [];
  for (const type of ["edited", "reacted", "deleted"]) theirs.room.on(type, ({ target }) => changes.push(`${type} ${target - sent.offset}`));
  await mine.room.edit(sent.offset, { n: 33 });
  await mine.room.react(sent.offset, "👍");
  await mine.room.delete(sent.offset);
  await until("changes", () => changes.length === 3);
  assert.deepEqual(changes, ["edited 0", "reacted 0", "deleted 0"]);
  assert.deepEqual((await mine.room.history({ limit: 2 })).events.map(({ body, deleted }) => body?.n ?? deleted), [2, true]);
  assert.equal((await mine.room.members()).count, 2);
  assert.ok((await blocked.rooms()).some(({ room }) => room === "lobby"));

  for (const n of count(60)) {
    if (n % 30 === 10) for (const wall of walls) wall.cut();
    await Promise.all([theirs.room.send({ n: 100 + 2 * n }), mine.room.send({ n: 101 + 2 * n })]);
  }
  await until("all is heard", () => mine.numbers.length >= 123 && theirs.numbers.length >= 124);
  const after = (numbers) => numbers.filter((n) => n >= 100);
  assert.deepEqual(after(mine.numbers), after(theirs.numbers), "one order");
  assert.equal(new Set(after(mine.numbers)).size, 120);

  for (const wall of walls) wall.isBlocking = false;
  await until("WebSocket again", () => blocked.state.transport === "websocket", 120_000);
  await theirs.room.send({ n: 999 });
  await until("it goes on", () => mine.numbers.at(-1) === 999);
  assert.deepEqual(after(mine.numbers), after(theirs.numbers));
});

test("behind a wall a client is in many rooms over one stream, and types, and marks what is read", async (t) => {
  const { urls } = await startFastDemo(t);
  const wall = await startWall(t, urls[0]);
  const blocked = open(t, { urls: wall.url, name: "Blocked" });
  const free = open(t, { urls: urls[1], name: "Free" });
  const names = count(12).map((n) => `room-${n}`);
  const theirs = await Promise.all(names.map((name) => listen(free, name)));
  const mine = [];
  for (const name of names.slice(0, 4)) mine.push(await listen(blocked, name));
  mine.push(...(await Promise.all(names.slice(4).map((name) => listen(blocked, name)))));
  for (const n of count(5)) await Promise.all(theirs.map(({ room }) => room.send({ n })));
  await until("all is heard", () => mine.every(({ numbers }) => numbers.length === 5));
  assert.deepEqual(mine.map(({ numbers }) => numbers), names.map(() => count(5)));
  assert.equal(blocked.state.transport, "sse");

  const told = [];
  for (const type of ["typing", "read"]) theirs[3].room.on(type, ({ user, on, offset }) => told.push([user.name, on ?? offset]));
  const echoed = [];
  for (const type of ["typing", "read"]) mine[3].room.on(type, (frame) => echoed.push(frame));
  mine[3].room.typing();
  await until("typing", () => told.length === 1);
  mine[3].room.read(4);
  await until("the mark", () => told.length === 2);
  assert.deepEqual([told, echoed], [[["Blocked", true], ["Blocked", 4]], []]);
  await until("it is kept", async () => (await blocked.rooms()).find(({ room }) => room === "room-3")?.unread === 1);
  wall.cut();
  await mine[0].room.leave();
  await Promise.all(theirs.map(({ room }) => room.send({ n: 5 })));
  await until("it goes on", () => mine.slice(1).every(({ numbers }) => numbers.length === 6));
  assert.deepEqual([mine[0].numbers.length, mine[11].numbers], [5, count(6)]);
});

test("a node behind a wall killed -9: SSE resumes on the next one", async (t) => {
  const nodes = await startCluster(t, 2);
  const walls = await Promise.all(nodes.map(({ url }) => startWall(t, url)));
  const blocked = open(t, { urls: walls.map(({ url }) => url), transports: "sse" });
  const free = open(t, { urls: nodes[1].url });
  const [mine, theirs] = await Promise.all([listen(blocked), listen(free)]);
  const acks = [];
  for (const n of count(100)) {
    if (n >= 50) await acks[n - 50];
    acks.push(mine.room.send({ n }));
    if (n === 60) await nodes[0].kill();
  }
  await Promise.all(acks);
  await until("all is heard", () => mine.numbers.length >= 100 && theirs.numbers.length >= 100);
  assert.deepEqual(mine.numbers, count(100));
  assert.deepEqual(theirs.numbers, count(100));
  assert.equal(walls[0].upgrades + walls[1].upgrades, 0);
});

test("a loop over a room, and events by name, across nodes", async (t) => {
  const { urls } = await startFastDemo(t);
  const [ann, bob] = [open(t, { urls: urls[0], name: "Ann" }), open(t, { urls: urls[1], name: "Bob" })];
  const told = [];
  const board = await bob.join("board");
  board.on("event:move", (data, { from }) => told.push([data.x, from.name]));
  const loop = ann.room("board").events("message", { recent: 10 });
  await until("joined", () => ann.room("board").joined);
  for (const x of count(5)) await ann.room("board").emit("move", { x });
  const bodies = [];
  for await (const { body } of loop) {
    bodies.push(body);
    if (bodies.length === 5) break;
  }
  assert.deepEqual(bodies, count(5).map((x) => ({ event: "move", data: { x } })));
  await until("told", () => told.length === 5);
  assert.deepEqual(told, count(5).map((x) => [x, "Ann"]));
});

test("a function for the token: asked for each connection, and again when one is refused", async (t) => {
  const nodes = await startCluster(t, 2, { HUBBUB__AUTH__SECRET: SECRET, HUBBUB__AUTH__MODE: "jwt" });
  const good = await makeToken(t, "alice", "--name", "Alice");
  const asked = [];
  const token = async ({ refused }) => {
    asked.push(refused);
    return asked.length === 1 ? `${good}x` : good;
  };
  const chat = open(t, { urls: nodes.map(({ url }) => url), token });
  await until("online", isOnline(chat));
  assert.deepEqual([asked, chat.user], [[false, true], { id: "alice", name: "Alice" }]);
  const refused = open(t, { urls: nodes[0].url, token: () => `${good}x` });
  await until("closed", () => refused.state.state === "closed");
  assert.equal(refused.state.code, 4501);
  const blocked = open(t, { urls: nodes[0].url, transports: "sse", token: ({ refused }) => (refused ? good : `${good}x`) });
  await until("online by SSE", isOnline(blocked));
  assert.equal(blocked.user.id, "alice");
});
