// The list of rooms: those entered, with what is unread, and those one could enter.

import { byId, element } from "./dom.js";

const ROOM_ID = /^[A-Za-z0-9_.:-]{1,128}$/;

export const isRoomId = (name) => ROOM_ID.test(name);

export class Sidebar {
  #list = byId("rooms");
  #form = byId("join-form");
  #input = byId("join-input");
  #error = byId("join-error");
  #choose;

  /** `choose(name)` enters a room if need be, and shows it. */
  constructor(choose) {
    this.#choose = choose;
    this.#form.addEventListener("submit", (event) => this.#submit(event));
    this.#input.addEventListener("input", () => this.#complain(""));
  }

  /** `views`: the rooms entered. `offered`: what the server lists. */
  draw(views, offered, current) {
    const entered = views.map((view) => this.#item(view.name, view.count, current, view));
    const names = new Set(views.map(({ name }) => name));
    const others = offered
      .filter(({ room }) => !names.has(room))
      .map(({ room, members }) => this.#item(room, members, current));
    const focused = document.activeElement?.closest?.(".room")?.dataset.room;
    this.#list.replaceChildren(...entered, ...others);
    if (focused) this.#list.querySelector(`[data-room="${focused}"]`)?.focus();
    const unread = views.reduce((sum, view) => sum + view.unread, 0);
    byId("rooms-dot").hidden = unread === 0;
    document.title = `${unread > 0 ? `(${unread}) ` : ""}#${current} · Hubbub`;
  }

  #item(name, count, current, view) {
    const unread = view?.unread ?? 0;
    const classes = ["room", view && "is-joined", unread > 0 && "has-unread"];
    const tail =
      unread > 0
        ? element(
            "span",
            { class: "badge", "data-testid": "unread" },
            unread > 99 ? "99+" : `${unread}`,
            element("span", { class: "sr-only" }, " unread"),
          )
        : element("span", { class: "here", title: `${count} here` }, count > 0 ? `${count}` : "");
    const button = element(
      "button",
      {
        class: classes.filter(Boolean).join(" "),
        "data-testid": "room-item",
        "data-room": name,
        "aria-current": name === current ? "page" : null,
        onclick: () => this.#choose(name),
      },
      element("span", { class: "hash", "aria-hidden": "true" }, "#"),
      element("span", { class: "name" }, name),
      tail,
    );
    return element("li", {}, button);
  }

  #submit(event) {
    event.preventDefault();
    const name = this.#input.value.trim().replace(/^#/, "").replace(/\s+/g, "-");
    if (!isRoomId(name)) {
      this.#complain("Letters, digits and _ . : - only, at most 128.");
      this.#input.focus();
      return;
    }
    this.#input.value = "";
    this.#choose(name);
  }

  #complain(text) {
    this.#error.textContent = text;
    this.#input.setAttribute("aria-invalid", text ? "true" : "false");
  }
}
