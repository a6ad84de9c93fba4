// One room's place in the event stream: what a stream begins with, and what is heard of it.

const SERVICE_RESTART = 1012;
/** Replayed events that are handed over with `joined`, as the server does on a socket. */
const PAGE = 300;

const placeOf = ({ epoch, offset, message }) => ({ epoch, offset, message });
const isEvent = (frame) => frame.offset !== undefined && frame.epoch !== undefined;

export class RoomCursor {
  /** The join that has no answer yet. */
  command;
  #link;
  /** `{ epoch, offset, message }` of what was heard last; `message` where that was an event. */
  #since;
  #isAlone;
  /** Of a room alone replayed events follow `joined`: it waits for them. */
  #joined = null;
  #isLive = false;

  constructor(command, link) {
    this.room = command.room;
    this.command = command;
    this.#since = command.since;
    this.#link = link;
  }

  /** Where a stream begins for it. */
  get place() {
    if (!this.#since) return { recent: this.command?.recent };
    const { epoch, offset, message } = this.#since;
    return { since: message ? `${epoch}:${offset}:${message}` : `${epoch}:${offset}` };
  }

  /** The same beside another room. */
  asFurther() {
    const { since, recent } = this.place;
    if (since) return `${this.room}@${since}`;
    return recent ? `${this.room}~${recent}` : this.room;
  }

  /** A stream begins, of this room alone or of several. */
  begin(isAlone) {
    this.#isAlone = isAlone;
    this.#joined = null;
    this.#isLive = false;
  }

  /** `isPlaced`: an event that has a place of its own; a `joined` that has one is followed by none. */
  take(frame, text, isPlaced) {
    if (this.#isLive) this.#pass(frame, text);
    else if (frame.type === "reset") this.#takeReset(frame, text);
    else if (this.#joined && isPlaced) this.#collect(frame);
    else if (frame.type === "joined") this.#enter(frame, isPlaced);
    else this.#link.take(text, frame);
  }

  /** What a `reset` before `joined` says, `joined` says as well; one after it is live. */
  #takeReset(frame, text) {
    if (!this.#joined) return;
    this.#settle();
    if (this.#isLive) this.#pass(frame, text);
  }

  #enter(joined, isPlaced) {
    this.#joined = joined;
    if (isPlaced || !this.#isAlone) this.#settle();
  }

  #collect(event) {
    const { events, offset } = this.#joined;
    events.push(event);
    if (event.offset >= offset || events.length >= PAGE) this.#settle();
  }

  #settle() {
    const joined = this.#joined;
    const { epoch, offset, events, recovered } = joined;
    this.#joined = null;
    this.#isLive = true;
    if (this.command) {
      const { id } = this.command;
      this.command = null;
      if (events.length > 0) this.#since = placeOf(events.at(-1));
      else if (!recovered || !this.#isAt(epoch, offset)) this.#since = { epoch, offset };
      this.#link.take(JSON.stringify({ ...joined, id }), joined);
    } else if (recovered) {
      for (const event of events) this.#pass(event, JSON.stringify(event));
    }
    // A join says it, on the next connection.
    else this.#link.end(SERVICE_RESTART, `${this.room} could not be resumed`);
  }

  #isAt(epoch, offset) {
    return this.#since?.epoch === epoch && this.#since.offset === offset;
  }

  /** A `reset` has a place too: the events after it follow its offset. */
  #pass(frame, text) {
    if (isEvent(frame)) this.#since = placeOf(frame);
    this.#link.take(text, frame);
  }
}
