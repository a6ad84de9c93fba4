// A connection outlives its token: before that ends, the server is given the next one.

import { jitter } from "./backoff.js";
import { HubbubError } from "./error.js";
import { expiryOf } from "./token.js";

/** This long before the end, or a fifth of what is left, if that is less. */
const LEAD_MS = 60_000;
const RETRY_BASE_MS = 1_000;
const RETRY_CAP_MS = 20_000;
/** What a timer can wait at most. */
const MAX_WAIT_MS = 2 ** 31 - 1;

export class Renewal {
  #tokens;
  #link;
  #timer;
  /** What is heard for an older connection no longer counts. */
  #turn = 0;

  /** Without `tokens` nothing is renewed. `link` has `transmit(command, onReply)`, `url()` and `error(error)`. */
  constructor(tokens, link) {
    this.#tokens = tokens;
    this.#link = link;
  }

  /** A connection has been made with this token. */
  start(token) {
    this.stop();
    if (this.#tokens?.canChange) this.#plan(token, expiryOf(token));
  }

  stop() {
    this.#turn++;
    clearTimeout(this.#timer);
  }

  #plan(token, expires) {
    const left = expires - Date.now();
    if (left === Infinity || left <= 0) return;
    const wait = Math.max(left - LEAD_MS, left * 0.8);
    const isFar = wait > MAX_WAIT_MS;
    const then = () => (isFar ? this.#plan(token, expires) : this.#renew(token, expires, 0));
    this.#timer = setTimeout(then, Math.min(wait, MAX_WAIT_MS));
  }

  async #renew(old, expires, attempt) {
    const turn = this.#turn;
    try {
      const token = await this.#tokens.fresh(this.#link.url());
      // The same again: the server ends the connection with 4411, and then it is asked anew.
      if (turn === this.#turn && token && token !== old) this.#hand(token, turn);
    } catch (error) {
      if (turn !== this.#turn) return;
      this.#link.error(new HubbubError("token", `no new token: ${error?.message ?? error}`));
      const wait = jitter(attempt, RETRY_BASE_MS, RETRY_CAP_MS);
      if (Date.now() + wait >= expires) return;
      this.#timer = setTimeout(() => this.#renew(old, expires, attempt + 1), wait);
    }
  }

  #hand(token, turn) {
    this.#link.transmit({ type: "refresh", token }, (reply) => {
      if (reply === null || turn !== this.#turn) return;
      if (reply.type === "refreshed") this.#plan(token, reply.expires ?? expiryOf(token));
      else this.#link.error(HubbubError.fromFrame(reply));
    });
  }
}
