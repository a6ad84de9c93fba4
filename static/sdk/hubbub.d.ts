// Types and promises of the Hubbub JavaScript client (protocol hubbub.v1).

/** Any JSON value. */
export type Json = null | boolean | number | string | Json[] | { [key: string]: Json };

/**
 * `T` where it is JSON: an interface's value is, which as a type `Json` would not take. So is `unknown`,
 * as data has it that comes from elsewhere: at run time a value that JSON cannot hold is refused.
 */
export type AsJson<T> = unknown extends T
  ? T
  : T extends Json
    ? T
    : T extends (...args: never[]) => unknown
      ? never
      : T extends object
        ? { [K in keyof T]: AsJson<T[K]> }
        : never;

/** Who someone is. `id` is unique; `name` is for people and is not. */
export interface User {
  id: string;
  name: string;
}

/** Where a client stands in a room's stream. Keep it to resume in a later run. */
export interface Position {
  epoch: string;
  offset: number;
  /**
   * Id of the event at that offset; makes a fork after a failover visible. Absent where no event
   * has come yet, after a join or a `reset`.
   */
  message?: string;
}

/** What all durable events have. Offsets of one epoch are consecutive; all see the same order. */
export interface Durable {
  room: string;
  /** The event's own unique id, which it keeps when the server numbers it again (see `Repeated`). */
  message: string;
  /** Milliseconds since 1970. */
  ts: number;
  /** The nonce it was sent under: it matches your own with what you drew before the ack. */
  nonce?: string;
  epoch: string;
  offset: number;
}

/**
 * A message: as it was sent when it comes live, in its newest state (`edited`, `reactions`) when
 * it comes from `history()`. `fold()` brings the first into the second form.
 */
export interface Message extends Durable {
  type: "message";
  from: User;
  /** Users that the text names as `@id`. */
  mentions?: string[];
  /** Absent when `deleted`. */
  body?: Json;
  /** A deleted message keeps its place, and nothing else. */
  deleted?: true;
  /** The newest edit; `offset` is its own. */
  edited?: { ts: number; by: User; offset: number };
  reactions?: Reaction[];
}

/** Who reacted with what, in the order of the first reaction. */
export interface Reaction {
  key: string;
  count: number;
  /** Ids of the first 50. */
  users: string[];
}

/** The message at `target` says something else now. */
export interface Edited extends Durable {
  type: "edited";
  target: number;
  by: User;
  mentions?: string[];
  /** Absent when the message has been deleted since. */
  body?: Json;
  deleted?: true;
}

/** The message at `target` is gone. */
export interface Deleted extends Durable {
  type: "deleted";
  target: number;
  by: User;
}

/** Someone has put a reaction on the message at `target`, or taken it back. */
export interface Reacted extends Durable {
  type: "reacted";
  target: number;
  by: User;
  key: string;
  on: boolean;
}

/** Any of them changes a message that came before; `fold()` applies it. */
export type Change = Edited | Deleted | Reacted;

/** Someone has read up to `offset`: another user, or this one on another connection. */
export interface Read {
  type: "read";
  room: string;
  user: User;
  offset: number;
}

/** Who came and went, at most once a second. In very large rooms only `count` is told. */
export interface Presence {
  type: "presence";
  room: string;
  count: number;
  joined: User[];
  left: User[];
}

/** Someone writes, or has stopped to. Treat it as over after some seconds. */
export interface Typing {
  type: "typing";
  room: string;
  user: User;
  on: boolean;
}

/** An operator says something to everybody, or to those in a room. */
export interface Announcement {
  type: "announcement";
  /** Absent: to everybody. */
  room?: string;
  text: string;
  /** Milliseconds since 1970. */
  ts: number;
}

/** This client read too slowly: these offsets follow from the stream, in order. */
export interface Lagged {
  type: "lagged";
  room: string;
  from: number;
  to: number;
}

/**
 * Events may be missing between what you have and what follows: ask `history()`. `reset`: the
 * stream began a new life. `unrecovered`: what you missed is gone from it, and the newest page
 * follows. An event that was handed out before is not handed out again: where it comes again, it
 * is told as `repeated`.
 */
export interface Reset {
  type: "reset";
  room: string;
  epoch: string;
  offset: number;
  reason: "reset" | "unrecovered";
}

/**
 * An event that was handed out at `before` stands at another place now: after a `reset` the server
 * numbers again what it has kept. Changes that follow name its new offset as their `target`. A
 * program that keeps messages by their offset moves this one; a program that has thrown away what
 * it had at the `reset` takes `event` as it would have come.
 */
export interface Repeated {
  type: "repeated";
  room: string;
  before: { epoch: string; offset: number };
  event: Message | Change;
}

/** The room was entered: at first, and again after each reconnect. */
export interface Joined {
  room: string;
  epoch: string;
  /** The room's newest offset at that moment. */
  offset: number;
  /** False: what `since` asked for could not be proven complete (a `reset` came before). */
  recovered: boolean;
  /** False: the first join. */
  resumed: boolean;
  /** Users present. */
  members: number;
  /** "r", "w" or "rw". */
  rights: string;
}

/** The ack of a send, an edit, a deletion or a reaction. */
export interface Sent {
  type: "sent";
  room: string;
  epoch: string;
  offset: number;
  /** Absent for a duplicate whose event has left the stream; so is `ts`. */
  message?: string;
  ts?: number;
  /** It had been stored before: this is the first send's place. */
  duplicate: boolean;
  /** How safe it is: "stream", "replicated" or "archived". */
  ack: string;
}

/** A room as `rooms()` lists it; all but the first three only for my rooms. */
export interface RoomInfo {
  room: string;
  /** Users present. */
  members: number;
  /** The newest offset. */
  offset: number;
  /** I have joined it before, am a member of it, or it is a direct message of mine. */
  mine?: true;
  title?: string;
  topic?: string;
  /** Only its members may see it. */
  private?: true;
  /** The newest message. */
  last?: Message;
  /** How far I have read. */
  read?: number;
  /** Messages of others after that; 100 stands for "more than 99". */
  unread?: number;
  /** Those of them that mention me. */
  mentions?: number;
  /** An invitation: somebody has made me a member, and I have not joined yet. */
  invited?: true;
}

/** What is kept about a room. Needs a server with an archive. */
export interface RoomRecord {
  room: string;
  title: string;
  topic: string;
  private: boolean;
  created_by: User;
  /** Milliseconds since 1970. */
  created: number;
  settings: { [key: string]: Json };
}

/** One found message. `highlight` is its text in pieces; those with `hit` are what was found. */
export interface Hit {
  event: Message;
  highlight: { text: string; hit: boolean }[];
}

/** A send that had no ack when an earlier page of this user ended, and goes again in this one. */
export interface Restored {
  type: "send" | "edit" | "delete" | "react";
  room: string;
  nonce: string;
  /** Of a send or an edit. */
  body?: Json;
  /** The message that is changed. */
  target?: number;
  key?: string;
  on?: boolean;
  /** Settles as the call would have that made it. */
  done: Promise<Sent>;
}

/** How a client reaches a node. Over `sse`, sends and reads go by REST. */
export type Transport = "websocket" | "sse";

/** The part of `Storage` that is used. */
export interface KeyStorage {
  readonly length: number;
  key(index: number): string | null;
  getItem(key: string): string | null;
  setItem(key: string, value: string): void;
  removeItem(key: string): void;
}

/** What a token is asked for. */
export interface TokenRequest {
  /** The node to connect to. */
  url: string;
  /** The token given last is not taken (any more): the same one again ends the client. */
  refused: boolean;
}

export interface ConnectionState {
  /**
   * `connecting`: first try. `online`. `reconnecting`: lost, and resuming by itself.
   * `closed`: by `close()`, or by a server that does not want this client back as it is.
   */
  state: "connecting" | "online" | "reconnecting" | "closed";
  /** The socket's address in use, or tried last. */
  url: string | null;
  /** The node that holds the connection. */
  node: string | null;
  /** The way in that is in use. */
  transport: Transport | null;
  /** Tries since the last stable connection. */
  attempt: number;
  /** When the next try starts (`Date.now()` time); null while one is under way. */
  nextAttemptAt: number | null;
  /** The close code that led here; 0 when there was none. */
  code?: number;
  reason?: string;
}

/**
 * `code` is the server's stable error code, such as `forbidden`, `too_large` or `conflict`, or
 * the client's own: `closed`, `left`, `outbox_full`, `timeout` (no ack for 10 minutes, or no
 * answer to a read for 10 seconds), `token` (there is none to connect with yet), `storage` (a
 * send would not survive a reload), `too_slow` (a loop over a room does not keep up).
 */
export class HubbubError extends Error {
  code: string;
  retryAfterMs?: number;
}

export interface HubbubOptions {
  /**
   * One or more nodes, as `http(s)://` or `ws(s)://` URLs: any of them serves any room. Default:
   * the page's own origin.
   */
  urls?: string | string[];
  /**
   * A JWT, or a function that gives one: called before each connection, before the token ends
   * (a minute, or a fifth of its time; the connection goes on with the new one), and with
   * `refused: true` when the server does not take the last one (close code 4411 or 4501, HTTP
   * 401). Throwing means "try again later", except for a `HubbubError` that is neither
   * `unavailable` nor `rate_limited`, which ends the client. Without `token` the client asks a
   * node for a guest's, once.
   */
  token?: string | ((request: TokenRequest) => string | undefined | Promise<string | undefined>);
  /** The guest's name; without one the server makes it up. */
  name?: string;
  /**
   * The ways in, in the order of preference. Default: both; a WebSocket that ends three times in
   * a row (or once for each of more nodes) without a word makes the client go by SSE, from where
   * it tries WebSocket again after about 20 s, later every few minutes. Over SSE all rooms share
   * one stream, in whose address (7,500 characters) they are named.
   */
  transports?: Transport | Transport[];
  /**
   * Where what had no ack outlives a reload, and a guest stays who they are: "session" (this tab;
   * the default), "local" (also after the tab was closed), a storage of your own, or false for
   * nowhere. Ten minutes old at most, up to a million characters, from when the token or the first
   * connection says whose it is. Only a client of the same user takes over, once it has entered
   * the room, under the same nonces. Two tabs never send the same entry: a tab that lives holds a
   * Web Lock on its own. Without Web Locks (pages without TLS) both may, and the server stores it
   * once, by its nonce.
   */
  storage?: "session" | "local" | KeyStorage | false;
  /** What the keys in the storage begin with: one for each cluster. Default: "hubbub". */
  storageKey?: string;
  /** The WebSocket class, where there is no global one. */
  WebSocket?: new (url: string, protocols?: string[]) => object;
}

export interface HubbubEvents {
  /** Each change, the times of the next try included. */
  state: ConnectionState;
  /** Errors that belong to no call: nothing needs to be done for the client to go on. */
  error: HubbubError;
  /** Those to a room too, which that room tells as well. */
  announcement: Announcement;
  /** For each send that an earlier page left behind. */
  restored: Restored;
}

export interface RoomEvents {
  message: Message;
  edited: Edited;
  deleted: Deleted;
  reacted: Reacted;
  presence: Presence;
  typing: Typing;
  read: Read;
  announcement: Announcement;
  lagged: Lagged;
  reset: Reset;
  repeated: Repeated;
  joined: Joined;
  /** A rejoin was refused, or an operator or a new token has put this user out: the room is left. */
  error: HubbubError;
}

export interface JoinOptions {
  /** Replay the newest events first, one page (300) at most; `history()` has those before. */
  recent?: number;
  /** Replay what came after a position kept from before. */
  since?: Position;
  /**
   * Milliseconds after which `join` rejects with `timeout` when no node has answered; default
   * 30,000, `Infinity`: never. The client goes on trying, and `joined` tells when it is in.
   */
  timeout?: number;
  /**
   * Aborted before the room is joined, `join` rejects with the signal's reason, and the room is
   * left unless somebody else waits for it.
   */
  signal?: AbortSignal;
}

/**
 * A connection to a cluster. It connects by itself, and stays: whatever ends a connection
 * (other than a close code 45xx), it comes back on this or another node after a random delay
 * of up to 0.5 s, doubling up to 20 s, at once when the network or the page wakes up; rejoins
 * its rooms where it left off, and sends again what had no ack. Each event is handed out once.
 * A node that leaves a command without an answer for 5 s is pinged, after 10 s the client moves on.
 * Where WebSockets are blocked it goes by SSE and REST.
 */
export class Hubbub {
  constructor(options?: HubbubOptions);
  readonly state: ConnectionState;
  /** Who the server takes this client for; null before the first `online`. */
  readonly user: User | null;
  /** The node in use; null while there is none. */
  readonly node: string | null;
  /** What the server allows, as told in `welcome`. */
  readonly limits: Record<string, number> | null;
  /** The room's handle, always the same one. Nothing is sent. */
  room(name: string): Room;
  /** `room(name)`, with handlers set before the replayed events come, and joined. */
  join(
    name: string,
    options?: JoinOptions & { on?: { [K in keyof RoomEvents]?: (event: RoomEvents[K]) => void } },
  ): Promise<Room>;
  /** The public rooms and mine. */
  rooms(): Promise<RoomInfo[]>;
  /**
   * Messages with these words, newest first, in the rooms that I may read; `begin*` finds words
   * that begin so, and "quotes" find phrases. `next` goes into
   * `before` for the page after this one. By REST, like all of the room records: one try, within
   * 5 seconds.
   */
  search(
    q: string,
    options?: { room?: string; from?: string; before?: string; limit?: number },
  ): Promise<{ hits: Hit[]; next?: string }>;
  /** Makes a room with a record; without `room` the server names it. */
  createRoom(
    record?: Partial<Pick<RoomRecord, "room" | "title" | "topic" | "private" | "settings">> & {
      members?: string[];
    },
  ): Promise<RoomRecord>;
  /** Ends the wait for the next try, or checks that the connection still lives. */
  retryNow(): void;
  /** Ends everything: timers, the connection, and each promise still open (`closed`). */
  close(): void;
  /** Returns a function that takes the handler back. */
  on<K extends keyof HubbubEvents>(type: K, handler: (event: HubbubEvents[K]) => void): () => void;
  off<K extends keyof HubbubEvents>(type: K, handler: (event: HubbubEvents[K]) => void): void;
}

/** One room. Get it from `Hubbub.room()` or `Hubbub.join()`. */
export class Room {
  private constructor();
  readonly name: string;
  readonly joined: boolean;
  /** Of the last event handed out; null when not joined. */
  readonly position: Position | null;
  /** "r", "w" or "rw". */
  readonly rights: string;
  /** Users present, as last heard. */
  readonly memberCount: number;
  /**
   * Enters the room and stays in it over reconnects. Resolves after the replayed events were
   * handed out; rejects when the server refuses for good, with `timeout` when nobody answers in
   * time, and with `left` (an `AbortError` by name) when the room is left first. Joining again is
   * a resync.
   */
  join(options?: JoinOptions): Promise<Joined>;
  /** Leaves, and refuses with `left` the sends that still wait. */
  leave(): Promise<void>;
  /**
   * Sends a JSON value; resolves with the ack. Kept and repeated under the same nonce until
   * there is an answer, so that it is stored once, in the order of sending. Rejects when the
   * answer is final, after 10 minutes (`timeout`), or at once when 100 sends wait already
   * (`outbox_full`). Repeat a failed send with the same `nonce` to stay safe.
   */
  send<T>(body: T & AsJson<T>, options?: SendOptions): Promise<Sent>;
  /**
   * For what is no chat: sends `{ event: name, data }`. Others hear it as `event:NAME`, in the
   * order of the room, and as a `message`.
   */
  emit<T = null>(name: string, data?: T & AsJson<T>, options?: SendOptions): Promise<Sent>;
  /** Says something else in its place; only the author may. Kept and repeated like a send. */
  edit<T>(offset: number, body: T & AsJson<T>, options?: { nonce?: string }): Promise<Sent>;
  /** Takes a message away; the author may, and moderators. Kept and repeated like a send. */
  delete(offset: number, options?: { nonce?: string }): Promise<Sent>;
  /** Puts a reaction on a message, or takes it back. Kept and repeated like a send. */
  react(offset: number, key: string, on?: boolean, options?: { nonce?: string }): Promise<Sent>;
  /** I have read up to here. Marks only go forward; offline it is told after the next join. */
  read(offset: number): void;
  /** Tells the others; dropped when offline. Say it every few seconds while the user writes. */
  typing(on?: boolean): void;
  /**
   * A page of messages in their newest state, oldest first: those before, after or around an
   * offset; with none of them the newest. `more`: there are further ones in that direction (for
   * `around`: older ones).
   */
  history(options?: {
    before?: number;
    after?: number;
    around?: number;
    limit?: number;
  }): Promise<{ events: Message[]; more: boolean }>;
  /** Who is here; `members` is empty in very large rooms. */
  members(): Promise<{ count: number; members: User[] }>;
  /** The room's record. */
  record(): Promise<RoomRecord>;
  /** Changes the record. */
  update(
    changes: Partial<Pick<RoomRecord, "title" | "topic" | "private" | "settings">>,
  ): Promise<RoomRecord>;
  /** Ids of a private room's members. */
  invited(): Promise<string[]>;
  /** Makes a user a member of a private room. */
  invite(user: string): Promise<null>;
  /** Takes a membership away, someone's or one's own. */
  remove(user: string): Promise<null>;
  /**
   * Listens from this call on, for `for await`; enters the room if nobody has. Ends when the room
   * is left or the client closed by `close()`, throws what ended it otherwise, and `too_slow` when
   * 10,000 events wait.
   */
  events(types?: "message", start?: JoinOptions): AsyncIterableIterator<Message>;
  events<K extends keyof RoomEvents>(
    types: K | K[],
    start?: JoinOptions,
  ): AsyncIterableIterator<RoomEvents[K]>;
  /** `events()`: the messages. */
  [Symbol.asyncIterator](): AsyncIterableIterator<Message>;
  /** Returns a function that takes the handler back. */
  on<K extends keyof RoomEvents>(type: K, handler: (event: RoomEvents[K]) => void): () => void;
  on<T = Json>(type: `event:${string}`, handler: NamedHandler<T>): () => void;
  off<K extends keyof RoomEvents>(type: K, handler: (event: RoomEvents[K]) => void): void;
  off<T = Json>(type: `event:${string}`, handler: NamedHandler<T>): void;
}

/** What hears `event:NAME`: the data, and the message that it came in. */
export type NamedHandler<T> = (data: T, message: Message) => void;

export interface SendOptions {
  /** Under the same nonce it is stored once. Default: one of the client's own. */
  nonce?: string;
  /** How safe it has to be before the ack comes. Default: the server's `ack.level`. */
  ack?: "stream" | "replicated" | "archived";
}

/**
 * Asks a node of a cluster in guest mode (`POST /v1/guests`) to make a guest, with a token to
 * keep. `expires` is in milliseconds since 1970.
 */
export function newGuest(
  node: string,
  name?: string,
): Promise<{ token: string; user: User; expires: number }>;

/**
 * The message after a change, in the form that `history()` gives; the same object when nothing
 * changes. Safe to repeat, except that reactions beyond the users listed only count.
 */
export function fold(message: Message, change: Change): Message;

/** A nonce as the client makes them: 24 hexadecimal digits at random. */
export function newNonce(): string;
