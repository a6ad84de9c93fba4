// The SDK in Chromium over reloads of its page, against real nodes: what had no ack goes again.

import assert from "node:assert/strict";
import { test } from "node:test";

import { startCluster } from "./cluster.js";
import { eventually, startBrowser } from "./page.js";

/** The client of a page: in `chat`, its room in `room`, what earlier pages left in `restored`. */
const connect = ({ url, storage }) =>
  import("/sdk/hubbub.js").then(async ({ Hubbub }) => {
    globalThis.chat = new Hubbub({ urls: url, storage, storageKey: "test" });
    globalThis.restored = [];
    globalThis.errors = [];
    chat.on("restored", (send) => restored.push(send.body.n));
    chat.on("error", (error) => errors.push(error.message));
    globalThis.room = await chat.join("lobby");
    return chat.user.id;
  });

const send = ({ from, to }) => {
  for (let n = from; n < to; n++) room.send({ n }).catch(() => {});
};

const keys = (storage) =>
  Object.keys(storage === "local" ? localStorage : sessionStorage).filter((key) => key.startsWith("test.outbox.")).length;

async function start(t) {
  const nodes = await startCluster(t, 3);
  const browser = await startBrowser(t);
  const context = await browser.newContext();
  const [page, witness] = [await context.newPage(), await (await browser.newContext()).newPage()];
  for (const each of [page, witness]) await each.goto(nodes[0].url);
  await witness.evaluate(connect, { url: nodes[0].url });
  await witness.evaluate(() => {
    globalThis.heard = [];
    room.on("message", ({ body, from }) => heard.push([body.n, from.id]));
  });
  const heard = () => witness.evaluate(() => heard);
  return { nodes, context, page, heard };
}

const numbers = (from, to) => Array.from({ length: to - from }, (_, i) => from + i);

test("sends without an ack go again after a reload, once, in order, as the same guest", async (t) => {
  const { nodes, page, heard } = await start(t);
  const user = await page.evaluate(connect, { url: nodes[1].url });
  await page.evaluate(send, { from: 0, to: 5 });
  await eventually(heard, (list) => list.length === 5, "the first five");
  // Some of the next are on their way when the node goes, and perhaps stored.
  await Promise.all([page.evaluate(send, { from: 5, to: 25 }), nodes[1].kill()]);
  await page.evaluate(send, { from: 25, to: 30 });
  assert.ok((await page.evaluate(keys)) > 5);
  await page.reload();
  assert.equal(await page.evaluate(connect, { url: nodes[2].url }), user);
  const all = await eventually(heard, (list) => list.length >= 30, "all of them");
  assert.deepEqual(all, numbers(0, 30).map((n) => [n, user]));
  const restored = await page.evaluate(() => restored);
  assert.deepEqual(restored, numbers(30 - restored.length, 30));
  await eventually(() => page.evaluate(keys), (left) => left === 0, "nothing is kept for long");
  assert.deepEqual(await page.evaluate(() => errors), []);
});

test("two tabs: what a living one waits for, the other does not send; what a closed one left, it does", async (t) => {
  const { nodes, context, page, heard } = await start(t);
  const storage = "local";
  const user = await page.evaluate(connect, { url: nodes[1].url, storage });
  await nodes[1].kill();
  await page.evaluate(send, { from: 0, to: 5 });
  const other = await context.newPage();
  await other.goto(nodes[0].url);
  assert.equal(await other.evaluate(connect, { url: nodes[2].url, storage }), user);
  await other.evaluate(send, { from: 5, to: 10 });
  await eventually(heard, (list) => list.length >= 5, "its own");
  assert.deepEqual((await heard()).map(([n]) => n), numbers(5, 10));
  assert.equal(await other.evaluate(keys, storage), 5);
  await page.close();
  await eventually(heard, (list) => list.length >= 10, "the closed one's");
  assert.deepEqual((await heard()).map(([n]) => n), [...numbers(5, 10), ...numbers(0, 5)]);
  assert.deepEqual(await other.evaluate(() => restored), numbers(0, 5));
  await eventually(() => other.evaluate(keys, storage), (left) => left === 0, "nothing is kept for long");
});
