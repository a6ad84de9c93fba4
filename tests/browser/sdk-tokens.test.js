// The JavaScript SDK's tokens: renewed in the connection, replaced when they are refused.

import assert from "node:assert/strict";
import { test } from "node:test";

import { FakeSocket } from "./fake-socket.js";
import { settle, start, tick } from "./sdk-kit.js";

/** A JWT's form, which ends `seconds` after the tests' clock began (1,000 s). */
const jwt = (name, seconds) => {
  const part = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");
  return `${part({ alg: "HS256" })}.${part({ sub: name, exp: 1_000 + seconds })}.${name}`;
};
const bearer = () => FakeSocket.last.protocols[1].split(".").at(-1);

/** A client whose function gives these tokens, one after the other; what it was asked. */
async function startWith(t, tokens) {
  const asked = [];
  const errors = [];
  const token = async ({ refused }) => {
    asked.push(refused);
    const next = tokens[Math.min(asked.length, tokens.length) - 1];
    if (next instanceof Error) throw next;
    return next;
  };
  const { chat } = await start(t, { token });
  chat.on("error", (error) => errors.push(error));
  return { chat, asked, errors };
}

test("a token is renewed in the connection a minute before it ends, and again", async (t) => {
  const tokens = [jwt("a", 600), jwt("b", 1_200), jwt("c", 9_999)];
  const { chat, asked, errors } = await startWith(t, tokens);
  FakeSocket.last.welcome({ ping_ms: 1e8 });
  await tick(t, 539_000);
  assert.equal(asked.length, 1);
  await tick(t, 1_000);
  assert.equal(FakeSocket.last.all("refresh")[0].token, tokens[1]);
  FakeSocket.last.answer("refresh", { type: "refreshed", expires: 2_000_000 });
  await tick(t, 399_000);
  assert.equal(asked.length, 2, "the server's word on when it ends counts");
  await tick(t, 1_000);
  assert.equal(FakeSocket.last.all("refresh")[1].token, tokens[2]);
  assert.deepEqual(asked, [false, false, false]);
  FakeSocket.last.answer("refresh", { type: "error", code: "bad_frame", message: "no such command" });
  assert.deepEqual([errors[0].code, chat.state.state], ["bad_frame", "online"]);
});

test("a short token is renewed after four fifths of it, and not by a function that has no other", async (t) => {
  const { asked } = await startWith(t, [jwt("a", 50), jwt("a", 50)]);
  FakeSocket.last.welcome();
  await tick(t, 39_000);
  assert.equal(asked.length, 1);
  await tick(t, 1_000);
  assert.equal(asked.length, 2);
  assert.equal(FakeSocket.last.all("refresh").length, 0);
});

test("a function that fails is asked again before the token ends", async (t) => {
  const { asked, errors } = await startWith(t, [jwt("a", 600), new Error("away"), jwt("b", 9_999)]);
  FakeSocket.last.welcome({ ping_ms: 1e8 });
  await tick(t, 540_000);
  assert.deepEqual([asked.length, errors[0].code], [2, "token"]);
  await tick(t, 1_000);
  assert.equal(FakeSocket.last.all("refresh").length, 1);
});

test("a token that is fixed, or a guest's, is never renewed", async (t) => {
  await start(t, { token: jwt("a", 100) });
  FakeSocket.last.welcome({ ping_ms: 1e8 });
  await tick(t, 99_000);
  assert.equal(FakeSocket.last.all("refresh").length, 0);
});

test("4411: the function is told, and its next token is used", async (t) => {
  const { chat, asked } = await startWith(t, ["old", "new"]);
  FakeSocket.last.welcome();
  FakeSocket.last.end(4411, "expired");
  await tick(t, 500);
  assert.deepEqual([asked, bearer()], [[false, true], "new"]);
  FakeSocket.last.welcome();
  assert.equal(chat.state.state, "online");
});

test("4501: once more with another token; with the same, or with one bad one after the other, it is over", async (t) => {
  const first = await startWith(t, ["bad", "good"]);
  FakeSocket.last.end(4501, "bad token");
  await tick(t, 500);
  assert.equal(bearer(), "good");
  FakeSocket.last.welcome();
  assert.deepEqual([first.asked, first.chat.state.state], [[false, true], "online"]);
  first.chat.close();
  t.mock.timers.reset();

  const same = await startWith(t, ["bad"]);
  FakeSocket.last.end(4501, "bad token");
  await tick(t, 500);
  assert.deepEqual([same.chat.state.state, same.chat.state.code], ["closed", 4501]);
  t.mock.timers.reset();

  const others = await startWith(t, ["bad", "worse", "worst", "never"]);
  for (let i = 0; i < 3; i++) {
    FakeSocket.last.end(4501, "bad token");
    await tick(t, 2_000);
  }
  assert.deepEqual([others.chat.state.state, others.asked.length], ["closed", 3]);
  await settle();
});
