// One node, as the official client and the plainest ones see it: auth, rooms, limits, slow readers.

import assert from "node:assert/strict";
import { test } from "node:test";
import { WebSocket } from "ws";
import { MODES, Poller, SECRET, Talker, client, next, sleep, startNodes, token, until } from "./kit.js";

const EVENT = "chat message";
const SOCKET = { transports: ["websocket"] };

/** A native client in the lobby: the frames that it has heard, and a way to send. */
async function native(t, url) {
  const socket = new WebSocket(`${url.replace("http", "ws")}/v1/ws`);
  t.after(() => socket.terminate());
  const frames = [];
  socket.on("message", (data) => frames.push(JSON.parse(data)));
  await next(socket, "open");
  socket.send('{"type":"join","room":"lobby"}');
  await until("joined", () => frames.some(({ type }) => type === "joined"));
  const send = (body) => socket.send(JSON.stringify({ type: "send", room: "lobby", body }));
  return { frames, send, messages: () => frames.filter(({ type }) => type === "message") };
}

test("all doors share the lobby", async (t) => {
  const [node] = await startNodes(t, 1);
  const plain = await native(t, node.url);
  const socket = client(t, node.url);
  const heard = [];
  socket.onAny((event, ...args) => heard.push([event, ...args]));
  await next(socket, "connect");
  await until("joined", () => heard.some(([event]) => event === "joined"));
  assert.deepEqual(heard.slice(0, 2).map(([event]) => event), ["welcome", "joined"]);

  const ack = await socket.timeout(5_000).emitWithAck(EVENT, "from socket.io");
  assert.deepEqual([ack.type, ack.room, ack.duplicate, "id" in ack], ["sent", "lobby", false, false]);
  socket.emit(EVENT, { color: "red" });
  socket.emit(EVENT);
  plain.send({ text: "from native" });
  plain.send({ anything: 1 });
  await until("five messages", () => plain.messages().length === 5);
  const bodies = plain.messages().map(({ body }) => body);
  const texts = bodies.map((body) => JSON.stringify(body));
  for (const body of [{ text: "from socket.io" }, { event: EVENT, data: { color: "red" } }, { event: EVENT, data: null }]) {
    assert.ok(texts.includes(JSON.stringify(body)), JSON.stringify(body));
  }
  const events = () => heard.filter(([event]) => event === EVENT || event === "message");
  await until("five events", () => events().length === 5);
  const relayed = events().filter(([event]) => event === EVENT).map(([, first]) => JSON.stringify(first));
  for (const value of ["from socket.io", { color: "red" }, null, "from native"]) {
    assert.ok(relayed.includes(JSON.stringify(value)), `${value}`);
  }
  assert.equal(relayed.length, 4);
  const other = events().find(([event]) => event === "message");
  assert.deepEqual(other[1].body, { anything: 1 });
  assert.ok(heard.every(([event]) => event !== "sent"), "an ack goes to who asks for it");
  socket.emit(EVENT, "x".repeat(20_000));
  assert.equal((await next(socket, "error"))[0].code, "too_large");
  assert.ok(events().every((event) => typeof event.at(-1) === "string"), "each ends with its place");
});

test("typing ends by a message, with the connection, and by itself, also on another node", async (t) => {
  const [node, other] = await startNodes(t, 2);
  const plain = await native(t, other.url);
  const typing = () => plain.frames.filter(({ type }) => type === "typing").map(({ on }) => on);
  const join = async () => {
    const socket = client(t, node.url, SOCKET);
    await next(socket, "joined");
    return socket;
  };
  const types = async (socket, count) => {
    socket.emit("typing", { on: true });
    await until("typing is told", () => typing().length === count);
  };
  let socket = await join();
  await types(socket, 1);
  await socket.timeout(5_000).emitWithAck(EVENT, "done");
  await until("a message ends it", () => typing().length === 2, 4_000);
  await types(socket, 3);
  socket.disconnect();
  await until("the connection's end ends it", () => typing().length === 4, 4_000);
  socket = await join();
  await types(socket, 5);
  await until("it ends by itself", () => typing().length === 6, 9_000);
  assert.deepEqual(typing(), [true, false, true, false, true, false]);
});

test("a position carries the message's id, and a client that has heard another stream is told", async (t) => {
  const [node] = await startNodes(t, 1);
  const socket = client(t, node.url, SOCKET);
  const places = [];
  socket.on(EVENT, (_text, place) => places.push(place));
  await next(socket, "connect");
  const [first, last] = [await socket.emitWithAck(EVENT, "one"), await socket.emitWithAck(EVENT, "two")];
  const placeOf = ({ epoch, offset, message }) => `${offset}/${epoch}/${message}`;
  await until("both are heard", () => places.length === 2);
  assert.deepEqual(places, [placeOf(first), placeOf(last)]);

  /** Comes back with these; resolves with the answer to the connect and the `joined` after it. */
  const comeBack = async (pid, offset) => {
    const talker = await Talker.open(node.url);
    t.after(() => talker.socket.terminate());
    talker.send(`40${JSON.stringify({ pid, offset })}`);
    const find = (start) => talker.heard.find((packet) => packet.startsWith(start));
    await until("joined", () => find('42["joined"'));
    const [, joined] = JSON.parse(find('42["joined"').slice(2));
    return { pid: JSON.parse(find("40{").slice(2)).pid, joined, heard: () => talker.heard };
  };
  const { epoch } = first;
  for (const [pid, offset] of [
    [`x/0/${epoch}`, placeOf(first)],
    [`x/${placeOf(first)}`, "no position"],
    [`x/0/${epoch}`, `${first.offset}/${epoch}`],
    // The form of an event stream.
    [`x/${epoch}:0`, `${epoch}:${first.offset}:${first.message}`],
  ]) {
    const back = await comeBack(pid, offset);
    assert.deepEqual([back.pid, back.joined.recovered], [pid, true], offset);
    await until("what was missed", () => back.heard().some((packet) => packet.includes(placeOf(last))));
    assert.ok(!back.heard().some((packet) => packet.includes(`"${placeOf(first)}"]`)));
  }
  const other = `${last.offset}/${epoch}/01JANOTHERSTREAM`;
  const lost = await comeBack(`x/0/${epoch}`, other);
  assert.equal(lost.joined.recovered, false);
  assert.equal(lost.joined.events.length, 2, "the newest page");
  assert.ok(lost.pid.endsWith(`/${placeOf(last)}`), lost.pid);
});

test("an expired token ends the transport, and a new one in time does not", async (t) => {
  const [node] = await startNodes(t, 1);
  const short = await token(t, "alice", "--ttl", "3s");
  const long = await token(t, "alice", "--ttl", "1h");
  const idle = client(t, node.url, { ...SOCKET, auth: { token: short }, reconnection: false });
  const kept = client(t, node.url, { ...SOCKET, auth: { token: short } });
  const refused = client(t, node.url, { ...SOCKET, auth: { token: long }, reconnection: false });
  await Promise.all([idle, kept, refused].map((socket) => next(socket, "connect")));
  const answer = await kept.timeout(5_000).emitWithAck("refresh", { token: long });
  assert.equal(answer.type, "refreshed");
  assert.ok(answer.expires > Date.now() + 3_500_000);
  let drops = 0;
  kept.on("disconnect", () => drops++);
  refused.emit("refresh", { token: await token(t, "bob") });
  await Promise.all([next(idle, "disconnect"), next(refused, "disconnect")]);
  assert.equal((await kept.timeout(5_000).emitWithAck(EVENT, "still here")).type, "sent");
  assert.equal(drops, 0);
});

test("commands work with acks, and errors say what is wrong", async (t) => {
  const [node] = await startNodes(t, 1);
  const socket = client(t, node.url, SOCKET);
  await next(socket, "connect");
  const ask = (...args) => socket.timeout(5_000).emitWithAck(...args);
  assert.equal((await ask("join", { room: "other", recent: 5 })).type, "joined");
  const message = next(socket, "message");
  const sent = await ask("send", { room: "other", body: { text: "x" }, nonce: "n-1" });
  const again = await ask("send", { room: "other", body: { text: "x" }, nonce: "n-1" });
  assert.deepEqual([again.offset, again.duplicate], [sent.offset, true]);
  const [frame, ...rest] = await message;
  assert.deepEqual([frame.room, frame.body, rest], ["other", { text: "x" }, []]);
  assert.equal((await ask("history", { room: "other" })).events.length, 1);
  assert.equal((await ask("members")).count, 1);
  assert.equal((await ask("rooms")).type, "rooms");
  assert.equal((await ask("leave", { room: "other" })).type, "left");
  assert.equal((await ask("send", { room: "other", body: 1 })).code, "not_joined");
  assert.equal((await ask("join", { room: "no room" })).code, "bad_room");
  assert.equal((await ask("join", "lobby")).code, "bad_frame");
  assert.match((await ask("hello there")).message, /relay_events/);
  assert.equal((await ask(EVENT, Buffer.from([1]))).code, "bad_frame");
  socket.emit(EVENT, Buffer.from([1]));
  assert.match((await next(socket, "error"))[0].message, /binary/);
  assert.equal((await ask(EVENT, "x".repeat(20_000))).code, "too_large");
  assert.ok(socket.connected);
});

test("a text that was cut inside an emoji arrives, and nobody is sent away", async (t) => {
  const [node] = await startNodes(t, 1);
  const socket = client(t, node.url);
  await next(socket, "connect");
  const heard = next(socket, EVENT);
  const { type } = await socket.timeout(5_000).emitWithAck(EVENT, "hello 👋".slice(0, -1));
  assert.equal(type, "sent");
  assert.equal((await heard)[0], "hello \ufffd");
});

test("an over-size message ends the transport, and the client comes back", async (t) => {
  const [node] = await startNodes(t, 1);
  for (const transports of [["websocket"], ["polling"]]) {
    const socket = client(t, node.url, { transports });
    await next(socket, "connect");
    socket.emit(EVENT, "x".repeat(1_100_000));
    await next(socket, "disconnect");
    await next(socket, "connect");
    socket.disconnect();
  }
});

test("who may come in, and as whom", async (t) => {
  const [node] = await startNodes(t, 1, { HUBBUB__AUTH__MODE: "jwt" });
  const alice = await token(t, "alice", "--name", "Alice");
  const user = async (options) => {
    const socket = client(t, node.url, { ...SOCKET, ...options });
    const [welcome] = await next(socket, "welcome");
    return welcome.user;
  };
  const cookie = { cookie: `hubbub_token=${alice}`, "sec-fetch-site": "same-origin" };
  for (const options of [
    { auth: { token: alice } },
    { auth: { token: alice }, transports: ["polling"] },
    { extraHeaders: { authorization: `Bearer ${alice}` } },
    { extraHeaders: cookie, transports: ["polling"], withCredentials: false },
  ]) {
    assert.deepEqual(await user(options), { id: "alice", name: "Alice" });
  }
  const refused = async (options) => {
    const socket = client(t, node.url, { ...SOCKET, ...options });
    const [error] = await next(socket, "connect_error");
    assert.ok(!socket.active, "it does not try again");
    return error;
  };
  assert.equal((await refused({ auth: { token: "wrong" } })).message, "bad token");
  assert.equal((await refused({ auth: { token: 7 } })).data.code, "unauthorized");
  assert.equal((await refused({ transports: ["polling"] })).data.code, "unauthorized");
  const unsafe = { cookie: cookie.cookie };
  assert.equal((await refused({ extraHeaders: unsafe, withCredentials: false })).data.code, "unauthorized");

  const own = await token(t, "bob", "--room", "team=rw");
  const bob = client(t, node.url, { ...SOCKET, auth: { token: own } });
  await next(bob, "connect");
  assert.equal((await bob.timeout(5_000).emitWithAck(EVENT, "x")).type, "error");
  assert.equal((await bob.timeout(5_000).emitWithAck("join", { room: "team" })).rights, "rw");
  const query = await fetch(`${node.url}/socket.io/?EIO=4&transport=polling&token=${alice}`);
  assert.equal(query.status, 400);
  const foreign = { headers: { origin: "https://evil.example" } };
  const forbidden = await fetch(`${node.url}/socket.io/?EIO=4&transport=polling`, foreign);
  assert.deepEqual([forbidden.status, (await forbidden.json()).code], [403, 4]);
});

test("who is kicked is told once, and does not come back", async (t) => {
  const key = "a token for operators, long enough";
  const [node] = await startNodes(t, 1, { HUBBUB__OPS__TOKEN: key });
  const alice = await token(t, "alice");
  const sockets = Object.values(MODES).map((mode) => client(t, node.url, { ...mode, auth: { token: alice } }));
  const reasons = sockets.map(() => []);
  for (const [i, socket] of sockets.entries()) socket.on("disconnect", (reason) => reasons[i].push(reason));
  await until("all are in", () => sockets.every((socket) => socket.connected));
  const headers = { authorization: `Bearer ${key}`, "content-type": "application/json" };
  const body = JSON.stringify({ user: "alice" });
  const kicked = await fetch(`http://${node.ops}/admin/kick`, { method: "POST", headers, body });
  assert.equal(kicked.status, 200);
  await until("all are out", () => sockets.every((socket) => !socket.active));
  await sleep(1_000);
  assert.deepEqual(reasons, sockets.map(() => ["io server disconnect"]));
  assert.ok(sockets.every((socket) => !socket.connected));
});

test("a full or draining node says 503 or 429, and the client tries again", async (t) => {
  const limits = { HUBBUB__LIMITS__CONNECTIONS: "6", HUBBUB__DRAIN__READY_DELAY: "0s", HUBBUB__DRAIN__SPREAD: "3s" };
  const [node] = await startNodes(t, 1, limits);
  const handshake = () => fetch(`${node.url}/socket.io/?EIO=4&transport=polling`, { headers: { connection: "close" } });
  const statuses = [];
  for (let i = 0; i < 8; i++) {
    const response = await handshake();
    statuses.push(response.status);
    if (response.status === 503) assert.ok(response.headers.get("retry-after"));
  }
  assert.equal(statuses[0], 200);
  assert.equal(statuses.at(-1), 503);

  const [narrow] = await startNodes(t, 1, { HUBBUB__LIMITS__CONNECTIONS_PER_ADDRESS: "2" });
  const held = await Talker.open(narrow.url);
  const poll = await fetch(`${narrow.url}/socket.io/?EIO=4&transport=polling`);
  assert.equal(poll.status, 429);
  const waiting = client(t, narrow.url, { ...SOCKET });
  const second = new Talker(narrow.url);
  await sleep(300);
  held.socket.terminate();
  second.socket.terminate();
  await until("it has come in", () => waiting.connected);
});

test("namespaces have rooms of their own", async (t) => {
  const [node] = await startNodes(t, 1, { HUBBUB__SOCKETIO__NAMESPACES: "/news" });
  const main = client(t, node.url, SOCKET);
  const news = main.io.socket("/news");
  t.after(() => news.disconnect());
  await until("both are in", () => main.connected && news.connected);
  assert.notEqual(main.id, news.id);
  const heard = [];
  main.on(EVENT, (text) => heard.push(["main", text]));
  news.on(EVENT, (text) => heard.push(["news", text]));
  await main.timeout(5_000).emitWithAck(EVENT, "one");
  await news.timeout(5_000).emitWithAck(EVENT, "two");
  await until("both", () => heard.length === 2);
  await sleep(100);
  assert.deepEqual(new Set(heard.map(String)), new Set(["main,one", "news,two"]));
  news.disconnect();
  await main.timeout(5_000).emitWithAck(EVENT, "three");
  await until("three", () => heard.length === 3);
  const absent = main.io.socket("/absent");
  assert.equal((await next(absent, "connect_error"))[0].message, "Invalid namespace");
  assert.ok(main.connected);
});

test("auth.catch_up: false leaves the arguments alone", async (t) => {
  const [node] = await startNodes(t, 1);
  const plain = client(t, node.url, { ...SOCKET, auth: { catch_up: false } });
  const other = client(t, node.url, SOCKET);
  await until("both are in", () => plain.connected && other.connected);
  const heard = [next(plain, EVENT), next(other, EVENT)];
  other.emit(EVENT, "hi");
  const [exact, placed] = await Promise.all(heard);
  assert.deepEqual(exact, ["hi"]);
  assert.deepEqual([placed.length, placed[0]], [2, "hi"]);
  plain.io.engine.close();
  await next(plain, "connect");
  assert.equal(plain.recovered ?? false, false);
});

test("a pid that nobody can honour begins anew", async (t) => {
  const [node] = await startNodes(t, 1);
  const talker = await Talker.open(node.url);
  await talker.next();
  talker.send('40{"pid":"x/5/other","offset":"7/other/M"}');
  const reply = JSON.parse((await talker.next()).slice(2));
  assert.ok(reply.pid && reply.pid !== "x/5/other");
  talker.socket.close();
});

test("a slow client is told, filled up, and closed if it reads nothing", async (t) => {
  const limits = {
    HUBBUB__LIMITS__WRITE_TIMEOUT: "2s",
    HUBBUB__LIMITS__OUTBOX_FRAMES: "64",
    HUBBUB__LIMITS__OUTBOX_BYTES: "256KiB",
  };
  const [node] = await startNodes(t, 1, limits);
  const count = 3_000;
  const speaker = client(t, node.url, SOCKET);
  await next(speaker, "connect");
  const enter = async () => {
    const talker = await Talker.open(node.url);
    talker.send("40");
    await until("in", () => talker.heard.some((packet) => packet.includes('"joined"')));
    return talker;
  };
  const deaf = await enter();
  const slow = await enter();
  const poller = await Poller.open(node.url);
  await poller.post("40");
  await poller.text();
  deaf.socket.pause();
  slow.socket.pause();
  const padding = "x".repeat(8_000);
  for (let i = 0; i < count; i += 20) {
    const acks = Array.from({ length: 20 }, (_, k) => speaker.timeout(60_000).emitWithAck(EVENT, `${i + k} ${padding}`));
    await Promise.all(acks);
    if (i === 1_000) slow.socket.resume();
  }
  const numbers = (packets) =>
    packets.filter((packet) => packet.startsWith('42["chat message"')).map((packet) => parseInt(JSON.parse(packet.slice(2))[1], 10));
  await until("the slow one has all", () => numbers(slow.heard).length >= count, 60_000);
  assert.deepEqual(numbers(slow.heard), Array.from({ length: count }, (_, i) => i));
  assert.ok(slow.heard.some((packet) => packet.startsWith('42["lagged"')), "it was told");
  const polled = [];
  while (numbers(polled).length < count) {
    const body = await poller.text();
    polled.push(...body.split("\x1e"));
    assert.notEqual(polled.at(-1), "1");
  }
  assert.deepEqual(numbers(polled), Array.from({ length: count }, (_, i) => i));
  deaf.socket.resume();
  await deaf.end(15_000);
  assert.ok(numbers(deaf.heard).length < count);
  slow.socket.close();
});

test("hostile requests are refused and hurt nobody else", async (t) => {
  const [node] = await startNodes(t, 1);
  const witness = client(t, node.url, SOCKET);
  await next(witness, "connect");
  const placeholder = (num) => `451-["${EVENT}",{"_placeholder":true,"num":${num}}]`;
  for (const bad of [
    "4599999-[]", '4511-["chat message"]', placeholder(-1), placeholder('"x"'), placeholder(9), '42["connect"]',
    '42["newListener"]', "49", `40/${"n".repeat(10_240)}`, "2", "9", "4", '42["chat message"', Buffer.from([1, 2]),
  ]) {
    const talker = await Talker.open(node.url);
    talker.send("40");
    talker.send(bad);
    assert.notEqual(await talker.end(), null, `${bad}`.slice(0, 60));
    if (Buffer.isBuffer(bad)) continue;
    const poller = await Poller.open(node.url);
    await poller.post("40");
    await poller.post(bad);
    assert.equal((await poller.get()).status, 400, bad.slice(0, 60));
  }
  const at = (query) => fetch(`${node.url}/socket.io/?${query}`);
  const code = async (query) => (await (await at(query)).json()).code;
  assert.equal(await code("EIO=4&transport=polling&sid=__proto__"), 1);
  assert.equal(await code(`EIO=4&transport=polling&sid=${"a".repeat(4_000)}`), 1);
  assert.equal(await code("EIO=3&transport=polling"), 5);
  assert.equal(await code("EIO=4&transport=%00"), 0);
  const poller = await Poller.open(node.url);
  assert.equal((await poller.post(`4${"x".repeat(1_000_000)}`)).status, 413);
  const first = poller.get();
  await until("both", async () => (await poller.get()).status === 400);
  await first;
  assert.equal((await witness.timeout(5_000).emitWithAck("ping")).type, "pong");
  const metrics = await (await fetch(`http://${node.ops}/metrics`)).text();
  assert.match(metrics, /hubbub_panics_total 0/);
  await until("only the witness is left", async () => {
    const text = await (await fetch(`http://${node.ops}/metrics`)).text();
    return /hubbub_connections 1\n/.test(text);
  });
  assert.ok(SECRET && node.child.alive);
});

test("the client's script is served, or it is said how to get it", async (t) => {
  const [node] = await startNodes(t, 1, { HUBBUB__SOCKETIO__CLIENT_DIR: new URL("node_modules/socket.io-client/dist", import.meta.url).pathname });
  const script = await fetch(`${node.url}/socket.io/socket.io.js`);
  assert.equal(script.status, 200);
  assert.match(script.headers.get("content-type"), /javascript/);
  assert.match(await script.text(), /Socket\.IO v4/);
  const [bare] = await startNodes(t, 1, { HUBBUB__SOCKETIO__CLIENT_DIR: "/nonexistent" });
  const absent = await fetch(`${bare.url}/socket.io/socket.io.js`);
  assert.equal(absent.status, 404);
  assert.match(await absent.text(), /npm install socket.io-client/);
  const [off] = await startNodes(t, 1, { HUBBUB__SOCKETIO__ENABLED: "false" });
  assert.equal((await fetch(`${off.url}/socket.io/?EIO=4&transport=polling`)).status, 404);
});
