// A message's own text, to be changed in its place: Enter saves, Escape leaves it as it was.

import { element } from "./dom.js";

export class Editor {
  /** The offset of the stored edit; undefined before its ack. */
  savedAt = undefined;
  #actions;
  #input;
  #save = element("button", { class: "primary", "data-testid": "edit-save" }, "Save");
  #error = element("p", { class: "field-error", role: "alert", "data-testid": "edit-error" });

  /** `actions` has `save(text)`, which rejects when it was refused, and `cancel()`. */
  constructor(text, actions) {
    this.#actions = actions;
    this.#input = element("textarea", {
      rows: 1,
      dir: "auto",
      "aria-label": "Edit the message. Enter saves, Escape cancels.",
      "data-testid": "edit-input",
      onkeydown: (event) => this.#key(event),
      oninput: () => this.#fit(),
    });
    this.#input.value = text;
    const cancel = { class: "quiet", type: "button", "data-testid": "edit-cancel", onclick: actions.cancel };
    const buttons = [element("button", cancel, "Cancel"), this.#save];
    this.element = element(
      "form",
      { class: "editor", onsubmit: (event) => this.#submit(event) },
      this.#input,
      this.#error,
      element("div", { class: "row end" }, ...buttons),
    );
  }

  focus() {
    this.#fit();
    this.#input.focus();
    this.#input.setSelectionRange(this.#input.value.length, this.#input.value.length);
    this.element.scrollIntoView({ block: "nearest" });
  }

  #key(event) {
    if (event.isComposing) return;
    if (event.key === "Escape") {
      event.stopPropagation();
      this.#actions.cancel();
    } else if (event.key === "Enter" && !event.shiftKey) this.#submit(event);
  }

  async #submit(event) {
    event.preventDefault();
    const text = this.#input.value.trim();
    if (text === "" || this.#input.readOnly) return;
    this.#wait(true);
    try {
      await this.#actions.save(text);
    } catch (error) {
      this.#wait(false);
      this.#error.textContent = `Not saved: ${error.message}`;
      this.#input.focus();
    }
  }

  /** A field that is only to be read keeps the focus, and Escape with it. */
  #wait(on) {
    this.#input.readOnly = on;
    this.#save.disabled = on;
    this.#save.textContent = on ? "Saving…" : "Save";
    if (on) this.#error.textContent = "";
  }

  /** For browsers without `field-sizing`. */
  #fit() {
    if (CSS.supports("field-sizing", "content")) return;
    this.#input.style.height = "auto";
    this.#input.style.height = `${this.#input.scrollHeight + 2}px`;
  }
}
