// The SDK's tokens against a real node: one after the other in one connection, and one that ended.

import assert from "node:assert/strict";
import { test } from "node:test";

import { Hubbub } from "../../static/sdk/hubbub.js";
import { startCluster } from "../browser/cluster.js";
import { SECRET, makeToken, until } from "./kit.js";

const SETTINGS = { HUBBUB__AUTH__SECRET: SECRET, HUBBUB__AUTH__MODE: "jwt" };

/** A client whose function makes a token of this many seconds whenever it is asked. */
function open(t, url, seconds, options = {}) {
  const asked = [];
  const errors = [];
  const states = [];
  const token = async ({ refused }) => {
    asked.push(refused);
    return makeToken(t, "alice", "--name", `Alice ${asked.length}`, "--ttl", `${seconds}s`);
  };
  const chat = new Hubbub({ urls: url, token, storage: false, ...options });
  t.after(() => chat.close());
  chat.on("error", (error) => errors.push(error.message));
  chat.on("state", ({ state, code }) => states.push(code ? `${state} ${code}` : state));
  return { chat, asked, errors, states };
}

test("a connection outlives its tokens: each is renewed in it before it ends", async (t) => {
  const [node] = await startCluster(t, 1, SETTINGS);
  const { chat, asked, errors, states } = open(t, node.url, 5);
  const lobby = await chat.join("lobby");
  const heard = [];
  lobby.on("message", ({ body }) => heard.push(body));
  await until("three renewals", () => asked.length >= 4, 60_000);
  await lobby.send("still here");
  await until("heard", () => heard.length === 1);
  assert.deepEqual(errors, []);
  assert.deepEqual(states.filter((state) => state !== "connecting"), ["online"], "one connection for all");
  assert.ok(asked.every((refused) => !refused));
});

test("a token that ended unnoticed: 4411, the function is told, and nothing is missed", async (t) => {
  const [node] = await startCluster(t, 1, SETTINGS);
  // Its clock is an hour behind: it believes that the token is good for long.
  const now = Date.now;
  const { chat, asked, states } = open(t, node.url, 3);
  t.mock.method(Date, "now", () => now() - 3_600_000);
  const lobby = await chat.join("lobby");
  const heard = [];
  lobby.on("message", ({ body }) => heard.push(body));
  await until("4411", () => states.includes("reconnecting 4411"), 60_000);
  await lobby.send("back again");
  await until("heard", () => heard.length === 1);
  assert.deepEqual(asked.slice(0, 2), [false, true]);
});

test("by SSE too: sends take the new token, and the stream goes on with it", async (t) => {
  const [node] = await startCluster(t, 1, SETTINGS);
  const { chat, asked, states } = open(t, node.url, 5, { transports: "sse" });
  const lobby = await chat.join("lobby");
  const heard = [];
  lobby.on("message", ({ body }) => heard.push(body));
  for (let n = 0; asked.length < 5; n++) await lobby.send(n).then(() => until("heard", () => heard.length === n + 1));
  assert.deepEqual(heard, heard.map((_, n) => n));
  assert.deepEqual(states.filter((state) => state !== "connecting" && state !== "online"), []);
});
