// The chat page in Chromium, as its reader uses it.

import assert from "node:assert/strict";
import { mkdir } from "node:fs/promises";
import path from "node:path";
import { fileURLToPath } from "node:url";

import { chromium } from "playwright-core";

const ARTIFACTS = path.resolve(path.dirname(fileURLToPath(import.meta.url)), "../artifacts");
const FLAGS = [
  "--headless",
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

/** A folder to take the page's scripts and styles from, so that trying a change needs no build. */
const STATIC = process.env.HUBBUB_STATIC;

const serveFromDisk = (route) =>
  route.fulfill({ path: path.join(STATIC, new URL(route.request().url()).pathname) });

export const PHONE = {
  viewport: { width: 390, height: 780 },
  deviceScaleFactor: 2,
  isMobile: true,
  hasTouch: true,
};

/** Waits until `read()` gives what `wanted` accepts; each read may change the page's state. */
export async function eventually(read, wanted, what) {
  const deadline = Date.now() + 30_000;
  for (;;) {
    const value = await read();
    if (wanted(value)) return value;
    if (Date.now() > deadline) assert.fail(`${what}: ${JSON.stringify(value)}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

/** One browser for a test. */
export async function startBrowser(t) {
  const executablePath = process.env.CHROMIUM ?? "/usr/bin/chromium";
  const browser = await chromium.launch({ executablePath, args: FLAGS });
  t.after(() => browser.close());
  return browser;
}

export class ChatPage {
  /** Opens a page as a person of its own. Errors and dialogs of the page are collected. */
  static async open(browser, url, name, options = {}) {
    const viewport = { width: 1200, height: 760 };
    const context = await browser.newContext({ viewport, ...options });
    if (STATIC) await context.route(/\.(js|css)$/, serveFromDisk);
    const chat = new ChatPage(await context.newPage());
    await chat.page.goto(url);
    await chat.id("name-input").fill(name);
    await chat.id("name-submit").click();
    await chat.online();
    return chat;
  }

  constructor(page) {
    this.page = page;
    this.errors = [];
    page.on("pageerror", (error) => this.errors.push(String(error)));
    page.on("dialog", (dialog) => {
      this.errors.push(`dialog: ${dialog.message()}`);
      dialog.dismiss();
    });
    page.on("console", (message) => {
      if (/Content.Security.Policy/i.test(message.text())) this.errors.push(message.text());
    });
  }

  id(testId) {
    return this.page.getByTestId(testId);
  }

  /** Waits until the page says which node it is on, and that it is in the room. */
  async online() {
    await this.page.locator(".lamp.is-online").waitFor();
    await this.id("person").first().waitFor({ state: "attached" });
  }

  async node() {
    return this.id("node").textContent();
  }

  async say(text) {
    await this.id("composer-input").fill(text);
    await this.id("composer-input").press("Enter");
  }

  async join(room) {
    await this.id("room-input").fill(room);
    await this.id("room-input").press("Enter");
    await this.id("person").first().waitFor({ state: "attached" });
  }

  /** Waits until `count` messages are shown, in their places; sends without ack do not count. */
  async shows(count) {
    await this.page.waitForFunction(
      (n) => document.querySelectorAll('[data-testid="message"]').length >= n,
      count,
      { timeout: 30_000 },
    );
  }

  /** Waits until a message with this text is shown. */
  async hears(text) {
    await this.id("message-text").getByText(text, { exact: true }).first().waitFor();
  }

  /** The message with this text, as an element to look at and to click. */
  message(text) {
    const inside = this.page.getByTestId("message-text").getByText(text, { exact: true });
    return this.id("message").filter({ has: inside });
  }

  roomItem(room) {
    return this.page.locator(`[data-testid="room-item"][data-room="${room}"]`);
  }

  /** Opens a message's menu with the mouse and clicks an entry of it. */
  async act(text, entry, name) {
    const message = this.message(text);
    await message.hover();
    await message.getByTestId("message-actions").click();
    const entries = this.id("message-menu").getByTestId(entry);
    await (name ? entries.getByText(name, { exact: true }) : entries).click();
  }

  /** As another tab in front does it. */
  async hide(hidden) {
    await this.page.evaluate((value) => {
      Object.defineProperty(document, "hidden", { value, configurable: true });
      const visibilityState = value ? "hidden" : "visible";
      Object.defineProperty(document, "visibilityState", { value: visibilityState, configurable: true });
      document.dispatchEvent(new Event("visibilitychange"));
    }, hidden);
  }

  texts() {
    return this.id("message-text").allTextContents();
  }

  people() {
    return this.id("person").locator("bdi").allTextContents();
  }

  async screenshot(name) {
    await mkdir(ARTIFACTS, { recursive: true });
    const place = path.join(ARTIFACTS, `browser-${name}.png`);
    await this.page.screenshot({ path: place, animations: "disabled" });
  }
}

/** Someone who uses the SDK itself, on a page of the same node that shows nothing of it. */
export class Bot {
  static async open(browser, url, name) {
    const page = await (await browser.newContext()).newPage();
    await page.goto(`${url}/docs`);
    await page.evaluate(async (name) => {
      const { Hubbub } = await import("/sdk/hubbub.js");
      globalThis.chat = new Hubbub({ name });
      await new Promise((done) => globalThis.chat.on("state", ({ state }) => state === "online" && done()));
    }, name);
    return new Bot(page);
  }

  constructor(page) {
    this.page = page;
  }

  user() {
    return this.page.evaluate(() => globalThis.chat.user);
  }

  rooms() {
    return this.page.evaluate(() => globalThis.chat.rooms());
  }

  /** Calls a method of the room, which is joined first; resolves to what it gives. */
  call(room, method, ...args) {
    return this.page.evaluate(
      async ([name, method, args]) => {
        const room = globalThis.chat.room(name);
        if (!room.joined) await room.join();
        return room[method](...args);
      },
      [room, method, args],
    );
  }

  /** Sends texts in this order and resolves to their offsets. */
  say(room, ...texts) {
    return this.page.evaluate(
      async ([name, texts]) => {
        const room = globalThis.chat.room(name);
        if (!room.joined) await room.join();
        const offsets = [];
        // No more than the outbox takes at once.
        for (let i = 0; i < texts.length; i += 50) {
          const sends = texts.slice(i, i + 50).map((text) => room.send({ text }));
          for (const { offset } of await Promise.all(sends)) offsets.push(offset);
        }
        return offsets;
      },
      [room, texts],
    );
  }
}
