// The line to write in: Enter sends, and the room hears that someone writes.

import { byId, inputById } from "./dom.js";
import { MentionPicker } from "./mention-picker.js";

const TYPING_EVERY_MS = 2_500;

export class Composer {
  #form = byId("composer");
  #input = inputById("composer-input");
  #drafts = new Map();
  #room = "";
  #toldAt = 0;
  #actions;
  #picker;

  /** `actions` has `send(text)`, `typing(on)`, `editNewest()` and `people()`, for the room shown. */
  constructor(actions) {
    this.#actions = actions;
    this.#picker = new MentionPicker(this.#input, () => actions.people());
    this.#form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#send();
    });
    this.#input.addEventListener("keydown", (event) => {
      if (event.isComposing) return;
      if (event.key === "Enter" && !event.shiftKey) {
        event.preventDefault();
        this.#send();
      } else if (event.key === "ArrowUp" && this.#input.value === "") {
        if (this.#actions.editNewest()) event.preventDefault();
      }
    });
    this.#input.addEventListener("input", () => {
      this.#fit();
      this.#tell();
    });
  }

  /** Each room has its own draft. */
  show(room) {
    if (this.#room) {
      this.#stop();
      this.#drafts.set(this.#room, this.#input.value);
    }
    this.#room = room;
    this.#input.value = this.#drafts.get(room) ?? "";
    this.#fit();
  }

  /** How the room is called, which may be told later than it is shown. */
  name(title) {
    this.#input.placeholder = `Message ${title}`;
    byId("composer-label").textContent = `Message to ${title}`;
  }

  /** Not where that would bring up a keyboard over half of the screen. */
  focus() {
    if (matchMedia("(hover: hover)").matches) this.#input.focus();
  }

  #send() {
    const text = this.#input.value.trim();
    if (text === "") return;
    this.#input.value = "";
    this.#fit();
    this.#stop();
    this.#actions.send(this.#picker.withIds(text));
    this.#picker.close();
    this.#input.focus();
  }

  #tell() {
    if (this.#input.value.trim() === "") this.#stop();
    else if (Date.now() - this.#toldAt > TYPING_EVERY_MS) {
      this.#toldAt = Date.now();
      this.#actions.typing(true);
    }
  }

  #stop() {
    if (this.#toldAt > 0) this.#actions.typing(false);
    this.#toldAt = 0;
  }

  /** For browsers without `field-sizing`. */
  #fit() {
    if (CSS.supports("field-sizing", "content")) return;
    this.#input.style.height = "auto";
    this.#input.style.height = `${this.#input.scrollHeight + 2}px`;
  }
}
