// Edits, deletions, reactions and mentions on the page, as two people on two nodes see them.

import assert from "node:assert/strict";
import { test } from "node:test";

import { startCluster, startFastDemo } from "./cluster.js";
import { Bot, ChatPage, PHONE, eventually, startBrowser } from "./page.js";

const chips = (message) =>
  message.getByTestId("reaction").evaluateAll((all) =>
    all.map((chip) => `${chip.dataset.key} ${chip.querySelector(".tally-small").textContent}${chip.ariaPressed === "true" ? " mine" : ""}`),
  );

test("an edit shows on both sides, and everything can be done with the keyboard", async (t) => {
  const { urls } = await startFastDemo(t);
  const browser = await startBrowser(t);
  const ann = await ChatPage.open(browser, urls[0], "Ann");
  const bob = await ChatPage.open(browser, urls[1], "Bob", { colorScheme: "dark" });
  await bob.say("from Bob");
  await ann.hears("from Bob");
  await ann.say("first versoin");
  await bob.hears("first versoin");

  await ann.id("composer-input").press("ArrowUp");
  const field = ann.id("edit-input");
  assert.equal(await field.inputValue(), "first versoin");
  await field.fill("never saved");
  await field.press("Escape");
  await ann.hears("first versoin");
  assert.equal(await field.count(), 0);
  await ann.id("composer-input").press("ArrowUp");
  await field.fill("first version");
  await ann.screenshot("editing");
  await field.press("Enter");
  for (const page of [ann, bob]) {
    await page.message("first version").getByTestId("edited").waitFor();
    assert.deepEqual(await page.texts(), ["from Bob", "first version"]);
  }
  assert.equal(await ann.page.evaluate(() => document.activeElement.id), "composer-input");

  // From the field to write in, back to the newest message, and up from there.
  await ann.page.keyboard.press("Shift+Tab");
  await ann.page.keyboard.press("Enter");
  await ann.id("message-menu").waitFor();
  await ann.page.keyboard.press("End");
  await ann.page.keyboard.press("ArrowUp");
  await ann.page.keyboard.press("Enter");
  await field.fill("second version");
  await ann.id("edit-save").click();
  for (const page of [ann, bob]) await page.hears("second version");
  const focus = () => ann.page.evaluate(() => document.activeElement.id);
  await eventually(focus, (id) => id === "composer-input", "the field to write in has the focus");
  await ann.page.keyboard.press("Shift+Tab");
  await ann.page.keyboard.press("ArrowUp");
  await ann.page.keyboard.press("Enter");
  assert.equal(await ann.id("menu-edit").count(), 0, "Bob's is his");
  await ann.page.keyboard.press("Escape");
  assert.equal(await ann.id("message-menu").isHidden(), true);
  const focused = await ann.page.evaluate(() => document.activeElement.dataset.testid);
  assert.equal(focused, "message-actions", "Escape leads back");

  await bob.say("a draft stays");
  await ann.hears("a draft stays");
  await ann.id("composer-input").fill("half a");
  await ann.id("composer-input").press("ArrowUp");
  assert.equal(await field.count(), 0, "only an empty field leads to the last message");
  await ann.page.reload();
  await ann.message("second version").getByTestId("edited").waitFor();
  assert.deepEqual(await ann.texts(), ["from Bob", "second version", "a draft stays"]);
  assert.deepEqual([...ann.errors, ...bob.errors], []);
});

test("a deleted message leaves its place, for everybody and after a reload", async (t) => {
  const { urls } = await startFastDemo(t);
  const browser = await startBrowser(t);
  const ann = await ChatPage.open(browser, urls[0], "Ann");
  const bob = await ChatPage.open(browser, urls[1], "Bob");
  for (const text of ["one", "two", "three"]) await ann.say(text);
  await bob.shows(3);
  const secret = await bob.message("two").getAttribute("data-offset");
  await ann.act("two", "menu-delete");
  await bob.hears("two");
  await ann.id("menu-delete-sure").click();
  for (const page of [ann, bob]) {
    const place = page.page.locator(`[data-offset="${secret}"]`);
    await place.getByText("Message deleted").waitFor();
    assert.equal(await place.getByTestId("message-actions").count(), 0);
    await eventually(() => page.texts(), (texts) => texts.join() === "one,three", "what is left");
  }
  await bob.page.reload();
  await bob.page.locator(`[data-offset="${secret}"]`).getByText("Message deleted").waitFor();
  assert.deepEqual(await bob.texts(), ["one", "three"]);
  assert.deepEqual([...ann.errors, ...bob.errors], []);
});

test("reactions are counted, mine stand out, and a click takes one back", async (t) => {
  const { urls } = await startFastDemo(t);
  const browser = await startBrowser(t);
  const ann = await ChatPage.open(browser, urls[0], "Ann");
  const bob = await ChatPage.open(browser, urls[1], "Bob", { colorScheme: "dark" });
  const carl = await Bot.open(browser, urls[2], "Carl");
  await ann.say("cake at four");
  await bob.act("cake at four", "menu-key", "🎉");
  await ann.message("cake at four").getByTestId("reaction").click();
  const [offset] = await carl.say("lobby", "me too");
  await carl.call("lobby", "react", offset - 3, "👍");
  const both = (page, wanted) =>
    eventually(() => chips(page.message("cake at four")), (all) => all.join() === wanted, wanted);
  await both(ann, "🎉 2 mine,👍 1");
  await both(bob, "🎉 2 mine,👍 1");
  const title = await ann.message("cake at four").getByTestId("reaction").first().getAttribute("title");
  assert.deepEqual(title.split(" and ").sort(), ["Bob", "you"]);
  await bob.screenshot("reactions-dark");
  await ann.message("cake at four").hover();
  await ann.message("cake at four").getByTestId("message-actions").click();
  await ann.screenshot("menu");
  await ann.page.keyboard.press("Escape");

  const party = ann.message("cake at four").getByTestId("reaction").first();
  await party.focus();
  await party.press("Enter");
  await both(ann, "🎉 1,👍 1");
  await both(bob, "🎉 1 mine,👍 1");
  assert.equal(await ann.page.evaluate(() => document.activeElement.dataset.key), "🎉", "the focus stays");
  await bob.message("cake at four").getByTestId("reaction").first().click();
  await both(ann, "👍 1");
  await bob.page.reload();
  await both(bob, "👍 1");

  await carl.call("lobby", "react", offset, "<b>bold</b>");
  await eventually(() => chips(ann.message("me too")), (all) => all[0] === "<b>bold</b> 1", "any key is text");
  assert.deepEqual([...ann.errors, ...bob.errors], []);
});

test("changes to messages that are not on the page show when those come", async (t) => {
  const { urls } = await startFastDemo(t);
  const browser = await startBrowser(t);
  const bot = await Bot.open(browser, urls[1], "Bot");
  const lines = Array.from({ length: 120 }, (_, i) => `line ${i}`);
  const offsets = await bot.say("lobby", ...lines);
  await bot.call("lobby", "edit", offsets[3], { text: "line 3, edited before" });
  const ann = await ChatPage.open(browser, urls[0], "Ann");
  await ann.hears("line 119");
  await bot.call("lobby", "edit", offsets[5], { text: "line 5, edited" });
  await bot.call("lobby", "edit", offsets[5], { text: "line 5, edited twice" });
  await bot.call("lobby", "react", offsets[6], "👍");
  await bot.call("lobby", "react", offsets[7], "👍");
  await bot.call("lobby", "react", offsets[7], "👍", false);
  await bot.call("lobby", "delete", offsets[8]);
  await bot.say("lobby", "the last word");
  await ann.hears("the last word");
  for (const count of [100, 121]) {
    await ann.id("log").evaluate((log) => log.scrollTo(0, 0));
    await ann.shows(count);
  }
  const wanted = [...lines, "the last word"];
  [wanted[3], wanted[5]] = ["line 3, edited before", "line 5, edited twice"];
  wanted.splice(8, 1);
  assert.deepEqual(await ann.texts(), wanted);
  assert.deepEqual(await chips(ann.message("line 6")), ["👍 1"]);
  assert.deepEqual(await chips(ann.message("line 7")), []);
  assert.equal(await ann.id("edited").count(), 2);
  assert.equal(await ann.page.locator("[data-deleted]").count(), 1);
});

test("an edit and a reaction made without a connection are stored after it", async (t) => {
  const [one, two] = await startCluster(t, 2);
  const browser = await startBrowser(t);
  const ann = await ChatPage.open(browser, one.url, "Ann");
  const bob = await ChatPage.open(browser, two.url, "Bob");
  await ann.say("before");
  await bob.say("react to me");
  await ann.shows(2);
  await bob.shows(2);
  await one.kill();
  await ann.id("composer-input").press("ArrowUp");
  await ann.id("edit-input").fill("after");
  await ann.id("edit-input").press("Enter");
  await ann.act("react to me", "menu-key", "👀");
  await bob.message("after").getByTestId("edited").waitFor({ timeout: 60_000 });
  await eventually(() => chips(bob.message("react to me")), (all) => all.join() === "👀 1", "the reaction");
  await eventually(() => chips(ann.message("react to me")), (all) => all.join() === "👀 1 mine", "her own");
  await ann.hears("after");
  assert.equal(await ann.id("edit-input").count(), 0);
});

test("who is mentioned sees it, by name", async (t) => {
  const { urls } = await startFastDemo(t);
  const browser = await startBrowser(t);
  const ann = await ChatPage.open(browser, urls[0], "Ann");
  const bob = await ChatPage.open(browser, urls[1], "Bob");
  const annId = await ann.page.locator(".person", { hasText: "(you)" }).getAttribute("data-user");
  await bob.say(`hello @${annId}, look at https://example.org/@${annId}!`);
  await bob.say("nobody here @nobody");
  await ann.hears("nobody here @nobody");
  const mine = ann.page.locator(".is-mention");
  assert.equal(await mine.count(), 1);
  assert.equal(await mine.locator(".mention.is-me").textContent(), "@Ann");
  assert.equal(await mine.locator("a").getAttribute("href"), `https://example.org/@${annId}`);
  assert.equal(await bob.page.locator(".is-mention").count(), 0);
  assert.equal(await bob.page.locator(".mention").first().textContent(), "@Ann");
  await ann.screenshot("mention");

  // Behind an @ the people of the room are offered; the field shows names, the server gets ids.
  await bob.id("composer-input").fill("");
  await bob.id("composer-input").pressSequentially("well, @a");
  await bob.id("picker-option").getByText("Ann").waitFor();
  await bob.screenshot("picker");
  await bob.id("composer-input").press("Enter");
  assert.equal(await bob.id("composer-input").inputValue(), "well, @Ann ");
  await bob.id("composer-input").pressSequentially("that is you");
  await bob.id("composer-input").press("Enter");
  await ann.page.locator(".is-mention").getByText("that is you").waitFor();
  assert.equal(await ann.page.locator(".is-mention").count(), 2);
  assert.equal(await bob.id("picker").isHidden(), true);
  assert.deepEqual([...ann.errors, ...bob.errors], []);
});

test("edits, reactions and the menu fit a phone", async (t) => {
  const { urls } = await startFastDemo(t);
  const browser = await startBrowser(t);
  const mia = await ChatPage.open(browser, urls[0], "Mia", PHONE);
  const bob = await ChatPage.open(browser, urls[1], "Bob");
  await bob.say("A long message that takes more than one line on such a small screen, and then some.");
  await mia.say("Mine");
  await mia.shows(2);
  for (const key of ["👍", "❤️", "😂", "🎉"]) {
    await mia.id("message-actions").first().tap();
    await mia.id("menu-key").getByText(key, { exact: true }).tap();
  }
  await eventually(() => mia.id("reaction").count(), (count) => count === 4, "four reactions");
  await mia.id("message-actions").last().tap();
  await mia.screenshot("phone-menu");
  await mia.id("menu-edit").tap();
  await mia.screenshot("phone-editing");
  await mia.id("edit-cancel").tap();
  const width = await mia.page.evaluate(() => document.documentElement.scrollWidth);
  assert.equal(width, PHONE.viewport.width);
  assert.deepEqual(mia.errors, []);
});
