// Search: what is found, where it leads, and what is said when nothing is.

import assert from "node:assert/strict";
import { test } from "node:test";

import { startCluster, startFastDemo } from "./cluster.js";
import { Bot, ChatPage, PHONE, eventually, startBrowser } from "./page.js";

const lines = (count) => Array.from({ length: count }, (_, i) => `line ${i}`);

async function find(chat, words) {
  if (await chat.id("search").isHidden()) await chat.id("search-toggle").click();
  await chat.id("search-input").fill(words);
  await chat.id("search-input").press("Enter");
}

/** The archive takes what is said a moment later. */
async function found(chat, words, count) {
  const look = async () => {
    await find(chat, words);
    await chat.id("search-state").getByText("Searching…").waitFor({ state: "hidden" });
    return chat.id("hit").count();
  };
  await eventually(look, (hits) => hits >= count, `hits for ${words}`);
}

test("hits stand out, and lead to their message wherever it is", async (t) => {
  const { urls } = await startFastDemo(t);
  const browser = await startBrowser(t);
  const bot = await Bot.open(browser, urls[1], "Bot");
  await bot.say("lobby", ...lines(150), "the <b>hedgehog</b> & its garden", ...lines(300));
  await bot.say("garden", "another hedgehog");
  const ann = await ChatPage.open(browser, urls[0], "Ann");
  await ann.hears("line 299");
  await found(ann, "hedgehog", 2);
  const texts = await ann.id("hit-text").allTextContents();
  assert.deepEqual(texts, ["another hedgehog", "the <b>hedgehog</b> & its garden"]);
  assert.deepEqual(await ann.id("hits").locator("mark").allTextContents(), ["hedgehog", "hedgehog"]);
  await ann.screenshot("search");
  await ann.id("search-here").check();
  await eventually(() => ann.id("hit").count(), (count) => count === 1, "only in this room");

  await ann.id("hit").click();
  const message = ann.message("the <b>hedgehog</b> & its garden");
  await message.waitFor();
  assert.equal(await ann.id("search").isHidden(), true);
  const log = await ann.id("log").boundingBox();
  const box = await message.boundingBox();
  const middle = (box.y + box.height / 2 - log.y) / log.height;
  assert.ok(middle > 0.25 && middle < 0.75, `in the middle: ${middle}`);
  await ann.screenshot("search-found");
  assert.equal(await message.evaluate((item) => item === document.activeElement), true);

  // While somebody types, beginnings of words are found.
  await ann.id("search-toggle").click();
  await ann.id("search-input").fill("HEDGE");
  await eventually(() => ann.id("hit").count(), (count) => count === 1, "found while typing");
  await ann.id("search-input").press("Enter");
  await eventually(() => ann.id("hit").count(), (count) => count === 0, "no whole word");
  await ann.id("search-input").fill("hedgehog");
  await ann.id("search-input").press("Escape");

  // From there it goes on both ways, until the newest.
  await bot.say("lobby", "meanwhile");
  await ann.id("jump").waitFor();
  const wanted = [...lines(150), "the <b>hedgehog</b> & its garden", ...lines(300), "meanwhile"];
  const last = () => ann.id("message-text").last().textContent();
  const down = async () => {
    await ann.id("log").evaluate((box) => box.scrollTo(0, box.scrollHeight));
    return last();
  };
  await eventually(down, (text) => text === "meanwhile", "down to the newest");
  const all = await ann.texts();
  assert.deepEqual(all, wanted.slice(-all.length), "no hole");

  // A hit in another room leads there.
  await ann.id("search-toggle").click();
  await ann.id("search-here").uncheck();
  await eventually(() => ann.id("hit").count(), (count) => count === 2, "in all rooms");
  await ann.id("hit").first().click();
  await ann.hears("another hedgehog");
  assert.equal(await ann.id("room-title").textContent(), "garden");
  assert.deepEqual(ann.errors, []);
});

test("many hits come in pages, nothing is said so, and Escape closes", async (t) => {
  const { urls } = await startFastDemo(t);
  const browser = await startBrowser(t);
  const bot = await Bot.open(browser, urls[1], "Bot");
  await bot.say("lobby", ...Array.from({ length: 130 }, (_, i) => `apple ${i}`));
  const mia = await ChatPage.open(browser, urls[0], "Mia", { ...PHONE, colorScheme: "dark" });
  await found(mia, "apple 129", 1);
  await found(mia, "apple", 10);
  await mia.screenshot("phone-search-dark");
  const more = mia.id("search-more");
  const press = async () => {
    if (await more.isVisible()) await more.click();
    return mia.id("hit").count();
  };
  await eventually(press, (count) => count === 130, "all pages");
  const texts = await mia.id("hit-text").allTextContents();
  assert.equal(new Set(texts).size, 130, "each once");
  assert.equal(texts[0], "apple 129");
  assert.equal(await more.isHidden(), true);
  await find(mia, "zebra");
  await mia.id("search-state").getByText("Nothing was found.").waitFor();
  await mia.page.keyboard.press("Escape");
  assert.equal(await mia.id("search").isHidden(), true);
  const width = await mia.page.evaluate(() => document.documentElement.scrollWidth);
  assert.equal(width, PHONE.viewport.width);
  assert.deepEqual(mia.errors, []);
});

test("without an archive the page says why there is neither search nor a private room", async (t) => {
  const [node] = await startCluster(t, 1);
  const browser = await startBrowser(t);
  const ann = await ChatPage.open(browser, node.url, "Ann");
  await find(ann, "anything");
  await ann.id("search-state").getByText(/^Search failed: .*archive/).waitFor();
  await ann.page.keyboard.press("Escape");
  await ann.id("room-private").check();
  await ann.id("room-input").fill("board");
  await ann.id("room-join").click();
  await ann.page.locator("#join-error").getByText(/^No private room: .*archive/).waitFor();
  assert.deepEqual(ann.errors, []);
});
