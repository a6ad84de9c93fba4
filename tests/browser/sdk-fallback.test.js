// The JavaScript SDK where WebSockets are blocked: events by SSE, sends by REST.

import assert from "node:assert/strict";
import { test } from "node:test";

import { FakeHttp, problem } from "./fake-http.js";
import { FakeSocket, event } from "./fake-socket.js";
import { settle, start, tick } from "./sdk-kit.js";

const wait = async (check) => {
  for (let i = 0; i < 200 && !check(); i++) await settle();
  assert.ok(check(), String(check));
};
const joined = (fields) => ({
  type: "joined", room: "lobby", epoch: "e1", offset: 0, recovered: true, members: 1, rights: "rw", events: [], ...fields,
});
const say = (http, ...events) => {
  for (const each of events) http.stream.say(each, `${each.epoch}:${each.offset}:${each.message}`);
};

/** A client over the fallback, in the lobby from offset 41 on. */
async function startInside(t, options = {}) {
  const http = new FakeHttp(t);
  const { chat, states } = await start(t, { transports: "sse", ...options });
  await wait(() => chat.state.state === "online");
  const lobby = chat.room("lobby");
  const heard = [];
  for (const type of ["message", "reset", "typing"]) lobby.on(type, (frame) => heard.push(frame.offset ?? type));
  const joining = lobby.join({ recent: 2 });
  await wait(() => http.stream);
  http.stream.say({ type: "welcome", node: "gw-1", user: { id: "u-1", name: "Ann" }, limits: { frame_bytes: 65_536 } });
  http.stream.say(joined({ offset: 41 }));
  say(http, event(40), event(41));
  await joining;
  return { http, chat, lobby, heard, states };
}

test("three sockets that end without a word lead to the fallback, and back when one opens", async (t) => {
  const http = new FakeHttp(t);
  const { chat } = await start(t, { transports: undefined });
  for (let i = 0; i < 3; i++) {
    assert.equal(FakeSocket.made.length, i + 1);
    FakeSocket.last.end();
    await tick(t, 20_000);
  }
  await wait(() => chat.state.state === "online");
  assert.deepEqual([chat.state.transport, FakeSocket.made.length], ["sse", 3]);

  const lobby = chat.room("lobby");
  const joining = lobby.join();
  await wait(() => http.stream);
  http.stream.say(joined({ offset: 7 }), "e1:7");
  await joining;
  await tick(t, 30_000);
  assert.equal(FakeSocket.made.length, 4);
  FakeSocket.last.end();
  assert.equal(chat.state.transport, "sse", "a probe that fails costs nothing");
  http.stream.raw(": keep-alive\n\n");
  await settle();
  await tick(t, 20_000);
  http.stream.raw(": keep-alive\n\n");
  await settle();
  await tick(t, 30_000);
  assert.equal(FakeSocket.made.length, 5);
  FakeSocket.last.welcome();
  assert.deepEqual([chat.state.transport, chat.state.node], ["websocket", "gw-1"]);
  assert.equal(http.stream.signal.aborted, true);
  assert.equal(FakeSocket.last.all("join")[0].since.offset, 7);
});

test("nodes that are down by every way are tried by both in turn", async (t) => {
  const http = new FakeHttp(t);
  http.isDown = true;
  const { chat, states } = await start(t, { transports: undefined });
  let ended = 0;
  for (let i = 0; i < 12; i++) {
    if (FakeSocket.made.length > ended) FakeSocket.made[ended++].end();
    await settle();
    await tick(t, 20_000);
  }
  assert.ok(ended > 4, "WebSocket is tried again and again");
  http.isDown = false;
  for (let i = 0; i < 2 && chat.state.state !== "online"; i++) {
    if (FakeSocket.made.length > ended) FakeSocket.made[ended++].end();
    await tick(t, 20_000);
    await settle();
  }
  assert.equal(chat.state.transport, "sse");
  assert.ok(states.length > 12);
});

test("replayed events come with `joined`, live ones after them, and the node is told", async (t) => {
  const { http, chat, heard } = await startInside(t);
  assert.equal(http.stream.path, "/v1/rooms/lobby/events?recent=2");
  assert.equal(http.stream.headers.authorization, "Bearer T");
  assert.deepEqual([chat.node, chat.limits.frame_bytes], ["gw-1", 65_536]);
  http.stream.raw(": keep-alive\n\n");
  say(http, event(42));
  http.stream.say({ type: "typing", room: "lobby", user: {}, on: true });
  say(http, event(43));
  await wait(() => heard.length === 5);
  assert.deepEqual(heard, [40, 41, 42, "typing", 43]);
});

test("a stream that ends is resumed on the next node, without loss and without doubles", async (t) => {
  const { http, chat, heard } = await startInside(t);
  http.stream.end();
  await wait(() => chat.state.state === "reconnecting");
  await tick(t, 500);
  await wait(() => http.streams.length === 2);
  assert.equal(http.stream.path, "/chat/v1/rooms/lobby/events?since=e1%3A41%3Am-41", "the next node");
  http.stream.say(joined({ offset: 43 }));
  say(http, event(42), event(43));
  await wait(() => heard.length === 4);
  assert.deepEqual(heard, [40, 41, 42, 43]);
  http.stream.say({ type: "close", code: 4503, reason: "kicked", reconnect: false });
  await wait(() => chat.state.state === "closed");
  assert.deepEqual([chat.state.code, chat.state.reason], [4503, "kicked"]);
});

test("what cannot be resumed is told once, with the newest page", async (t) => {
  const { http, chat, heard } = await startInside(t);
  http.stream.end();
  await wait(() => chat.state.state === "reconnecting");
  await tick(t, 500);
  await wait(() => http.streams.length === 2);
  http.stream.say({ type: "reset", room: "lobby", epoch: "e2", offset: 9 });
  http.stream.say(joined({ epoch: "e2", offset: 9, recovered: false }));
  say(http, event(8, { epoch: "e2" }), event(9, { epoch: "e2" }));
  await wait(() => heard.length === 5);
  assert.deepEqual(heard, [40, 41, 9, 8, 9], "40, 41, the reset at 9, 8, 9");
});

test("a stream that brings nothing keeps the message of its place, and a reset has a place without one", async (t) => {
  const { http, chat, lobby, heard } = await startInside(t);
  const nextPath = async () => {
    const count = http.streams.length;
    http.stream.end();
    await wait(() => chat.state.state === "reconnecting");
    await tick(t, 20_000);
    await wait(() => http.streams.length > count);
    return http.stream.path.split("?")[1];
  };
  assert.equal(await nextPath(), "since=e1%3A41%3Am-41");
  http.stream.say(joined({ offset: 41 }), "e1:41:m-41");
  await wait(() => lobby.joined);
  assert.deepEqual(lobby.position, { epoch: "e1", offset: 41, message: "m-41" });
  assert.equal(await nextPath(), "since=e1%3A41%3Am-41");
  // The reset comes while replayed events are still awaited.
  http.stream.say(joined({ offset: 50 }));
  say(http, event(42));
  http.stream.say({ type: "reset", room: "lobby", epoch: "e2", offset: 60 }, "e2:60");
  say(http, event(61, { epoch: "e2", message: "m-41" }), event(62, { epoch: "e2" }));
  await wait(() => heard.length === 5);
  assert.deepEqual(heard, [40, 41, 42, 60, 62], "what comes again is told apart");
  assert.deepEqual(lobby.position, { epoch: "e2", offset: 62, message: "m-62" });
  http.stream.say({ type: "reset", room: "lobby", epoch: "e3", offset: 70 }, "e3:70");
  await wait(() => heard.length === 6);
  assert.equal(await nextPath(), "since=e3%3A70");
});

test("a fallback stream that is renewed resumes each room with the message of its place", async (t) => {
  const { http, chat } = await startInside(t);
  const joining = chat.join("b", { since: { epoch: "e1", offset: 7, message: "m-7" } });
  await wait(() => http.streams.length === 2);
  assert.equal(http.stream.path.split("?")[1], "since=e1%3A41%3Am-41&also=b%40e1%3A7%3Am-7");
  http.stream.say(joined({ offset: 41 }));
  http.stream.say(joined({ id: "b", room: "b", offset: 7 }));
  await joining;
  await chat.room("lobby").leave();
  await wait(() => http.streams.length === 3);
  assert.equal(http.stream.path.split("?")[1], "since=e1%3A7%3Am-7");
});

test("sends and changes go by REST, in order, under their nonces, until there is an answer", async (t) => {
  const { http, lobby } = await startInside(t);
  http.asked = [];
  http.answers = [
    problem(503, { code: "unknown", detail: "perhaps" }),
    Response.json({ type: "sent", room: "lobby", offset: 42, epoch: "e1", duplicate: true }),
    problem(429, { code: "rate_limited" }, { "retry-after": "2" }),
    Response.json({ type: "sent", offset: 43 }),
    problem(404, { code: "not_found", detail: "gone" }),
    Response.json({ type: "sent", offset: 44 }),
    Response.json({ type: "sent", offset: 45 }),
  ];
  const acks = [
    lobby.send({ text: "a" }, { nonce: "n-1", ack: "replicated" }),
    lobby.edit(42, { text: "b" }, { nonce: "n-2" }),
    lobby.delete(41),
    lobby.react(42, "👍", true),
    lobby.react(42, "👍", false),
  ];
  const results = Promise.allSettled(acks);
  for (let i = 0; i < 60 && http.answers.length > 0; i++) await tick(t, 500);
  const offsets = (await results).map(({ value, reason }) => value?.offset ?? reason.code);
  assert.deepEqual(offsets, [42, 43, "not_found", 44, 45]);
  const thumb = `/v1/rooms/lobby/messages/42/reactions/${encodeURIComponent("👍")}`;
  assert.deepEqual(http.asked.map(({ method, path }) => `${method} ${path}`), [
    "POST /v1/rooms/lobby/messages",
    "POST /v1/rooms/lobby/messages",
    "PATCH /v1/rooms/lobby/messages/42",
    "PATCH /v1/rooms/lobby/messages/42",
    "DELETE /v1/rooms/lobby/messages/41",
    `PUT ${thumb}`,
    `DELETE ${thumb}`,
  ]);
  assert.deepEqual(http.asked[0].body, { body: { text: "a" }, ack: "replicated" });
  assert.deepEqual(http.asked.slice(0, 3).map(({ headers }) => headers["idempotency-key"]), ["n-1", "n-1", "n-2"]);
});

test("reads go by REST; a closed room is refused alone", async (t) => {
  const { http, chat, lobby } = await startInside(t);
  http.answers = [Response.json({ events: [event(41)], more: true })];
  assert.equal((await lobby.history({ before: 42, limit: 1 })).events.length, 1);
  assert.equal(http.asked.at(-1).path, "/v1/rooms/lobby/messages?before=42&limit=1");
  http.answers = [Response.json({ count: 1, members: [] }), Response.json({ rooms: [{ room: "lobby" }] })];
  assert.equal((await lobby.members()).count, 1);
  assert.equal((await chat.rooms())[0].room, "lobby");
  await lobby.leave();
  await wait(() => http.stream.signal.aborted);
  http.answers = [problem(403, { code: "forbidden", detail: "no" })];
  const [secret, open] = [chat.join("secret"), chat.join("open")];
  await assert.rejects(secret, { code: "forbidden" });
  await wait(() => http.stream.path === "/v1/rooms/open/events");
  http.stream.say(joined({ room: "open", offset: 1 }), "e1:1");
  await open;
  assert.equal(chat.state.state, "online");
});

test("all rooms share one stream: one more, or one less, is another one from where they stand", async (t) => {
  const { http, chat, heard } = await startInside(t);
  const [first] = http.streams;
  const joining = [chat.join("b", { recent: 5 }), chat.join("c"), chat.join("secret")];
  await wait(() => http.streams.length === 2);
  const second = http.stream;
  assert.equal(second.path, "/v1/rooms/lobby/events?since=e1%3A41%3Am-41&also=b~5&also=c&also=secret");
  assert.deepEqual([first.signal.aborted, second.signal.aborted], [true, false]);
  second.say(joined({ offset: 42, events: [event(42)] }));
  second.say(joined({ id: "b", room: "b", offset: 2, events: [event(1, { room: "b" }), event(2, { room: "b" })] }));
  second.say(joined({ id: "c", room: "c", offset: 0 }));
  second.say({ type: "error", id: "secret", code: "forbidden", message: "no" });
  await assert.rejects(joining.pop(), { code: "forbidden" });
  const [b, c] = await Promise.all(joining);
  assert.deepEqual([heard, b.position.offset, c.position.offset], [[40, 41, 42], 2, 0]);
  second.say(event(1, { room: "c" }));
  await wait(() => c.position.offset === 1);

  await b.leave();
  await wait(() => http.streams.length === 3);
  assert.equal(http.stream.path, "/v1/rooms/lobby/events?since=e1%3A42%3Am-42&also=c%40e1%3A1%3Am-1");
  http.stream.say(joined({ offset: 43, events: [event(43)] }));
  http.stream.say({ type: "left", room: "c" });
  await wait(() => !c.joined);
  assert.deepEqual([heard, chat.state.state], [[40, 41, 42, 43], "online"]);
});

test("a stream that cannot be had now leaves the older one on, and a room that was lost is resumed anew", async (t) => {
  const { http, chat, heard } = await startInside(t);
  http.answers = [problem(503, { code: "unavailable", detail: "busy" })];
  const joining = chat.join("b");
  await wait(() => http.answers.length === 0);
  await settle();
  say(http, event(42));
  await wait(() => heard.length === 3);
  await tick(t, 500);
  await wait(() => http.streams.length === 2);
  http.stream.say(joined({ offset: 42 }));
  http.stream.say(joined({ id: "b", room: "b", offset: 0 }));
  await joining;

  await chat.room("b").leave();
  await wait(() => http.streams.length === 3);
  http.stream.say(joined({ epoch: "e2", offset: 9, recovered: false }), "e2:9");
  await wait(() => chat.state.state === "reconnecting");
  await tick(t, 500);
  await wait(() => http.streams.length === 4);
  assert.match(http.stream.path, /since=e1%3A42%3Am-42$/);
});

test("an address has an end, and so the rooms of a client", async (t) => {
  const { chat } = await startInside(t);
  const names = Array.from({ length: 80 }, (_, i) => `${"room".repeat(25)}-${i}`);
  const joins = await Promise.allSettled(names.map((name) => Promise.race([chat.join(name), settle()])));
  const refused = joins.filter(({ reason }) => reason?.code === "too_many_rooms");
  assert.ok(refused.length > 0 && refused.length < 40, String(refused.length));
});

test("typing and read marks are said at most once a second, and do not come back", async (t) => {
  const { http, lobby, heard } = await startInside(t);
  const marks = [];
  lobby.on("read", ({ user, offset }) => marks.push([user.id, offset]));
  http.asked = [];
  lobby.read(40);
  lobby.read(41);
  lobby.typing();
  lobby.typing(false);
  const said = () => http.asked.map(({ method, path, body }) => `${method} ${path} ${JSON.stringify(body)}`);
  const first = ['PUT /v1/rooms/lobby/read {"offset":40}', 'PUT /v1/rooms/lobby/typing {"on":true}'];
  assert.deepEqual(said(), first);
  await tick(t, 1_000);
  assert.deepEqual(said(), [...first, 'PUT /v1/rooms/lobby/read {"offset":41}', 'PUT /v1/rooms/lobby/typing {"on":false}']);
  await tick(t, 10_000);
  assert.equal(said().length, 4);
  for (const user of [{ id: "u-1" }, { id: "u-2" }]) {
    http.stream.say({ type: "typing", room: "lobby", user, on: true });
    http.stream.say({ type: "read", room: "lobby", user, offset: 41 });
  }
  http.stream.say({ type: "read", room: "lobby", user: { id: "u-1" }, offset: 42 });
  await wait(() => marks.length === 2);
  assert.deepEqual([heard.slice(2), marks], [["typing"], [["u-2", 41], ["u-1", 42]]]);
});

test("401 asks for another token; a silent stream is given up", async (t) => {
  const asked = [];
  const token = ({ refused }) => {
    asked.push(refused);
    return `T${asked.length}`;
  };
  const { http, chat, lobby } = await startInside(t, { token });
  http.answers = [problem(401, { code: "unauthorized", detail: "expired" })];
  lobby.send("x").catch(() => {});
  await wait(() => chat.state.state === "reconnecting");
  assert.equal(chat.state.code, 4501);
  await tick(t, 500);
  await wait(() => http.streams.length === 2);
  assert.deepEqual([asked, http.stream.headers.authorization], [[false, true], "Bearer T2"]);
  http.stream.say(joined({ offset: 41 }), "e1:41");
  await wait(() => lobby.joined);
  await tick(t, 30_000);
  http.stream.raw(": keep-alive\n\n");
  await settle();
  await tick(t, 39_000);
  assert.equal(chat.state.state, "online");
  await tick(t, 1_001);
  await wait(() => chat.state.state === "reconnecting");
});

test("a renewed token is used from then on, by the stream too; the older one's end is no refusal", async (t) => {
  const jwt = (name, exp) => `x.${Buffer.from(JSON.stringify({ exp })).toString("base64url")}.${name}`;
  const asked = [];
  const tokens = [jwt("a", 1_030), jwt("b", 9_999)];
  const token = ({ refused }) => {
    asked.push(refused);
    return tokens[Math.min(asked.length, 2) - 1];
  };
  const { http, chat, lobby } = await startInside(t, { token });
  await tick(t, 24_000);
  await wait(() => http.asked.at(-1).headers.authorization === `Bearer ${tokens[1]}`);
  lobby.send("x").catch(() => {});
  await wait(() => http.asked.at(-1).method === "POST");
  assert.equal(http.asked.at(-1).headers.authorization, `Bearer ${tokens[1]}`);
  await wait(() => http.streams.length === 2);
  assert.equal(http.stream.headers.authorization, `Bearer ${tokens[1]}`);
  http.stream.say(joined({ offset: 41 }), "e1:41");
  await settle();
  assert.deepEqual([asked, chat.state.state, http.streams[0].signal.aborted], [[false, false], "online", true]);
});

test("what is said to everybody comes once, however many streams bring it", async (t) => {
  const { http, chat, lobby } = await startInside(t);
  const heard = [];
  chat.on("announcement", ({ text }) => heard.push(text));
  lobby.on("announcement", ({ text }) => heard.push(`in the lobby: ${text}`));
  const say = (fields) => http.stream.say({ type: "announcement", ...fields });
  say({ text: "one", ts: 5 });
  say({ text: "one", ts: 5 });
  say({ text: "two", room: "lobby", ts: 5 });
  say({ text: "three", ts: 6 });
  await wait(() => heard.length >= 4);
  assert.deepEqual(heard, ["one", "two", "in the lobby: two", "three"]);
});
