// Changes to messages that are not on the page: kept, within bounds, until those are loaded.

import { fold } from "/sdk/hubbub.js";

const MAX_TARGETS = 500;
const MAX_EACH = 100;

/** Of each of these only the newest counts. */
const slotOf = ({ type, key, by }) => (type === "reacted" ? `${type} ${by.id} ${key}` : type);

function keepNewest(map, key, value, max) {
  map.delete(key);
  map.set(key, value);
  if (map.size > max) map.delete(map.keys().next().value);
}

export class Changes {
  /** Target's offset → slot → event; what was touched last stands last. */
  #kept = new Map();

  keep(change) {
    const kept = this.#kept.get(change.target) ?? new Map();
    keepNewest(kept, slotOf(change), change, MAX_EACH);
    keepNewest(this.#kept, change.target, kept, MAX_TARGETS);
  }

  /** The message with all that was kept for it. It is safe if it has some of that in it already. */
  apply(message) {
    const kept = this.#kept.get(message.offset);
    this.#kept.delete(message.offset);
    return [...(kept?.values() ?? [])].reduce((before, change) => fold(before, change), message);
  }

  clear() {
    this.#kept.clear();
  }
}
