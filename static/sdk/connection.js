// One connection to any of several nodes: dials, checks that it lives, backs off, moves on.

import { jitter } from "./backoff.js";
import { FallbackSocket } from "./fallback-socket.js";
import { TransportPolicy } from "./transport-policy.js";
import { HubbubError } from "./error.js";
import { Patience } from "./patience.js";
import { Probe } from "./probe.js";

const BACKOFF_BASE_MS = 500;
const BACKOFF_CAP_MS = 20_000;
const STABLE_MS = 30_000;
const DIAL_TIMEOUT_MS = 10_000;
const PONG_TIMEOUT_MS = 10_000;
const DEFAULT_PING_MS = 25_000;
export const CLOSED_HERE = 1000;
const ABRUPT = 1006;
const TOKEN_EXPIRED = 4411;
const BAD_TOKEN = 4501;
/** A function that gives one bad token after the other is not asked for ever. */
const MAX_REFUSALS = 2;

/** A refused guest stays refused; anything else may get better. */
const isRefusal = (error) =>
  error instanceof HubbubError && error.code !== "unavailable" && error.code !== "rate_limited";

/** 45xx: do not come back as you are. Everything else, abrupt ends too: reconnect and resume. */
const isFinal = (code) => code >= 4500 && code <= 4599;

const protocolsOf = (token) => (token ? ["hubbub.v1", `hubbub.bearer.${token}`] : ["hubbub.v1"]);

export class Connection {
  #urls;
  #next = 0;
  #tokens;
  #WebSocket;
  #policy;
  #on;
  /** The socket that counts; what older ones still say is ignored. */
  #socket = null;
  #kind = null;
  /** It has not said a word yet. */
  #isMute = true;
  #online = false;
  #onlineSince = 0;
  #attempts = 0;
  /** Tokens refused in a row. */
  #refusals = 0;
  /** From a `reconnect` frame: when to dial again. */
  #moveAt = 0;
  #heardAt = 0;
  #pingMs = DEFAULT_PING_MS;
  #checking = false;
  /** At most one of: time to dial again, the dial's deadline. */
  #dialTimer;
  #liveTimer;
  #moveTimer;
  #probe = new Probe();
  #patience = new Patience(
    () => this.#check(),
    () => this.#lost(0, "the node does not answer"),
  );
  #dialing = 0;
  #closed = false;
  #state = {
    state: "connecting",
    url: null,
    node: null,
    transport: null,
    attempt: 0,
    nextAttemptAt: null,
  };

  /**
   * `kinds` are the ways in, as `TransportPolicy` has them. `on` has `token(token)` before it is taken
   * anywhere, `online(welcome, token)`, `welcome(welcome)` for one that says more about the same connection, `frame(frame)`, `down()`,
   * `state(state)` and `error(error)`.
   */
  constructor(urls, tokens, { WebSocket, kinds }, on) {
    this.#urls = urls;
    this.#tokens = tokens;
    this.#WebSocket = WebSocket;
    this.#policy = new TransportPolicy(kinds, urls.length);
    this.#on = on;
    globalThis.addEventListener?.("online", this.#wake);
    globalThis.document?.addEventListener("visibilitychange", this.#wakeIfVisible);
    queueMicrotask(() => this.#dial());
  }

  get state() {
    return this.#state;
  }

  get online() {
    return this.#online;
  }

  /** False when there is no connection to send on. */
  send(frame) {
    if (!this.#online || this.#socket.readyState !== 1) return false;
    this.#socket.send(JSON.stringify(frame));
    return true;
  }

  /** Sends a command that the node answers; false when there is no connection. */
  ask(command) {
    const isSent = this.send(command);
    if (isSent) this.#patience.asked();
    return isSent;
  }

  /** A command has its answer; `byNode` is false when the request for it failed on its way. */
  answered(byNode) {
    if (byNode) this.#patience.answered();
    else this.#patience.failed();
  }

  /** Dials now instead of waiting; a connection that seems to live is checked. */
  retryNow() {
    if (this.#closed) return;
    if (this.#state.nextAttemptAt !== null) this.#dial();
    else if (this.#online) this.#check();
  }

  close() {
    this.#end({ code: CLOSED_HERE, reason: "closed by this client" });
  }

  #wake = () => this.retryNow();
  #wakeIfVisible = () => {
    if (globalThis.document.visibilityState === "visible") this.retryNow();
  };

  async #dial() {
    if (this.#closed) return;
    clearTimeout(this.#dialTimer);
    const dialing = ++this.#dialing;
    const url = this.#urls[this.#next++ % this.#urls.length];
    this.#setState({ url, node: null, transport: null, nextAttemptAt: null });
    this.#dialTimer = setTimeout(() => this.#lost(0, "no answer in time"), DIAL_TIMEOUT_MS);
    let token;
    try {
      token = await this.#tokens.fresh(url);
    } catch (error) {
      if (dialing === this.#dialing) this.#withoutToken(error);
      return;
    }
    if (dialing !== this.#dialing) return;
    this.#on.token(token);
    this.#open(url, token);
  }

  #withoutToken(error) {
    if (isRefusal(error)) {
      this.#end({ code: error.code === "unauthorized" ? BAD_TOKEN : 0, reason: error.message });
      return;
    }
    const why = `no token: ${error?.message ?? error}`;
    this.#on.error(new HubbubError("token", why));
    this.#lost(0, why);
  }

  #open(url, token) {
    const kind = this.#policy.next;
    try {
      const socket =
        kind === "sse" ? new FallbackSocket(url, token) : new this.#WebSocket(url, protocolsOf(token));
      this.#listen(socket, kind, token);
    } catch (error) {
      this.#end({ code: 0, reason: `cannot connect: ${error.message}` });
    }
  }

  /** From now on this is the socket that counts. */
  #listen(socket, kind, token) {
    this.#socket = socket;
    this.#kind = kind;
    this.#isMute = true;
    socket.onmessage = ({ data }) => socket === this.#socket && this.#take(data, token);
    socket.onclose = ({ code, reason }) => socket === this.#socket && this.#lost(code, reason);
    // A close follows and says more; but in Node 22 none follows a handshake that failed.
    socket.onerror = () => setTimeout(() => socket === this.#socket && this.#lost(ABRUPT, "no connection"));
  }

  #take(data, token) {
    this.#heardAt = Date.now();
    if (this.#isMute) this.#policy.opened(this.#kind);
    this.#isMute = false;
    let frame;
    try {
      frame = JSON.parse(data);
    } catch {
      // It may have been an event: the resume brings it again.
      this.#lost(1007, "a frame that is no JSON");
      return;
    }
    if (frame.type === "welcome") this.#welcome(frame, token);
    else if (frame.type === "reconnect") this.#moveIn(frame.after_ms ?? 0);
    else this.#on.frame(frame);
  }

  #welcome(frame, token) {
    if (this.#online) {
      this.#on.welcome(frame);
      if (frame.node !== this.#state.node) this.#setState({ node: frame.node });
      return;
    }
    clearTimeout(this.#dialTimer);
    this.#online = true;
    this.#onlineSince = Date.now();
    this.#refusals = 0;
    this.#pingMs = frame.ping_ms > 0 ? frame.ping_ms : DEFAULT_PING_MS;
    this.#watch(this.#pingMs);
    this.#probeLater(token);
    this.#on.online(frame, token);
    this.#setState({ state: "online", node: frame.node, transport: this.#kind, attempt: 0 });
  }

  /** The server closes by itself about then; if it does not, we go. */
  #moveIn(afterMs) {
    this.#moveAt = Date.now() + afterMs;
    clearTimeout(this.#moveTimer);
    this.#moveTimer = setTimeout(() => this.#lost(1012, "asked to move"), afterMs);
  }

  /** It becomes the connection with its first word: what was missed in between is resumed. */
  #probeLater(token) {
    const wait = this.#policy.nextProbe();
    if (wait === null) return;
    const open = () => new this.#WebSocket(this.#state.url, protocolsOf(token));
    const take = (socket, event) => {
      this.#drop();
      this.#policy.unblocked();
      this.#listen(socket, "websocket", token);
      socket.onmessage(event);
    };
    const fail = () => {
      this.#policy.probed();
      this.#probeLater(token);
    };
    this.#probe.start(wait, open, take, fail);
  }

  /** Browsers do not show the server's pings: a quiet connection is asked whether it lives. */
  #watch(delay) {
    clearTimeout(this.#liveTimer);
    this.#checking = false;
    this.#liveTimer = setTimeout(() => {
      const quiet = Date.now() - this.#heardAt;
      if (quiet < this.#pingMs) this.#watch(this.#pingMs - quiet);
      else this.#check();
    }, delay);
  }

  #check() {
    if (this.#checking) return;
    this.#checking = true;
    clearTimeout(this.#liveTimer);
    const asked = Date.now();
    this.send({ type: "ping" });
    this.#liveTimer = setTimeout(() => {
      if (this.#heardAt >= asked) this.#watch(this.#pingMs);
      else this.#lost(0, "the connection went silent");
    }, PONG_TIMEOUT_MS);
  }

  #lost(code, reason) {
    if (this.#closed) return;
    const isSilent = this.#isMute && (code === 0 || code === ABRUPT);
    if (this.#socket && isSilent) this.#policy.failed(this.#kind);
    if (isFinal(code) && !this.#hasOtherToken(code)) {
      this.#end({ code, reason });
      return;
    }
    if (code === TOKEN_EXPIRED) this.#tokens.refuse();
    const delay = this.#nextDelay();
    this.#drop();
    this.#setState({
      state: "reconnecting",
      node: null,
      transport: null,
      attempt: this.#attempts,
      nextAttemptAt: Date.now() + delay,
      code,
      reason,
    });
    this.#dialTimer = setTimeout(() => this.#dial(), delay);
  }

  #hasOtherToken(code) {
    return code === BAD_TOKEN && ++this.#refusals <= MAX_REFUSALS && this.#tokens.refuse();
  }

  #nextDelay() {
    const now = Date.now();
    if (this.#online && now - this.#onlineSince >= STABLE_MS) this.#attempts = 0;
    const asked = this.#moveAt;
    this.#moveAt = 0;
    if (asked > 0) return Math.max(0, asked - now);
    return jitter(this.#attempts++, BACKOFF_BASE_MS, BACKOFF_CAP_MS);
  }

  /** Lets go of the socket, whatever state it is in, and of all that waited on it. */
  #drop() {
    clearTimeout(this.#dialTimer);
    clearTimeout(this.#liveTimer);
    clearTimeout(this.#moveTimer);
    this.#probe.stop();
    this.#patience.stop();
    this.#checking = false;
    this.#dialing++;
    const socket = this.#socket;
    this.#socket = null;
    if (socket && socket.readyState < 2) socket.close(1000);
    if (!this.#online) return;
    this.#online = false;
    this.#on.down();
  }

  #end({ code, reason }) {
    if (this.#closed) return;
    this.#closed = true;
    globalThis.removeEventListener?.("online", this.#wake);
    globalThis.document?.removeEventListener("visibilitychange", this.#wakeIfVisible);
    this.#drop();
    const nowhere = { url: null, node: null, transport: null, nextAttemptAt: null };
    this.#setState({ state: "closed", ...nowhere, code, reason });
  }

  #setState(change) {
    this.#state = { ...this.#state, ...change };
    if (change.state === "online") {
      delete this.#state.code;
      delete this.#state.reason;
    }
    this.#on.state(this.#state);
  }
}
