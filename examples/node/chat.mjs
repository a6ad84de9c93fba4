// A chat in the terminal: node chat.mjs [NAME] [URL…]
import { createInterface } from "node:readline";
import { Hubbub } from "../../static/sdk/hubbub.js"; // or "hubbub", installed from its tarball

const [name, ...urls] = process.argv.slice(2);
const chat = new Hubbub({ urls: urls.length ? urls : ["http://127.0.0.1:3000", "http://127.0.0.1:3001"], name });
// What is no chat has no text, and what was deleted no body.
const message = ({ from, body }) => body?.text && console.log(`${from.name}: ${body.text}`);
const lobby = await chat.join("lobby", { recent: 20, on: { message } });
for await (const text of createInterface({ input: process.stdin })) await lobby.send({ text });
chat.close();
