// Which way in is tried next: WebSocket, or where that is blocked, SSE with REST.

import { jitter } from "./backoff.js";

/** A WebSocket that ends this often in a row without a word may be blocked on the way. */
const ENOUGH = 3;
const PROBE_BASE_MS = 20_000;
const PROBE_CAP_MS = 300_000;

export class TransportPolicy {
  #kinds;
  #enough;
  #next;
  #failed = 0;
  #probes = 0;

  /** `kinds` are "websocket" and "sse", one or both; `nodes` is how many there are to fail. */
  constructor(kinds, nodes) {
    this.#kinds = kinds;
    this.#enough = Math.max(ENOUGH, nodes);
    this.#next = kinds[0];
  }

  get next() {
    return this.#next;
  }

  /** The server has spoken. */
  opened(kind) {
    if (kind !== "websocket") return;
    this.#failed = 0;
    this.#probes = 0;
  }

  /** It ended before the server said a word: perhaps blocked, perhaps the node is down. */
  failed(kind) {
    if (this.#kinds.length < 2) return;
    if (kind === "sse") this.#next = "websocket";
    else if (++this.#failed >= this.#enough) this.#next = "sse";
  }

  /** How long to wait before WebSocket is tried again; null when there is nothing to try. */
  nextProbe() {
    if (this.#kinds.length < 2 || this.#next === "websocket") return null;
    return PROBE_BASE_MS / 2 + jitter(this.#probes, PROBE_BASE_MS, PROBE_CAP_MS);
  }

  /** It is still blocked. */
  probed() {
    this.#probes++;
  }

  /** A WebSocket has opened: it is no longer blocked. */
  unblocked() {
    this.#next = "websocket";
  }
}
