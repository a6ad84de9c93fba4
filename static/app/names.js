// Which name goes with an id, as far as this page has heard of it.

import { cleanName } from "./text.js";

const MAX_NAMES = 2_000;

export class Names {
  #names = new Map();

  see({ id, name }) {
    this.#names.delete(id);
    this.#names.set(id, name);
    if (this.#names.size > MAX_NAMES) this.#names.delete(this.#names.keys().next().value);
  }

  /** The id itself for someone unheard of. */
  of(id) {
    return cleanName(this.#names.get(id) ?? id);
  }
}
