// The JavaScript SDK's events: by name, one by one in a loop, and what is no chat.

import assert from "node:assert/strict";
import { test } from "node:test";

import { FakeSocket, event } from "./fake-socket.js";
import { settle, start, startInLobby } from "./sdk-kit.js";

test("a loop over a room gets each message once, and ends when the room is left", async (t) => {
  const { lobby } = await startInLobby(t);
  const heard = [];
  const reading = (async () => {
    for await (const { offset } of lobby) heard.push(offset);
  })();
  for (const offset of [42, 43, 43, 44]) FakeSocket.last.say(event(offset));
  FakeSocket.last.say(event(45, { type: "reacted", target: 41, key: "x", on: true, by: {} }));
  await settle();
  assert.deepEqual(heard, [42, 43, 44]);
  lobby.leave();
  await reading;
});

test("a loop enters the room by itself, with what was said before, and takes other types", async (t) => {
  const { chat } = await start(t);
  FakeSocket.last.welcome();
  const loop = chat.room("lobby").events(["message", "reacted", "presence"], { recent: 2 });
  assert.equal(FakeSocket.last.all("join")[0].recent, 2);
  FakeSocket.last.joined({ offset: 8, events: [event(7), event(8, { type: "reacted" })] });
  FakeSocket.last.say({ type: "presence", room: "lobby", count: 3, joined: [], left: [] });
  const types = [];
  for await (const { type } of loop) {
    types.push(type);
    if (types.length === 3) break;
  }
  assert.deepEqual(types, ["message", "reacted", "presence"]);
  assert.equal((await loop.next()).done, true, "`break` takes the handlers back");
  assert.equal(chat.room("lobby").joined, true);
});

test("a loop ends with the error that ended the room, once, and with what was queued before", async (t) => {
  const { chat, lobby } = await startInLobby(t);
  const loop = lobby[Symbol.asyncIterator]();
  FakeSocket.last.say(event(42));
  FakeSocket.last.end(4503, "kicked");
  assert.equal((await loop.next()).value.offset, 42);
  await assert.rejects(loop.next(), { code: "closed", message: /kicked/ });
  assert.equal((await loop.next()).done, true);
  await assert.rejects(chat.room("other").events().next(), { code: "closed" });
});

test("close() ends each loop as leaving does, also one that was still entering its room", async (t) => {
  const { chat, lobby } = await startInLobby(t);
  const loops = [lobby.events(), chat.room("other").events()];
  const ends = loops.map((loop) => loop.next());
  chat.close();
  for (const end of await Promise.all(ends)) assert.equal(end.done, true);
});

test("a loop that reads too slowly is told, and holds no more than 10,000 events", async (t) => {
  const { lobby } = await startInLobby(t);
  const loop = lobby.events();
  for (let offset = 42; offset < 42 + 10_001; offset++) FakeSocket.last.say(event(offset));
  let count = 0;
  await assert.rejects(
    (async () => {
      for await (const _ of loop) count++;
    })(),
    { code: "too_slow" },
  );
  assert.ok(count >= 10_000);
});

test("events by name carry any data, and are messages too", async (t) => {
  const { lobby, heard } = await startInLobby(t);
  const told = [];
  const off = lobby.on("event:move", (data, { from, offset }) => told.push([data, from.id, offset]));
  lobby.emit("move", { x: 1 }).catch(() => {});
  lobby.emit("ready").catch(() => {});
  assert.deepEqual(FakeSocket.last.all("send")[0].body, { event: "move", data: { x: 1 } });
  FakeSocket.last.say(event(42, { body: { event: "move", data: { x: 1 } } }));
  FakeSocket.last.say(event(43, { body: { event: "ready", data: null } }));
  FakeSocket.last.say(event(44, { body: null }));
  off();
  FakeSocket.last.say(event(45, { body: { event: "move", data: { x: 2 } } }));
  assert.deepEqual(told, [[{ x: 1 }, "u-2", 42]]);
  assert.equal(heard.message.length, 5);
});

test("a send can ask how safe its ack shall be", async (t) => {
  const { lobby } = await startInLobby(t);
  lobby.send("x", { ack: "archived" }).catch(() => {});
  assert.equal(FakeSocket.last.all("send")[0].ack, "archived");
});

test("what an operator says is told by the client, and by the room that it is for", async (t) => {
  const { chat, lobby } = await startInLobby(t);
  const [all, here] = [[], []];
  chat.on("announcement", ({ text }) => all.push(text));
  lobby.on("announcement", ({ text }) => here.push(text));
  const say = (text, room) => FakeSocket.last.say({ type: "announcement", room, text, ts: 1 });
  say("to all");
  say("to the lobby", "lobby");
  say("to another room", "other");
  assert.deepEqual(all, ["to all", "to the lobby", "to another room"]);
  assert.deepEqual(here, ["to the lobby"]);
});

test("who is put out of a room asks to come back, and hears why not", async (t) => {
  const { lobby } = await startInLobby(t);
  const errors = [];
  lobby.on("error", ({ code }) => errors.push(code));
  FakeSocket.last.say({ type: "left", room: "lobby" });
  assert.equal(lobby.joined, false);
  assert.equal(FakeSocket.last.all("join").length, 2);
  FakeSocket.last.answer("join", { type: "error", code: "forbidden", message: "no" });
  assert.deepEqual([errors, lobby.joined], [["forbidden"], false]);
});
