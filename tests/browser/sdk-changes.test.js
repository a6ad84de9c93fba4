// The JavaScript SDK's changes to messages, read marks, and what it asks by REST.

import assert from "node:assert/strict";
import { test } from "node:test";

import { fold } from "../../static/sdk/hubbub.js";
import { FakeSocket, event } from "./fake-socket.js";
import { reconnect, start, startInLobby } from "./sdk-kit.js";

const by = (id) => ({ by: { id, name: id } });
const change = (type, offset, fields) => event(offset, { type, target: 41, ...by("u-2"), ...fields });

test("edits, deletions and reactions wait in line with sends, and go again after a reconnect", async (t) => {
  const { lobby } = await startInLobby(t);
  const acks = [
    lobby.send({ text: "a" }),
    lobby.edit(41, { text: "b" }),
    lobby.react(41, "👍"),
    lobby.react(41, "👍", false),
    lobby.delete(41, { nonce: "mine" }),
  ];
  FakeSocket.last.answer("send", { type: "sent", offset: 42 });
  const { id, nonce, ...edit } = FakeSocket.last.all("edit")[0];
  assert.deepEqual(edit, { type: "edit", room: "lobby", target: 41, body: { text: "b" } });
  assert.equal(FakeSocket.last.all("react").length, 0, "one at a time keeps the order");
  FakeSocket.last.end();
  await reconnect(t);
  FakeSocket.last.joined({ offset: 42, events: [event(42)] });
  assert.equal(FakeSocket.last.all("edit")[0].nonce, nonce);
  FakeSocket.last.answer("edit", { type: "sent", offset: 43, duplicate: true });
  FakeSocket.last.answer("react", { type: "sent", offset: 44 });
  FakeSocket.last.answer("react", { type: "sent", offset: 45 });
  FakeSocket.last.answer("delete", { type: "error", code: "not_found", message: "it is gone" });
  const results = await Promise.allSettled(acks);
  assert.deepEqual(results.map(({ value, reason }) => value?.offset ?? reason.code), [42, 43, 44, 45, "not_found"]);
  const reacts = FakeSocket.last.all("react").map(({ target, key, on }) => [target, key, on]);
  assert.deepEqual(reacts, [[41, "👍", true], [41, "👍", false]]);
  assert.equal(FakeSocket.last.all("delete")[0].nonce, "mine");
  await assert.rejects(lobby.edit(undefined, { text: "c" }), { name: "TypeError", message: /target must be JSON/ });
});

test("changes are handed out in their places, each once, and a resume begins after them", async (t) => {
  const { lobby, heard } = await startInLobby(t);
  const told = [];
  for (const type of ["message", "edited", "deleted", "reacted"]) {
    lobby.on(type, ({ offset }) => told.push(`${type} ${offset}`));
  }
  FakeSocket.last.say(change("edited", 42, { body: { text: "new" } }));
  FakeSocket.last.say(change("reacted", 43, { key: "👍", on: true }));
  FakeSocket.last.say(change("reacted", 43, { key: "👍", on: true }));
  FakeSocket.last.end();
  await reconnect(t);
  assert.equal(FakeSocket.last.all("join")[0].since.offset, 43);
  FakeSocket.last.joined({ offset: 45, events: [change("deleted", 44), event(45)] });
  assert.deepEqual(told, ["edited 42", "reacted 43", "deleted 44", "message 45"]);
  assert.deepEqual(heard.reset, []);
});

test("read marks only go forward, and one that may be lost is told again", async (t) => {
  const { lobby } = await startInLobby(t);
  const heard = [];
  lobby.on("read", ({ user, offset }) => heard.push([user.id, offset]));
  for (const offset of [40, 41, 41, 39]) lobby.read(offset);
  assert.deepEqual(FakeSocket.last.all("read").map(({ offset }) => offset), [40, 41]);
  FakeSocket.last.say({ type: "read", room: "lobby", user: { id: "u-2", name: "Bob" }, offset: 41 });
  assert.deepEqual(heard, [["u-2", 41]]);
  FakeSocket.last.end();
  lobby.read(42);
  await reconnect(t);
  assert.equal(FakeSocket.last.all("read").length, 0, "not before the join");
  FakeSocket.last.joined({ offset: 42, events: [event(42)] });
  assert.deepEqual(FakeSocket.last.all("read"), [{ type: "read", room: "lobby", offset: 42 }]);
  t.mock.timers.tick(20_000);
  FakeSocket.last.say({ type: "pong" });
  t.mock.timers.tick(20_000);
  FakeSocket.last.say({ type: "pong" });
  t.mock.timers.tick(22_000);
  FakeSocket.last.end();
  await reconnect(t);
  FakeSocket.last.joined({ offset: 42 });
  assert.equal(FakeSocket.last.all("read").length, 0, "an old mark has arrived");
});

test("history goes both ways and around a place", async (t) => {
  const { lobby } = await startInLobby(t);
  for (const place of [{ before: 9 }, { after: 9, limit: 20 }, { around: 9 }, {}]) {
    const page = lobby.history(place);
    const { id, type, room, ...asked } = FakeSocket.last.all("history").at(-1);
    assert.deepEqual(asked, place);
    FakeSocket.last.answer("history", { type: "history", events: [event(9)], more: true });
    assert.equal((await page).more, true);
  }
});

test("search and room records are asked by REST, with the token and the problem as an error", async (t) => {
  const asked = [];
  let answer = () => Response.json({ hits: [], next: "c2" });
  t.mock.method(globalThis, "fetch", async (url, { method, headers, body }) => {
    asked.push([method, url, headers.authorization, body && JSON.parse(body)]);
    return answer();
  });
  const { chat, lobby } = await startInLobby(t);
  assert.equal((await chat.search("a b&c", { room: "lobby", limit: 5 })).next, "c2");
  await chat.createRoom({ title: "Garden", private: true });
  await chat.room("a:b").record();
  await lobby.update({ topic: "roses" });
  answer = () => Response.json({ room: "lobby", invited: ["u-2"] });
  assert.deepEqual(await lobby.invited(), ["u-2"]);
  answer = () => new Response(null, { status: 204 });
  assert.equal(await lobby.invite("u-3"), null);
  await lobby.remove("u/3");
  assert.deepEqual(asked, [
    ["GET", "http://a.test/v1/search?q=a+b%26c&room=lobby&limit=5", "Bearer T", undefined],
    ["POST", "http://a.test/v1/rooms", "Bearer T", { title: "Garden", private: true }],
    ["GET", "http://a.test/v1/rooms/a%3Ab", "Bearer T", undefined],
    ["PATCH", "http://a.test/v1/rooms/lobby", "Bearer T", { topic: "roses" }],
    ["GET", "http://a.test/v1/rooms/lobby/members", "Bearer T", undefined],
    ["POST", "http://a.test/v1/rooms/lobby/members", "Bearer T", { user: "u-3" }],
    ["DELETE", "http://a.test/v1/rooms/lobby/members/u%2F3", "Bearer T", undefined],
  ]);
  answer = () => Response.json({ code: "forbidden", detail: "not yours" }, { status: 403 });
  await assert.rejects(lobby.record(), { code: "forbidden", message: "not yours" });
  answer = () => Promise.reject(new TypeError("no network"));
  await assert.rejects(chat.search("x"), { code: "unavailable" });
  chat.close();
  await assert.rejects(chat.search("x"), { code: "closed" });
});

test("REST takes the connection's token, and a refused one is asked for again, once", async (t) => {
  const isGood = { "Bearer T1": true };
  t.mock.method(globalThis, "fetch", async (_url, { headers }) =>
    isGood[headers.authorization] ? Response.json(headers) : new Response("", { status: 401 }),
  );
  let calls = 0;
  const asked = [];
  const token = async ({ url, refused }) => {
    asked.push([new URL(url).host, refused]);
    return `T${++calls}`;
  };
  const { chat } = await start(t, { token });
  assert.equal((await chat.createRoom()).authorization, "Bearer T1");
  delete isGood["Bearer T1"];
  isGood["Bearer T2"] = true;
  assert.equal((await chat.createRoom()).authorization, "Bearer T2");
  delete isGood["Bearer T2"];
  await assert.rejects(chat.createRoom(), { code: "unauthorized" });
  assert.deepEqual(asked, [["a.test", false], ["a.test", true], ["a.test", true]]);
});

test("a message is folded to what history gives", () => {
  const plain = event(41, { mentions: ["u-1"] });
  const edited = fold(plain, change("edited", 50, { body: { text: "new" }, ts: 5 }));
  assert.deepEqual(edited.edited, { ts: 5, offset: 50, ...by("u-2") });
  assert.deepEqual([edited.body, edited.mentions], [{ text: "new" }, undefined]);
  assert.equal(fold(edited, change("edited", 49, { body: { text: "older" } })), edited);
  assert.equal(fold(edited, change("edited", 51, { deleted: true })), edited);
  const back = fold(edited, change("edited", 52, { body: { text: "@u-3" }, mentions: ["u-3"] }));
  assert.deepEqual(back.mentions, ["u-3"]);

  const react = (message, user, key, on = true) =>
    fold(message, change("reacted", 60, { key, on, ...by(user) }));
  let reacted = react(react(react(plain, "a", "👍"), "b", "👍"), "a", "🎉");
  const both = [
    { key: "👍", count: 2, users: ["a", "b"] },
    { key: "🎉", count: 1, users: ["a"] },
  ];
  assert.deepEqual(reacted.reactions, both);
  assert.equal(react(reacted, "a", "👍"), reacted, "twice is once");
  assert.equal(react(reacted, "c", "👍", false), reacted, "what is not there cannot go");
  reacted = react(react(reacted, "a", "👍", false), "a", "🎉", false);
  assert.deepEqual(reacted.reactions, [{ key: "👍", count: 1, users: ["b"] }]);
  assert.equal("reactions" in react(reacted, "b", "👍", false), false);
  const many = event(41, { reactions: [{ key: "👍", count: 70, users: ["a"] }] });
  assert.equal(react(many, "z", "👍", false).reactions[0].count, 69, "beyond the list only the count");

  const gone = fold(reacted, change("deleted", 61));
  const { from, ts, message } = plain;
  const place = { type: "message", room: "lobby", epoch: "e1", offset: 41 };
  assert.deepEqual(gone, { ...place, message, from, ts, deleted: true });
  assert.equal(fold(gone, change("reacted", 62, { key: "👍", on: true })), gone);
});
