// One message as an element: an event of the room, or a send that waits for its ack.

import { element } from "./dom.js";
import { avatar, cleanName, dayOf, timeOf, withLinks } from "./text.js";

/** Messages of one person this close together stand under one name. */
const GROUP_MS = 5 * 60_000;

/** What a body shows as: `{"text"}` as text, anything else (relayed events) as data. */
function bubbleOf({ body, deleted }) {
  if (deleted) return element("div", { class: "bubble is-deleted" }, "Message deleted");
  const text = typeof body === "string" ? body : body?.text;
  const isText = typeof text === "string";
  const children = isText ? withLinks(text) : [JSON.stringify(body)];
  const attributes = { class: `bubble${isText ? "" : " is-data"}`, dir: "auto" };
  return element("div", { ...attributes, "data-testid": "message-text" }, ...children);
}

function article(kind, author, ts, ...said) {
  return element(
    "div",
    { class: `msg ${kind}` },
    avatar(author),
    element(
      "div",
      { class: "by" },
      element("bdi", { class: "author", "data-testid": "message-author" }, cleanName(author.name)),
      timeOf(ts),
    ),
    element("div", { class: "said" }, ...said),
  );
}

export function messageItem(event, isOwn) {
  return element(
    "li",
    {
      "data-testid": "message",
      "data-offset": event.offset,
      "data-message": event.message,
      "data-own": isOwn ? "true" : "false",
    },
    article(isOwn ? "is-own" : "is-other", event.from, event.ts, bubbleOf(event)),
  );
}

/** Sets the day above and the name beside `item`, by what stands before it. */
export function relate(item, event, before) {
  const day = dayOf(event.ts);
  const newDay = !before || dayOf(before.ts) !== day;
  const follows = !newDay && before.from.id === event.from.id && event.ts - before.ts < GROUP_MS;
  item.querySelector(".day")?.remove();
  if (newDay) item.prepend(element("p", { class: "day" }, day));
  item.querySelector(".msg").classList.toggle("is-first", !follows);
}

/** A send drawn before its ack. `fail` gives it its buttons. */
export class PendingItem {
  #fate = element("div", { class: "fate" }, "Sending…");
  #article;

  constructor(text, author) {
    const bubble = bubbleOf({ body: { text } });
    this.#article = article("is-own is-pending is-first", author, Date.now(), bubble, this.#fate);
    this.item = element("li", { "data-testid": "pending" }, this.#article);
  }

  wait() {
    this.#article.classList.replace("is-failed", "is-pending");
    this.item.setAttribute("data-testid", "pending");
    this.#fate.replaceChildren("Sending…");
  }

  fail(reason, retry, discard) {
    this.#article.classList.replace("is-pending", "is-failed");
    this.item.setAttribute("data-testid", "failed");
    this.#fate.replaceChildren(
      element("span", { role: "alert" }, `Not sent: ${reason}`),
      element("button", { class: "quiet", "data-testid": "retry", onclick: retry }, "Retry"),
      element("button", { class: "quiet", "data-testid": "discard", onclick: discard }, "Discard"),
    );
  }
}
