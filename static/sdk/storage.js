// What has to outlive a page's reload: the guest, and the sends without an ack.

import { HubbubError } from "./error.js";
import { newNonce } from "./nonce.js";

/** Of all entries of one client. Storages hold about 5 million. */
const MAX_CHARS = 1_000_000;

/** Clients of this page, or this process: what they keep is theirs. */
const living = new Set();

/** "session", "local", a `Storage`, or false; a browser may refuse to give its own. */
export function storageOf(option = "session") {
  try {
    if (option === "session") return globalThis.sessionStorage ?? null;
    if (option === "local") return globalThis.localStorage ?? null;
  } catch {
    return null;
  }
  return option || null;
}

/** One value that stays; without a storage, none. */
export function memoryOf(storage, key) {
  return {
    read() {
      try {
        return JSON.parse(storage?.getItem(key) ?? "null");
      } catch {
        return null;
      }
    },
    write(value) {
      try {
        storage?.setItem(key, JSON.stringify(value));
      } catch {
        // Kept in memory only.
      }
    },
  };
}

/**
 * The sends of one client, each under a key `PREFIX.CLIENT.NUMBER`. A client holds the Web Lock
 * `PREFIX.CLIENT` as long as it lives, so that another tab takes over only what a tab that is
 * gone has left behind. Where there are no Web Locks (pages without TLS), two tabs may both
 * send an entry; they do it under the same nonce, and the server stores it once.
 */
export class Shelf {
  #storage;
  #prefix;
  #onError;
  #client = newNonce();
  #count = 0;
  #chars = 0;
  #isFull = false;
  /** The key and size of each entry that is kept, by its nonce. */
  #kept = new Map();
  #release = () => {};
  #closed = new AbortController();

  constructor(storage, key, onError) {
    this.#storage = storage;
    this.#prefix = `${key}.outbox`;
    this.#onError = onError;
    if (!storage) return;
    living.add(this.#client);
    const held = new Promise((resolve) => {
      this.#release = () => resolve(undefined);
    });
    navigatorLocks()?.request(this.#lock(this.#client), () => held).catch(() => {});
  }

  /** Keeps one; what is too much, or is refused, is told and lives in memory only. */
  put(user, at, command) {
    if (!this.#storage || this.#kept.has(command.nonce)) return;
    const text = JSON.stringify({ user, at, command });
    const key = `${this.#prefix}.${this.#client}.${String(this.#count++).padStart(9, "0")}`;
    try {
      if (this.#chars + text.length > MAX_CHARS) throw new Error(`more than ${MAX_CHARS} characters`);
      this.#storage.setItem(key, text);
    } catch (error) {
      if (!this.#isFull) this.#onError(new HubbubError("storage", `a send is not kept: ${error.message}`));
      this.#isFull = true;
      return;
    }
    this.#isFull = false;
    this.#chars += text.length;
    this.#kept.set(command.nonce, { key, size: text.length });
  }

  /** Something of other clients is there. */
  get hasOthers() {
    return this.#storage !== null && this.#others().length > 0;
  }

  drop(nonce) {
    const kept = this.#kept.get(nonce);
    if (!kept) return;
    this.#kept.delete(nonce);
    this.#chars -= kept.size;
    this.#remove(kept.key);
  }

  /**
   * Hands `onFound` what clients that are gone left of this user's, oldest first, none older than
   * `maxAge` ms. Resolves when all that is there now has been seen; what still living tabs hold
   * comes when they are gone.
   */
  async takeOver(user, maxAge, onFound) {
    const locks = navigatorLocks();
    const take = (client) => {
      const found = this.#claim(client, user, maxAge);
      if (found.length > 0) onFound(found);
    };
    await Promise.all(
      this.#others().map(async (client) => {
        if (!locks) return take(client);
        const isFree = await locks.request(this.#lock(client), { ifAvailable: true }, (lock) => {
          if (lock) take(client);
          return lock !== null;
        });
        if (!isFree) this.#takeLater(client, take);
      }),
    ).catch((error) => this.#onError(new HubbubError("storage", error.message)));
  }

  close() {
    living.delete(this.#client);
    this.#closed.abort();
    this.#release();
  }

  /** Also a page that is just being reloaded still holds its lock for a moment. */
  #takeLater(client, take) {
    const { signal } = this.#closed;
    navigatorLocks().request(this.#lock(client), { signal }, () => take(client)).catch(() => {});
  }

  #lock(client) {
    return `${this.#prefix}.${client}`;
  }

  #keys() {
    const keys = Array.from({ length: this.#storage.length }, (_, i) => this.#storage.key(i));
    return keys.filter((key) => key?.startsWith(`${this.#prefix}.`)).sort();
  }

  #others() {
    const clients = new Set(this.#keys().map((key) => key.split(".").at(-2)));
    return [...clients].filter((client) => !living.has(client));
  }

  /** Takes what is this user's away, and what is too old for anybody. */
  #claim(client, user, maxAge) {
    const found = [];
    for (const key of this.#keys().filter((key) => key.startsWith(`${this.#lock(client)}.`))) {
      const entry = memoryOf(this.#storage, key).read();
      const isYoung = entry?.at > Date.now() - maxAge;
      if (isYoung && entry.user !== user) continue;
      if (isYoung && entry.command?.nonce) found.push(entry);
      this.#remove(key);
    }
    return found;
  }

  #remove(key) {
    try {
      this.#storage.removeItem(key);
    } catch {
      // It is too old at some time.
    }
  }
}

const navigatorLocks = () => globalThis.navigator?.locks;
