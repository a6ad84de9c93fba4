// A room's events for `for await`: a bounded queue between who tells and who reads.

import { HubbubError } from "./error.js";

const MAX_QUEUED = 10_000;

/** Listens from this call on; it ends when the room is left, or with the error that ended it. */
export function iterate(room, types) {
  const queue = [];
  /** Who waits for the next event; they wait only while the queue is empty. */
  const readers = [];
  let end = null;

  const finish = (error) => {
    if (end) return;
    end = { error };
    for (const off of offs) off();
    for (const { resolve, reject } of readers.splice(0)) close(resolve, reject);
  };
  /** The first reader after the end hears why, all others only that it is over. */
  const close = (resolve, reject) => {
    const { error } = end;
    end.error = null;
    if (error) reject(error);
    else resolve({ value: undefined, done: true });
  };
  const hear = (event) => {
    if (readers.length > 0) readers.shift().resolve({ value: event, done: false });
    else if (queue.push(event) > MAX_QUEUED) {
      const message = `more than ${MAX_QUEUED} events wait to be read; history() has them`;
      finish(new HubbubError("too_slow", message));
    }
  };
  const offs = [...types.map((type) => room.on(type, hear)), room.on("end", finish)];

  return {
    next() {
      if (queue.length > 0) return Promise.resolve({ value: queue.shift(), done: false });
      return new Promise((resolve, reject) => {
        if (end) close(resolve, reject);
        else readers.push({ resolve, reject });
      });
    },
    return() {
      queue.length = 0;
      finish(null);
      return Promise.resolve({ value: undefined, done: true });
    },
    [Symbol.asyncIterator]() {
      return this;
    },
  };
}
