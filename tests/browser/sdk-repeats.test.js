// The JavaScript SDK after a failover: positions prove which stream they are of, and an event that
// the server numbers again is handed out once.

import assert from "node:assert/strict";
import { test } from "node:test";

import { FakeSocket, event } from "./fake-socket.js";
import { reconnect, start, startInLobby } from "./sdk-kit.js";

const by = { by: { id: "u-2", name: "Bob" } };
const RESET = { type: "reset", room: "lobby", epoch: "e2", offset: 60 };
/** The event with the id `m-ID` at a place in the new epoch. */
const moved = (id, offset, fields) => event(offset, { epoch: "e2", message: `m-${id}`, ...fields });
const sinceOf = (socket) => socket.all("join").at(-1).since;

/** Notes what the room tells, in short and in order. */
function listen(room) {
  const told = [];
  for (const type of ["message", "edited", "deleted", "reacted"]) {
    room.on(type, ({ epoch, offset }) => told.push(`${type} ${epoch}:${offset}`));
  }
  room.on("reset", ({ reason }) => told.push(reason));
  room.on("repeated", ({ before, event: { type, epoch, offset } }) =>
    told.push(`${type} ${before.epoch}:${before.offset} is ${epoch}:${offset}`),
  );
  return told;
}

test("an event that comes again under a new epoch is not handed out again, of whatever kind", async (t) => {
  const { lobby } = await startInLobby(t);
  const told = listen(lobby);
  const change = (type, offset, fields) => event(offset, { type, target: 41, ...by, ...fields });
  FakeSocket.last.say(change("edited", 42, { body: { text: "new" } }));
  FakeSocket.last.say(change("reacted", 43, { key: "👍", on: true }));
  FakeSocket.last.say(change("deleted", 44));
  told.length = 0;
  FakeSocket.last.say(RESET);
  assert.deepEqual(lobby.position, { epoch: "e2", offset: 60 });
  FakeSocket.last.say(moved(41, 61));
  FakeSocket.last.say(moved("new", 62));
  const target = { target: 61, ...by };
  FakeSocket.last.say(moved(42, 63, { type: "edited", ...target, body: { text: "new" } }));
  FakeSocket.last.say(moved(43, 64, { type: "reacted", ...target, key: "👍", on: true }));
  FakeSocket.last.say(moved(44, 65, { type: "deleted", ...target }));
  assert.deepEqual(told, [
    "reset",
    "message e1:41 is e2:61",
    "message e2:62",
    "edited e1:42 is e2:63",
    "reacted e1:43 is e2:64",
    "deleted e1:44 is e2:65",
  ]);
  assert.deepEqual(lobby.position, { epoch: "e2", offset: 65, message: "m-44" }, "it is passed all the same");
  FakeSocket.last.end();
  await reconnect(t);
  assert.deepEqual(sinceOf(FakeSocket.last), { epoch: "e2", offset: 65, message: "m-44" });
});

test("of the page after a failed resume only what is new is handed out as new", async (t) => {
  const { lobby } = await startInLobby(t);
  const told = listen(lobby);
  FakeSocket.last.end();
  await reconnect(t);
  const events = [moved(41, 61), moved("new", 62)];
  FakeSocket.last.joined({ epoch: "e2", offset: 62, recovered: false, events });
  assert.deepEqual(told, ["unrecovered", "message e1:41 is e2:61", "message e2:62"]);
});

test("an event by name that comes again does nothing again", async (t) => {
  const { lobby } = await startInLobby(t);
  const moves = [];
  lobby.on("event:move", (data) => moves.push(data));
  const body = { event: "move", data: 7 };
  FakeSocket.last.say(event(42, { body }));
  FakeSocket.last.say(RESET);
  FakeSocket.last.say(moved(42, 61, { body }));
  FakeSocket.last.say(moved("next", 62, { body: { event: "move", data: 8 } }));
  assert.deepEqual(moves, [7, 8]);
});

test("a second failover is known too, and the place told is the last one", async (t) => {
  const { lobby } = await startInLobby(t);
  const told = listen(lobby);
  FakeSocket.last.say(RESET);
  FakeSocket.last.say(moved(41, 61));
  FakeSocket.last.say({ ...RESET, epoch: "e3", offset: 90 });
  FakeSocket.last.say(moved(41, 91, { epoch: "e3" }));
  assert.deepEqual(told, ["reset", "message e1:41 is e2:61", "reset", "message e2:61 is e3:91"]);
});

test("what is remembered is bounded: 1,000 events, and 10,000 after a reset", async (t) => {
  const { lobby } = await startInLobby(t);
  for (let offset = 42; offset <= 1_041; offset++) FakeSocket.last.say(event(offset));
  FakeSocket.last.say({ ...RESET, offset: 2_000 });
  const told = listen(lobby);
  FakeSocket.last.say(moved(41, 2_001));
  FakeSocket.last.say(moved(42, 2_002));
  FakeSocket.last.say(moved(43, 2_003));
  assert.deepEqual(told.slice(0, 2), ["message e2:2001", "message e1:42 is e2:2002"], "the oldest was forgotten");
  for (let offset = 2_004; offset <= 12_003; offset++) FakeSocket.last.say(moved(`x-${offset}`, offset));
  told.length = 0;
  FakeSocket.last.say(moved(43, 12_004));
  FakeSocket.last.say(moved("x-2100", 12_005));
  assert.deepEqual(told, ["message e2:12004", "message e2:2100 is e2:12005"]);
});

test("events of which only the place is left have one id, and are not the same", async (t) => {
  const { lobby } = await startInLobby(t);
  const told = listen(lobby);
  for (const offset of [42, 43]) FakeSocket.last.say(event(offset, { message: "-", deleted: true }));
  assert.deepEqual(told, ["message e1:42", "message e1:43"]);
});

test("a room that is left and joined again replays, and so does a join from an earlier place", async (t) => {
  const { lobby } = await startInLobby(t);
  const told = listen(lobby);
  lobby.leave();
  FakeSocket.last.answer("leave", { type: "left" });
  const joining = lobby.join({ recent: 1 });
  FakeSocket.last.joined({ offset: 41, events: [event(41)] });
  await joining;
  const position = { ...lobby.position };
  FakeSocket.last.say(event(42));
  const again = lobby.join({ since: position });
  assert.deepEqual(sinceOf(FakeSocket.last), { epoch: "e1", offset: 41, message: "m-41" });
  FakeSocket.last.joined({ offset: 42, events: [event(42)] });
  await again;
  assert.deepEqual(told, ["message e1:41", "message e1:42", "message e1:42"]);
});

test("a position that was kept over a reload is sent as it is, and stays so without news", async (t) => {
  const { chat } = await start(t);
  FakeSocket.last.welcome();
  const kept = JSON.parse(JSON.stringify({ epoch: "e1", offset: 41, message: "m-41" }));
  const joining = chat.join("lobby", { since: kept });
  assert.deepEqual(sinceOf(FakeSocket.last), kept);
  FakeSocket.last.joined({ offset: 41 });
  const lobby = await joining;
  assert.deepEqual(lobby.position, kept);
  FakeSocket.last.end();
  await reconnect(t);
  assert.deepEqual(sinceOf(FakeSocket.last), kept);
});

test("a position of a join or a reset without an event has no message", async (t) => {
  const { chat } = await start(t);
  FakeSocket.last.welcome();
  const joining = chat.join("lobby");
  FakeSocket.last.joined({ offset: 41 });
  const lobby = await joining;
  assert.deepEqual(lobby.position, { epoch: "e1", offset: 41 });
  FakeSocket.last.say(event(42));
  FakeSocket.last.say(RESET);
  FakeSocket.last.end();
  await reconnect(t);
  assert.deepEqual(sinceOf(FakeSocket.last), { epoch: "e2", offset: 60 });
});
