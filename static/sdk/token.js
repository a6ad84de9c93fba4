// Tokens: one that was given, one asked for each time, or a guest's; and when they end.

import { HubbubError } from "./error.js";

/** One with less than this left is not begun with. */
const MARGIN_MS = 10_000;

export class Tokens {
  #source;
  #isFixed;
  #current;
  #isAsked = false;
  /** The one that the server does not take (any more). */
  #refused;

  /** `source` is a token, or a function `({ url, refused }) => token`. */
  constructor(source) {
    this.#isFixed = typeof source !== "function";
    this.#source = this.#isFixed ? () => source : source;
  }

  /** Asking again may give another one. */
  get canChange() {
    return !this.#isFixed;
  }

  /** For a new connection: the function decides whether it is the same as before. */
  async fresh(url) {
    const refused = this.#refused;
    const token = await this.#source({ url, refused: refused !== undefined });
    if (refused !== undefined && token === refused) {
      throw new HubbubError("unauthorized", "the same token again that was refused");
    }
    this.#refused = undefined;
    this.#current = token;
    this.#isAsked = true;
    return token;
  }

  /** For one request: the one in use, as long as it holds. */
  async current(url) {
    const holds = this.#isAsked && expiryOf(this.#current) - Date.now() > MARGIN_MS;
    return holds && this.#refused === undefined ? this.#current : this.fresh(url);
  }

  /** The server does not take the token in use. False: there is no other one to come back with. */
  refuse() {
    if (this.#isFixed) return false;
    this.#refused = this.#current;
    return this.#refused !== undefined;
  }
}

/** When a JWT ends, in milliseconds since 1970; Infinity when it does not say, or is none. */
export function expiryOf(token) {
  const { exp } = claimsOf(token);
  return Number.isFinite(exp) ? exp * 1_000 : Infinity;
}

/** Whose a JWT is; undefined when it does not say, or is none. */
export function subjectOf(token) {
  const { sub } = claimsOf(token);
  return typeof sub === "string" ? sub : undefined;
}

function claimsOf(token) {
  try {
    const payload = token.split(".")[1].replaceAll("-", "+").replaceAll("_", "/");
    const bytes = Uint8Array.from(atob(payload), (char) => char.charCodeAt(0));
    return JSON.parse(new TextDecoder().decode(bytes)) ?? {};
  } catch {
    return {};
  }
}
