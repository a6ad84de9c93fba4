// The JavaScript SDK's rooms and sends: nothing twice, nothing missing, nothing out of order.

import assert from "node:assert/strict";
import { test } from "node:test";

import { FakeSocket, event } from "./fake-socket.js";
import { reconnect, start, startInLobby, tick } from "./sdk-kit.js";

const offsets = (events) => events.map(({ offset }) => offset);
const texts = (commands) => commands.map(({ body }) => body);

test("a join replays first and resolves then", async (t) => {
  const { chat } = await start(t);
  const order = [];
  const joining = chat
    .join("lobby", { recent: 2, on: { message: ({ offset }) => order.push(offset) } })
    .then((room) => order.push(room.name));
  FakeSocket.last.welcome();
  const { id, ...join } = FakeSocket.last.all("join")[0];
  assert.deepEqual(join, { type: "join", room: "lobby", recent: 2 });
  assert.equal(typeof id, "number");
  FakeSocket.last.joined({ offset: 9, events: [event(8), event(9)] });
  await joining;
  assert.deepEqual(order, [8, 9, "lobby"]);
});

test("a lost connection is resumed from the last event, and duplicates are dropped", async (t) => {
  const { heard } = await startInLobby(t);
  FakeSocket.last.say(event(42));
  FakeSocket.last.end();
  await reconnect(t);
  const since = { epoch: "e1", offset: 42, message: "m-42" };
  assert.deepEqual(FakeSocket.last.all("join")[0].since, since);
  FakeSocket.last.joined({ offset: 45, events: [event(42), event(43)] });
  for (const offset of [44, 44, 45, 43]) FakeSocket.last.say(event(offset));
  assert.deepEqual(offsets(heard.message), [41, 42, 43, 44, 45]);
  assert.deepEqual(heard.joined.map(({ resumed }) => resumed), [false, true]);
  assert.deepEqual(heard.reset, []);
});

test("what cannot be resumed is told by `reset`, before the newest page", async (t) => {
  const { heard } = await startInLobby(t);
  FakeSocket.last.end();
  await reconnect(t);
  const page = [event(7, { epoch: "e2" }), event(8, { epoch: "e2" })];
  FakeSocket.last.joined({ epoch: "e2", offset: 8, recovered: false, events: page });
  assert.deepEqual(offsets(heard.message), [41, 7, 8]);
  assert.equal(heard.reset[0].reason, "unrecovered");
  FakeSocket.last.say({ type: "reset", room: "lobby", epoch: "e3", offset: 10 });
  FakeSocket.last.say(event(11, { epoch: "e3" }));
  assert.deepEqual(offsets(heard.message), [41, 7, 8, 11]);
  assert.deepEqual([heard.reset[1].reason, heard.reset[1].epoch], ["reset", "e3"]);
});

test("a hole or an unknown epoch is never handed out: the room is synced again", async (t) => {
  const { heard } = await startInLobby(t);
  FakeSocket.last.say(event(43));
  FakeSocket.last.say(event(44));
  assert.equal(FakeSocket.last.all("join").length, 2, "asked once, not per event");
  assert.equal(FakeSocket.last.all("join")[1].since.offset, 41);
  FakeSocket.last.joined({ offset: 44, events: [event(42), event(43), event(44)] });
  FakeSocket.last.say(event(1, { epoch: "e9" }));
  assert.deepEqual(offsets(heard.message), [41, 42, 43, 44]);
  assert.equal(FakeSocket.last.all("join").length, 3);
});

test("a join that cannot be served now is repeated, and one that is refused is not", async (t) => {
  const { chat } = await start(t);
  FakeSocket.last.welcome();
  const joining = chat.join("lobby");
  FakeSocket.last.answer("join", { type: "error", code: "unavailable", message: "" });
  await tick(t, 500);
  FakeSocket.last.answer("join", { type: "error", code: "rate_limited", retry_after_ms: 3_000 });
  await tick(t, 2_999);
  assert.equal(FakeSocket.last.all("join").length, 2);
  await tick(t, 1);
  FakeSocket.last.answer("join", { type: "error", code: "forbidden", message: "no" });
  await assert.rejects(joining, { code: "forbidden", message: "no" });
  FakeSocket.last.end();
  await reconnect(t);
  assert.equal(FakeSocket.last.all("join").length, 0);
});

test("presence, typing and lagged reach the room, and nothing does after leaving", async (t) => {
  const { lobby, heard } = await startInLobby(t);
  const say = () => {
    FakeSocket.last.say({ type: "presence", room: "lobby", count: 3, joined: [], left: [] });
    FakeSocket.last.say({ type: "typing", room: "lobby", user: { id: "u-2" }, on: true });
    FakeSocket.last.say({ type: "lagged", room: "lobby", from: 42, to: 90 });
  };
  say();
  assert.equal(lobby.memberCount, 3);
  lobby.typing(true);
  assert.deepEqual(FakeSocket.last.all("typing"), [{ type: "typing", room: "lobby", on: true }]);
  const leaving = lobby.leave();
  FakeSocket.last.answer("leave", { type: "left" });
  await leaving;
  say();
  FakeSocket.last.say(event(42));
  const counts = [heard.presence, heard.typing, heard.lagged, heard.message].map((x) => x.length);
  assert.deepEqual(counts, [1, 1, 1, 1]);
  FakeSocket.last.end();
  await reconnect(t);
  assert.equal(FakeSocket.last.all("join").length, 0);
});

test("unacked sends go again in order and with their nonces, after the room is back", async (t) => {
  const { lobby } = await startInLobby(t);
  const sends = ["a", "b", "c"].map((body) => lobby.send(body));
  assert.deepEqual(texts(FakeSocket.last.all("send")), ["a"], "one at a time keeps the order");
  FakeSocket.last.answer("send", { type: "sent", offset: 42 });
  assert.equal((await sends[0]).offset, 42);
  const { nonce } = FakeSocket.last.all("send")[1];
  FakeSocket.last.end();
  await reconnect(t);
  assert.deepEqual(FakeSocket.last.all("send"), []);
  FakeSocket.last.joined({ offset: 42, events: [event(42)] });
  assert.equal(FakeSocket.last.all("send")[0].nonce, nonce);
  FakeSocket.last.answer("send", { type: "sent", offset: 43, duplicate: true });
  FakeSocket.last.answer("send", { type: "sent", offset: 44 });
  assert.deepEqual(offsets(await Promise.all(sends)), [42, 43, 44]);
  const nonces = FakeSocket.made.flatMap((socket) => socket.all("send")).map((send) => send.nonce);
  assert.equal(new Set(nonces).size, 3);
});

test("`unknown`, `unavailable` and `rate_limited` are retried under the same nonce", async (t) => {
  const { lobby } = await startInLobby(t);
  const body = { text: "first" };
  const send = lobby.send(body);
  body.text = "changed by the caller";
  for (const [code, retry_after_ms, wait] of [
    ["unknown", undefined, 500],
    ["unavailable", undefined, 1_000],
    ["rate_limited", 4_000, 4_000],
  ]) {
    const before = FakeSocket.last.all("send").length;
    FakeSocket.last.answer("send", { type: "error", code, message: "", retry_after_ms });
    await tick(t, wait - 1);
    assert.equal(FakeSocket.last.all("send").length, before, code);
    await tick(t, 1);
    assert.equal(FakeSocket.last.all("send").length, before + 1, code);
  }
  FakeSocket.last.answer("send", { type: "sent", offset: 42 });
  await send;
  const tries = FakeSocket.last.all("send");
  assert.equal(new Set(tries.map(({ nonce }) => nonce)).size, 1);
  assert.deepEqual(texts(tries), Array(4).fill({ text: "first" }));
});

test("a resync that fails holds sends back until the room is entered again", async (t) => {
  const { lobby } = await startInLobby(t);
  const sends = [lobby.send("a"), lobby.send("b")];
  FakeSocket.last.say(event(43));
  FakeSocket.last.answer("join", { type: "error", code: "unavailable", message: "" });
  FakeSocket.last.answer("send", { type: "error", code: "not_joined", message: "" });
  assert.equal(FakeSocket.last.all("send").length, 1);
  await tick(t, 500);
  FakeSocket.last.joined({ offset: 43, events: [event(42), event(43)] });
  FakeSocket.last.answer("send", { type: "sent", offset: 44 });
  FakeSocket.last.answer("send", { type: "sent", offset: 45 });
  assert.deepEqual(offsets(await Promise.all(sends)), [44, 45]);
});

test("a final error rejects its send and lets the next one go", async (t) => {
  const { lobby } = await startInLobby(t);
  const refused = lobby.send("a", { nonce: "mine" });
  const next = lobby.send("b");
  assert.equal(FakeSocket.last.all("send")[0].nonce, "mine");
  FakeSocket.last.answer("send", { type: "error", code: "conflict", message: "other body" });
  await assert.rejects(refused, { code: "conflict", message: "other body" });
  FakeSocket.last.answer("send", { type: "sent", offset: 42 });
  await next;
});

test("what no server would take is refused here: too much, too large, no JSON", async (t) => {
  const { chat, lobby } = await startInLobby(t);
  await assert.rejects(lobby.send("x".repeat(65_536)), { code: "too_large" });
  await assert.rejects(lobby.send(undefined), { name: "TypeError", message: /body must be JSON/ });
  const sends = Array.from({ length: 100 }, (_, i) => lobby.send(i));
  await assert.rejects(lobby.send("101st"), { code: "outbox_full" });
  chat.close();
  const results = await Promise.allSettled(sends);
  assert.ok(results.every(({ reason }) => reason?.code === "closed"));
});

test("a send without an ack is given up while its nonce is still remembered", async (t) => {
  const { lobby } = await startInLobby(t);
  const send = lobby.send("a");
  FakeSocket.last.end();
  const refused = assert.rejects(send, { code: "timeout" });
  await tick(t, 600_000);
  await refused;
});

test("reads are asked again on the next connection, and time out", async (t) => {
  const { chat, lobby } = await startInLobby(t);
  const page = lobby.history({ before: 40, limit: 20 });
  const members = lobby.members();
  const rooms = chat.rooms();
  FakeSocket.last.answer("members", { type: "members", count: 1, members: [{ id: "u-1" }] });
  assert.equal((await members).members[0].id, "u-1");
  FakeSocket.last.end();
  await tick(t, 500);
  FakeSocket.last.welcome();
  const { id, ...asked } = FakeSocket.last.all("history")[0];
  assert.ok(id > 0);
  assert.deepEqual(asked, { type: "history", room: "lobby", before: 40, limit: 20 });
  FakeSocket.last.answer("history", { type: "history", events: [event(39)], more: false });
  assert.deepEqual(await page, { events: [event(39)], more: false });
  const refused = assert.rejects(rooms, { code: "timeout" });
  await tick(t, 10_000);
  await refused;
});

test("close() ends timers, promises and the socket", async (t) => {
  const { chat, lobby } = await startInLobby(t);
  const open = [lobby.send("a"), lobby.history(), chat.room("other").join()];
  chat.close();
  for (const promise of open) await assert.rejects(promise, { code: "closed" });
  assert.equal(FakeSocket.last.readyState, 3);
  await tick(t, 600_000);
  assert.equal(FakeSocket.made.length, 1);
  await assert.rejects(lobby.send("b"), { code: "closed" });
  await assert.rejects(lobby.join(), { code: "closed" });
});

test("sends keep to the server's rate, over all rooms", async (t) => {
  const { chat } = await start(t);
  let now = 5_000;
  t.mock.method(performance, "now", () => now);
  FakeSocket.last.welcome({ limits: { sends_per_second: 10, sends_burst: 4 } });
  const answered = [];
  for (let i = 0; i < 6; i++) {
    chat.room(`room-${i}`).send(i).then(() => answered.push(i));
  }
  const sent = () => FakeSocket.last.all("send").length;
  assert.equal(sent(), 3, "the burst, less one for jitter");
  for (let i = 4; i <= 6; i++) {
    now += 100;
    await tick(t, 100);
    assert.equal(sent(), i);
  }
  FakeSocket.last.end();
  await reconnect(t);
  assert.equal(sent(), 6, "a new connection, with no limit named");
  for (const { id } of FakeSocket.last.all("send")) FakeSocket.last.say({ type: "sent", id });
  await tick(t, 0);
  assert.deepEqual(answered, [0, 1, 2, 3, 4, 5]);
});
