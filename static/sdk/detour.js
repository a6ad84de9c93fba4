// The way in where WebSockets are blocked, behind the face of a WebSocket: each room's events by
// SSE, and all that is said by REST.

import { HubbubError } from "./error.js";
import { eventsOf } from "./event-stream.js";
import { problemOf, request } from "./rest.js";
import { httpUrl } from "./url.js";

/** Each stream holds a connection, and browsers open six to a host. */
const MAX_ROOMS = 4;
const ANSWER_TIMEOUT_MS = 10_000;
/** The server says something every 15 s. */
const SILENCE_MS = 40_000;
/** Replayed events that are handed over with `joined`, as the server does on a socket. */
const PAGE = 300;
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

export class Detour {
  readyState = 0;
  onmessage = null;
  onclose = null;
  #node;
  #token;
  /** Each room's stream: what ends it. */
  #streams = new Map();
  /** When the last announcement to everybody was made: each stream brings it. */
  #announcedAt = 0;

  constructor(url, token) {
    this.#node = httpUrl(url);
    this.#token = token;
    this.#open();
  }

  send(text) {
    const command = JSON.parse(text);
    if (REQUESTS[command.type]) this.#ask(command);
    else if (command.type === "join") this.#join(command);
    else if (command.type === "leave") this.#leave(command);
    else if (command.type === "ping") this.#ping(command);
    else if (command.type === "refresh") this.#refresh(command);
    // What is left, typing and read marks, only sockets carry.
  }

  close() {
    this.readyState = 3;
    for (const stream of this.#streams.values()) stream.abort();
    this.#streams.clear();
  }

  /** Limits and the node's name come with the first stream. */
  async #open() {
    try {
      const { user } = await this.#request("GET", "/v1/me");
      if (this.readyState !== 0) return;
      this.readyState = 1;
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

  async #ping({ id }) {
    const alive = await this.#request("GET", "/v1/me").catch(() => null);
    if (alive) this.#say({ type: "pong", id });
  }

  /** Streams that were begun with the older token end with it, and come back with this one. */
  async #refresh(command) {
    const older = this.#token;
    this.#token = command.token;
    try {
      await this.#request("GET", "/v1/me");
      this.#say({ type: "refreshed", id: command.id });
    } catch (error) {
      this.#token = older;
      this.#refuse(command, error);
    }
  }

  #knows({ room, ts }) {
    if (room !== undefined) return false;
    const isKnown = ts <= this.#announcedAt;
    this.#announcedAt = Math.max(ts, this.#announcedAt);
    return isKnown;
  }

  #leave({ id, room }) {
    this.#streams.get(room)?.abort();
    this.#streams.delete(room);
    queueMicrotask(() => this.#say({ type: "left", id, room }));
  }

  async #join(command) {
    const { room } = command;
    this.#streams.get(room)?.abort();
    if (!this.#streams.has(room) && this.#streams.size >= MAX_ROOMS) {
      const message = `without WebSocket a client can be in ${MAX_ROOMS} rooms`;
      queueMicrotask(() => this.#refuse(command, new HubbubError("too_many_rooms", message)));
      return;
    }
    const stream = new AbortController();
    this.#streams.set(room, stream);
    const token = this.#token;
    const isCurrent = () => this.#streams.get(room) === stream;
    let timer = setTimeout(() => stream.abort(), ANSWER_TIMEOUT_MS);
    const heard = () => {
      clearTimeout(timer);
      timer = setTimeout(() => stream.abort(), SILENCE_MS);
    };
    let why = "the stream ended";
    try {
      const body = await this.#events(command, stream.signal);
      heard();
      const replay = new Replay(command.id, (text) => isCurrent() && this.#hear(text));
      for await (const event of eventsOf(body, heard)) {
        if (!isCurrent()) return;
        if (event.type === "announcement" && this.#knows(JSON.parse(event.data))) continue;
        if (event.type === "close") {
          this.#endAs(JSON.parse(event.data), token);
          return;
        }
        replay.take(event);
      }
    } catch (error) {
      if (!isCurrent()) return;
      if (error instanceof HubbubError && error.code !== "unauthorized") {
        this.#streams.delete(room);
        this.#refuse(command, error);
        return;
      }
      why = error.code === "unauthorized" ? error : error.message;
    } finally {
      clearTimeout(timer);
    }
    if (!isCurrent()) return;
    if (why instanceof HubbubError) this.#end(BAD_TOKEN, why.message);
    else this.#end(1006, why);
  }

  async #events({ room, since, recent }, signal) {
    const query = since ? `?since=${encodeURIComponent(`${since.epoch}:${since.offset}`)}` : recent ? `?recent=${recent}` : "";
    const headers = { accept: "text/event-stream" };
    if (this.#token) headers.authorization = `Bearer ${this.#token}`;
    const url = `${this.#node}${path({ room }, `/events${query}`)}`;
    const response = await fetch(url, { headers, signal, cache: "no-store" });
    if (!response.ok) throw await problemOf(response);
    return response.body;
  }

  #request(method, at, body, nonce) {
    return request(this.#node, method, at, { token: this.#token, body, nonce });
  }

  #refuse({ id, room }, { code, message, retryAfterMs }) {
    if (code === "unauthorized") this.#end(BAD_TOKEN, message);
    else this.#say({ type: "error", id, room, code, message, retry_after_ms: retryAfterMs });
  }

  #say(frame) {
    this.#hear(JSON.stringify(frame));
  }

  #hear(data) {
    if (this.readyState === 1) this.onmessage?.({ data });
  }

  /** A stream that began with an older token says nothing about the one in use. */
  #endAs({ code, reason }, token) {
    const isRenewed = code === TOKEN_EXPIRED && token !== this.#token;
    this.#end(isRenewed ? SERVICE_RESTART : code, reason);
  }

  #end(code, reason) {
    if (this.readyState === 3) return;
    this.close();
    this.onclose?.({ code, reason });
  }
}

/**
 * Over SSE the replayed events follow `joined`; on a socket they are in it. They are collected
 * up to a page, so that the room hears the same.
 */
class Replay {
  #id;
  #pass;
  #joined = null;
  #isOver = false;

  constructor(id, pass) {
    this.#id = id;
    this.#pass = pass;
  }

  take({ type, data, id }) {
    if (this.#isOver) this.#pass(data);
    else if (type === "joined") this.#begin(JSON.parse(data), id !== undefined);
    else if (this.#joined && id !== undefined) this.#collect(JSON.parse(data));
    // What a `reset` before it says, `joined` says as well.
    else if (type !== "reset") this.#pass(data);
  }

  #begin(joined, isAlone) {
    this.#joined = { ...joined, id: this.#id };
    if (isAlone) this.#finish();
  }

  #collect(event) {
    const { events, offset } = this.#joined;
    events.push(event);
    if (event.offset >= offset || events.length >= PAGE) this.#finish();
  }

  #finish() {
    this.#isOver = true;
    this.#pass(JSON.stringify(this.#joined));
  }
}

function placeOf(command) {
  const wanted = ["before", "after", "around", "limit"].map((name) => [name, command[name]]);
  return new URLSearchParams(wanted.filter(([, value]) => value !== undefined));
}
