// A tool: one list for a whole team, made of nothing but the room's events.
// node todo.mjs [URL] list | add TEXT | done NUMBER | watch
import { Hubbub } from "../../static/sdk/hubbub.js";

const given = process.argv.slice(2);
const urls = given[0]?.startsWith("http") ? given.splice(0, 1) : ["http://127.0.0.1:3000", "http://127.0.0.1:3001"];
const [what = "list", ...rest] = given;
const chat = new Hubbub({ urls });
const room = chat.room("todo");
const list = new Map();
const show = () => list.forEach(({ text, done }, n) => console.log(`${n} [${done ? "x" : " "}] ${text}`));

// An entry's number is its place in the room: the same for everyone, without anyone to ask.
room.on("event:add", ({ text }, { offset }) => list.set(offset, { text, done: false }));
room.on("event:done", ({ number }) => list.has(number) && (list.get(number).done = true));
await room.join({ recent: 300 });

const events = room.events();
let sent = null;
if (what === "add") sent = await room.emit("add", { text: rest.join(" ") });
if (what === "done") sent = await room.emit("done", { number: Number(rest[0]) });
// Its own event comes in its place in the order, like everybody's.
if (sent) for await (const { offset } of events) if (offset >= sent.offset) break;
show();
if (what === "watch") for await (const _ of events) console.log("--"), show();
chat.close();
