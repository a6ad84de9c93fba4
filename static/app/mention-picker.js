// Offers the people of the room behind an `@`: the field shows their names, the server gets ids.

import { byId, element } from "./dom.js";
import { avatar, cleanName, escapeRegExp } from "./text.js";

const MAX_OFFERED = 8;
/** An `@` at the beginning of a word, and what was written of the name so far. */
const BEGUN = /(?:^|\s)@([^@\n]{0,40})$/u;

export class MentionPicker {
  #input;
  #people;
  #list = byId("picker");
  #offered = [];
  #at = 0;
  /** Names that were picked: name → id. */
  #picked = new Map();

  /** `people()` gives those who may be offered. */
  constructor(input, people) {
    this.#input = input;
    this.#people = people;
    input.addEventListener("input", () => this.#offer());
    input.addEventListener("blur", () => this.close());
    // Before the field's own keys: while this is open, they choose.
    input.addEventListener("keydown", (event) => this.#key(event), { capture: true });
  }

  /** The text as the server understands it. */
  withIds(text) {
    const names = [...this.#picked.keys()].sort((a, b) => b.length - a.length);
    if (names.length === 0) return text;
    const known = new RegExp(`@(${names.map(escapeRegExp).join("|")})(?![\\p{L}\\p{N}_])`, "gu");
    return text.replace(known, (_, name) => `@${this.#picked.get(name)}`);
  }

  close() {
    this.#offered = [];
    this.#draw();
  }

  #offer() {
    const begun = this.#begun();
    const wanted = begun?.toLowerCase();
    const fits = ({ id, name }) =>
      cleanName(name).toLowerCase().startsWith(wanted) || id.toLowerCase().startsWith(wanted);
    this.#offered = begun === null ? [] : this.#people().filter(fits).slice(0, MAX_OFFERED);
    this.#at = 0;
    this.#draw();
  }

  /** What stands between the `@` and the cursor; null when there is none. */
  #begun() {
    const { value, selectionStart, selectionEnd } = this.#input;
    if (selectionStart !== selectionEnd) return null;
    return value.slice(0, selectionStart).match(BEGUN)?.[1] ?? null;
  }

  #key(event) {
    if (this.#offered.length === 0 || event.isComposing) return;
    const count = this.#offered.length;
    if (event.key === "ArrowDown") this.#at = (this.#at + 1) % count;
    else if (event.key === "ArrowUp") this.#at = (this.#at + count - 1) % count;
    else if (event.key === "Enter" || event.key === "Tab") this.#pick(this.#offered[this.#at]);
    else if (event.key === "Escape") this.close();
    else return;
    event.preventDefault();
    event.stopImmediatePropagation();
    this.#draw();
  }

  #pick({ id, name }) {
    const shown = cleanName(name);
    const end = this.#input.selectionStart;
    this.#picked.set(shown, id);
    this.#input.setRangeText(`${shown} `, end - this.#begun().length, end, "end");
    this.close();
  }

  #draw() {
    const options = this.#offered.map((user, i) =>
      element(
        "li",
        {
          class: "option",
          id: `picker-${i}`,
          role: "option",
          "aria-selected": i === this.#at ? "true" : "false",
          "data-testid": "picker-option",
          // The field keeps the focus.
          onmousedown: (event) => {
            event.preventDefault();
            this.#pick(user);
          },
        },
        avatar(user),
        element("bdi", {}, cleanName(user.name)),
      ),
    );
    this.#list.replaceChildren(...options);
    this.#list.hidden = options.length === 0;
    if (options.length > 0) this.#input.setAttribute("aria-activedescendant", `picker-${this.#at}`);
    else this.#input.removeAttribute("aria-activedescendant");
  }
}
