// What the SDK's tests share: a client on three nodes, and a clock that the test moves.

import { Hubbub } from "../../static/sdk/hubbub.js";
import { FakeSocket, event } from "./fake-socket.js";

/** Lets promises and microtasks run; `setImmediate` is not mocked. */
export const settle = async () => {
  for (let i = 0; i < 4; i++) await new Promise((resolve) => setImmediate(resolve));
};

/** A client with the clock stopped and every jitter at its ceiling; its states are collected. */
export async function start(t, options = {}) {
  FakeSocket.forgetAll();
  t.mock.timers.enable({ apis: ["setTimeout", "Date"], now: 1_000_000 });
  t.mock.method(Math, "random", () => 1);
  const urls = ["http://a.test", "https://b.test/chat/", "ws://c.test/v1/ws"];
  const chat = new Hubbub({ urls, token: "T", WebSocket: FakeSocket, transports: "websocket", ...options });
  const states = [];
  chat.on("state", (state) => states.push(state));
  t.after(() => chat.close());
  await settle();
  return { chat, states };
}

/** Joined to the lobby at offset 41; what it hears is collected. */
export async function startInLobby(t, options) {
  const { chat } = await start(t, options);
  const heard = { message: [], reset: [], joined: [], lagged: [], presence: [], typing: [] };
  const lobby = chat.room("lobby");
  for (const type of Object.keys(heard)) lobby.on(type, (frame) => heard[type].push(frame));
  FakeSocket.last.welcome();
  const joining = lobby.join({ recent: 1 });
  FakeSocket.last.joined({ offset: 41, events: [event(41)] });
  await joining;
  return { chat, lobby, heard };
}

export async function tick(t, ms) {
  t.mock.timers.tick(ms);
  await settle();
}

/** Waits out any back-off; the next node takes the connection. */
export async function reconnect(t) {
  await tick(t, 20_000);
  FakeSocket.last.welcome({ node: "gw-2" });
  await settle();
}
