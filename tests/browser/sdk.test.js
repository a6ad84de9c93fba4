// The JavaScript SDK's connection: where it dials, how long it waits, when it gives up.

import assert from "node:assert/strict";
import { test } from "node:test";

import { Hubbub } from "../../static/sdk/hubbub.js";
import { FakeSocket } from "./fake-socket.js";
import { reconnect, settle, start, tick } from "./sdk-kit.js";

test("addresses in any form become sockets, and the token goes in the sub-protocol", async (t) => {
  let calls = 0;
  await start(t, { token: async () => `T${++calls}` });
  FakeSocket.last.end();
  await tick(t, 500);
  FakeSocket.last.end();
  await tick(t, 1_000);
  assert.deepEqual(
    FakeSocket.made.map(({ url }) => url),
    ["ws://a.test/v1/ws", "wss://b.test/chat/v1/ws", "ws://c.test/v1/ws"],
  );
  assert.deepEqual(FakeSocket.last.protocols, ["hubbub.v1", "hubbub.bearer.T3"]);
});

test("an address that is none is named", () => {
  for (const urls of ["127.0.0.1:3000", "localhost:3000", "ftp://a.test", ["http://a.test", ""]]) {
    const bad = [urls].flat().at(-1);
    assert.throws(() => new Hubbub({ urls, token: "T" }), { name: "TypeError", message: `not a http(s) or ws(s) URL: ${bad}` });
  }
});

test("delays double from 0.5 s to 20 s, and start over after 30 s of stable connection", async (t) => {
  const { chat } = await start(t);
  const delays = [];
  const fail = async () => {
    FakeSocket.last.end();
    delays.push(chat.state.nextAttemptAt - Date.now());
    await tick(t, delays.at(-1));
  };
  for (let i = 0; i < 8; i++) await fail();
  assert.deepEqual(delays, [500, 1_000, 2_000, 4_000, 8_000, 16_000, 20_000, 20_000]);
  FakeSocket.last.welcome();
  await tick(t, 10_000);
  await fail();
  assert.equal(delays.at(-1), 20_000, "10 s are not stable");
  FakeSocket.last.welcome();
  await tick(t, 20_000);
  FakeSocket.last.say({ type: "pong" });
  await tick(t, 10_000);
  await fail();
  assert.equal(delays.at(-1), 500);
});

test("jitter is full: the delay is a random part of the ceiling", async (t) => {
  const { chat } = await start(t);
  Math.random.mock.mockImplementation(() => 0.1);
  FakeSocket.last.end();
  assert.equal(chat.state.nextAttemptAt - Date.now(), 50);
});

test("states tell the node, the next try and the end", async (t) => {
  const { chat, states } = await start(t);
  FakeSocket.last.welcome();
  FakeSocket.last.end(1006, "gone");
  await reconnect(t);
  chat.close();
  const told = states.map(({ state, node, nextAttemptAt }) => [state, node, nextAttemptAt]);
  assert.deepEqual(told, [
    ["connecting", null, null],
    ["online", "gw-1", null],
    ["reconnecting", null, 1_000_500],
    ["reconnecting", null, null],
    ["online", "gw-2", null],
    ["closed", null, null],
  ]);
  assert.equal(chat.user.id, "u-1");
});

test("45xx is final and everything else is not", async (t) => {
  const { chat } = await start(t);
  for (const code of [1000, 1006, 1009, 1012, 4408, 4411, 4429]) {
    FakeSocket.last.end(code);
    assert.equal(chat.state.state, "reconnecting", `${code}`);
    await tick(t, 20_000);
  }
  FakeSocket.last.end(4501, "bad token");
  assert.deepEqual([chat.state.state, chat.state.code], ["closed", 4501]);
  await tick(t, 600_000);
  assert.equal(FakeSocket.made.length, 8);
  await assert.rejects(chat.rooms(), { code: "closed", message: /bad token/ });
});

test("`reconnect` says when: after the server's close, or without one", async (t) => {
  const { chat } = await start(t);
  FakeSocket.last.welcome();
  FakeSocket.last.say({ type: "reconnect", after_ms: 3_000, reason: "draining" });
  await tick(t, 1_000);
  FakeSocket.last.end(1012);
  assert.equal(chat.state.nextAttemptAt - Date.now(), 2_000);
  await tick(t, 2_000);
  assert.equal(FakeSocket.made.length, 2);
  FakeSocket.last.welcome();
  FakeSocket.last.say({ type: "reconnect", after_ms: 700, reason: "draining" });
  await tick(t, 700);
  await tick(t, 0);
  assert.equal(FakeSocket.made.length, 3);
});

test("a page that becomes visible ends the wait at once", async (t) => {
  const page = new EventTarget();
  page.visibilityState = "visible";
  const saved = Object.getOwnPropertyDescriptor(globalThis, "document");
  Object.defineProperty(globalThis, "document", { value: page, configurable: true });
  t.after(() => {
    if (saved) Object.defineProperty(globalThis, "document", saved);
    else delete globalThis.document;
  });
  await start(t);
  FakeSocket.last.end();
  page.dispatchEvent(new Event("visibilitychange"));
  await settle();
  assert.equal(FakeSocket.made.length, 2);
  FakeSocket.last.welcome();
  page.dispatchEvent(new Event("visibilitychange"));
  assert.equal(FakeSocket.last.all("ping").length, 1, "a live connection is only checked");
});

test("a silent connection is asked after ping_ms, and dead 10 s later", async (t) => {
  const { chat } = await start(t);
  FakeSocket.last.welcome({ ping_ms: 5_000 });
  await tick(t, 3_000);
  FakeSocket.last.say({ type: "pong" });
  await tick(t, 4_999);
  assert.equal(FakeSocket.last.all("ping").length, 0);
  await tick(t, 1);
  assert.equal(FakeSocket.last.all("ping").length, 1);
  await tick(t, 9_000);
  FakeSocket.last.say({ type: "pong" });
  await tick(t, 1_000);
  await tick(t, 5_000);
  assert.equal(FakeSocket.last.all("ping").length, 2);
  const silent = FakeSocket.last;
  await tick(t, 10_000);
  assert.equal(chat.state.state, "reconnecting");
  assert.equal(silent.readyState, 3);
});

test("a node that takes the connection but never speaks is given up", async (t) => {
  await start(t);
  FakeSocket.last.readyState = 1;
  await tick(t, 10_000);
  await tick(t, 500);
  assert.equal(FakeSocket.made.length, 2);
});

test("a token that fails is asked again later", async (t) => {
  let calls = 0;
  const errors = [];
  const { chat } = await start(t, {
    token: () => {
      if (++calls <= 2) throw new Error("no way");
      return "T";
    },
  });
  chat.on("error", (error) => errors.push(error.code));
  assert.equal(chat.state.state, "reconnecting");
  await tick(t, 500);
  assert.deepEqual(errors, ["token"]);
  assert.equal(FakeSocket.made.length, 0);
  await tick(t, 1_000);
  assert.deepEqual(FakeSocket.last.protocols, ["hubbub.v1", "hubbub.bearer.T"]);
});

test("without a token one guest serves all connections, so that retries stay one sender's", async (t) => {
  const asked = [];
  t.mock.method(globalThis, "fetch", async (url, { body }) => {
    asked.push([url, body]);
    return Response.json({ token: "G", user: { id: "g" }, expires: Date.now() + 3_600_000 });
  });
  await start(t, { token: undefined, name: "Gus" });
  FakeSocket.last.end();
  await tick(t, 500);
  assert.deepEqual(asked, [["http://a.test/v1/guests", '{"name":"Gus"}']]);
  assert.equal(FakeSocket.made.length, 2);
  assert.deepEqual(FakeSocket.last.protocols, ["hubbub.v1", "hubbub.bearer.G"]);
});

test("where guests are refused the client ends and says why", async (t) => {
  const problem = { code: "forbidden", title: "Forbidden", detail: "guests are off" };
  t.mock.method(globalThis, "fetch", async () => Response.json(problem, { status: 403 }));
  const { chat } = await start(t, { token: undefined });
  assert.deepEqual([chat.state.state, chat.state.reason], ["closed", "guests are off"]);
  assert.equal(FakeSocket.made.length, 0);
});
