// Row C37: what an attacker sends to the product's own door, over both transports, and the answer to
// each; the node has not panicked and serves a real client at the end.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { WebSocket } from "ws";
import { Poller, Talker, client, next, startNodes, until } from "./kit.js";

const EVENT = "chat message";
let node;
const ends = [];
before(async () => ([node] = await startNodes({ after: (end) => ends.push(end) }, 1)));
after(async () => {
  const metrics = await (await fetch(`http://${node.ops}/metrics`)).text();
  const panics = metrics.match(/^hubbub\S*panics\S* (\d+)$/m);
  for (const end of ends) await end();
  assert.equal(panics?.[1], "0", "no panic");
});

const placeholder = (num) => `451-["${EVENT}",{"_placeholder":true,"num":${num}}]`;
const PACKETS = {
  "599,999 attachments": `4599999-["${EVENT}"]`,
  "11 attachments": `4511-["${EVENT}"]`,
  "a placeholder -1": placeholder(-1),
  'a placeholder "x"': placeholder('"x"'),
  "a placeholder 9": placeholder(9),
  "a placeholder __proto__": placeholder('"__proto__"'),
  "type 9": "49",
  "a namespace of 10 KiB": `40/${"n".repeat(10 * 1024)},`,
  "an ack of 2^53": `429007199254740992["${EVENT}"]`,
};
for (const name of ["connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener"]) {
  PACKETS[`the event ${name}`] = `42["${name}"]`;
}

for (const [what, packet] of Object.entries(PACKETS)) {
  test(`${what} ends a WebSocket`, async () => {
    const talker = await Talker.open(node.url);
    await talker.next();
    talker.send("40");
    await until("inside", () => talker.heard.some((heard) => `${heard}`.startsWith("40{")));
    talker.send(packet);
    await talker.end();
  });

  test(`${what} ends a polling client`, async () => {
    const poller = await Poller.open(node.url);
    await poller.post("40");
    await poller.text();
    await poller.post(packet);
    await until("the session is gone", async () => (await poller.post("3")).status === 400);
    assert.equal((await (await poller.get()).json()).code, 1);
  });
}

test("requests that make no sense are 400 with Engine.IO's code", async () => {
  for (const [code, query, method] of [
    [0, "EIO=4&transport=__proto__"],
    [1, "EIO=4&transport=polling&sid=__proto__"],
    [1, "EIO=4&transport=polling&sid=constructor"],
    [1, "EIO=4&transport=polling&sid=unknown"],
    [2, "EIO=4&transport=polling", "POST"],
    [3, "EIO=4&transport=websocket"],
    [5, "EIO=3&transport=polling"],
  ]) {
    const response = await fetch(`${node.url}/socket.io/?${query}`, { method });
    assert.equal(response.status, 400, query);
    assert.equal((await response.json()).code, code, query);
  }
  for (const query of ["EIO=3", "EIO=4&sid=__proto__"]) {
    const socket = new WebSocket(`${node.url.replace("http", "ws")}/socket.io/?${query}&transport=websocket`);
    assert.match((await next(socket, "error"))[0].message, /400/);
  }
});

test("two polls at once end the session", async () => {
  const poller = await Poller.open(node.url);
  const answers = await Promise.all([poller.get(), poller.get()]);
  assert.deepEqual(answers.map(({ status }) => status).sort(), [200, 400]);
  await until("the session is gone", async () => (await poller.get()).status === 400);
});

test("maxPayload is the real limit on both transports", async () => {
  const fill = (bytes) => `42["${EVENT}","${"x".repeat(bytes - 21)}"]`;
  let poller = await Poller.open(node.url);
  const { maxPayload } = poller.greeting;
  assert.equal(fill(maxPayload).length, maxPayload);
  await poller.post("40");
  assert.equal((await poller.post(fill(maxPayload))).status, 200);
  poller = await Poller.open(node.url);
  await poller.post("40");
  assert.equal((await poller.post(fill(maxPayload + 1))).status, 413);

  const talker = await Talker.open(node.url);
  await talker.next();
  talker.send("40");
  talker.send(fill(maxPayload));
  const refused = () => talker.heard.some((heard) => `${heard}`.includes("too_large"));
  await until("it is heard, and too large for a message", refused);
  assert.equal(talker.closed, null);
  talker.send(fill(maxPayload + 1));
  assert.equal(await talker.end(), 1009);
});

test("a real client is well after all of that", async (t) => {
  const socket = client(t, node.url);
  await next(socket, "connect");
  const sent = await socket.timeout(5_000).emitWithAck(EVENT, "still here");
  assert.equal(sent.type, "sent");
});
