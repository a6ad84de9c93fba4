// One room as the page knows it: its messages, who is in it, who writes, what is unread.

import { newNonce } from "/sdk/hubbub.js";

import { element } from "./dom.js";
import { PendingItem, messageItem, relate } from "./message.js";

const PAGE = 50;
/** Messages kept on the page; older ones come back from `history`. */
const MAX_SHOWN = 600;
const TYPING_MS = 6_000;

export class RoomView {
  #identity;
  #log;
  #changed;
  #room = null;
  /** `{event, item}` by offset, without holes: what this page shows. */
  #shown = [];
  /** Sends without their event yet: nonce → `{text, pending}`. */
  #sends = new Map();
  /** Where to resume when another connection takes over. */
  #position = null;
  #loading = false;
  #hasAll = false;
  #messages = element("ol", { class: "messages" });
  #pending = element("ol", { class: "pending", "aria-live": "off" });
  #older = element(
    "button",
    { class: "quiet older", "data-testid": "load-older", hidden: true, onclick: () => this.loadOlder() },
    "Load earlier messages",
  );
  #empty = element("p", { class: "empty", hidden: true }, "Nothing here yet. Say something!");

  /** `changed(view)` is called when anything outside the list of messages may need a redraw. */
  constructor(name, identity, log, changed) {
    this.name = name;
    this.#identity = identity;
    this.#log = log;
    this.#changed = changed;
    this.unread = 0;
    this.count = 0;
    this.people = new Map();
    this.writing = new Map();
    this.scroll = null;
    this.readTo = 0;
    this.element = element(
      "div",
      { class: "room-view", "data-room": name },
      this.#older,
      this.#empty,
      this.#messages,
      this.#pending,
    );
  }

  get room() {
    return this.#room;
  }

  /** Enters the room with this client, where an earlier one stood if there was one. */
  attach(chat) {
    const room = chat.room(this.name);
    this.#room = room;
    const mine = (handler) => (frame) => room === this.#room && handler(frame);
    room.on("joined", mine((info) => this.#entered(info)));
    room.on("message", mine((event) => this.#live(event)));
    room.on("presence", mine((frame) => this.#presence(frame)));
    room.on("typing", mine((frame) => this.#typing(frame)));
    room.on("reset", mine((frame) => this.#reset(frame)));
    room.on("lagged", mine(({ from, to }) => this.#notice(`Catching up on ${to - from + 1} messages.`)));
    room.on("error", mine((error) => this.#refused(error)));
    const from = this.#position ? { since: this.#position } : { recent: PAGE };
    room.join(from).catch(mine((error) => this.#refused(error)));
    for (const [nonce, send] of this.#sends) if (send.parked) this.#try(nonce, send);
  }

  async leave() {
    const room = this.#room;
    this.#room = null;
    await room.leave().catch(() => {});
  }

  send(text) {
    const nonce = newNonce();
    const send = { text, pending: new PendingItem(text, this.#identity.user) };
    this.#sends.set(nonce, send);
    this.#log.update(this, () => this.#pending.append(send.pending.item));
    this.#log.toBottom();
    this.#try(nonce, send);
  }

  read() {
    if (this.unread === 0 || document.hidden) return;
    this.unread = 0;
    this.#changed(this);
  }

  async loadOlder() {
    const oldest = this.#shown[0]?.event.offset;
    if (this.#loading || this.#older.hidden || oldest === undefined) return;
    this.#loading = true;
    try {
      const { events, more } = await this.#room.history({ before: oldest, limit: PAGE });
      // A reset may have emptied the list meanwhile.
      if (this.#shown[0]?.event.offset !== oldest) return;
      this.#hasAll = !more;
      this.#log.update(this, () => this.#insert(events), { older: true });
    } catch {
      // The button stays, for another try.
    } finally {
      this.#loading = false;
    }
  }

  async #try(nonce, send) {
    send.parked = false;
    send.pending.wait();
    try {
      await this.#room.send({ text: send.text }, { nonce });
    } catch (error) {
      // The page changes its client, not its mind: `attach` sends it again.
      send.parked = error.code === "closed";
      if (send.parked) return;
      const retry = () => this.#try(nonce, send);
      send.pending.fail(error.message, retry, () => this.#arrived(nonce));
    }
  }

  #arrived(nonce) {
    this.#sends.get(nonce)?.pending.item.remove();
    this.#sends.delete(nonce);
  }

  #entered({ offset, resumed }) {
    if (!resumed && !this.#position) this.readTo = offset;
    this.#empty.hidden = offset > 0;
    this.#loadPeople();
    this.#changed(this);
  }

  async #loadPeople() {
    const room = this.#room;
    try {
      const { count, members } = await room.members();
      if (room !== this.#room) return;
      this.count = count;
      this.people = new Map(members.map((user) => [user.id, user]));
      this.#changed(this);
    } catch {
      // The next `joined` asks again; until then the count and the changes are told.
    }
  }

  #presence({ count, joined, left }) {
    this.count = count;
    for (const user of left) this.people.delete(user.id);
    for (const user of joined) this.people.set(user.id, user);
    this.#changed(this);
  }

  #typing({ user, on }) {
    clearTimeout(this.writing.get(user.id)?.timer);
    this.writing.delete(user.id);
    if (on && !this.#identity.isMine(user.id)) {
      const timer = setTimeout(() => this.#typing({ user, on: false }), TYPING_MS);
      this.writing.set(user.id, { name: user.name, timer });
    }
    this.#changed(this);
  }

  #live(event) {
    const { epoch, offset, message, from } = event;
    this.#position = { epoch, offset, message };
    const isOwn = this.#identity.isMine(from.id);
    this.#log.update(this, () => this.#insert([event]), { isNews: !isOwn });
    if (this.writing.has(from.id)) this.#typing({ user: from, on: false });
    if (!isOwn && offset > this.readTo) {
      this.unread += 1;
      if (this.element.isConnected && this.#log.atBottom) this.read();
      this.#changed(this);
    }
    this.#trim();
  }

  /** Puts events in their places; what is there already stays. */
  #insert(events) {
    for (const event of events) {
      if (event.nonce && this.#identity.isMine(event.from.id)) this.#arrived(event.nonce);
      let at = this.#shown.length;
      while (at > 0 && this.#shown[at - 1].event.offset >= event.offset) at--;
      if (this.#shown[at]?.event.offset === event.offset) continue;
      const item = messageItem(event, this.#identity.isMine(event.from.id));
      this.#messages.insertBefore(item, this.#shown[at]?.item ?? null);
      this.#shown.splice(at, 0, { event, item });
      relate(item, event, this.#shown[at - 1]?.event);
      const next = this.#shown[at + 1];
      if (next) relate(next.item, next.event, event);
    }
    if (this.#shown.length > 0) this.#empty.hidden = true;
    this.#offerOlder();
  }

  #offerOlder() {
    const oldest = this.#shown[0]?.event.offset ?? 0;
    this.#older.hidden = this.#hasAll || oldest <= 1;
  }

  #trim() {
    if (this.#shown.length <= MAX_SHOWN || !this.#log.atBottom) return;
    for (const { item } of this.#shown.splice(0, MAX_SHOWN / 4)) item.remove();
    relate(this.#shown[0].item, this.#shown[0].event, undefined);
    this.#hasAll = false;
    this.#offerOlder();
  }

  /** What was shown may not connect to what comes: start again from the server's word. */
  async #reset({ epoch, offset, reason }) {
    this.#position = { epoch, offset };
    this.#shown = [];
    this.#hasAll = false;
    this.#messages.replaceChildren();
    this.#offerOlder();
    const why = {
      reset: "The server began this room's history anew; older messages may be missing.",
      unrecovered: "Not all that was said meanwhile could be recovered. These are the newest messages.",
    };
    this.#notice(why[reason]);
    const { events } = await this.#room.history({ limit: PAGE }).catch(() => ({ events: [] }));
    this.#log.update(this, () => this.#insert(events), { older: true });
  }

  #refused(error) {
    if (error.code === "closed" || error.code === "left") return;
    this.#notice(`This room cannot be entered: ${error.message}`);
    this.#changed(this);
  }

  /** A word of the page itself, among the messages. */
  #notice(text) {
    const item = element("li", { class: "notice", "data-testid": "notice" }, text);
    this.#log.update(this, () => this.#messages.append(item), { isNews: false });
  }
}
