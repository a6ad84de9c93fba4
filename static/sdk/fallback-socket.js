// The way in where WebSockets are blocked, behind the face of a WebSocket: the rooms' events by
// SSE, and all that is said by REST.

import { Feed } from "./feed.js";
import { ThrottledSignals } from "./throttled-signals.js";
import { problemOf, request } from "./rest.js";
import { httpUrl } from "./url.js";

const SERVICE_RESTART = 1012;
const TOKEN_EXPIRED = 4411;
const BAD_TOKEN = 4501;

const path = ({ room }, rest) => `/v1/rooms/${encodeURIComponent(room)}${rest}`;
const reaction = (command) =>
  path(command, `/messages/${command.target}/reactions/${encodeURIComponent(command.key)}`);

/** What is asked for each command; `nonce` goes along as `Idempotency-Key`. */
const REQUESTS = {
  send: (command) => ["POST", path(command, "/messages"), { body: command.body, ack: command.ack }],
  edit: (command) => ["PATCH", path(command, `/messages/${command.target}`), { body: command.body }],
  delete: (command) => ["DELETE", path(command, `/messages/${command.target}`)],
  react: (command) => [command.on ? "PUT" : "DELETE", reaction(command)],
  history: (command) => ["GET", path(command, `/messages?${placeOf(command)}`)],
  members: (command) => ["GET", path(command, "/members")],
  rooms: () => ["GET", "/v1/rooms"],
};

/** What has no answer. */
const SIGNALS = {
  typing: (command) => ["PUT", path(command, "/typing"), { on: command.on }],
  read: (command) => ["PUT", path(command, "/read"), { offset: command.offset }],
};

export class FallbackSocket {
  readyState = 0;
  onmessage = null;
  onclose = null;
  #node;
  #token;
  /** The token that the stream was begun with. */
  #streamToken;
  #me;
  /** Room → how far this connection has said that it was read. */
  #read = new Map();
  /** When the last announcement to everybody was made: two streams may bring it. */
  #announcedAt = 0;
  #feed = new Feed({
    open: (at, signal) => this.#stream(at, signal),
    take: (text, frame) => this.#isKnown(frame) || this.#take(text),
    refuse: (command, error) => this.#refuse(command, error),
    end: (code, reason) => this.#endStream(code, reason),
  });
  #signals = new ThrottledSignals((command) => {
    const [method, at, body] = SIGNALS[command.type](command);
    this.#request(method, at, body).catch(() => {});
  });

  constructor(url, token) {
    this.#node = httpUrl(url);
    this.#token = token;
    this.#open();
  }

  send(text) {
    const command = JSON.parse(text);
    if (REQUESTS[command.type]) this.#ask(command);
    else if (SIGNALS[command.type]) this.#signal(command);
    else if (command.type === "join") this.#feed.join(command);
    else if (command.type === "leave") this.#leave(command);
    else if (command.type === "ping") this.#ping(command);
    else if (command.type === "refresh") this.#refresh(command);
  }

  close() {
    this.readyState = 3;
    this.#feed.close();
    this.#signals.stop();
  }

  /** Limits and the node's name come with the first stream. */
  async #open() {
    try {
      const { user } = await this.#request("GET", "/v1/me");
      if (this.readyState !== 0) return;
      this.readyState = 1;
      this.#me = user.id;
      this.#say({ type: "welcome", user, node: null });
    } catch (error) {
      this.#end(error.code === "unauthorized" ? BAD_TOKEN : 1006, error.message);
    }
  }

  async #ask(command) {
    const { id, type, nonce } = command;
    const [method, at, body] = REQUESTS[type](command);
    try {
      const answer = await this.#request(method, at, body, nonce);
      this.#say({ type: nonce === undefined ? type : "sent", ...answer, id });
    } catch (error) {
      this.#refuse(command, error);
    }
  }

  #signal(command) {
    const { type, room, offset } = command;
    if (type === "read") this.#read.set(room, Math.max(offset, this.#read.get(room) ?? 0));
    this.#signals.add(command);
  }

  async #ping({ id }) {
    const alive = await this.#request("GET", "/v1/me").catch(() => null);
    if (alive) this.#say({ type: "pong", id });
  }

  async #refresh(command) {
    const older = this.#token;
    this.#token = command.token;
    try {
      await this.#request("GET", "/v1/me");
      this.#say({ type: "refreshed", id: command.id });
      this.#feed.renew();
    } catch (error) {
      this.#token = older;
      this.#refuse(command, error);
    }
  }

  #leave({ id, room }) {
    this.#feed.leave(room);
    this.#read.delete(room);
    queueMicrotask(() => this.#say({ type: "left", id, room }));
  }

  async #stream(at, signal) {
    const token = this.#token;
    const headers = { accept: "text/event-stream" };
    if (token) headers.authorization = `Bearer ${token}`;
    const response = await fetch(`${this.#node}${at}`, { headers, signal, cache: "no-store" });
    if (!response.ok) throw await problemOf(response);
    this.#streamToken = token;
    return response.body;
  }

  #request(method, at, body, nonce) {
    return request(this.#node, method, at, { token: this.#token, body, nonce });
  }

  #refuse({ id, room }, { code, message, retryAfterMs, isUnanswered }) {
    if (code === "unauthorized") return this.#end(BAD_TOKEN, message);
    const frame = { type: "error", id, room, code, message, retry_after_ms: retryAfterMs };
    this.#say({ ...frame, unanswered: isUnanswered || undefined });
  }

  #isKnown(frame) {
    const isRemark = frame.type === "typing" || frame.type === "read";
    if (isRemark) return frame.user.id === this.#me && this.#isEcho(frame);
    if (frame.type !== "announcement" || frame.room !== undefined) return false;
    const isKnown = frame.ts <= this.#announcedAt;
    this.#announcedAt = Math.max(frame.ts, this.#announcedAt);
    return isKnown;
  }

  /** The server does not know that the sender of a signal listens by this stream. */
  #isEcho({ type, room, offset }) {
    return type === "typing" || offset <= (this.#read.get(room) ?? 0);
  }

  #say(frame) {
    this.#take(JSON.stringify(frame));
  }

  #take(data) {
    if (this.readyState === 1) this.onmessage?.({ data });
  }

  /** A stream that was begun with an older token says nothing about the one in use. */
  #endStream(code, reason) {
    const isRenewed = code === TOKEN_EXPIRED && this.#streamToken !== this.#token;
    this.#end(isRenewed ? SERVICE_RESTART : code, reason);
  }

  #end(code, reason) {
    if (this.readyState === 3) return;
    this.close();
    this.onclose?.({ code, reason });
  }
}

function placeOf(command) {
  const wanted = ["before", "after", "around", "limit"].map((name) => [name, command[name]]);
  return new URLSearchParams(wanted.filter(([, value]) => value !== undefined));
}
