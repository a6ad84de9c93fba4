// Who reads the feed: node read.mjs [URL…]
import { Hubbub } from "../../static/sdk/hubbub.js";

const urls = process.argv.slice(2);
const chat = new Hubbub({ urls: urls.length ? urls : ["http://127.0.0.1:3001", "http://127.0.0.1:3002"] });
for await (const { body, ts } of chat.room("prices").events("message", { recent: 10 })) {
  if (body?.event === "price") console.log(new Date(ts).toISOString(), body.data.symbol, body.data.price);
}
