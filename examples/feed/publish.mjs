// A feed: a backend that publishes a price a second by REST, with no socket: node publish.mjs [URL] [COUNT]
import { setTimeout as sleep } from "node:timers/promises";

const [url = "http://127.0.0.1:3000", count = "Infinity"] = process.argv.slice(2);
const json = { "content-type": "application/json" };
const guest = await fetch(`${url}/v1/guests`, { method: "POST", headers: json, body: '{"name":"Exchange"}' });
const headers = { ...json, authorization: `Bearer ${(await guest.json()).token}` };

for (let n = 1, price = 100; n <= Number(count); n++, price += Math.round(Math.random() * 10) - 5) {
  const body = JSON.stringify({ body: { event: "price", data: { symbol: "HUB", price, n } } });
  // Under the same key a repeated request is stored once.
  const key = { "idempotency-key": `${process.pid}-${n}` };
  const send = () => fetch(`${url}/v1/rooms/prices/messages`, { method: "POST", headers: { ...headers, ...key }, body });
  let answer = await send().catch(() => null);
  while (!answer || answer.status === 429 || answer.status >= 500) {
    await sleep(1_000);
    answer = await send().catch(() => null);
  }
  console.log(n, price, answer.status);
  await sleep(n < Number(count) ? 1_000 : 0);
}
