// The page after a failover that lost a part of the stream: the server numbers again what it has kept.

import assert from "node:assert/strict";
import { test } from "node:test";

import { startFastDemo } from "./cluster.js";
import { ChatPage, eventually, startBrowser } from "./page.js";

const EPOCH = "0new-life";

/** Stands between the page and its node: passes everything on, until a failover is played. */
class Between {
  events = [];
  #page;
  /** Messages that the history has after the failover; null before. */
  #history = null;

  /** A browser whose pages go through this. */
  of(browser) {
    const newContext = async (options) => {
      const context = await browser.newContext(options);
      await context.routeWebSocket(/\/v1\/ws$/, (socket) => this.#take(socket));
      return context;
    };
    return { newContext };
  }

  #take(socket) {
    const node = socket.connectToServer();
    this.#page = socket;
    socket.onMessage((text) => {
      const { type, id, room } = JSON.parse(text);
      if (type !== "history" || this.#history === null) node.send(text);
      else this.say({ type, id, room, events: this.#history, more: false });
    });
    node.onMessage((text) => {
      const frame = JSON.parse(text);
      if (frame.type === "message") this.events.push(frame);
      socket.send(text);
    });
  }

  say(frame) {
    this.#page.send(JSON.stringify(frame));
  }

  /** The same event at another place. */
  moved(event, offset) {
    return { ...event, epoch: EPOCH, offset };
  }

  /** The stream begins a new life after `offset`; these are its messages. */
  failOver(room, offset, history) {
    this.#history = history;
    this.say({ type: "reset", room, epoch: EPOCH, offset });
  }
}

test("a message that is numbered again stands once, and a change finds it at its new place", async (t) => {
  const { urls } = await startFastDemo(t);
  const between = new Between();
  const ann = await ChatPage.open(between.of(await startBrowser(t)), urls[0], "Ann");
  for (const text of ["one", "two", "three"]) await ann.say(text);
  await ann.shows(3);
  const [one, two, three] = between.events;
  const change = (type, offset, fields) => {
    const { room, from: by, ts } = two;
    return { type, room, message: `m-${offset}`, by, ts, epoch: EPOCH, offset, ...fields };
  };

  // The history knows "one" and one message that the page has not seen; the rest comes again, live.
  const missed = { ...between.moved(three, 101), message: "m-101", nonce: undefined, body: { text: "missed" } };
  between.failOver(one.room, 100, [one, missed]);
  await ann.hears("missed");
  between.say(missed);
  between.say(between.moved(two, 102));
  between.say(between.moved(three, 103));
  between.say(change("edited", 104, { target: 102, body: { text: "two, edited" } }));
  between.say(change("reacted", 105, { target: 103, key: "👍", on: true }));
  await ann.hears("two, edited");
  await ann.message("three").getByTestId("reaction").waitFor();
  assert.deepEqual(await ann.texts(), ["one", "missed", "two, edited", "three"]);
  const offsets = () => ann.id("message").evaluateAll((all) => all.map(({ dataset }) => Number(dataset.offset)));
  assert.deepEqual(await offsets(), [one.offset, 101, 102, 103]);

  // Once more, while the page still shows what it shows.
  between.say(between.moved(two, 106));
  between.say(change("edited", 107, { target: 106, body: { text: "edited again" } }));
  await ann.hears("edited again");
  assert.deepEqual(await ann.texts(), ["one", "missed", "three", "edited again"]);
  await eventually(offsets, (all) => all.join() === [one.offset, 101, 103, 106].join(), "each in its new place");
  assert.deepEqual(ann.errors, []);
});
