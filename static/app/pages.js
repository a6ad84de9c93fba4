// Which part of a room's history is on the page, and how the rest is brought there: older
// messages, newer ones, those around a place. The page holds one stretch without holes.

const PAGE = 50;
/** Messages kept on the page: beyond this the far end goes, and comes back from `history`. */
const MAX_SHOWN = 600;
const MAX_TRIES = 3;

export class Pages {
  /** The stretch ends with the newest message: what comes live may be added. */
  atTail = true;
  /** The stretch begins with the room's first message. */
  atHead = false;
  #timeline;
  #ask;
  #show;
  #heardTo = 0;
  /** At most one request; what an earlier stretch has asked for is dropped. */
  #asking = null;

  /** `ask(place)` gives a page of history. `show(change, options)` runs what changes the list. */
  constructor(timeline, ask, show) {
    this.#timeline = timeline;
    this.#ask = ask;
    this.#show = show;
  }

  /** Messages as they come; they wait for the reader who is elsewhere. */
  live(events) {
    this.#heardTo = Math.max(this.#heardTo, events.at(-1)?.offset ?? 0);
    if (this.atTail) this.#timeline.add(events);
    this.#seeHead();
  }

  get isTooLong() {
    return this.#timeline.size > MAX_SHOWN;
  }

  /** Lets go of what is too far from the reader, who is at the newest message or is not. */
  trim(isAtNewest) {
    if (!this.#timeline.trim(MAX_SHOWN, { oldest: isAtNewest })) return;
    if (isAtNewest) this.atHead = false;
    else this.atTail = false;
  }

  async older() {
    const { oldest } = this.#timeline;
    if (this.#asking || this.atHead) return;
    const page = await this.#load({ before: oldest?.offset });
    if (!page) return;
    const change = () => {
      this.#timeline.add(page.events);
      this.trim(false);
      this.atHead = !page.more || page.events.length === 0;
      this.#seeHead();
    };
    this.#show(change, { quiet: true });
  }

  async newer() {
    const { newest } = this.#timeline;
    if (this.#asking || this.atTail || !newest) return;
    const page = await this.#load({ after: newest.offset });
    if (!page) return;
    const change = () => {
      this.#timeline.add(page.events);
      // What came live meanwhile may not be in this page.
      const isLast = page.events.length === 0 || this.#timeline.newest.offset >= this.#heardTo;
      this.atTail = !page.more && isLast;
      this.trim(true);
    };
    this.#show(change, { quiet: true });
  }

  /** Makes sure that a message is on the page; false when it cannot be had. */
  async find(offset) {
    if (!this.#timeline.item(offset)) await this.around(offset);
    return this.#timeline.item(offset) !== undefined;
  }

  /** Goes to the stretch around a place. */
  async around(offset) {
    this.#asking = null;
    const page = await this.#load({ around: offset });
    if (page?.events.length > 0) this.#replace(page, false);
  }

  /** The newest stretch. */
  async newestPage() {
    this.#asking = null;
    for (let tries = 0; tries < MAX_TRIES; tries++) {
      const page = await this.#load({});
      if (!page) return;
      const isLast = (page.events.at(-1)?.offset ?? 0) >= this.#heardTo;
      if (!isLast && tries + 1 < MAX_TRIES) continue;
      this.#replace(page, true);
      return;
    }
  }

  /** The room began anew: nothing that was here counts. */
  reset() {
    this.#asking = null;
    this.#heardTo = 0;
    this.atTail = true;
    this.atHead = false;
    this.#timeline.clear({ changes: true });
  }

  #replace(page, atTail) {
    const change = () => {
      this.#timeline.clear();
      this.#timeline.add(page.events);
      this.atTail = atTail;
      this.atHead = !page.more;
      this.#seeHead();
    };
    this.#show(change, { quiet: true, toBottom: atTail });
  }

  /** Null when it failed, or when the stretch is another one by now. */
  async #load(place) {
    const asking = {};
    this.#asking = asking;
    const page = await this.#ask({ ...place, limit: PAGE }).catch(() => null);
    if (this.#asking !== asking) return null;
    this.#asking = null;
    return page;
  }

  #seeHead() {
    if (this.#timeline.oldest?.offset <= 1) this.atHead = true;
  }
}
