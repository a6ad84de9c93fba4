// One message as an element: an event of the room in its newest state, which may still change.

import { element, icon } from "./dom.js";
import { Editor } from "./editor.js";
import { drawReactions } from "./reactions.js";
import { avatar, cleanName, dayOf, timeOf, withMarks } from "./text.js";

/** Messages of one person this close together stand under one name. */
const GROUP_MS = 5 * 60_000;

/** What a body says to people, or undefined: `{"text"}` and plain strings. */
export function textOf(body) {
  const text = typeof body === "string" ? body : body?.text;
  return typeof text === "string" ? text : undefined;
}

/** Draws a body: text as text, anything else (relayed events) as data.
 * @param {{ body?: any, deleted?: boolean, mentions?: any[] }} message
 */
function bubbleOf({ body, deleted, mentions }, names, identity) {
  if (deleted) return element("div", { class: "bubble is-deleted" }, "Message deleted");
  const text = textOf(body);
  const isMe = (id) => id === identity.user?.id;
  const marks = { mentions, nameOf: (id) => names.of(id), isMe };
  const children = text === undefined ? [JSON.stringify(body)] : withMarks(text, marks);
  const attributes = { class: `bubble${text === undefined ? " is-data" : ""}`, dir: "auto" };
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

export class MessageItem {
  #room;
  #line = element("div", { class: "line" });
  #reactions = element("div", { class: "reactions" });
  #fate = element("div", { class: "fate", hidden: true });
  #actions;
  #editor = null;
  /** Reactions on their way: key → on. */
  #reacting = new Map();

  /**
   * `room` is what a message may ask of its room: `identity`, `names`, `menu`, `react`, `edit`,
   * `remove`, `resize(change)` and `done()`.
   */
  constructor(event, room) {
    this.#room = room;
    this.event = event;
    this.isOwn = room.identity.isMine(event.from.id);
    this.#actions = element(
      "button",
      {
        class: "actions",
        "data-testid": "message-actions",
        "aria-label": this.isOwn ? "React, edit or delete" : "React",
        "aria-haspopup": "menu",
        tabindex: -1,
        onclick: () => room.menu.open(this, this.#actions),
      },
      icon("actions"),
    );
    const kind = this.isOwn ? "is-own" : "is-other";
    const said = [this.#line, this.#reactions, this.#fate];
    this.element = element(
      "li",
      {
        class: "item",
        tabindex: -1,
        "data-testid": "message",
        "data-offset": event.offset,
        "data-message": event.message,
        "data-own": this.isOwn ? "true" : "false",
      },
      article(kind, event.from, event.ts, ...said),
    );
    this.draw(event);
  }

  get actions() {
    return this.#actions;
  }

  get isEditable() {
    const { body, deleted } = this.event;
    return this.isMine && !deleted && textOf(body) !== undefined;
  }

  /** Written by who I am now: who I was before cannot change it any more. */
  get isMine() {
    return this.event.from.id === this.#room.identity.user?.id;
  }

  /** Shows the message in this state. */
  draw(event) {
    const { deleted, edited } = event;
    this.event = event;
    this.#fate.hidden = true;
    const isSaved = this.#editor?.savedAt <= edited?.offset;
    if (deleted || isSaved) this.#closeEditor();
    if (!this.#editor) this.#drawLine();
    this.#drawReactions();
    const mentionsMe = event.mentions?.includes(this.#room.identity.user?.id) && !this.isOwn;
    this.element.classList.toggle("is-mention", Boolean(mentionsMe));
    this.element.toggleAttribute("data-deleted", Boolean(deleted));
    if (isSaved) this.#room.done();
  }

  /** The text becomes a field; Escape brings it back. */
  edit() {
    if (!this.isEditable || this.#editor) return;
    this.#editor = new Editor(textOf(this.event.body), {
      save: (text) => this.#save(text),
      cancel: () => this.#endEdit(),
    });
    this.#room.resize(() => this.#line.replaceChildren(this.#editor.element));
    this.#editor.focus();
  }

  /** Puts my reaction there, or takes it back. */
  async toggle(key) {
    const mine = this.event.reactions?.find((reaction) => reaction.key === key)?.users;
    const on = !mine?.includes(this.#room.identity.user.id);
    if (this.#reacting.has(key)) return;
    this.#reacting.set(key, on);
    this.#room.resize(() => this.#drawReactions());
    const error = await this.#room.react(this.event.offset, key, on).then(() => null, (e) => e);
    this.#reacting.delete(key);
    this.#room.resize(() => this.#drawReactions());
    if (error) this.#complain(`Reaction not sent: ${error.message}`);
  }

  async remove() {
    this.element.classList.add("is-leaving");
    const error = await this.#room.remove(this.event.offset).then(() => null, (e) => e);
    this.element.classList.remove("is-leaving");
    if (error) this.#complain(`Not deleted: ${error.message}`);
  }

  async #save(text) {
    const { body, offset } = this.event;
    if (text === textOf(body)) return this.#endEdit();
    const next = typeof body === "string" ? text : { ...body, text };
    const { offset: savedAt } = await this.#room.edit(offset, next).catch((error) => {
      if (!this.#editor) this.#complain(`Not edited: ${error.message}`);
      throw error;
    });
    // The edit itself may come after its ack: until then the field stays.
    if (!this.#editor) return;
    this.#editor.savedAt = savedAt;
    this.#room.resize(() => this.draw(this.event));
  }

  #endEdit() {
    this.#room.resize(() => {
      this.#closeEditor();
      this.#drawLine();
    });
    this.#room.done();
  }

  #closeEditor() {
    this.#editor = null;
  }

  #drawLine() {
    const { deleted, edited } = this.event;
    const when = edited && `Edited ${new Date(edited.ts).toLocaleString()}`;
    this.#line.replaceChildren(
      bubbleOf(this.event, this.#room.names, this.#room.identity),
      ...(edited ? [element("span", { class: "edited", "data-testid": "edited", title: when }, "edited")] : []),
      ...(deleted ? [] : [this.#actions]),
    );
  }

  #drawReactions() {
    const { identity, names } = this.#room;
    drawReactions(this.#reactions, this.event.reactions ?? [], this.#reacting, {
      me: identity.user?.id,
      nameOf: (id) => names.of(id),
      toggle: (key) => this.toggle(key),
    });
  }

  #complain(text) {
    this.#room.resize(() => {
      this.#fate.hidden = false;
      this.#fate.replaceChildren(element("span", { class: "bad", role: "alert" }, text));
    });
  }
}

/** Sets the day above and the name beside `item`, by what stands before it. */
export function relate({ element: item, event }, before) {
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

  constructor(text, { identity, names }) {
    const bubble = bubbleOf({ body: { text } }, names, identity);
    const said = [bubble, this.#fate];
    this.#article = article("is-own is-pending is-first", identity.user, Date.now(), ...said);
    this.element = element("li", { "data-testid": "pending" }, this.#article);
  }

  wait() {
    this.#article.classList.replace("is-failed", "is-pending");
    this.element.setAttribute("data-testid", "pending");
    this.#fate.replaceChildren("Sending…");
  }

  fail(reason, retry, discard) {
    this.#article.classList.replace("is-pending", "is-failed");
    this.element.setAttribute("data-testid", "failed");
    this.#fate.replaceChildren(
      element("span", { class: "bad", role: "alert" }, `Not sent: ${reason}`),
      element("button", { class: "quiet", "data-testid": "retry", onclick: retry }, "Retry"),
      element("button", { class: "quiet", "data-testid": "discard", onclick: discard }, "Discard"),
    );
  }
}
