// How far one room has been read, and what is unread after that.

/** The server is told at most this often; the last mark is always told. */
const TELL_EVERY_MS = 1_000;

export class ReadMark {
  /** Messages of others after the mark; 100 from the server stands for more. */
  unread = 0;
  mentions = 0;
  /** Offset; null until the room is entered. */
  readTo = null;
  #told = 0;
  #timer = null;
  #tell;

  /** `tell(offset)` takes the mark to the server. */
  constructor(tell) {
    this.#tell = tell;
  }

  /** Entered for the first time: where the server's `row` says, or with nothing unread. */
  begin(offset, row) {
    if (this.readTo !== null) return;
    this.readTo = row?.read ?? offset;
    this.unread = row?.unread ?? 0;
    this.mentions = row?.mentions ?? 0;
  }

  /** A message of somebody else, newer than the mark. */
  count(mentionsMe) {
    this.unread += 1;
    if (mentionsMe) this.mentions += 1;
  }

  /** All up to `offset` has been seen here. True when that is news. */
  see(offset) {
    const isNews = this.unread > 0 || this.mentions > 0;
    this.unread = 0;
    this.mentions = 0;
    if (offset > this.readTo) {
      this.readTo = offset;
      this.#tellSoon();
    }
    return isNews;
  }

  /** Seen on another connection of this user; `unread` is what is left. */
  hear(offset, unread) {
    if (this.readTo === null || offset <= this.readTo) return;
    this.readTo = offset;
    this.unread = Math.min(this.unread, unread);
    this.mentions = Math.min(this.mentions, unread);
  }

  /** What the server counts, unless it does not know yet what has been seen or said here. */
  correct({ read, unread, mentions, offset }, heardTo) {
    if (unread === undefined || this.readTo === null) return;
    if (read < this.readTo || offset < heardTo) return;
    this.unread = unread;
    this.mentions = mentions ?? 0;
  }

  #tellSoon() {
    if (this.#timer) return;
    this.#tellNow();
    this.#timer = setTimeout(() => {
      this.#timer = null;
      if (this.readTo > this.#told) this.#tellSoon();
    }, TELL_EVERY_MS);
  }

  #tellNow() {
    this.#told = this.readTo;
    this.#tell(this.readTo);
  }
}
