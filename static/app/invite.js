// Inviting people into a private room: by name if they have been seen here, or by id.

import { byId, element, inputById } from "./dom.js";
import { isDirect } from "./direct.js";
import { cleanName } from "./text.js";

export class Invite {
  #form = byId("invite-form");
  #input = inputById("invite-input");
  #state = byId("invite-state");
  #known = new Map();
  #view = null;

  constructor() {
    this.#form.addEventListener("submit", (event) => this.#submit(event));
  }

  /** `people`: those seen in any room, who may be offered. */
  draw(view, people) {
    if (view !== this.#view) this.#state.textContent = "";
    this.#view = view;
    this.#form.hidden = !view.info.private || isDirect(view.name);
    if (this.#form.hidden) return;
    const others = people.filter(({ id }) => !view.presence.people.has(id));
    this.#known = new Map(others.map((user) => [cleanName(user.name).toLowerCase(), user.id]));
    const options = others.map(({ name }) => element("option", { value: cleanName(name) }));
    byId("invite-people").replaceChildren(...options);
  }

  async #submit(event) {
    event.preventDefault();
    const wanted = this.#input.value.trim();
    if (wanted === "") return;
    const id = this.#known.get(wanted.toLowerCase()) ?? wanted;
    try {
      await this.#view.room.invite(id);
      this.#input.value = "";
      this.#say(`${wanted} may enter now.`);
    } catch (error) {
      this.#say(`Not invited: ${error.message}`, true);
    }
  }

  #say(text, isBad = false) {
    this.#state.textContent = text;
    this.#state.classList.toggle("is-good", !isBad);
  }
}
