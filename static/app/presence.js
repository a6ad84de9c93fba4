// Who is in one room, and who writes there just now.

const TYPING_MS = 6_000;

export class Presence {
  count = 0;
  /** id → user; in very large rooms nobody is listed. */
  people = new Map();
  /** id → `{name, timer}` */
  writing = new Map();
  #page;
  #changed;

  /** `changed()` is called after each change. */
  constructor(page, changed) {
    this.#page = page;
    this.#changed = changed;
  }

  /** Asks who is here. `isCurrent()` tells whether the answer still counts when it comes. */
  async load(room, isCurrent) {
    try {
      const { count, members } = await room.members();
      if (!isCurrent()) return;
      this.count = count;
      this.people.clear();
      this.#enter(members);
    } catch {
      // The next `joined` asks again; until then the count and the changes are told.
    }
  }

  hear({ count, joined, left }) {
    this.count = count;
    for (const user of left) this.people.delete(user.id);
    this.#enter(joined);
  }

  hearTyping({ user, on }) {
    clearTimeout(this.writing.get(user.id)?.timer);
    this.writing.delete(user.id);
    if (on && !this.#page.identity.isMine(user.id)) {
      const timer = setTimeout(() => this.hearTyping({ user, on: false }), TYPING_MS);
      this.writing.set(user.id, { name: user.name, timer });
    }
    this.#changed();
  }

  /** What somebody wrote has come. */
  hasWritten(user) {
    if (this.writing.has(user.id)) this.hearTyping({ user, on: false });
  }

  #enter(users) {
    for (const user of users) {
      this.people.set(user.id, user);
      this.#page.names.see(user);
    }
    this.#changed();
  }
}
