// What must work alike under Node and Deno: `smoke.mjs URL URL`, with nothing but the SDK. Prints
// what it has heard, as JSON.

import { Hubbub } from "../../static/sdk/hubbub.js";

const urls = (globalThis.Deno?.args ?? process.argv.slice(2)).map(String);
const [ann, bob] = [
  new Hubbub({ urls: urls[0], name: "Ann" }),
  new Hubbub({ urls: urls[1], name: "Bob", transports: "sse" }),
];
const room = `smoke-${crypto.randomUUID()}`;
const moves = [];
(await ann.join(room)).on("event:move", ({ n }, { from }) => moves.push(`${from.name} ${n}`));
const loop = (await bob.join(room)).events();
for (const n of [1, 2, 3]) {
  await ann.room(room).send({ n });
  await bob.room(room).emit("move", { n });
}
const heard = [];
for await (const { from, body } of loop) {
  heard.push(`${from.name} ${body.n ?? body.data.n}`);
  if (heard.length === 6) break;
}
const { events } = await bob.room(room).history();
const transports = [ann, bob].map(({ state }) => state.transport);
ann.close();
bob.close();
console.log(JSON.stringify({ heard, moves, history: events.length, transports }));
