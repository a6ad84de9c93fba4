// Reading far up in a room: all pages come, and nothing that is read moves.

import assert from "node:assert/strict";
import { test } from "node:test";

import { startFastDemo } from "./cluster.js";
import { Bot, ChatPage, PHONE, eventually, startBrowser } from "./page.js";

const lines = (count) => Array.from({ length: count }, (_, i) => `line ${i}`);
/** More than the page keeps at once. */
const MANY = 800;
const MAX_SHOWN = 600;

/** The number in the first message that is wholly in sight, and where it stands in the log. */
const firstInSight = (chat) =>
  chat.id("log").evaluate((log) => {
    const { top } = log.getBoundingClientRect();
    for (const text of log.querySelectorAll('[data-testid="message-text"]')) {
      const box = text.getBoundingClientRect();
      if (box.top >= top) return { line: Number(text.textContent.split(" ")[1]), y: box.top - top };
    }
    return null;
  });

const shown = (chat) => chat.id("message").count();

/** Turns the wheel until `wanted` is at the first line in sight; each turn moves by what it says. */
async function wheelTo(chat, step, wanted) {
  const box = await chat.id("log").boundingBox();
  await chat.page.mouse.move(box.x + box.width / 2, box.y + box.height / 2);
  let most = 0;
  let largest = 0;
  let { line } = await firstInSight(chat);
  const deadline = Date.now() + 90_000;
  while (!wanted(line)) {
    assert.ok(Date.now() < deadline, `stuck at line ${line}`);
    await chat.page.mouse.wheel(0, step);
    await chat.page.evaluate(() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done))));
    const now = (await firstInSight(chat)).line;
    assert.ok(step < 0 ? now <= line : now >= line, `${line}, then ${now}: never the other way`);
    largest = Math.max(largest, Math.abs(now - line));
    line = now;
    most = Math.max(most, await shown(chat));
  }
  return { most, largest };
}

test("the wheel leads up through many pages to the first message, and down again", async (t) => {
  const { urls } = await startFastDemo(t);
  const browser = await startBrowser(t);
  const bot = await Bot.open(browser, urls[1], "Bot");
  await bot.say("lobby", ...lines(MANY));
  const ann = await ChatPage.open(browser, urls[0], "Ann");
  await ann.hears(`line ${MANY - 1}`);
  const up = await wheelTo(ann, -600, (line) => line === 0);
  // 600 pixels are about 15 lines: a jump would be a page.
  assert.ok(up.largest <= 20, `moved by ${up.largest} lines at once`);
  assert.ok(up.most <= MAX_SHOWN + 50, `${up.most} on the page`);
  assert.equal(await ann.id("load-older").isHidden(), true);
  assert.equal((await ann.texts())[0], "line 0");

  // The newest went from the page to make room; what is said now waits for the reader.
  assert.ok((await shown(ann)) < MANY);
  await bot.say("lobby", `line ${MANY}`);
  await ann.id("jump").getByText("New messages").waitFor();
  const down = await wheelTo(ann, 600, (line) => line > MANY - 40);
  assert.ok(down.largest <= 20, `moved by ${down.largest} lines at once`);
  assert.ok(down.most <= MAX_SHOWN + 50, `${down.most} on the page`);
  const bottom = async () => {
    await ann.id("log").evaluate((log) => log.scrollTo(0, log.scrollHeight));
    return ann.id("jump").isHidden();
  };
  await eventually(bottom, Boolean, "at the newest");
  await ann.hears(`line ${MANY}`);
  await bot.say("lobby", `line ${MANY + 1}`);
  await ann.hears(`line ${MANY + 1}`);
  const texts = await ann.texts();
  assert.deepEqual(texts, lines(MANY + 2).slice(-texts.length), "one stretch without a hole");
  assert.deepEqual(ann.errors, []);
});

test("the button leads there too, and one click leads back to the newest", async (t) => {
  const { urls } = await startFastDemo(t);
  const browser = await startBrowser(t);
  const bot = await Bot.open(browser, urls[1], "Bot");
  await bot.say("lobby", ...lines(MANY));
  const ann = await ChatPage.open(browser, urls[0], "Ann");
  await ann.hears(`line ${MANY - 1}`);
  const button = ann.id("load-older");
  const deadline = Date.now() + 60_000;
  while (await button.isVisible()) {
    assert.ok(Date.now() < deadline, "never came to the first");
    // As the keyboard does it: it need not stand still, as for the mouse.
    await button.evaluate((older) => older.click());
    await ann.id("log").evaluate((log) => log.scrollTo(0, 0));
    await ann.page.evaluate(() => new Promise((done) => requestAnimationFrame(done)));
  }
  assert.equal((await ann.texts())[0], "line 0");
  await ann.id("jump").getByText("Newest messages").click();
  await ann.hears(`line ${MANY - 1}`);
  assert.deepEqual(await ann.texts(), lines(MANY).slice(-50));
  const gap = () => ann.id("log").evaluate((box) => box.scrollHeight - box.scrollTop - box.clientHeight);
  assert.ok((await gap()) < 5);
  await bot.say("lobby", "and on it goes");
  await ann.hears("and on it goes");
  assert.ok((await gap()) < 5);

  // Who writes from further up wants to see it arrive.
  await wheelTo(ann, -600, (line) => line < 100);
  await ann.say("from above");
  await ann.hears("from above");
  assert.ok((await gap()) < 5);
});

test("what happens above and below does not move what is read", async (t) => {
  const { urls } = await startFastDemo(t);
  const browser = await startBrowser(t);
  const bot = await Bot.open(browser, urls[1], "Bot");
  const offsets = await bot.say("lobby", ...lines(60));
  const ann = await ChatPage.open(browser, urls[0], "Ann");
  await ann.hears("line 59");
  await ann.id("log").evaluate((log) => log.scrollTo(0, log.scrollTop - 500));
  const before = await firstInSight(ann);
  const above = offsets[before.line - 3];
  await bot.call("lobby", "react", above, "👍");
  await bot.call("lobby", "edit", above, { text: "line\nthat\nhas\nbecome\nlonger" });
  await bot.call("lobby", "delete", offsets[before.line - 2]);
  await bot.say("lobby", "line 60");
  await ann.id("jump").waitFor();
  const after = await firstInSight(ann);
  assert.equal(after.line, before.line);
  assert.ok(Math.abs(after.y - before.y) <= 1, `${before.y}, then ${after.y}`);
});

test("a finger on a phone leads up through the pages as well", async (t) => {
  const { urls } = await startFastDemo(t);
  const browser = await startBrowser(t);
  const bot = await Bot.open(browser, urls[1], "Bot");
  await bot.say("lobby", ...lines(200));
  const mia = await ChatPage.open(browser, urls[0], "Mia", PHONE);
  await mia.hears("line 199");
  const cdp = await mia.page.context().newCDPSession(mia.page);
  const deadline = Date.now() + 60_000;
  while ((await firstInSight(mia)).line > 0) {
    assert.ok(Date.now() < deadline, "never came to the first");
    const touch = (type, y) =>
      cdp.send("Input.dispatchTouchEvent", { type, touchPoints: y ? [{ x: 200, y }] : [] });
    await touch("touchStart", 250);
    for (let y = 270; y <= 630; y += 30) await touch("touchMove", y);
    await touch("touchEnd");
  }
  assert.deepEqual(await mia.texts(), lines(200));
});
