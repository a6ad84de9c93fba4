// What was written here and has not come back as an event yet.

import { newNonce } from "/sdk/hubbub.js";

import { element } from "./dom.js";
import { PendingItem } from "./message.js";

export class Sends {
  element = element("ol", { class: "pending", "aria-live": "off" });
  #page;
  #show;
  #room = null;
  /** nonce → `{body, pending, parked}`. */
  #waiting = new Map();

  /** `show(change)` runs what changes the list. */
  constructor(page, show) {
    this.#page = page;
    this.#show = show;
  }

  /** What could not be sent with an earlier client goes with this one. */
  attach(room) {
    this.#room = room;
    for (const [nonce, send] of this.#waiting) if (send.parked) this.#try(nonce, send);
  }

  add(body) {
    const nonce = newNonce();
    const send = { body, pending: new PendingItem(body.text, this.#page), parked: false };
    this.#waiting.set(nonce, send);
    this.#show(() => this.element.append(send.pending.element));
    this.#try(nonce, send);
  }

  /** The event of this nonce is there, or nobody wants it any more. */
  arrived(nonce) {
    this.#waiting.get(nonce)?.pending.element.remove();
    this.#waiting.delete(nonce);
  }

  async #try(nonce, send) {
    send.pending.wait();
    send.parked = this.#room === null;
    if (send.parked) return;
    try {
      await this.#room.send(send.body, { nonce });
    } catch (error) {
      // The page changes its client, not its mind: `attach` sends it again.
      send.parked = error.code === "closed";
      if (send.parked) return;
      const retry = () => this.#try(nonce, send);
      this.#show(() => send.pending.fail(error.message, retry, () => this.arrived(nonce)));
    }
  }
}
