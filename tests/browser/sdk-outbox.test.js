// The JavaScript SDK's outbox over a page's reload: what is kept, and who takes it over.

import assert from "node:assert/strict";
import { test } from "node:test";

import { FakeSocket } from "./fake-socket.js";
import { settle, start, tick } from "./sdk-kit.js";

/** As a browser's: in the order of the keys' making. */
class FakeStorage {
  values = new Map();
  isFull = false;
  get length() {
    return this.values.size;
  }
  key(i) {
    return [...this.values.keys()][i] ?? null;
  }
  getItem(key) {
    return this.values.get(key) ?? null;
  }
  setItem(key, value) {
    if (this.isFull) throw new Error("quota");
    this.values.set(key, value);
  }
  removeItem(key) {
    this.values.delete(key);
  }
}

/** Web Locks as tabs see them; `tab()` gives one tab's, `end()` is its end. */
class FakeLocks {
  #held = new Map();
  #waiting = [];

  tab() {
    const mine = new Set();
    const grant = async (name, use) => {
      this.#held.set(name, true);
      mine.add(name);
      try {
        return await use({ name });
      } finally {
        if (mine.delete(name)) this.#free(name);
      }
    };
    const request = async (name, options, use = options) => {
      if (!this.#held.has(name)) return grant(name, use);
      if (options.ifAvailable) return use(null);
      return new Promise((resolve) => this.#waiting.push({ name, go: () => resolve(grant(name, use)) }));
    };
    const end = () => {
      for (const name of [...mine]) if (mine.delete(name)) this.#free(name);
    };
    return { request, end };
  }

  #free(name) {
    this.#held.delete(name);
    const next = this.#waiting.findIndex((wait) => wait.name === name);
    if (next >= 0) this.#waiting.splice(next, 1)[0].go();
  }
}

/** The page is gone: its storage stays, its client says nothing more. */
function copyOf(storage) {
  const copy = new FakeStorage();
  for (const [key, value] of storage.values) copy.values.set(key.replace(/outbox\.\w+/, "outbox.gone"), value);
  return copy;
}

async function open(t, storage, user = "u-1") {
  t.mock.timers.reset();
  const { chat } = await start(t, { storage });
  const lobby = chat.room("lobby");
  const joining = lobby.join();
  FakeSocket.last.welcome({ user: { id: user, name: user } });
  await settle();
  FakeSocket.last.joined();
  await joining;
  return { chat, lobby };
}

const sent = () => FakeSocket.last.all("send").map(({ nonce, body }) => [nonce, body]);
const ack = (offset) => FakeSocket.last.answer("send", { type: "sent", offset });

test("what had no ack goes again after a reload, first, in order, under its nonces", async (t) => {
  const storage = new FakeStorage();
  const { lobby } = await open(t, storage);
  for (const [nonce, body] of [["n-1", 1], ["n-2", 2], ["n-3", 3]]) lobby.send(body, { nonce }).catch(() => {});
  ack(1);
  assert.equal(storage.length, 2, "what was acked is not kept");

  const left = copyOf(storage);
  const { chat } = await start(Object.assign(t, t.mock.timers.reset()), { storage: left });
  const told = [];
  chat.on("restored", (send) => told.push(send));
  chat.room("lobby").send(4, { nonce: "n-4" }).catch(() => {});
  const joining = chat.room("lobby").join();
  FakeSocket.last.welcome();
  await settle();
  assert.deepEqual(sent(), [], "it waits until the room is entered");
  FakeSocket.last.joined();
  await joining;
  for (let offset = 2; offset <= 4; offset++) ack(offset);
  await settle();
  assert.deepEqual(sent(), [["n-2", 2], ["n-3", 3], ["n-4", 4]]);
  assert.deepEqual(told.map(({ nonce, body }) => [nonce, body]), [["n-2", 2], ["n-3", 3]]);
  assert.equal((await told[0].done).offset, 2);
  assert.equal(left.length, 0);
});

test("what was said before any node was reached is kept, where the token says whose it is", async (t) => {
  const claims = Buffer.from('{"sub":"Zoë"}').toString("base64url");
  const token = `x.${claims}.x`;
  for (const [given, kept] of [[token, 1], ["T", 0]]) {
    const storage = new FakeStorage();
    t.mock.timers.reset();
    const { chat } = await start(t, { storage, token: given });
    chat.room("lobby").join().catch(() => {});
    chat.room("lobby").send("early", { nonce: "n-1" }).catch(() => {});
    FakeSocket.last.end();
    await settle();
    assert.equal(storage.length, kept);
    const left = copyOf(storage);
    chat.close();
    const { chat: next } = await open(t, left, "Zoë");
    assert.deepEqual(sent(), kept ? [["n-1", "early"]] : []);
    next.close();
  }
});

test("what another user left, or is older than ten minutes, is not sent", async (t) => {
  const storage = new FakeStorage();
  const { lobby } = await open(t, storage);
  lobby.send("mine", { nonce: "n-1" }).catch(() => {});
  const left = copyOf(storage);
  const other = await open(t, left, "u-2");
  assert.deepEqual(sent(), []);
  assert.equal(left.length, 1, "they may come back");
  other.chat.close();

  const old = copyOf(storage);
  const [key] = old.values.keys();
  old.setItem(key, old.getItem(key).replace(/"at":\d+/, `"at":${1_000_000 - 600_001}`));
  await open(t, old);
  assert.deepEqual([sent(), old.length], [[], 0]);
});

test("a tab that lives keeps its own, and one that ends leaves it to the next", async (t) => {
  const storage = new FakeStorage();
  const { lobby } = await open(t, storage);
  lobby.send("one", { nonce: "n-1" }).catch(() => {});
  const left = copyOf(storage);
  const locks = new FakeLocks();
  const [first, second] = [locks.tab(), locks.tab()];
  first.request("hubbub.outbox.gone", () => new Promise(() => {}));
  const saved = Object.getOwnPropertyDescriptor(globalThis, "navigator");
  Object.defineProperty(globalThis, "navigator", { value: { locks: second }, configurable: true });
  t.after(() => (saved ? Object.defineProperty(globalThis, "navigator", saved) : delete globalThis.navigator));
  await open(t, left);
  assert.deepEqual(sent(), []);
  first.end();
  await settle();
  assert.deepEqual(sent(), [["n-1", "one"]]);
});

test("a full storage is told once, and sends go on", async (t) => {
  const storage = new FakeStorage();
  const { chat, lobby } = await open(t, storage);
  const errors = [];
  chat.on("error", ({ code }) => errors.push(code));
  storage.isFull = true;
  const acks = [lobby.send(1), lobby.send(2)];
  ack(1);
  ack(2);
  assert.equal((await Promise.all(acks)).length, 2);
  assert.deepEqual(errors, ["storage"]);
  storage.isFull = false;
  for (let i = 0; i < 80; i++) lobby.send("x".repeat(15_000)).catch(() => {});
  const size = [...storage.values.values()].reduce((sum, text) => sum + text.length, 0);
  assert.ok(size <= 1_000_000 && size > 900_000, `${size}`);
  assert.deepEqual(errors, ["storage", "storage"]);
});

test("a guest stays the same after a reload, unless refused or called otherwise", async (t) => {
  const storage = new FakeStorage();
  let made = 0;
  t.mock.method(globalThis, "fetch", async () =>
    Response.json({ token: `G${++made}`, user: { id: `g-${made}`, name: "x" }, expires: 9e12 }),
  );
  const guest = async (name) => {
    t.mock.timers.reset();
    const { chat } = await start(t, { token: undefined, storage, name });
    await settle();
    return { chat, token: FakeSocket.last.protocols[1] };
  };
  assert.equal((await guest("Ann")).token, "hubbub.bearer.G1");
  assert.equal((await guest("Ann")).token, "hubbub.bearer.G1");
  assert.equal((await guest("Bob")).token, "hubbub.bearer.G2");
  const { chat } = await guest("Bob");
  FakeSocket.last.end(4501, "bad token");
  await tick(t, 500);
  assert.equal(FakeSocket.last.protocols[1], "hubbub.bearer.G3");
  assert.equal(chat.state.state, "reconnecting");
});
