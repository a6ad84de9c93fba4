// The official client against a cluster behind HAProxy with a cookie: order, acks, resume, drain.

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { MODES, client, next, sleep, startBalancer, startNodes, until } from "./kit.js";

const SENDERS = 3;
const MESSAGES = 1_000;
const EVENT = "chat message";

/** A client and the texts that it has heard of those that begin with `tag`. */
function listener(t, url, tag, options) {
  const socket = client(t, url, options);
  socket.texts = [];
  socket.on("welcome", ({ node }) => (socket.node = node));
  socket.on(EVENT, (text) => text.startsWith(tag) && socket.texts.push(text));
  return socket;
}

const texts = (tag, sender, count) => Array.from({ length: count }, (_, i) => `${tag} ${sender} ${i}`);
const isConnected = (socket) => socket.connected;

for (const count of [2, 3]) {
  describe(`${count} nodes`, async () => {
    for (const [mode, options] of Object.entries(MODES)) {
      test(`3 senders × 1,000 messages, ${mode}`, async (t) => {
        const nodes = await startNodes(t, count);
        const url = await startBalancer(t, nodes);
        const all = Array.from({ length: SENDERS + 1 }, () => listener(t, url, mode, options));
        await until("all are connected", () => all.every(isConnected));
        await until("all nodes are used", () => new Set(all.map(({ node }) => node)).size === count);
        const began = Date.now();
        const acks = [];
        for (let sender = 0; sender < SENDERS; sender++) {
          for (const text of texts(mode, sender, MESSAGES)) {
            acks.push(all[sender].timeout(60_000).emitWithAck(EVENT, text));
          }
        }
        const sent = await Promise.all(acks);
        const total = SENDERS * MESSAGES;
        await until("all have heard all", () => all.every((socket) => socket.texts.length >= total), 60_000);
        console.log(`# ${mode}, ${count} nodes: ${total} messages to ${all.length} clients in ${Date.now() - began} ms`);
        await sleep(200);
        for (const { texts: heard } of all) {
          assert.equal(heard.length, total, "exactly once");
          assert.deepEqual(heard, all[0].texts, "one order for all");
          for (let sender = 0; sender < SENDERS; sender++) {
            const own = heard.filter((text) => text.startsWith(`${mode} ${sender} `));
            assert.deepEqual(own, texts(mode, sender, MESSAGES), "in the sender's order");
          }
        }
        assert.ok(sent.every(({ type, ack, duplicate }) => type === "sent" && ack === "stream" && !duplicate));
        assert.equal(new Set(sent.map(({ offset }) => offset)).size, total);
        if (options.transports.length === 2) {
          assert.ok(all.every((socket) => socket.io.engine.transport.name === "websocket"));
        }
      });
    }

    for (const [mode, options] of Object.entries(MODES)) {
      test(`a cut transport and a killed node, ${mode}`, async (t) => {
        const nodes = await startNodes(t, count);
        const url = await startBalancer(t, nodes);
        const speaker = client(t, nodes[0].url, { transports: ["websocket"] });
        const hearers = Array.from({ length: 2 * count }, () => listener(t, url, mode, options));
        await until("all are connected", () => [speaker, ...hearers].every(isConnected));
        const expected = [];
        const say = async (part, messages) => {
          for (const text of texts(mode, part, messages)) {
            expected.push(text);
            await speaker.timeout(5_000).emitWithAck(EVENT, text);
          }
        };
        const heardAll = (what) =>
          until(what, () => hearers.every((hearer) => hearer.texts.length >= expected.length));

        await say("before", 10);
        await heardAll("before the cut");
        for (const hearer of hearers) hearer.io.engine.close();
        await say("during the cut", 400);
        await heardAll("what was said during the cut");
        assert.ok(hearers.every((hearer) => hearer.recovered), "recovered");

        // Who has heard nothing since its connect comes back by its pid alone.
        const silent = listener(t, url, mode, options);
        await next(silent, "connect");
        silent.io.engine.close();
        await say("to one who has heard nothing", 5);
        await until("by pid alone", () => silent.texts.length === 5);
        assert.ok(silent.recovered);

        const lost = `node-${count}`;
        await until("the node has clients", () => hearers.some(({ node }) => node.startsWith(lost)));
        await nodes[count - 1].kill();
        await say("after the kill", 20);
        await heardAll("what was said after the kill");
        await until("all are back", () => hearers.every(isConnected));
        await until("all are elsewhere", () => hearers.every(({ node }) => !node.startsWith(lost)));
        await say("at the end", 5);
        await heardAll("the end");
        await sleep(200);
        for (const hearer of hearers) assert.deepEqual(hearer.texts, expected, "exactly once, in order");
      });
    }
  });
}

test("a drained node closes the transport, and nobody misses anything", async (t) => {
  const drain = { HUBBUB__DRAIN__READY_DELAY: "1s", HUBBUB__DRAIN__SPREAD: "1s", HUBBUB__DRAIN__DEADLINE: "10s" };
  const nodes = await startNodes(t, 2, drain);
  const url = await startBalancer(t, nodes);
  const speaker = client(t, nodes[0].url, { transports: ["websocket"] });
  const hearers = Object.values(MODES).flatMap((mode) => [1, 2].map(() => listener(t, url, "drain", mode)));
  await until("all are connected", () => [speaker, ...hearers].every(isConnected));
  const expected = [];
  let stopping = true;
  const gone = nodes[1].child.ended.then(() => (stopping = false));
  nodes[1].stop();
  for (let i = 0; stopping || i < 100; i++) {
    expected.push(`drain ${i}`);
    await speaker.timeout(5_000).emitWithAck(EVENT, `drain ${i}`);
    await sleep(10);
  }
  await gone;
  assert.equal(nodes[1].child.child.exitCode, 0);
  await until("all have heard all", () => hearers.every((hearer) => hearer.texts.length >= expected.length));
  for (const hearer of hearers) assert.deepEqual(hearer.texts, expected);
});

test("a request that reaches another node is told so", async (t) => {
  const [one, two] = await startNodes(t, 2);
  const greeting = await (await fetch(`${one.url}/socket.io/?EIO=4&transport=polling`)).text();
  const { sid } = JSON.parse(greeting.slice(1));
  const stray = `${two.url}/socket.io/?EIO=4&transport=polling&sid=${encodeURIComponent(sid)}`;
  const response = await fetch(stray);
  assert.equal(response.status, 400);
  const { code, message } = await response.json();
  assert.equal(code, 1);
  assert.match(message, /belongs to node node-1:?\S* and this is node-2/);
  assert.match(message, /sticky/);
});
