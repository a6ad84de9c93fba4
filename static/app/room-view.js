// One room as the page knows it: its messages, who is in it, who writes, what is unread.

import { element } from "./dom.js";
import { Pages } from "./pages.js";
import { Presence } from "./presence.js";
import { ReadMark } from "./read-mark.js";
import { Sends } from "./sends.js";
import { Timeline } from "./timeline.js";

/** Events that are replayed on entering. */
const REPLAY = 50;
const RESETS = {
  reset: "The server began this room's history anew; older messages may be missing.",
  unrecovered: "Not all that was said meanwhile could be recovered. These are the newest messages.",
};

/** A word of the page itself, among the messages. */
const notice = (text) => element("li", { class: "notice", "data-testid": "notice" }, text);

export class RoomView {
  /** Where the reader was in the log; null at the newest message. */
  scroll = null;
  /** What `rooms` said of it last: title, topic, private. */
  info = {};
  #page;
  #room = null;
  /** The first join is done, and what it replayed is shown. */
  #isFilled = false;
  #hasEntered = false;
  /** Where to resume when another connection takes over. */
  #position = null;
  /** What takes the handlers of this room back. */
  #listening = [];
  /** The word that the server does not let us in; null while it does. */
  #refusal = null;
  /** What came live (or was replayed) in this turn of the event loop: shown at once. */
  #incoming = [];
  /** Those of them that came before, at another place: they are shown, and are no news. */
  #known = new Set();
  /** What was said before the first join is counted by the server, not here. */
  #countFrom = Infinity;
  #older = element(
    "button",
    { class: "quiet older", "data-testid": "load-older", hidden: true, onclick: () => this.loadOlder() },
    "Load earlier messages",
  );
  #empty = element("p", { class: "empty", hidden: true }, "Nothing here yet. Say something!");

  /**
   * `page` is what all rooms share: `identity`, `names`, `log`, `menu`, `done()` (the reader is
   * through with editing) and `changed(view)` (anything outside of the log may need a redraw).
   */
  constructor(name, page) {
    this.name = name;
    this.#page = page;
    this.timeline = new Timeline({
      ...page,
      react: (offset, key, on) => this.#react(offset, key, on),
      edit: (offset, body) => this.#connected().edit(offset, body),
      remove: (offset) => this.#connected().delete(offset),
      resize: (change) => page.log.update(this, change),
    });
    const show = (change, options) => this.#show(change, options);
    this.pages = new Pages(this.timeline, (place) => this.#connected().history(place), show);
    this.mark = new ReadMark((offset) => this.#room?.read(offset));
    this.presence = new Presence(page, () => page.changed(this));
    this.sends = new Sends(page, (change) => page.log.update(this, change));
    const parts = [this.#older, this.#empty, this.timeline.element, this.sends.element];
    this.element = element("div", { class: "room-view", "data-room": name }, ...parts);
  }

  get room() {
    return this.#room;
  }

  get atTail() {
    return this.pages.atTail;
  }

  /** Enters the room with this client, where an earlier one stood if there was one. */
  attach(chat) {
    const room = chat.room(this.name);
    this.#room = room;
    this.#stopListening();
    const mine = (handler) => (frame) => room === this.#room && handler(frame);
    const on = (type, handler) => this.#listening.push(room.on(type, mine(handler)));
    on("joined", (info) => this.#entered(info));
    for (const type of ["message", "edited", "deleted", "reacted"]) {
      on(type, (event) => this.#take(event));
    }
    on("repeated", ({ event }) => this.#take(event, { isKnown: true }));
    on("read", (frame) => this.#hearRead(frame));
    on("presence", (frame) => this.presence.hear(frame));
    on("typing", (frame) => this.presence.hearTyping(frame));
    on("reset", (frame) => this.#reset(frame));
    on("lagged", ({ from, to }) => this.#notice(`Catching up on ${to - from + 1} messages.`));
    on("error", (error) => this.#refused(error));
    this.#join(room);
    this.sends.attach(room);
  }

  async leave() {
    const room = this.#room;
    this.#room = null;
    this.#stopListening();
    await room?.leave().catch(() => {});
  }

  /** The reader comes to this room. */
  open() {
    if (this.#refusal) this.#join(this.#room);
    if (this.mark.unread > 0) this.timeline.mark(this.mark.readTo);
    if (this.#isFilled) this.#findUnread();
  }

  /** The reader goes to another one. */
  close() {
    if (this.mark.unread === 0) this.timeline.mark(null);
  }

  async send(text) {
    this.timeline.mark(null);
    this.sends.add({ text });
    await this.#page.log.toNewest();
  }

  /** Opens the newest message that may be edited; false when there is none. */
  editNewest() {
    const item = this.timeline.editable;
    item?.edit();
    return item !== undefined;
  }

  /** The reader sees the newest message. */
  read() {
    if (document.hidden || !this.#isFilled || !this.atTail) return;
    if (this.mark.see(this.timeline.newest?.offset ?? 0)) this.#page.changed(this);
  }

  /** What the server says about this room. */
  hearInfo(row) {
    this.info = row;
    // Invited meanwhile.
    if (this.#refusal && row.mine) this.#join(this.#room);
    this.mark.correct(row, this.#position?.offset ?? 0);
  }

  /** Shows a message, wherever in the history it is. */
  async jump(offset) {
    if (await this.pages.find(offset)) this.#page.log.point(this, offset);
    else this.#notice("That message is not to be found any more.");
  }

  loadOlder() {
    if (this.#isFilled) this.pages.older();
  }

  loadNewer() {
    if (this.#isFilled) this.pages.newer();
  }

  loadNewest() {
    return this.pages.newestPage();
  }

  #join(room) {
    this.#refusal?.remove();
    this.#refusal = null;
    const from = this.#position ? { since: this.#position } : { recent: REPLAY };
    const isMine = () => room === this.#room;
    room.join({ ...from, timeout: Infinity }).then(
      () => isMine() && this.#fill(),
      (error) => isMine() && this.#refused(error),
    );
  }

  #stopListening() {
    for (const off of this.#listening) off();
    this.#listening = [];
  }

  #connected() {
    if (this.#room) return this.#room;
    throw new Error("not connected yet");
  }

  #show(change, options) {
    this.#page.log.update(this, change, options);
    const has = this.timeline.size > 0;
    this.#older.hidden = this.pages.atHead || !has;
    if (has) this.#empty.hidden = true;
  }

  async #react(target, key, on) {
    const room = this.#connected();
    const { offset } = await room.react(target, key, on);
    // The event may come after its ack, and would flicker.
    const by = this.#page.identity.user;
    this.timeline.change({ type: "reacted", target, key, on, by, offset });
  }

  #entered({ epoch, offset }) {
    if (!this.#hasEntered) {
      this.#hasEntered = true;
      this.#countFrom = offset;
      this.#position = { epoch, offset };
      this.mark.begin(offset, this.info.mine ? this.info : undefined);
      if (this.mark.unread > 0) this.timeline.mark(this.mark.readTo);
      if (offset === 0) this.pages.atHead = true;
    }
    this.#empty.hidden = offset > 0 || this.timeline.size > 0;
    const room = this.#room;
    this.presence.load(room, () => room === this.#room);
    this.#page.changed(this);
  }

  /** What was replayed is shown: reading may begin. */
  #fill() {
    if (this.#isFilled) return;
    this.#isFilled = true;
    this.#page.log.reveal(this);
    if (this.#page.log.isShowing(this)) this.#findUnread();
  }

  /** What is unread may begin further up than the page goes: that is where one reads on. */
  async #findUnread() {
    const { readTo, unread } = this.mark;
    const isHere = this.pages.atHead || this.timeline.oldest?.offset <= readTo + 1;
    if (unread === 0 || isHere) return;
    await this.pages.around(readTo);
    this.#page.log.reveal(this);
  }

  #take(event, { isKnown = false } = {}) {
    const { epoch, offset, message } = event;
    this.#position = { epoch, offset, message };
    if (isKnown) this.#known.add(event);
    if (this.#incoming.push(event) === 1) queueMicrotask(() => this.#showIncoming());
  }

  #showIncoming() {
    const events = this.#incoming;
    this.#incoming = [];
    const isUnread = this.mark.unread > 0;
    const news = events.filter((event) => !this.#known.has(event) && this.#isNews(event));
    this.#known.clear();
    this.#show(() => this.#apply(events), { quiet: !this.#isFilled });
    for (const event of news) this.mark.count(event.mentions?.includes(this.#page.identity.user.id));
    if (news.length > 0) this.#seeOrMark(news[0], isUnread);
    this.#bound();
    this.#page.changed(this);
  }

  #apply(events) {
    for (const event of events) {
      if (event.type === "message") this.#message(event);
      else this.timeline.change(event);
    }
  }

  #message(event) {
    this.pages.live([event]);
    const { from, nonce } = event;
    if (nonce && this.#page.identity.isMine(from.id)) this.sends.arrived(nonce);
    this.presence.hasWritten(from);
  }

  #isNews({ type, from, offset, deleted }) {
    if (type !== "message" || deleted || this.#page.identity.isMine(from.id)) return false;
    return offset > this.#countFrom && offset > this.mark.readTo;
  }

  /** The first message that nobody looks at gets the line above it. */
  #seeOrMark(first, wasUnread) {
    const { log } = this.#page;
    log.check();
    if (this.mark.unread === 0 || wasUnread) return;
    log.update(this, () => this.timeline.mark(first.offset - 1));
  }

  /** The list would grow for ever behind a reader who is elsewhere in it, or does not scroll. */
  #bound() {
    const { log } = this.#page;
    const isAtNewest = log.isShowing(this) ? log.isReading(this) : this.scroll === null;
    if (this.pages.isTooLong) this.#show(() => this.pages.trim(isAtNewest));
  }

  #hearRead({ user, offset }) {
    if (user.id !== this.#page.identity.user.id) return;
    this.mark.hear(offset, this.timeline.unreadAfter(offset));
    this.#page.changed(this);
  }

  /** What was shown may not connect to what comes: start again from the server's word. */
  #reset({ epoch, offset, reason }) {
    this.#position = { epoch, offset };
    this.pages.reset();
    this.#notice(RESETS[reason]);
    this.pages.older();
  }

  #refused(error) {
    if (error.code === "closed" || error.code === "left") return;
    this.#refusal?.remove();
    this.#refusal = this.#notice(`This room cannot be entered: ${error.message}`);
    this.#page.changed(this);
  }

  #notice(text) {
    const item = notice(text);
    this.#page.log.update(this, () => this.timeline.element.append(item));
    return item;
  }
}
