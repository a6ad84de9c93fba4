// What is not acked yet (sends, edits, deletions, reactions): kept over reconnects, in order, each
// always under its own nonce.

import { jitter } from "./backoff.js";
import { HubbubError } from "./error.js";
import { newNonce } from "./nonce.js";
import { Pace } from "./pace.js";

const MAX_ENTRIES = 100;
/** Servers remember a nonce for 15 minutes: a later retry might store the message twice. */
const GIVE_UP_MS = 10 * 60_000;
const RETRY_BASE_MS = 500;
const RETRY_CAP_MS = 5_000;
const DEFAULT_RATE_WAIT_MS = 1_000;

const encoder = new TextEncoder();
const byteLength = (frame) => encoder.encode(JSON.stringify(frame)).length;

export class Outbox {
  /** In the order of sending. Of one room, only the first is ever on its way: that keeps the
   * order also when a send has to be repeated. */
  #entries = [];
  #pace = new Pace();
  #paceTimer;
  #link;
  #shelf;
  /** Whose sends they are; nothing is kept before that is known. */
  #user;
  #isRestored = false;
  /** What an ended client of this user left goes first. */
  #isRestoring = false;

  /**
   * `link` has `transmit(command, onReply)`, `online()`, `ready(room)`, `joined(room)`,
   * `limits()` and `restored(sends)`.
   */
  constructor(link, shelf) {
    this.#link = link;
    this.#shelf = shelf;
  }

  /** `fields` are what `type` needs; each has to be there, and be JSON.
   * @param {string} type
   * @param {string} room
   * @param {object} fields
   * @param {{ nonce?: string, ack?: string }} [options]
   */
  add(type, room, fields, { nonce = newNonce(), ack } = {}) {
    if (this.#entries.length >= MAX_ENTRIES) {
      const message = `${MAX_ENTRIES} sends wait for their ack already; try again later`;
      return Promise.reject(new HubbubError("outbox_full", message));
    }
    return new Promise((resolve, reject) => {
      const command = { type, room, nonce, ...(ack && { ack }), ...copyOf(fields) };
      const entry = this.#makeEntry(command, Date.now(), { resolve, reject });
      this.#entries.push(entry);
      this.#keep(entry);
      this.flush();
    });
  }

  /** Whose sends they will be, if the token says it: they are kept before any node is reached. */
  own(user) {
    this.#user ??= user;
    for (const entry of this.#entries) this.#keep(entry);
  }

  /** There is a new connection, of this user: nothing has been sent on it. */
  restart(user) {
    this.#pace.restart();
    this.#user = user;
    for (const entry of this.#entries) this.#keep(entry);
    if (!this.#isRestored) this.#restore();
    else this.flush();
  }

  /** Puts the first entry of each room on its way, where nothing holds it back. */
  flush() {
    if (!this.#link.online() || this.#isRestoring) return;
    clearTimeout(this.#paceTimer);
    const seen = new Set();
    for (const entry of [...this.#entries]) {
      const { room } = entry.command;
      // Nobody has entered the room since the reload.
      if (entry.isRestored && !this.#link.joined(room)) continue;
      if (seen.has(room)) continue;
      seen.add(room);
      if (entry.inFlight || entry.wait || !this.#link.ready(room)) continue;
      const wait = this.#pace.take(this.#link.limits());
      if (wait > 0) {
        this.#paceTimer = setTimeout(() => this.flush(), Math.ceil(wait));
        return;
      }
      this.#transmit(entry);
    }
  }

  /** Refuses all that waits in one room, or in all rooms. */
  refuse(error, room) {
    if (room === undefined) clearTimeout(this.#paceTimer);
    for (const entry of [...this.#entries]) {
      if (room === undefined || entry.command.room === room) {
        this.#settle(entry, () => entry.reject(error));
      }
    }
  }

  #makeEntry(command, at, { resolve, reject }) {
    const entry = { command, at, resolve, reject, inFlight: false, attempts: 0, wait: undefined };
    entry.deadline = setTimeout(() => this.#giveUp(entry), at + GIVE_UP_MS - Date.now());
    return entry;
  }

  #keep({ at, command }) {
    if (this.#user !== undefined) this.#shelf.put(this.#user, at, command);
  }

  async #restore() {
    this.#isRestored = true;
    if (!this.#shelf.hasOthers) return this.flush();
    this.#isRestoring = true;
    await this.#shelf.takeOver(this.#user, GIVE_UP_MS, (found) => this.#takeBack(found));
    this.#isRestoring = false;
    this.flush();
  }

  /** Before what is new; a copy of what is here already is left out. */
  #takeBack(found) {
    if (this.#link.closed()) return;
    const here = new Set(this.#entries.map(({ command }) => command.nonce));
    const free = MAX_ENTRIES - this.#entries.length;
    const sends = found.filter(({ command }) => !here.has(command.nonce)).slice(0, free);
    const restored = sends.map(({ at, command }) => {
      let entry;
      const done = new Promise((resolve, reject) => {
        entry = this.#makeEntry(command, at, { resolve, reject });
        entry.isRestored = true;
      });
      done.catch(() => {});
      return { entry, told: { ...command, done } };
    });
    this.#entries.unshift(...restored.map(({ entry }) => entry));
    for (const { entry } of restored) this.#keep(entry);
    this.#link.restored(restored.map(({ told }) => told));
    this.flush();
  }

  #transmit(entry) {
    const limit = this.#link.limits().frame_bytes ?? Infinity;
    // The server would end the connection over it, each time.
    if (byteLength(entry.command) + 64 > limit) {
      const error = new HubbubError("too_large", `a frame has at most ${limit} bytes`);
      this.#settle(entry, () => entry.reject(error));
      queueMicrotask(() => this.flush());
      return;
    }
    entry.inFlight = this.#link.transmit(entry.command, (reply) => this.#take(entry, reply));
  }

  /** `reply` is null when the connection went first: the next one sends it again. */
  #take(entry, reply) {
    entry.inFlight = false;
    if (reply === null || !this.#entries.includes(entry)) return;
    // A resync failed just before: the next join brings the room back.
    if (reply.code === "not_joined" && !this.#link.ready(entry.command.room)) return;
    const delay = reply.type === "error" ? retryDelay(entry, reply) : null;
    if (delay !== null) {
      entry.wait = setTimeout(() => {
        entry.wait = undefined;
        this.flush();
      }, delay);
      return;
    }
    if (reply.type === "error") {
      this.#settle(entry, () => entry.reject(HubbubError.fromFrame(reply)));
    } else {
      this.#settle(entry, () => entry.resolve(reply));
    }
    this.flush();
  }

  #giveUp(entry) {
    const message = "no ack for too long; it may have been stored, or not";
    this.#settle(entry, () => entry.reject(new HubbubError("timeout", message)));
    this.flush();
  }

  #settle(entry, answer) {
    clearTimeout(entry.wait);
    clearTimeout(entry.deadline);
    this.#entries = this.#entries.filter((other) => other !== entry);
    this.#shelf.drop(entry.command.nonce);
    answer();
  }
}

/** What the caller changes later must not change what a retry says. */
function copyOf(fields) {
  const copies = Object.entries(fields).map(([name, value]) => {
    const text = JSON.stringify(value);
    if (text === undefined) throw new TypeError(`${name} must be JSON, which ${typeof value} is not`);
    return [name, JSON.parse(text)];
  });
  return Object.fromEntries(copies);
}

/** When to send it again, or null when the answer is final. */
function retryDelay(entry, { code, retry_after_ms: retryAfter }) {
  if (code === "rate_limited") return retryAfter ?? DEFAULT_RATE_WAIT_MS;
  if (code !== "unknown" && code !== "unavailable") return null;
  return Math.max(retryAfter ?? 0, jitter(entry.attempts++, RETRY_BASE_MS, RETRY_CAP_MS));
}
