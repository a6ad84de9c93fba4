// The scrolling part: follows the newest message only while the reader is at the bottom, keeps
// what is read in its place, and asks for more before the reader comes to an end.

import { byId } from "./dom.js";

/** This close to the bottom counts as there. */
const NEAR_PX = 60;
/** More is loaded when this much is left. */
const AHEAD_PX = 400;
/** How far below the top the line above unread messages is shown, of the log's height. */
const LINE_AT = 0.2;
const FLASH_MS = 2_500;

export class Log {
  #log = byId("log");
  #jump = byId("jump");
  #view = null;
  #follows = true;
  /** The log's height when it was measured last. */
  #height = 0;

  constructor() {
    this.#log.addEventListener("scroll", () => this.check(), { passive: true });
    this.#jump.addEventListener("click", () => this.toNewest());
    // The keyboard of a phone, a longer draft: what was read last stays in sight.
    new ResizeObserver(() => this.#resized()).observe(this.#log);
  }

  /** Shows another room, where its reader left it. */
  show(view) {
    if (this.#view) this.#view.scroll = this.#follows ? null : this.#log.scrollTop;
    this.#view = view;
    this.#quietly(() => this.#log.replaceChildren(view.element));
    this.#jump.hidden = true;
    if (view.scroll === null) this.reveal(view);
    else this.#log.scrollTop = view.scroll;
    this.check();
  }

  isShowing(view) {
    return view === this.#view;
  }

  /** This room is in front of the reader, at its newest message. */
  isReading(view) {
    return view === this.#view && this.#follows && view.atTail;
  }

  /** Begins reading: at the line above what is unread, or at the bottom. */
  reveal(view) {
    if (view !== this.#view) return;
    const { line } = view.timeline;
    this.#toBottom();
    if (line) {
      this.#follows = false;
      const top = line.getBoundingClientRect().top - this.#log.getBoundingClientRect().top;
      const wanted = this.#log.clientHeight * LINE_AT;
      if (top < wanted) this.#log.scrollTop += top - wanted;
    }
    this.check();
  }

  /** Runs what changes a view; the message at the top of the window stays where it is, unless the
   * reader is, or wants to be, at the bottom. */
  update(view, change, { quiet = false, toBottom = false } = {}) {
    if (view !== this.#view) {
      change();
      return;
    }
    this.#look(view);
    const anchor = this.#follows ? null : this.#firstInSight();
    const before = anchor?.getBoundingClientRect().top;
    if (quiet) this.#quietly(change);
    else change();
    if (anchor?.isConnected) this.#log.scrollTop += anchor.getBoundingClientRect().top - before;
    if ((this.#follows || toBottom) && view.atTail) this.#toBottom();
    this.check();
  }

  /** Brings a message that is on the page into the middle, and points it out. */
  point(view, offset) {
    const item = view.timeline.item(offset)?.element;
    if (view !== this.#view || !item) return;
    this.#follows = false;
    item.scrollIntoView({ block: "center" });
    item.focus({ preventScroll: true });
    item.classList.add("is-found");
    setTimeout(() => item.classList.remove("is-found"), FLASH_MS);
    this.check();
  }

  /** To the newest message, also when it is not on the page. */
  async toNewest() {
    const view = this.#view;
    if (!view.atTail) await view.loadNewest();
    if (view === this.#view && view.atTail) this.#toBottom();
    this.check();
  }

  /** Acts on where the reader is: at the newest message, or close to an end that has more. */
  check() {
    const view = this.#view;
    if (!view) return;
    const { above, below } = this.#look(view);
    if (this.#follows) {
      this.#jump.hidden = true;
      view.read();
    } else if (view.mark.unread > 0) this.#offerJump("New messages");
    else if (!view.atTail) this.#offerJump("Newest messages");
    if (above < AHEAD_PX) view.loadOlder();
    if (below < AHEAD_PX) view.loadNewer();
  }

  /** Asks the log itself: a reader may have scrolled without the event being there yet. But a log
   * of another height has moved by itself, and is put right by its observer. */
  #look(view) {
    const { scrollTop, scrollHeight, clientHeight } = this.#log;
    const below = scrollHeight - scrollTop - clientHeight;
    if (clientHeight === this.#height || !this.#follows) this.#follows = below < NEAR_PX;
    if (!view.atTail) this.#follows = false;
    return { above: scrollTop, below };
  }

  #offerJump(text) {
    this.#jump.hidden = false;
    byId("jump-text").textContent = text;
  }

  #resized() {
    if (this.#follows) this.#toBottom();
    this.#height = this.#log.clientHeight;
    this.check();
  }

  #toBottom() {
    this.#follows = true;
    this.#jump.hidden = true;
    this.#log.scrollTop = this.#log.scrollHeight;
  }

  /** The first message that is not above the window. The day above a message may come and go:
   * its own part is what has to stay. */
  #firstInSight() {
    const { top } = this.#log.getBoundingClientRect();
    const items = this.#view.timeline.element.children;
    let [low, high] = [0, items.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (items[middle].getBoundingClientRect().bottom <= top) low = middle + 1;
      else high = middle;
    }
    const item = items[low];
    return item?.querySelector(".msg") ?? item ?? null;
  }

  /** Without a screen reader reading it all out. */
  #quietly(change) {
    this.#log.setAttribute("aria-live", "off");
    change();
    requestAnimationFrame(() => this.#log.setAttribute("aria-live", "polite"));
  }
}
