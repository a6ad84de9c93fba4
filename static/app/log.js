// The scrolling part: follows the newest message only while the reader is at the bottom.

import { byId } from "./dom.js";

const NEAR_PX = 60;

export class Log {
  #log = byId("log");
  #jump = byId("jump");
  #view = null;
  #follows = true;
  #onTop;

  /** `onTop` is called when the reader has scrolled to the oldest message shown. */
  constructor(onTop) {
    this.#onTop = onTop;
    this.#log.addEventListener("scroll", () => this.#scrolled(), { passive: true });
    this.#jump.addEventListener("click", () => this.toBottom());
    // The keyboard of a phone, a longer draft: what was read last stays in sight.
    new ResizeObserver(() => this.#follows && this.toBottom()).observe(this.#log);
  }

  get atBottom() {
    return this.#follows;
  }

  /** Shows another room, where its reader left it. */
  show(view) {
    if (this.#view) this.#view.scroll = this.#follows ? null : this.#log.scrollTop;
    this.#view = view;
    this.#quietly(() => this.#log.replaceChildren(view.element));
    this.#log.scrollTop = view.scroll ?? this.#log.scrollHeight;
    this.#scrolled();
  }

  /** Runs `change` on a view; newer messages come below, `older` ones above. */
  update(view, change, { older = false, isNews = true } = {}) {
    if (view !== this.#view) return change();
    const fromBottom = this.#log.scrollHeight - this.#log.scrollTop;
    if (older) this.#quietly(change);
    else change();
    if (older && !this.#follows) this.#log.scrollTop = this.#log.scrollHeight - fromBottom;
    else if (this.#follows) this.toBottom();
    else if (isNews) this.#jump.hidden = false;
  }

  toBottom() {
    this.#follows = true;
    this.#jump.hidden = true;
    this.#log.scrollTop = this.#log.scrollHeight;
  }

  /** Without a screen reader reading it all out. */
  #quietly(change) {
    this.#log.setAttribute("aria-live", "off");
    change();
    requestAnimationFrame(() => this.#log.setAttribute("aria-live", "polite"));
  }

  #scrolled() {
    const { scrollTop, scrollHeight, clientHeight } = this.#log;
    this.#follows = scrollHeight - scrollTop - clientHeight < NEAR_PX;
    if (this.#follows) {
      this.#jump.hidden = true;
      this.#view?.read();
    }
    if (scrollTop < NEAR_PX && !this.#follows) this.#onTop(this.#view);
  }
}
