// The chat page in Chromium, as its reader uses it.

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

export const PHONE = {
  viewport: { width: 390, height: 780 },
  deviceScaleFactor: 2,
  isMobile: true,
  hasTouch: true,
};

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

  texts() {
    return this.id("message-text").allTextContents();
  }

  people() {
    return this.id("person").locator("bdi").allTextContents();
  }

  async screenshot(name) {
    await mkdir(ARTIFACTS, { recursive: true });
    await this.page.screenshot({ path: path.join(ARTIFACTS, `browser-${name}.png`) });
  }
}
