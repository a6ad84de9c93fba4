// Looks for messages, in this room or in all, and leads to what is found.

import { byId, element, inputById } from "./dom.js";
import { cleanName, dayOf, timeOf } from "./text.js";
import { fullTitle } from "./title.js";

/** After the last key, before what was typed is looked for. */
const TYPING_MS = 250;

/** While somebody types, the last word is the beginning of one. */
const openEnd = (q) => (/[\p{L}\p{M}\p{N}]$/u.test(q) ? `${q}*` : q);

export class Search {
  #page;
  #actions;
  #toggle = byId("search-toggle");
  #panel = byId("search");
  #input = inputById("search-input");
  #here = inputById("search-here");
  #more = byId("search-more");
  /** What was asked last, and the cursor of what follows. */
  #asked = null;
  #next = undefined;
  #typing;

  /** `actions` has `find(q, options)`, `room()` (the one shown) and `go(room, offset)`. */
  constructor(page, actions) {
    this.#page = page;
    this.#actions = actions;
    this.#toggle.addEventListener("click", () => this.#open(this.#panel.hidden));
    this.#panel.addEventListener("keydown", (event) => this.#key(event));
    byId("search-form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#find();
    });
    this.#input.addEventListener("input", () => {
      clearTimeout(this.#typing);
      this.#typing = setTimeout(() => this.#find(openEnd), TYPING_MS);
    });
    this.#here.addEventListener("change", () => this.#find());
    this.#more.addEventListener("click", () => this.#load(this.#next));
  }

  close() {
    if (!this.#panel.hidden) this.#open(false);
  }

  #open(on) {
    clearTimeout(this.#typing);
    this.#panel.hidden = !on;
    this.#toggle.setAttribute("aria-expanded", on ? "true" : "false");
    if (on) {
      this.#input.focus();
      this.#input.select();
    } else this.#toggle.focus();
  }

  #key(event) {
    if (event.key !== "Escape") return;
    event.preventDefault();
    event.stopPropagation();
    this.#open(false);
  }

  #find(complete = (q) => q) {
    clearTimeout(this.#typing);
    const q = complete(this.#input.value.trim());
    byId("hits").replaceChildren();
    this.#more.hidden = true;
    byId("search-state").textContent = "";
    if (q === "") return;
    this.#asked = { q, room: this.#here.checked ? this.#actions.room() : undefined };
    this.#load(undefined);
  }

  async #load(before) {
    const asked = this.#asked;
    byId("search-state").textContent = "Searching…";
    this.#more.hidden = true;
    try {
      const found = await this.#actions.find(asked.q, { room: asked.room, before });
      if (asked === this.#asked) this.#draw(found);
    } catch (error) {
      if (asked === this.#asked) byId("search-state").textContent = `Search failed: ${error.message}`;
    }
  }

  #draw({ hits, next }) {
    byId("hits").append(...hits.map((hit) => this.#hit(hit)));
    this.#next = next;
    this.#more.hidden = next === undefined || next === null;
    const isEmpty = byId("hits").childElementCount === 0;
    byId("search-state").textContent = isEmpty ? "Nothing was found." : "";
  }

  #hit({ event, highlight }) {
    const { room, offset, from, ts } = event;
    const title = fullTitle(room, this.#page.infoOf(room), this.#page);
    const text = highlight.map(({ text, hit }) => (hit ? element("mark", {}, text) : text));
    const button = element(
      "button",
      {
        class: "hit",
        "data-testid": "hit",
        onclick: () => {
          this.close();
          this.#actions.go(room, offset);
        },
      },
      element(
        "span",
        { class: "hit-by" },
        element("bdi", { class: "author" }, cleanName(from.name)),
        element("bdi", { class: "hit-room" }, title),
        element("span", { class: "hit-when" }, `${dayOf(ts)}, `, timeOf(ts)),
      ),
      element("span", { class: "hit-text", dir: "auto", "data-testid": "hit-text" }, ...text),
    );
    return element("li", {}, button);
  }
}
