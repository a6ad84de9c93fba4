// What an application writes against the SDK, under the strictest rules: it must check as it stands.

import { Hubbub, HubbubError, fold, newGuest, newNonce } from "hubbub";
import type { Change, ConnectionState, Json, Message, Position, Room, Sent, User } from "hubbub";

const chat: Hubbub = new Hubbub({
  urls: ["http://127.0.0.1:3000"],
  token: async ({ url, refused }) => (refused ? `fresh for ${url}` : undefined),
  transports: ["websocket", "sse"],
  storage: "local",
  storageKey: "mine",
});
new Hubbub();
new Hubbub({ token: "T", storage: false, transports: "sse", WebSocket });
new Hubbub({ token: () => "T", storage: sessionStorage, name: "Ann" });

const off: () => void = chat.on("state", ({ state, node, transport, nextAttemptAt }) => {
  const known: ConnectionState["state"] = state;
  console.log(known, node?.length, transport === "sse", nextAttemptAt?.toFixed());
});
chat.on("restored", ({ room, nonce, done }) => done.then((sent: Sent) => [room, nonce, sent.offset]));
chat.on("error", (error: HubbubError) => error.retryAfterMs?.toFixed());

interface Move {
  x: number;
  y: number;
  note?: string;
  path?: readonly { x: number }[];
}
const move: Move = { x: 1, y: 2 };

const lobby: Room = await chat.join("lobby", {
  recent: 50,
  on: { message: ({ from, offset }) => console.log(from.name, offset.toFixed()) },
});
lobby.on("event:move", (data: Move, { from }) => console.log(data.x + data.y, from.id));
lobby.on("event:anything", (data) => {
  const json: Json = data;
  console.log(json);
});
lobby.on("reset", ({ reason }) => console.log(reason === "unrecovered"));
lobby.on("repeated", ({ before, event }) => {
  const places: number[] = [before.offset, event.offset];
  console.log(places, event.type === "message" ? event.from.id : event.target.toFixed());
});
const kept: Position | null = lobby.position;
if (kept) await lobby.join({ since: kept });
const sent: Sent = await lobby.send({ text: "hi" }, { nonce: newNonce(), ack: "archived" });
await lobby.emit("move", move);
await lobby.emit("start");
await lobby.send(move);
await lobby.send(null);
await lobby.send(["a", { b: [1, true] }]);
await lobby.send(move as unknown as Json);
// Data from elsewhere has no type that says that it is JSON.
await lobby.send(JSON.parse("{}") as unknown);
await lobby.edit(sent.offset, { from: "elsewhere", data: JSON.parse("1") as unknown });
await lobby.edit(sent.offset, move);
await lobby.edit(sent.offset, { text: "hello" });
await lobby.react(sent.offset, "👍", false);
await lobby.delete(sent.offset, { nonce: "n" });
lobby.read(sent.offset);
lobby.typing();

for await (const message of lobby) {
  const body: Json | undefined = message.body;
  console.log(body);
  break;
}
for await (const event of lobby.events(["message", "reacted"], { recent: 5 })) {
  if (event.type === "reacted") console.log(event.key);
  else console.log(event.from.name);
}
for await (const change of lobby.events(["edited", "deleted"])) {
  const known: Change = change;
  const page: Message[] = (await lobby.history({ around: known.target })).events;
  console.log(page.map((message) => fold(message, known)));
}
const { members }: { members: User[] } = await lobby.members();
const { hits, next } = await chat.search("words", { room: "lobby" });
console.log(members.length, hits[0]?.event.offset, next?.length, (await chat.rooms())[0]?.unread);
const { token }: { token: string } = await newGuest("http://127.0.0.1:3000", "Ann");
console.log(token, chat.user?.id, lobby.position?.epoch);
off();
chat.close();

// @ts-expect-error a room has no such event
lobby.on("massage", () => {});
// @ts-expect-error a body is JSON
lobby.send(() => {});
// @ts-expect-error nothing is no JSON
lobby.send(undefined);
// @ts-expect-error nor is a part that is a function
lobby.emit("move", { x: 1, then: () => {} });
// @ts-expect-error rooms come from a client
new Room();
// @ts-expect-error no such transport
new Hubbub({ transports: "pigeon" });
