// Who this tab is: a guest of the cluster. The token lives as long as the tab, so that two
// tabs are two people; the name is remembered for the next one.

import { newGuest } from "/sdk/hubbub.js";

const IDENTITY = "hubbub.identity";
const NAME = "hubbub.name";
/** A token is renewed when it has less than this left. */
const MARGIN_MS = 60_000;
/** Any other node would refuse as well. */
const isFinal = ({ code }) => code !== "unavailable" && code !== "rate_limited";

/** Browsers may refuse storage: then everything lasts as long as the page. */
const memory = new Map();

export function read(area, key) {
  try {
    return globalThis[area].getItem(key);
  } catch {
    return memory.get(key) ?? null;
  }
}

export function write(area, key, value) {
  memory.set(key, value);
  try {
    globalThis[area].setItem(key, value);
  } catch {
    // Kept in memory.
  }
}

export class Identity {
  #nodes;
  #guest;
  /** Every id that was this tab's: what they wrote is mine. */
  #ids;

  /** `nodes`: base URLs of which any can make a guest. */
  constructor(nodes) {
    this.#nodes = nodes;
    const kept = JSON.parse(read("sessionStorage", IDENTITY) ?? "null");
    this.#guest = kept?.guest ?? null;
    this.#ids = new Set(kept?.ids ?? []);
  }

  get user() {
    return this.#guest?.user ?? null;
  }

  get rememberedName() {
    return read("localStorage", NAME) ?? "";
  }

  isMine(id) {
    return this.#ids.has(id);
  }

  /** The server has the last word on who a connection is. */
  see(user) {
    this.#ids.add(user.id);
    if (this.#guest) this.#guest.user = user;
    this.#keep();
  }

  /** For the SDK: a token that is still good, of the same name if it has to be a new one. */
  async token() {
    const left = (this.#guest?.expires ?? 0) - Date.now();
    if (left < MARGIN_MS) await this.take(this.user?.name ?? this.rememberedName);
    return this.#guest.token;
  }

  /** The token is no good any more. */
  forgetToken() {
    if (this.#guest) this.#guest.expires = 0;
  }

  /** Becomes a new guest. Throws when no node makes one. */
  async take(name) {
    let last;
    for (const node of this.#nodes) {
      try {
        this.#guest = await newGuest(node, name);
        this.see(this.#guest.user);
        write("localStorage", NAME, this.#guest.user.name);
        return;
      } catch (error) {
        last = error;
        if (isFinal(error)) break;
      }
    }
    throw last;
  }

  #keep() {
    const kept = { guest: this.#guest, ids: [...this.#ids] };
    write("sessionStorage", IDENTITY, JSON.stringify(kept));
  }
}
