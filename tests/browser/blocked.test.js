// The chat page on a network that lets no WebSocket through.

import assert from "node:assert/strict";
import { test } from "node:test";

import { startCluster } from "./cluster.js";
import { ChatPage, startBrowser } from "./page.js";
import { startWall } from "./wall.js";

test("behind a wall the page talks by SSE and REST, and comes back after a cut", async (t) => {
  // The page knows no other way in than the wall.
  const [node] = await startCluster(t, 1, { HUBBUB__HTTP__PUBLIC_URLS: "" });
  const wall = await startWall(t, node.url);
  const browser = await startBrowser(t);
  const blocked = await ChatPage.open(browser, wall.url, "Blocked");
  const free = await ChatPage.open(browser, node.url, "Free");
  assert.ok(wall.upgrades >= 3);
  await free.say("do you hear me?");
  await blocked.hears("do you hear me?");
  await blocked.say("I do, without a socket");
  await free.hears("I do, without a socket");
  wall.cut();
  await free.say("and now?");
  await blocked.hears("and now?");
  await blocked.say("still here");
  await free.hears("still here");
  assert.ok(wall.requests.some((line) => line.startsWith("POST /v1/rooms/lobby/messages ")));
  assert.ok(wall.requests.some((line) => /^GET \/v1\/rooms\/lobby\/events\?since=/.test(line)), "it resumed");
  assert.deepEqual([...blocked.errors, ...free.errors], []);
});
