// Typing and read marks over the fallback, where each is a request: of a room and kind at most one a second.
// The last word is always said.

const INTERVAL_MS = 1_000;

export class ThrottledSignals {
  #say;
  /** What was said within the last second → what is to be said next, or null. */
  #next = new Map();
  #timers = new Set();

  /** `say(command)` asks the server. */
  constructor(say) {
    this.#say = say;
  }

  add(command) {
    const key = `${command.type} ${command.room}`;
    if (this.#next.has(key)) this.#next.set(key, command);
    else this.#begin(key, command);
  }

  stop() {
    for (const timer of this.#timers) clearTimeout(timer);
    this.#timers.clear();
  }

  #begin(key, command) {
    this.#next.set(key, null);
    this.#say(command);
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      const next = this.#next.get(key);
      this.#next.delete(key);
      if (next) this.#begin(key, next);
    }, INTERVAL_MS);
    this.#timers.add(timer);
  }
}
