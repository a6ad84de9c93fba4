// The official client as a process, for tests in other languages: `node recorder.js URL TRANSPORTS`
// says what happens as JSON lines, and emits each line that it reads as a chat message.

import { createInterface } from "node:readline";
import { io } from "socket.io-client";

const EVENT = "chat message";
const [url, transports] = process.argv.slice(2);
const say = (line) => console.log(JSON.stringify(line));

const socket = io(url, { transports: transports.split(",") });
socket.once("joined", () => say({ joined: socket.io.engine.transport.name }));
socket.on(EVENT, (text, place) => say({ text, offset: parseInt(place, 10) }));
socket.on("connect_error", (error) => say({ error: error.message }));

const lines = createInterface({ input: process.stdin });
lines.on("line", (text) => socket.emit(EVENT, text, ({ type }) => type === "sent" || say({ error: type })));
lines.on("close", () => socket.disconnect());
