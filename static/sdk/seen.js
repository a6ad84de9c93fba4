// The events that a room has handed out lately: tells a new event from one that comes again.

/** How many message ids are remembered. */
const KEPT = 1_000;
/** The same once a reset has come: as many events as a stream keeps by default, and so as many as
 * the server may append again. */
const KEPT_AFTER_RESET = 10_000;
/** The id of an event of which only the place is left; many events have it. */
const UNKNOWN = "-";

export class Seen {
  /** Message id → where the event was handed out; the oldest stands first. */
  #places = new Map();
  #kept = KEPT;

  /** Remembers an event. Returns where it was handed out before; undefined when it is new. */
  see({ message, epoch, offset }) {
    if (message === undefined || message === UNKNOWN) return undefined;
    const before = this.#places.get(message);
    this.#places.delete(message);
    this.#places.set(message, { epoch, offset });
    if (this.#places.size > this.#kept) this.#places.delete(this.#places.keys().next().value);
    return before;
  }

  /** The room's stream has begun a new life, in which events may come again. */
  reset() {
    this.#kept = KEPT_AFTER_RESET;
  }
}
