// What can be done with a message: react, and with one's own also edit and delete.

import { element } from "./dom.js";
import { KEYS } from "./reactions.js";

const MARGIN_PX = 8;
const STEPS = { ArrowDown: 1, ArrowRight: 1, ArrowUp: -1, ArrowLeft: -1 };

export class MessageMenu {
  #item = null;
  #keys = element("div", { class: "keys", role: "group", "aria-label": "React" });
  #rest = element("div", { class: "rest" });
  #menu = element(
    "div",
    {
      class: "menu",
      popover: "auto",
      role: "menu",
      "aria-label": "Message",
      "data-testid": "message-menu",
      onkeydown: (event) => this.#move(event),
    },
    this.#keys,
    this.#rest,
  );

  constructor() {
    document.body.append(this.#menu);
  }

  /** Opens beside `button`, which gets the focus back afterwards. */
  open(item, button) {
    this.#item = item;
    this.#keys.replaceChildren(...KEYS.map((key) => this.#key(key)));
    this.#rest.replaceChildren(...(item.isMine ? this.#own() : []));
    this.#menu.showPopover({ source: button });
    this.#place(button.getBoundingClientRect());
    this.#entries()[0].focus();
  }

  #own() {
    const edit = this.#entry("Edit", "menu-edit", () => this.#close(() => this.#item.edit()));
    const remove = this.#entry("Delete", "menu-delete", () => this.#ask(remove));
    remove.classList.add("is-bad");
    return this.#item.isEditable ? [edit, remove] : [remove];
  }

  /** What is deleted does not come back: the second click means it. */
  #ask(remove) {
    const sure = this.#entry("Really delete?", "menu-delete-sure", () =>
      this.#close(() => this.#item.remove()),
    );
    sure.classList.add("is-bad", "is-sure");
    remove.replaceWith(sure);
    sure.focus();
  }

  #key(key) {
    const entry = this.#entry(key, "menu-key", () => this.#close(() => this.#item.toggle(key)));
    entry.setAttribute("aria-label", `React with ${key}`);
    return entry;
  }

  #entry(text, testId, onclick) {
    const attributes = { class: "entry", role: "menuitem", tabindex: -1, "data-testid": testId };
    return element("button", { ...attributes, onclick }, text);
  }

  #close(then) {
    this.#menu.hidePopover();
    then();
  }

  #entries() {
    return [...this.#menu.querySelectorAll(".entry")];
  }

  #move(event) {
    const entries = this.#entries();
    const at = entries.indexOf(document.activeElement);
    let next;
    if (event.key in STEPS) next = (at + STEPS[event.key] + entries.length) % entries.length;
    else if (event.key === "Home") next = 0;
    else if (event.key === "End") next = entries.length - 1;
    else if (event.key === "Tab") this.#menu.hidePopover();
    if (next === undefined) return;
    event.preventDefault();
    entries[next].focus();
  }

  /** Above the button where there is room, and inside of the window. */
  #place(button) {
    const { width, height } = this.#menu.getBoundingClientRect();
    const above = button.top - height - MARGIN_PX;
    const top = above >= MARGIN_PX ? above : button.bottom + MARGIN_PX;
    const left = button.left + button.width / 2 - width / 2;
    const fit = (at, size, room) => Math.max(MARGIN_PX, Math.min(at, room - size - MARGIN_PX));
    this.#menu.style.top = `${fit(top, height, innerHeight)}px`;
    this.#menu.style.left = `${fit(left, width, innerWidth)}px`;
  }
}
