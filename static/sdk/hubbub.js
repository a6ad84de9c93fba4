// The JavaScript client of a Hubbub cluster. See hubbub.d.ts for what each part promises.
// @ts-self-types="./hubbub.d.ts"

import { CLOSED_HERE, Connection } from "./connection.js";
import { Emitter } from "./emitter.js";
import { HubbubError } from "./error.js";
import { fold } from "./fold.js";
import { guestTokens, newGuest } from "./guest.js";
import { newNonce } from "./nonce.js";
import { Outbox } from "./outbox.js";
import { Renewal } from "./renewal.js";
import { request } from "./rest.js";
import { Room } from "./room.js";
import { Shelf, memoryOf, storageOf } from "./storage.js";
import { Tokens, subjectOf } from "./token.js";
import { httpUrl, socketUrls } from "./url.js";

export { HubbubError, Room, fold, newGuest, newNonce };

const ASK_TIMEOUT_MS = 10_000;
const MAX_ASKS = 100;
const DEFAULT_RATE_WAIT_MS = 1_000;

export class Hubbub extends Emitter {
  #connection;
  #tokens;
  #renewal;
  #shelf;
  #outbox;
  #rooms = new Map();
  /** Who waits for which reply on this connection: id → handler, called with null at its end. */
  #replies = new Map();
  /** Reads, which are asked again on the next connection. */
  #asks = new Set();
  #nextId = 1;
  #closed = null;
  #welcome = null;
  #link;

  constructor({
    urls,
    token,
    name,
    transports,
    storage,
    storageKey = "hubbub",
    WebSocket = globalThis.WebSocket,
  } = {}) {
    super();
    const kinds = transportsOf(transports, WebSocket);
    const place = storageOf(storage);
    const error = (problem) => this.dispatch("error", problem);
    this.#link = this.#makeLink();
    this.#shelf = new Shelf(place, storageKey, error);
    this.#outbox = new Outbox(this.#link, this.#shelf);
    this.#link.outbox = this.#outbox;
    const isGuest = token === undefined;
    const guests = () => guestTokens(name, memoryOf(place, `${storageKey}.guest`));
    this.#tokens = new Tokens(isGuest ? guests() : token);
    // The next token of a guest is another guest's.
    this.#renewal = new Renewal(isGuest ? null : this.#tokens, { ...this.#link, error });
    this.#connection = new Connection(socketUrls(urls), this.#tokens, { WebSocket, kinds }, {
      token: (used) => this.#outbox.own(subjectOf(used)),
      online: (welcome, used) => this.#goOnline(welcome, used),
      welcome: (welcome) => (this.#welcome = welcome),
      frame: (frame) => this.#take(frame),
      down: () => this.#goDown(),
      state: (state) => this.#hearState(state),
      error,
    });
  }

  get state() {
    return this.#connection.state;
  }

  get user() {
    return this.#welcome?.user ?? null;
  }

  get node() {
    return this.#connection.state.node;
  }

  get limits() {
    return this.#welcome?.limits ?? null;
  }

  room(name) {
    if (!this.#rooms.has(name)) this.#rooms.set(name, new Room(name, this.#link));
    return this.#rooms.get(name);
  }

  async join(name, { on = {}, ...options } = {}) {
    const room = this.room(name);
    for (const [type, handler] of Object.entries(on)) room.on(type, handler);
    await room.join(options);
    return room;
  }

  async rooms() {
    return (await this.#ask({ type: "rooms" })).rooms;
  }

  /** `next` of the answer goes into `before` for the page after it. */
  search(q, { room, from, before, limit } = {}) {
    const wanted = Object.entries({ q, room, from, before, limit });
    const given = wanted.filter(([, value]) => value !== undefined);
    return this.#rest("GET", `/v1/search?${new URLSearchParams(given)}`);
  }

  createRoom(record = {}) {
    return this.#rest("POST", "/v1/rooms", record);
  }

  retryNow() {
    this.#connection.retryNow();
  }

  close() {
    this.#connection.close();
  }

  #makeLink() {
    return {
      transmit: (command, onReply) => this.#transmit(command, onReply),
      post: (command) => this.#connection.send(command),
      ask: (command) => this.#ask(command),
      rest: (method, path, body) => this.#rest(method, path, body),
      ready: (room) => this.#rooms.get(room)?.ready ?? true,
      joined: (room) => this.#rooms.get(room)?.joined ?? false,
      url: () => this.#connection.state.url,
      restored: (sends) => {
        for (const send of sends) this.dispatch("restored", send);
      },
      online: () => this.#connection.online,
      limits: () => this.limits ?? {},
      closed: () => this.#closed,
    };
  }

  /** Asks the node in use, or the one tried last. A token that has ended is replaced once. */
  async #rest(method, path, body, isSecond = false) {
    if (this.#closed) throw this.#closed;
    const { url } = this.#connection.state;
    if (!url) throw new HubbubError("unavailable", "no node has been reached yet");
    const token = await this.#tokens.current(url);
    try {
      return await request(httpUrl(url), method, path, { token, body });
    } catch (error) {
      if (error.code !== "unauthorized" || isSecond || !this.#tokens.refuse()) throw error;
      return this.#rest(method, path, body, true);
    }
  }

  /** Sends a command on this connection; false when there is none. */
  #transmit(command, onReply) {
    const id = this.#nextId++;
    if (!this.#connection.ask({ ...command, id })) return false;
    this.#replies.set(id, onReply);
    return true;
  }

  /** Asks for something that may be asked twice, over as many connections as it takes. */
  #ask(command) {
    if (this.#closed) return Promise.reject(this.#closed);
    if (this.#asks.size >= MAX_ASKS) {
      return Promise.reject(new HubbubError("outbox_full", `${MAX_ASKS} requests wait already`));
    }
    return new Promise((resolve, reject) => {
      const ask = { command, resolve, reject, wait: undefined };
      const late = new HubbubError("timeout", "no answer in time");
      ask.deadline = setTimeout(() => this.#settleAsk(ask, () => reject(late)), ASK_TIMEOUT_MS);
      this.#asks.add(ask);
      this.#sendAsk(ask);
    });
  }

  #sendAsk(ask) {
    this.#transmit(ask.command, (reply) => {
      if (reply === null || !this.#asks.has(ask)) return;
      if (reply.type !== "error") this.#settleAsk(ask, () => ask.resolve(reply));
      else if (reply.code === "rate_limited") {
        const delay = reply.retry_after_ms ?? DEFAULT_RATE_WAIT_MS;
        ask.wait = setTimeout(() => this.#sendAsk(ask), delay);
      } else this.#settleAsk(ask, () => ask.reject(HubbubError.fromFrame(reply)));
    });
  }

  #settleAsk(ask, answer) {
    clearTimeout(ask.deadline);
    clearTimeout(ask.wait);
    this.#asks.delete(ask);
    answer();
  }

  #goOnline(welcome, token) {
    this.#welcome = welcome;
    this.#renewal.start(token);
    this.#outbox.restart(welcome.user.id);
    for (const room of this.#rooms.values()) room.goOnline();
    for (const ask of this.#asks) {
      clearTimeout(ask.wait);
      this.#sendAsk(ask);
    }
  }

  #goDown() {
    this.#renewal.stop();
    for (const room of this.#rooms.values()) room.goDown();
    const replies = [...this.#replies.values()];
    this.#replies.clear();
    for (const onReply of replies) onReply(null);
  }

  #take(frame) {
    const onReply = this.#replies.get(frame.id);
    if (onReply) {
      this.#replies.delete(frame.id);
      this.#connection.answered(!frame.unanswered);
      onReply(frame);
      return;
    }
    if (frame.type === "announcement") this.dispatch("announcement", frame);
    if (frame.type === "error") this.dispatch("error", HubbubError.fromFrame(frame));
    else if (frame.room !== undefined) this.#rooms.get(frame.room)?.take(frame);
  }

  #hearState(state) {
    if (state.state === "closed") this.#end(state);
    this.dispatch("state", state);
  }

  #end({ code, reason }) {
    this.#closed = new HubbubError("closed", `${reason || "closed"} (${code}); make a new client`);
    for (const room of this.#rooms.values()) room.end(this.#closed, code === CLOSED_HERE);
    this.#outbox.refuse(this.#closed);
    for (const ask of [...this.#asks]) this.#settleAsk(ask, () => ask.reject(this.#closed));
    this.#shelf.close();
  }
}

/** In the order of preference; what is not there is left out. */
function transportsOf(wanted = ["websocket", "sse"], WebSocket) {
  const kinds = [].concat(wanted).filter((kind) => kind !== "websocket" || WebSocket);
  const unknown = kinds.find((kind) => kind !== "websocket" && kind !== "sse");
  if (unknown !== undefined) throw new TypeError(`no such transport: ${unknown}`);
  if (kinds.length === 0) throw new TypeError("no WebSocket here: give one in the option `WebSocket`");
  return kinds;
}
