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

test("a page of another origin does all of it by SSE and REST alone", async (t) => {
  const nodes = await startCluster(t, 2);
  const browser = await startBrowser(t);
  const page = await browser.newPage();
  await page.goto(nodes[0].url);
  const told = await page.evaluate(async (url) => {
    const { Hubbub } = await import("/sdk/hubbub.js");
    const chat = new Hubbub({ urls: url, transports: "sse", storage: false, name: "Far" });
    const room = await chat.join("lobby");
    const loop = room.events(["message", "edited", "reacted", "deleted"]);
    const { offset } = await room.send({ text: "a" }, { nonce: "n" });
    const { duplicate } = await room.send({ text: "a" }, { nonce: "n" });
    await room.edit(offset, { text: "b" });
    await room.react(offset, "👍");
    await room.react(offset, "👍", false);
    await room.delete(offset);
    const types = [];
    for await (const { type, on } of loop) {
      types.push(`${type} ${on ?? ""}`.trim());
      if (type === "deleted") break;
    }
    const refusal = await room.edit(99, { text: "c" }).catch(({ code }) => code);
    return { types, duplicate, refusal, transport: chat.state.transport, node: chat.node };
  }, nodes[1].url);
  assert.deepEqual(told, {
    types: ["message", "edited", "reacted true", "reacted false", "deleted"],
    duplicate: true,
    refusal: "not_found",
    transport: "sse",
    node: "node-2",
  });
});
