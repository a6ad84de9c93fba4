// The event stream over the fallback, one for all rooms: browsers open six connections to a host, for all
// their tabs. A room more or less is another stream, from where the rooms stand.

import { HubbubError } from "./error.js";
import { eventsOf } from "./event-stream.js";
import { RoomCursor } from "./room-cursor.js";

const ANSWER_TIMEOUT_MS = 10_000;
/** The server says something every 15 s. */
const SILENCE_MS = 40_000;
/** Servers take addresses of 8 KiB. */
const MAX_PATH_CHARS = 7_500;
const ABRUPT = 1006;
const SERVICE_RESTART = 1012;
const BAD_TOKEN = 4501;
/** They say nothing about a room. */
const PASSING = new Set(["unavailable", "unknown", "internal", "rate_limited"]);

export class Feed {
  #link;
  #cursors = new Map();
  /** The stream that is heard, and the one that shall take its place. */
  #stream = null;
  #opening = null;
  #isDue = false;

  /**
   * `link` has `open(path, signal)`, which resolves to a stream's body, `take(text, frame)`,
   * `refuse(command, error)` and `end(code, reason)`.
   */
  constructor(link) {
    this.#link = link;
  }

  join(command) {
    const others = [...this.#cursors.values()].filter(({ room }) => room !== command.room);
    const cursor = new RoomCursor(command, this.#link);
    if (pathOf([...others, cursor]).length > MAX_PATH_CHARS) {
      const message = "without WebSocket a client cannot be in more rooms";
      queueMicrotask(() => this.#link.refuse(command, new HubbubError("too_many_rooms", message)));
      return;
    }
    this.#cursors.set(command.room, cursor);
    this.renew();
  }

  leave(room) {
    if (this.#cursors.delete(room)) this.renew();
  }

  /** Another stream instead of this one, once all that is said now has been said. */
  renew() {
    if (this.#isDue) return;
    this.#isDue = true;
    queueMicrotask(() => {
      this.#isDue = false;
      this.#open();
    });
  }

  close() {
    this.#cursors.clear();
    this.#opening?.abort();
    this.#stream?.abort();
    this.#opening = this.#stream = null;
  }

  async #open() {
    this.#opening?.abort();
    if (this.#cursors.size === 0) return this.close();
    // Whoever stands first is refused by a status: one that has been let in before.
    const cursors = [...this.#cursors.values()].sort((a, b) => Number(Boolean(a.command)) - Number(Boolean(b.command)));
    const stream = new AbortController();
    this.#opening = stream;
    let timer = setTimeout(() => stream.abort(), ANSWER_TIMEOUT_MS);
    const heard = () => {
      clearTimeout(timer);
      timer = setTimeout(() => stream.abort(), SILENCE_MS);
    };
    try {
      const body = await this.#link.open(pathOf(cursors), stream.signal);
      if (this.#opening !== stream) return;
      this.#stream?.abort();
      [this.#stream, this.#opening] = [stream, null];
      for (const cursor of cursors) cursor.begin(cursors.length === 1);
      heard();
      for await (const event of eventsOf(body, heard)) {
        if (this.#stream !== stream) return;
        this.#take(event);
      }
      if (this.#stream === stream) this.#link.end(ABRUPT, "the stream ended");
    } catch (error) {
      if (this.#opening === stream) this.#refused(cursors, error);
      else if (this.#stream === stream) this.#link.end(ABRUPT, error.message);
    } finally {
      clearTimeout(timer);
    }
  }

  /** @param {{ type: string, data?: string, id?: string }} event */
  #take({ type, data, id }) {
    const frame = JSON.parse(data);
    if (type === "close") return this.#link.end(frame.code, frame.reason);
    if (type === "error") return this.#missed(frame);
    if (frame.room === undefined) return this.#link.take(data, frame);
    const cursor = this.#cursors.get(frame.room);
    if (type === "left") this.#cursors.delete(frame.room);
    cursor?.take(frame, data, id !== undefined);
  }

  /** The stream was refused: for its first room, or for now. */
  #refused(cursors, error) {
    this.#opening = null;
    if (!(error instanceof HubbubError)) return this.#link.end(ABRUPT, error.message);
    if (error.code === "unauthorized") return this.#link.end(BAD_TOKEN, error.message);
    if (!PASSING.has(error.code)) {
      this.#miss(cursors[0], error);
      if (cursors.some(({ command }) => command)) this.renew();
      return;
    }
    const asked = cursors.filter(({ command }) => command);
    for (const cursor of asked) this.#miss(cursor, error);
    // The older stream is as good.
    if (asked.length === 0 && !this.#stream) this.#link.end(ABRUPT, error.message);
  }

  /** A further room was refused. */
  #missed({ id, code, message, retry_after_ms: retryAfter }) {
    const cursor = this.#cursors.get(id);
    if (cursor) this.#miss(cursor, new HubbubError(code, message, retryAfter));
  }

  /** A room that one was in is asked for anew, on another connection. */
  #miss(cursor, error) {
    if (!cursor.command) return this.#link.end(SERVICE_RESTART, error.message);
    this.#cursors.delete(cursor.room);
    this.#link.refuse(cursor.command, error);
  }
}

/** The path of an event stream of some rooms, at least one.
 * @param {RoomCursor[]} cursors
 */
function pathOf(cursors) {
  const [first, ...others] = cursors;
  const { recent, since } = first.place;
  const query = others.map((cursor) => `also=${encodeURIComponent(cursor.asFurther())}`);
  if (since) query.unshift(`since=${encodeURIComponent(since)}`);
  else if (recent) query.unshift(`recent=${recent}`);
  const path = `/v1/rooms/${encodeURIComponent(first.room)}/events`;
  return query.length > 0 ? `${path}?${query.join("&")}` : path;
}
