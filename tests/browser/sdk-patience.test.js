// The JavaScript SDK with a node that stops answering: when it asks for a sign of life, when it goes
// elsewhere, and how long `join` waits.

import assert from "node:assert/strict";
import { test } from "node:test";

import { FakeHttp } from "./fake-http.js";
import { FakeSocket } from "./fake-socket.js";
import { reconnect, settle, start, startInLobby, tick } from "./sdk-kit.js";

const ack = (socket, offset) =>
  socket.answer("send", { type: "sent", epoch: "e1", offset, message: `m-${offset}`, ts: 1, ack: "stream" });

const wait = async (check) => {
  for (let i = 0; i < 200 && !check(); i++) await settle();
  assert.ok(check(), String(check));
};

test("a node that does not answer a send is pinged after 5 s and left after 10 s", async (t) => {
  const { chat, lobby } = await startInLobby(t);
  const frozen = FakeSocket.last;
  const sends = Array.from({ length: 40 }, (_, i) => lobby.send({ text: `${i}` }));
  await tick(t, 4_999);
  assert.deepEqual(frozen.all("ping"), []);
  await tick(t, 1);
  assert.equal(frozen.all("ping").length, 1);
  await tick(t, 4_999);
  assert.equal(chat.state.state, "online");
  await tick(t, 1);
  assert.equal(chat.state.state, "reconnecting");
  assert.match(chat.state.reason, /does not answer/);
  assert.equal(frozen.readyState, 3);

  await reconnect(t);
  const next = FakeSocket.last;
  assert.notEqual(next.url, frozen.url);
  next.joined({ offset: 41 });
  await settle();
  const nonce = frozen.all("send")[0].nonce;
  assert.equal(next.all("send")[0].nonce, nonce, "it is the same send");
  for (let offset = 42; offset < 82; offset++) {
    ack(next, offset);
    await tick(t, 1_000);
  }
  const offsets = (await Promise.all(sends)).map((sent) => sent.offset);
  assert.deepEqual(offsets, Array.from({ length: 40 }, (_, i) => 42 + i), "each once, in order");
  const nonces = next.all("send").map((send) => send.nonce);
  assert.equal(new Set(nonces).size, 40, "none is sent twice on one connection");
});

test("a pong does not answer a send, and a frozen node is left with its joins and reads, too", async (t) => {
  const { chat, lobby } = await startInLobby(t);
  lobby.history().catch(() => {});
  await tick(t, 5_000);
  FakeSocket.last.say({ type: "pong" });
  await tick(t, 5_000);
  assert.equal(chat.state.state, "reconnecting");
  await reconnect(t);
  assert.equal(FakeSocket.last.all("join").length, 1);
  await tick(t, 5_000);
  await tick(t, 5_000);
  assert.equal(chat.state.state, "reconnecting");
});

test("as long as answers come, a busy node is not left", async (t) => {
  const { chat } = await startInLobby(t);
  const rooms = Array.from({ length: 5 }, (_, i) => chat.room(`r-${i}`));
  for (const room of rooms) room.send("x").catch(() => {});
  await settle();
  const socket = FakeSocket.last;
  const sends = socket.all("send");
  for (const { id, room } of sends) {
    await tick(t, 9_000);
    socket.say({ type: "sent", id, room, epoch: "e1", offset: 1, message: "m", ts: 1, ack: "stream" });
  }
  assert.equal(chat.state.state, "online");
  // Nothing waits any more: only the usual ping is left.
  const pings = socket.all("ping").length;
  await tick(t, 20_000);
  assert.equal(socket.all("ping").length, pings);
  assert.equal(chat.state.state, "online");
});

test("without WebSocket a request that nobody answers is no answer", async (t) => {
  const http = new FakeHttp(t);
  const { chat } = await start(t, { transports: "sse" });
  await wait(() => chat.state.state === "online");
  const lobby = chat.room("lobby");
  const joining = lobby.join();
  await wait(() => http.stream);
  const joined = { epoch: "e1", offset: 0, recovered: true, members: 1, rights: "rw", events: [] };
  http.stream.say({ type: "joined", room: "lobby", ...joined }, "e1:0");
  await joining;
  http.isDown = true;
  lobby.send("x").catch(() => {});
  await settle();
  for (let second = 0; second < 9; second++) await tick(t, 1_000);
  assert.equal(chat.state.state, "online");
  await tick(t, 1_000);
  assert.equal(chat.state.state, "reconnecting");
});

test("join ends after its time, and the room is joined later all the same", async (t) => {
  const { chat } = await start(t);
  const lobby = chat.room("lobby");
  const late = assert.rejects(lobby.join({ timeout: 3_000 }), { code: "timeout", message: /within 3000 ms/ });
  const standard = assert.rejects(lobby.join(), { code: "timeout", message: /within 30000 ms/ });
  const patient = lobby.join({ timeout: Infinity });
  await tick(t, 3_000);
  await late;
  await tick(t, 27_000);
  await standard;
  await tick(t, 60_000);
  FakeSocket.last.welcome();
  FakeSocket.last.joined();
  await patient;
  assert.ok(lobby.joined);
});

test("a signal ends a join, and with the last one the wish for the room", async (t) => {
  const { chat } = await start(t);
  const page = new AbortController();
  const other = new AbortController();
  const joins = [page, other].map(({ signal }) => chat.join("lobby", { signal }));
  page.abort();
  await assert.rejects(joins[0], { name: "AbortError" });
  FakeSocket.last.welcome();
  await settle();
  assert.equal(FakeSocket.last.all("join").length, 1, "the other one still wants it");
  other.abort(new Error("gone"));
  await assert.rejects(joins[1], { message: "gone" });
  assert.equal(FakeSocket.last.all("leave").length, 1);
  await assert.rejects(chat.join("lobby", { signal: page.signal }), { name: "AbortError" });
  // Once it is joined, the signal has no more say.
  const third = new AbortController();
  const joining = chat.join("lobby", { signal: third.signal });
  FakeSocket.last.joined();
  const lobby = await joining;
  third.abort();
  assert.ok(lobby.joined);
});

test("a join of a room that is left first is aborted", async (t) => {
  const { chat } = await start(t);
  const joining = chat.room("lobby").join();
  chat.room("lobby").leave();
  await assert.rejects(joining, { name: "AbortError", code: "left", message: /left before it was joined/ });
});

test("a page of an origin that the node refuses is told so", async (t) => {
  const { location } = globalThis;
  globalThis.location = { href: "https://page.test/", origin: "https://page.test" };
  t.after(() => (globalThis.location = location));
  let isThere = true;
  t.mock.method(globalThis, "fetch", async (_url, { mode }) => {
    if (mode === "no-cors" && isThere) return new Response();
    throw new TypeError("Failed to fetch");
  });
  const { chat } = await start(t, { urls: ["http://a.test"], token: undefined });
  const reasons = [];
  chat.on("error", (error) => reasons.push(error.message));
  await tick(t, 20_000);
  assert.match(reasons[0], /a\.test: it refuses pages of https:\/\/page\.test; add that to its http\.allowed_origins/);
  isThere = false;
  await tick(t, 20_000);
  assert.match(reasons[1], /Failed to fetch/);
});
