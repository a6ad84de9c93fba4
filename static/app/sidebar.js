// The list of rooms: those entered, mine, and those one could enter; direct messages below.

import { isDirect } from "./direct.js";
import { byId, element, focusedIn, inputById } from "./dom.js";
import { kindOf, signOf, titleOf } from "./title.js";

const ROOM_ID = /^[A-Za-z0-9_.:-]{1,128}$/;
const MAX_COUNT = 99;

export const isRoomId = (name) => ROOM_ID.test(name);

export class Sidebar {
  #page;
  #form = byId("join-form");
  #input = inputById("join-input");
  #private = inputById("join-private");
  #error = byId("join-error");
  #actions;

  /** `actions`: `choose(name)` enters and shows a room, `start(name)` first makes it private. */
  constructor(page, actions) {
    this.#page = page;
    this.#actions = actions;
    this.#form.addEventListener("submit", (event) => this.#submit(event));
    this.#input.addEventListener("input", () => this.#complain(""));
  }

  /** `views`: the rooms entered, by name. `offered`: what the server lists. */
  draw(views, offered, current) {
    const entered = [...views.values()].map((view) => enteredRow(view));
    const others = offered.filter(({ room }) => !views.has(room)).map(offeredRow);
    const rows = [...entered, ...others.filter(({ mine }) => mine), ...others.filter(({ mine }) => !mine)];
    const focused = focusedIn(".room")?.dataset.room;
    const item = (row) => this.#item(row, row.name === current);
    byId("rooms").replaceChildren(...rows.filter(({ name }) => !isDirect(name)).map(item));
    byId("direct").replaceChildren(...rows.filter(({ name }) => isDirect(name)).map(item));
    byId("direct-label").hidden = byId("direct").childElementCount === 0;
    if (focused) {
      const row = /** @type {HTMLElement?} */ (document.querySelector(`.room[data-room="${focused}"]`));
      row?.focus();
    }
    const unread = rows.reduce((sum, row) => sum + row.unread, 0);
    byId("rooms-dot").hidden = unread === 0;
    return unread;
  }

  #item(row, isCurrent) {
    const { name, info, unread } = row;
    const classes = ["room", row.isEntered && "is-joined", unread > 0 && "has-unread"];
    const button = element(
      "button",
      {
        class: classes.filter(Boolean).join(" "),
        "data-testid": "room-item",
        "data-room": name,
        "aria-current": isCurrent ? "page" : null,
        title: info?.topic || null,
        onclick: () => this.#actions.choose(name),
      },
      element("span", { class: "sign" }, signOf(name, info)),
      element("span", { class: "sr-only" }, kindOf(name, info)),
      element("bdi", { class: "name" }, titleOf(name, info, this.#page)),
      ...tail(row),
    );
    return element("li", {}, button);
  }

  async #submit(event) {
    event.preventDefault();
    const name = this.#input.value.trim().replace(/^#/, "").replace(/\s+/g, "-");
    if (!isRoomId(name)) {
      this.#complain("Letters, digits and _ . : - only, at most 128.");
      this.#input.focus();
      return;
    }
    try {
      if (this.#private.checked) await this.#actions.start(name);
    } catch (error) {
      this.#complain(`No private room: ${error.message}`);
      return;
    }
    this.#input.value = "";
    this.#private.checked = false;
    this.#actions.choose(name);
  }

  #complain(text) {
    this.#error.textContent = text;
    this.#input.setAttribute("aria-invalid", text ? "true" : "false");
  }
}

function enteredRow({ name, info, presence: { count }, mark }) {
  return { name, info, count, unread: mark.unread, mentions: mark.mentions, isEntered: true, mine: true };
}

function offeredRow(info) {
  const { room: name, members: count, unread = 0, mentions = 0, mine = false } = info;
  return { name, info, count, unread, mentions, isEntered: false, mine };
}

const atMost = (count) => (count > MAX_COUNT ? `${MAX_COUNT}+` : `${count}`);

/** What stands after the name: what is unread, or how many are there. */
function tail({ name, count, unread, mentions }) {
  const here = !isDirect(name) && count > 0 ? `${count}` : "";
  if (unread === 0) return [element("span", { class: "here", title: `${count} here` }, here)];
  const badge = (classes, testId, text, meaning) =>
    element(
      "span",
      { class: `badge ${classes}`, "data-testid": testId },
      text,
      element("span", { class: "sr-only" }, meaning),
    );
  const all = badge("", "unread", atMost(unread), " unread");
  if (mentions === 0) return [all];
  return [badge("is-mention", "mentions", `@${atMost(mentions)}`, " mentions of you"), all];
}
