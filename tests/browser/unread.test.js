// What is unread, what counts as read, direct messages and private rooms.

import assert from "node:assert/strict";
import { test } from "node:test";

import { startFastDemo } from "./cluster.js";
import { Bot, ChatPage, PHONE, eventually, startBrowser } from "./page.js";

const lines = (count, word = "line") => Array.from({ length: count }, (_, i) => `${word} ${i}`);

/** What the server says of a room to the user of this page. */
const row = (bot, room) => bot.rooms().then((rooms) => rooms.find((each) => each.room === room));

/** A second connection of the page's user, which sees what the server counts for them. */
async function twin(chat) {
  const page = await chat.page.context().newPage();
  await page.goto(new URL("/docs", chat.page.url()).href);
  const { guest } = JSON.parse(await chat.page.evaluate(() => sessionStorage.getItem("hubbub.identity")));
  await page.evaluate(async (token) => {
    const { Hubbub } = await import("/sdk/hubbub.js");
    globalThis.chat = new Hubbub({ token });
    await new Promise((done) => globalThis.chat.on("state", ({ state }) => state === "online" && done()));
  }, guest.token);
  return new Bot(page);
}

test("the sidebar counts what is unread, up to 99+, and mentions", async (t) => {
  const { urls } = await startFastDemo(t);
  const browser = await startBrowser(t);
  const ann = await ChatPage.open(browser, urls[0], "Ann");
  await ann.join("garden");
  await ann.join("lobby");
  const { id } = await (await twin(ann)).user();
  const bob = await Bot.open(browser, urls[1], "Bob");
  await bob.say("garden", "one", `two, @${id}`, "three");
  const garden = ann.roomItem("garden");
  await garden.getByTestId("unread").getByText(/^3\b/).waitFor();
  await garden.getByTestId("mentions").getByText(/^@1\b/).waitFor();
  assert.match(await ann.page.title(), /^\(3\) #lobby/);
  await bob.say("garden", ...lines(110));
  await garden.getByTestId("unread").getByText(/^99\+/).waitFor();
  await ann.screenshot("unread");

  // The counts are the server's: they are there before the room is entered again.
  await ann.page.reload();
  await ann.online();
  await garden.getByTestId("unread").getByText(/^99\+/).waitFor();
  await garden.getByTestId("mentions").getByText(/^@1\b/).waitFor();
  await garden.click();
  await ann.id("unread-line").waitFor();
  await ann.screenshot("unread-line");
  assert.deepEqual(ann.errors, []);
});

test("a room opens at the first unread message, and what is seen is read everywhere", async (t) => {
  const { urls } = await startFastDemo(t);
  const browser = await startBrowser(t);
  const ann = await ChatPage.open(browser, urls[0], "Ann");
  const bob = await Bot.open(browser, urls[1], "Bob");
  await bob.say("garden", ...lines(20, "old"));
  await ann.join("garden");
  await ann.hears("old 19");
  await ann.join("lobby");
  const offsets = await bob.say("garden", ...lines(30));
  const other = await twin(ann);
  await eventually(() => row(other, "garden"), (garden) => garden.unread === 30, "unread");
  await ann.roomItem("garden").click();
  await ann.hears("line 0");
  const line = await ann.id("unread-line").boundingBox();
  const next = await ann.message("line 0").boundingBox();
  const log = await ann.id("log").boundingBox();
  assert.ok(line.y > log.y && line.y < next.y, "the line is in sight, above the first");
  assert.ok(await ann.message("line 29").isVisible());
  const seen = await ann.id("log").evaluate((box) => box.scrollHeight - box.scrollTop - box.clientHeight);
  assert.ok(seen > 60, "the newest is not in sight yet");
  await new Promise((done) => setTimeout(done, 300));
  assert.equal((await row(other, "garden")).unread, 30, "not seen, not read");

  await ann.id("log").evaluate((box) => box.scrollTo(0, box.scrollHeight));
  const garden = await eventually(() => row(other, "garden"), ({ unread }) => unread === 0, "read");
  assert.equal(garden.read, offsets.at(-1));
  await eventually(() => ann.roomItem("garden").getByTestId("unread").count(), (n) => n === 0, "no badge");
  assert.equal(await ann.id("unread-line").count(), 1, "the line stays while one reads");
  await ann.join("lobby");
  await ann.roomItem("garden").click();
  assert.equal(await ann.id("unread-line").count(), 0);
});

test("a page that nobody looks at reads nothing, nor does a reader further up", async (t) => {
  const { urls } = await startFastDemo(t);
  const browser = await startBrowser(t);
  const ann = await ChatPage.open(browser, urls[0], "Ann");
  const bob = await Bot.open(browser, urls[1], "Bob");
  await bob.say("lobby", ...lines(40));
  await ann.hears("line 39");
  const other = await twin(ann);
  const unread = (count) =>
    eventually(() => row(other, "lobby"), (lobby) => lobby.unread === count, `${count} unread`);
  await unread(0);
  await ann.hide(true);
  await bob.say("lobby", "while away", "still away");
  await ann.hears("still away");
  await unread(2);
  await ann.roomItem("lobby").getByTestId("unread").getByText("2").waitFor();
  const after = await ann.id("unread-line").evaluate((line) => line.nextElementSibling.textContent);
  assert.match(after, /while away/);
  await ann.hide(false);
  await unread(0);

  await ann.id("log").evaluate((log) => log.scrollTo(0, log.scrollTop - 500));
  await bob.say("lobby", "below");
  await ann.id("jump").waitFor();
  await unread(1);
  await ann.id("jump").click();
  await unread(0);

  // Read on another device.
  await ann.join("garden");
  const [offset] = await bob.say("lobby", "seen elsewhere");
  await ann.roomItem("lobby").getByTestId("unread").getByText("1").waitFor();
  await other.call("lobby", "read", offset);
  await eventually(() => ann.roomItem("lobby").getByTestId("unread").count(), (n) => n === 0, "the badge goes");
});

test("a click on a person opens direct messages, which only those two can read", async (t) => {
  const { urls } = await startFastDemo(t);
  const browser = await startBrowser(t);
  const ann = await ChatPage.open(browser, urls[0], "Ann");
  const bob = await ChatPage.open(browser, urls[1], "Bob", { colorScheme: "dark" });
  const eve = await Bot.open(browser, urls[2], "Eve");
  await ann.id("people").getByText("Bob").click();
  await ann.id("room-title").getByText("Bob", { exact: true }).waitFor();
  const room = decodeURIComponent(new URL(ann.page.url()).hash.slice(1));
  assert.match(room, /^dm:/);
  await ann.say("just between us");
  await ann.shows(1);
  const item = bob.roomItem(room);
  await item.getByTestId("unread").getByText("1").waitFor({ timeout: 30_000 });
  assert.match(await item.textContent(), /Ann/);
  await bob.screenshot("direct-unread-dark");
  await item.click();
  await bob.hears("just between us");
  assert.equal(await bob.id("room-title").textContent(), "Ann");
  await bob.say("and so it stays");
  await ann.hears("and so it stays");
  await ann.screenshot("direct");
  assert.equal(await row(eve, room), undefined);
  await assert.rejects(eve.call(room, "history"), /forbidden|not allowed/i);
  const self = ann.page.locator(".person", { hasText: "(you)" });
  assert.equal(await self.getByTestId("direct").count(), 0, "not with oneself");
  assert.deepEqual([...ann.errors, ...bob.errors], []);
});

test("a private room has a lock, and lets in who was invited", async (t) => {
  const { urls } = await startFastDemo(t);
  const browser = await startBrowser(t);
  const ann = await ChatPage.open(browser, urls[0], "Ann");
  const bob = await ChatPage.open(browser, urls[1], "Bob");
  await ann.id("people").getByText("Bob").waitFor();
  await ann.id("room-private").check();
  await ann.join("board");
  await ann.page.locator('[data-room="board"] .icon-lock').waitFor();
  await ann.page.locator("#room-sign .icon-lock").waitFor();
  await ann.say("for members only");
  await ann.shows(1);
  await bob.id("room-input").fill("board");
  await bob.id("room-input").press("Enter");
  await bob.id("notice").getByText(/cannot be entered/).waitFor();
  await bob.id("leave").click();
  await ann.id("invite-input").fill("Bob");
  await ann.id("invite").click();
  await ann.id("invite-state").getByText("Bob may enter now.").waitFor();
  await ann.screenshot("private");
  await bob.join("board");
  await bob.hears("for members only");
  await bob.page.locator('[data-room="board"] .icon-lock').waitFor({ timeout: 30_000 });
  assert.deepEqual([...ann.errors, ...bob.errors], []);
});

test("rooms, direct messages and counts fit a phone", async (t) => {
  const { urls } = await startFastDemo(t);
  const browser = await startBrowser(t);
  const mia = await ChatPage.open(browser, urls[0], "Mia", { ...PHONE, colorScheme: "dark" });
  const bob = await ChatPage.open(browser, urls[1], "Bob");
  await mia.id("rooms-toggle").tap();
  await mia.join("garden");
  await bob.id("people").getByText("Mia").click();
  await bob.say("psst");
  await (await Bot.open(browser, urls[2], "Carl")).say("lobby", ...lines(120));
  await mia.page.locator("#rooms-dot").waitFor({ timeout: 30_000 });
  await mia.id("rooms-toggle").tap();
  await mia.id("direct-list").getByText("Bob").waitFor({ timeout: 30_000 });
  await mia.screenshot("phone-unread-dark");
  await mia.roomItem("lobby").tap();
  await mia.id("unread-line").waitFor();
  await mia.screenshot("phone-unread-line-dark");
  const width = await mia.page.evaluate(() => document.documentElement.scrollWidth);
  assert.equal(width, PHONE.viewport.width);
  assert.deepEqual(mia.errors, []);
});
