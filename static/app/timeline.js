// The messages of one room on the page: in order, without a hole, each in its newest state.

import { fold } from "/sdk/hubbub.js";

import { Changes } from "./changes.js";
import { element } from "./dom.js";
import { MessageItem, relate } from "./message.js";

/** The id of a message of which only the place is left; many have it. */
const UNKNOWN = "-";

export class Timeline {
  element = element("ol", { class: "messages", onkeydown: (event) => this.#walk(event) });
  /** Items by offset. */
  #items = [];
  /** The same by message id. */
  #byId = new Map();
  #changes = new Changes();
  /** What is newer than this is told apart by a line; null for no line. */
  #readTo = null;
  #line = element(
    "li",
    { class: "unread-line", "data-testid": "unread-line", role: "separator" },
    element("span", {}, "New"),
  );
  #room;

  /** `room`: see `MessageItem`. */
  constructor(room) {
    this.#room = room;
  }

  get oldest() {
    return this.#items[0]?.event;
  }

  get newest() {
    return this.#items.at(-1)?.event;
  }

  get size() {
    return this.#items.length;
  }

  /** The line above what is unread, while there is one. */
  get line() {
    return this.#line.isConnected ? this.#line : null;
  }

  item(offset) {
    const at = this.#place(offset);
    return this.#items[at]?.event.offset === offset ? this.#items[at] : undefined;
  }

  /** The newest one that I may edit. */
  get editable() {
    return this.#items.findLast((item) => item.isEditable);
  }

  /** How many of others, and not deleted, are newer than `offset`. */
  unreadAfter(offset) {
    const isUnread = ({ event, isOwn }) => event.offset > offset && !isOwn && !event.deleted;
    return this.#items.filter(isUnread).length;
  }

  /** Puts messages in their places; what is there already stays. */
  add(events) {
    for (const event of events) this.#add(event);
    this.#drawLine();
    this.#offerFocus();
  }

  #add(event) {
    if (this.item(event.offset) || !this.#leavesOlderPlace(event)) return;
    this.#room.names.see(event.from);
    const at = this.#place(event.offset);
    const item = new MessageItem(this.#changes.apply(event), this.#room);
    this.element.insertBefore(item.element, this.#items[at]?.element ?? null);
    this.#items.splice(at, 0, item);
    if (event.message !== UNKNOWN) this.#byId.set(event.message, item);
    relate(item, this.#items[at - 1]?.event);
    if (this.#items[at + 1]) relate(this.#items[at + 1], event);
  }

  /** After a failover the server may number a message again, always higher. Takes it away from its
   * older place; false when this is the older place. */
  #leavesOlderPlace({ message, offset }) {
    const other = this.#byId.get(message);
    if (!other) return true;
    if (other.event.offset > offset) return false;
    const at = this.#place(other.event.offset);
    this.#drop(this.#items.splice(at, 1));
    if (this.#items[at]) relate(this.#items[at], this.#items[at - 1]?.event);
    return true;
  }

  #drop(items) {
    for (const { element, event } of items) {
      element.remove();
      this.#byId.delete(event.message);
    }
  }

  /** An edit, a deletion or a reaction: of a message that is not here it is kept in mind. */
  change(change) {
    const item = this.item(change.target);
    if (!item) {
      this.#changes.keep(change);
      return;
    }
    const event = fold(item.event, change);
    if (event === item.event) return;
    item.draw(event);
    this.#drawLine();
  }

  /** Takes away the oldest or the newest ones beyond `max`; true when there were any. */
  trim(max, { oldest }) {
    const count = this.#items.length - max;
    if (count <= 0) return false;
    const gone = this.#items.splice(oldest ? 0 : max, count);
    this.#drop(gone);
    relate(this.#items[0], undefined);
    this.#drawLine();
    this.#offerFocus();
    return true;
  }

  /** Empties the list. `changes` that are kept in mind stay, unless the room began anew. */
  clear({ changes = false } = {}) {
    this.#items = [];
    this.#byId.clear();
    this.element.replaceChildren();
    if (changes) this.#changes.clear();
  }

  /** Draws the line above the first message of others after `offset`; null takes it away. */
  mark(offset) {
    this.#readTo = offset;
    this.#drawLine();
  }

  /** Where `offset` stands, or would stand. */
  #place(offset) {
    let [low, high] = [0, this.#items.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.#items[middle].event.offset < offset) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  #drawLine() {
    const isNews = ({ event, isOwn }) => event.offset > this.#readTo && !isOwn;
    const first = this.#readTo === null ? undefined : this.#items.find(isNews);
    if (!first) this.#line.remove();
    else if (first.element.previousSibling !== this.#line) first.element.before(this.#line);
  }

  /** Of all the buttons for actions only the newest one is a stop of the Tab key. */
  #offerFocus() {
    for (const { actions } of this.#items.slice(-2)) actions.tabIndex = -1;
    const last = this.#items.findLast(({ event }) => !event.deleted);
    if (last) last.actions.tabIndex = 0;
  }

  /** From one of them the arrow keys lead to the others. */
  #walk(event) {
    if (event.key !== "ArrowUp" && event.key !== "ArrowDown") return;
    const buttons = [...this.element.querySelectorAll(".actions")];
    const at = buttons.indexOf(event.target);
    const next = buttons[at + (event.key === "ArrowUp" ? -1 : 1)];
    if (at < 0 || !next) return;
    event.preventDefault();
    next.focus();
  }
}
