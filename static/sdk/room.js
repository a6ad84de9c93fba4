// One room as this client sees it: where it stands in the stream, and how it gets back there.

import { jitter } from "./backoff.js";
import { Emitter } from "./emitter.js";
import { HubbubError } from "./error.js";
import { iterate } from "./iterate.js";
import { Seen } from "./seen.js";

const REJOIN_BASE_MS = 500;
const REJOIN_CAP_MS = 10_000;
/** How long `join` waits for an answer unless it is told otherwise. */
const JOIN_TIMEOUT_MS = 30_000;
/** What a timer can wait at most. */
const MAX_WAIT_MS = 2 ** 31 - 1;
/** A dead connection goes unnoticed for up to this long: a mark that young may not have arrived. */
const READ_AGAIN_MS = 60_000;
const TRANSIENT = new Set(["unavailable", "unknown", "internal", "rate_limited"]);

export class Room extends Emitter {
  #link;
  #wanted = false;
  #joined = false;
  #joining = false;
  /** `{epoch, offset, message}` of the last event handed out; null before the first join. */
  #position = null;
  /** What was handed out: the server may number it again after a failover. */
  #seen = new Seen();
  #recent;
  #waiters = [];
  #attempts = 0;
  #rejoin;
  /** How far this user has read, and whether a connection has taken it. */
  #read = { offset: 0, at: 0, told: true };

  /** Made by `Hubbub.room()`. `link` has `transmit`, `post`, `ask`, `rest`, `outbox`
   * and `closed()`. */
  constructor(name, link) {
    super();
    this.name = name;
    this.rights = "";
    this.memberCount = 0;
    this.#link = link;
  }

  get joined() {
    return this.#joined;
  }

  get position() {
    return this.#position && { ...this.#position };
  }

  /** Sends may go: it is joined, or nobody wants it to be and the server shall say so. */
  get ready() {
    return this.#joined || !this.#wanted;
  }

  /** @param {import("./hubbub.d.ts").JoinOptions} [options] */
  join({ recent, since, timeout = JOIN_TIMEOUT_MS, signal } = {}) {
    if (this.#link.closed()) return Promise.reject(this.#link.closed());
    if (signal?.aborted) return Promise.reject(signal.reason);
    this.#wanted = true;
    if (since) this.#startAt(since);
    this.#recent = recent;
    return new Promise((resolve, reject) => {
      this.#waiters.push(this.#makeWaiter({ resolve, reject }, timeout, signal));
      this.#sendJoin();
    });
  }

  leave() {
    const left = new HubbubError("left", `${this.name} was left`);
    this.#forget();
    this.dispatch("end", null);
    // A page that is taken down ignores an AbortError, as it does that of a request.
    const aborted = new HubbubError("left", `${this.name} was left before it was joined`);
    aborted.name = "AbortError";
    this.#answer((waiter) => waiter.reject(aborted));
    this.#link.outbox.refuse(left, this.name);
    return /** @type {Promise<void>} */ (new Promise((resolve, reject) => {
      // A connection that ends has left by itself.
      const sent = this.#link.transmit({ type: "leave", room: this.name }, (reply) => {
        if (reply?.type === "error" && reply.code !== "not_joined") {
          reject(HubbubError.fromFrame(reply));
        } else resolve();
      });
      if (!sent) resolve();
    }));
  }

  send(body, options) {
    return this.#post("send", { body }, options);
  }

  /** For what is no chat: others hear it as `event:NAME`, and as a message. */
  emit(event, data = null, options = {}) {
    return this.#post("send", { body: { event, data } }, options);
  }

  /** Joins the room if nobody has, and listens from this call on. */
  events(types = ["message"], start = {}) {
    const events = iterate(this, [].concat(types));
    if (this.#wanted) return events;
    // The iteration ends with the error, too.
    this.join({ timeout: Infinity, ...start }).catch((error) => this.dispatch("end", error));
    return events;
  }

  [Symbol.asyncIterator]() {
    return this.events();
  }

  edit(offset, body, options) {
    return this.#post("edit", { target: offset, body }, options);
  }

  delete(offset, options) {
    return this.#post("delete", { target: offset }, options);
  }

  react(offset, key, on = true, options = {}) {
    return this.#post("react", { target: offset, key, on }, options);
  }

  /** Marks only go forward; one that no connection takes now is told after the next join. */
  read(offset) {
    if (!(offset > this.#read.offset)) return;
    this.#read = { offset, at: Date.now(), told: false };
    if (this.#joined) this.#tellRead();
  }

  /** Of the moment only: without a connection it is dropped. */
  typing(on = true) {
    this.#link.post({ type: "typing", room: this.name, on });
  }

  /** @param {{ before?: number, after?: number, around?: number, limit?: number }} [options] */
  async history({ before, after, around, limit } = {}) {
    const place = { before, after, around, limit };
    const reply = await this.#link.ask({ type: "history", room: this.name, ...place });
    return { events: reply.events, more: reply.more };
  }

  async members() {
    const reply = await this.#link.ask({ type: "members", room: this.name });
    return { count: reply.count, members: reply.members };
  }

  record() {
    return this.#link.rest("GET", this.#path());
  }

  update(changes) {
    return this.#link.rest("PATCH", this.#path(), changes);
  }

  async invited() {
    return (await this.#link.rest("GET", this.#path("/members"))).invited ?? [];
  }

  invite(user) {
    return this.#link.rest("POST", this.#path("/members"), { user });
  }

  remove(user) {
    return this.#link.rest("DELETE", this.#path(`/members/${encodeURIComponent(user)}`));
  }

  /** @internal */
  goOnline() {
    if (this.#wanted) this.#sendJoin();
  }

  /** @internal */
  goDown() {
    if (Date.now() - this.#read.at < READ_AGAIN_MS) this.#read.told = false;
    this.#joined = false;
    this.#joining = false;
    clearTimeout(this.#rejoin);
  }

  /** @internal Loops over the room hear of an end that their own program has not asked for. */
  end(error, isAsked) {
    this.#forget();
    this.#answer((waiter) => waiter.reject(error));
    this.dispatch("end", isAsked ? null : error);
  }

  /** @internal A frame of this room that is no reply. */
  take(frame) {
    if (!this.#wanted) return;
    if (frame.type === "reset") this.#reset(frame, "reset");
    else if (frame.type === "left") this.#putOut();
    else if (frame.offset !== undefined && frame.epoch !== undefined) this.#live(frame);
    else {
      if (frame.type === "presence") this.memberCount = frame.count;
      this.dispatch(frame.type, frame);
    }
  }

  /** One call of `join`, which ends by an answer, its time or its signal. */
  #makeWaiter({ resolve, reject }, timeout, signal) {
    const waiter = { resolve, reject };
    const giveUp = (error) => {
      this.#waiters = this.#waiters.filter((other) => other !== waiter);
      waiter.settled();
      reject(error);
    };
    const late = () => {
      const message = `${this.name} was not joined within ${timeout} ms; the client goes on trying`;
      giveUp(new HubbubError("timeout", message));
    };
    const abort = () => {
      giveUp(signal.reason);
      // Nobody else wants the room.
      if (this.#waiters.length === 0 && !this.#joined) this.leave();
    };
    const timer = timeout <= MAX_WAIT_MS ? setTimeout(late, timeout) : undefined;
    signal?.addEventListener("abort", abort);
    waiter.settled = () => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", abort);
    };
    return waiter;
  }

  #path(rest = "") {
    return `/v1/rooms/${encodeURIComponent(this.name)}${rest}`;
  }

  #post(type, fields, options) {
    if (this.#link.closed()) return Promise.reject(this.#link.closed());
    return this.#link.outbox.add(type, this.name, fields, options);
  }

  /** A program that asks for another place than the last one wants the events after it again. */
  #startAt(since) {
    const at = this.#position;
    if (since.epoch !== at?.epoch || since.offset !== at.offset) this.#seen = new Seen();
    this.#position = { ...since };
  }

  #tellRead() {
    const { offset } = this.#read;
    this.#read.told = this.#link.post({ type: "read", room: this.name, offset });
  }

  #sendJoin() {
    clearTimeout(this.#rejoin);
    if (this.#joining) return;
    const command = { type: "join", room: this.name };
    if (this.#position) command.since = this.#position;
    else if (this.#recent !== undefined) command.recent = this.#recent;
    this.#joining = this.#link.transmit(command, (reply) => this.#hearJoin(reply));
  }

  #hearJoin(reply) {
    this.#joining = false;
    if (reply === null || !this.#wanted) return;
    if (reply.type === "joined") this.#enter(reply);
    else if (TRANSIENT.has(reply.code)) {
      // A resync that fails has left the room.
      this.#joined = false;
      const delay = jitter(this.#attempts++, REJOIN_BASE_MS, REJOIN_CAP_MS);
      this.#rejoin = setTimeout(() => this.#sendJoin(), Math.max(delay, reply.retry_after_ms ?? 0));
    } else this.#refused(HubbubError.fromFrame(reply));
  }

  #enter({ epoch, offset, recovered, members, rights, events }) {
    const resumed = this.#position !== null;
    if (resumed && !recovered) this.#reset({ room: this.name, epoch, offset }, "unrecovered");
    if (!resumed || !recovered || this.#position.epoch !== epoch) {
      this.#position = { epoch, offset: events.length > 0 ? events[0].offset - 1 : offset };
    }
    this.#joined = true;
    this.#attempts = 0;
    this.rights = rights;
    this.memberCount = members;
    const info = { room: this.name, epoch, offset, recovered, resumed, members, rights };
    this.dispatch("joined", info);
    for (const event of events) this.#accept(event);
    this.#answer((waiter) => waiter.resolve(info));
    if (!this.#read.told) this.#tellRead();
    this.#link.outbox.flush();
  }

  #refused(error) {
    const asked = this.#waiters.length > 0;
    this.#forget();
    this.#link.outbox.refuse(error, this.name);
    this.#answer((waiter) => waiter.reject(error));
    if (!asked) this.dispatch("error", error);
    this.dispatch("end", error);
  }

  /** The server has taken this user out: asking to come back says why. */
  #putOut() {
    this.#joined = false;
    this.#sendJoin();
  }

  #reset({ room, epoch, offset }, reason) {
    this.#position = { epoch, offset };
    this.#seen.reset();
    this.dispatch("reset", { type: "reset", room, epoch, offset, reason });
  }

  /** Live events come one after the other; one that does not is fetched again by a resync,
   * with all that came before it. */
  #live(event) {
    const at = this.#position;
    if (!at || event.epoch !== at.epoch || event.offset > at.offset + 1) {
      if (this.#joined) this.#sendJoin();
    } else this.#accept(event);
  }

  #accept(event) {
    const at = this.#position;
    // A handler may have left the room meanwhile.
    if (!this.#wanted || !at) return;
    if (event.epoch === at.epoch && event.offset <= at.offset) return;
    this.#position = { epoch: event.epoch, offset: event.offset, message: event.message };
    const before = this.#seen.see(event);
    if (before) {
      this.dispatch("repeated", { type: "repeated", room: this.name, before, event });
      return;
    }
    this.dispatch(event.type, event);
    if (event.type !== "message" || typeof event.body?.event !== "string") return;
    this.dispatch(`event:${event.body.event}`, event.body.data, event);
  }

  #forget() {
    this.#wanted = false;
    this.#joined = false;
    this.#position = null;
    this.#seen = new Seen();
    clearTimeout(this.#rejoin);
  }

  #answer(answer) {
    const waiters = this.#waiters;
    this.#waiters = [];
    for (const waiter of waiters) waiter.settled();
    waiters.forEach(answer);
  }
}
