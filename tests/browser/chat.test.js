// The web client in Chromium, on real nodes over a real Redis.

import assert from "node:assert/strict";
import { test } from "node:test";

import { startCluster, startDemo } from "./cluster.js";
import { ChatPage, PHONE, eventually, startBrowser } from "./page.js";

test("two people on two nodes chat", async (t) => {
  const [one, two] = await startCluster(t, 2);
  const browser = await startBrowser(t);
  const ann = await ChatPage.open(browser, one.url, "Ann");
  const bob = await ChatPage.open(browser, two.url, "Bob", { colorScheme: "dark" });

  assert.ok((await ann.node()).startsWith(one.id), await ann.node());
  assert.ok((await bob.node()).startsWith(two.id), await bob.node());
  for (const page of [ann, bob]) {
    const both = (people) => [...people].sort().join() === "Ann,Bob";
    await eventually(() => page.people(), both, "who is here");
    assert.equal(await page.id("member-count").textContent(), "2");
  }

  const said = [];
  for (let i = 0; i < 10; i++) {
    const [speaker, listener, name] = i % 2 === 0 ? [ann, bob, "Ann"] : [bob, ann, "Bob"];
    said.push(`${name} says ${i}`);
    await speaker.say(said[i]);
    await listener.hears(said[i]);
  }
  await Promise.all([ann.shows(10), bob.shows(10)]);
  assert.deepEqual(await ann.texts(), said);
  assert.deepEqual(await bob.texts(), said);
  assert.equal(await ann.page.locator('[data-own="true"]').count(), 5);
  assert.equal(await ann.id("pending").count(), 0);
  const authors = ann.page.locator('[data-own="false"]').getByTestId("message-author");
  assert.equal(await authors.first().textContent(), "Bob");

  await bob.id("composer-input").pressSequentially("hm");
  await ann.id("typing").getByText("Bob is typing…").waitFor();
  await ann.screenshot("two-nodes-light");
  await bob.screenshot("two-nodes-dark");
  await bob.id("composer-input").fill("");
  await eventually(() => ann.id("typing").textContent(), (text) => text === "", "typing is over");
  assert.deepEqual([...ann.errors, ...bob.errors], []);
});

test("a killed node costs its page nothing: no gap, nothing twice", async (t) => {
  const nodes = await startCluster(t, 3);
  const browser = await startBrowser(t);
  const ann = await ChatPage.open(browser, nodes[0].url, "Ann");
  const bob = await ChatPage.open(browser, nodes[1].url, "Bob");
  const before = await ann.node();
  await ann.page.evaluate(() => {
    globalThis.banners = [];
    const look = () => {
      const banner = document.querySelector('[data-testid="banner"]');
      if (!banner.hidden) globalThis.banners.push(banner.textContent);
    };
    const banner = document.querySelector('[data-testid="banner"]');
    new MutationObserver(look).observe(banner, { subtree: true, childList: true, attributes: true });
  });

  const count = 200;
  for (let i = 0; i < count; i++) {
    await bob.say(`number ${i}`);
    if (i === 60) await nodes[0].kill();
    // Written while there is no connection: kept, and sent once.
    if (i === 62) await ann.say("still here");
  }
  await Promise.all([ann.shows(count + 1), bob.shows(count + 1)]);

  const after = await ann.node();
  assert.notEqual(after, before);
  assert.match((await ann.page.evaluate(() => globalThis.banners)).join(), /reconnecting/);
  const [hers, his] = [await ann.texts(), await bob.texts()];
  assert.deepEqual(hers, his);
  const numbers = Array.from({ length: count }, (_, i) => `number ${i}`);
  assert.deepEqual(his.filter((text) => text.startsWith("number")), numbers);
  assert.equal(his.filter((text) => text === "still here").length, 1);
  const offsets = await ann.id("message").evaluateAll((items) =>
    items.map((item) => Number(item.dataset.offset)),
  );
  assert.deepEqual(offsets, Array.from(offsets, (_, i) => offsets[0] + i), "consecutive");
  await eventually(() => ann.id("pending").count(), (n) => n === 0, "all sends acked");
  assert.equal(await ann.id("banner").isHidden(), true);
});

test("with no node left the page says so, counts down and keeps what is written", async (t) => {
  const [node] = await startCluster(t, 1);
  const browser = await startBrowser(t);
  const ann = await ChatPage.open(browser, node.url, "Ann");
  await node.kill();
  await ann.id("banner").getByText(/reconnecting/).waitFor();
  await ann.say("for later");
  await ann.id("pending").waitFor();
  await ann.id("countdown").getByText(/Next try in \d+ s/).waitFor({ timeout: 30_000 });
  await ann.screenshot("reconnecting");
  assert.equal(await ann.id("composer-input").isEnabled(), true);
});

test("nothing that people write runs", async (t) => {
  const [one, two] = await startCluster(t, 2);
  const browser = await startBrowser(t);
  const name = '<img src=x onerror=alert(1)>"><svg onload=alert(2)>';
  const eve = await ChatPage.open(browser, one.url, name);
  const bob = await ChatPage.open(browser, two.url, "Bob");
  const attacks = [
    "<script>alert(1)</script>",
    '<img src=x onerror="alert(2)">',
    "<a href='javascript:alert(3)'>x</a>",
    "javascript:alert(4)",
    "data:text/html,<script>alert(5)</script>",
    'https://example.org/"onmouseover="alert(6)',
    "{{constructor.constructor('alert(7)')()}} ${alert(8)}",
    "<iframe srcdoc='<script>alert(9)</script>'></iframe>",
    "\u202egnp.exe \u001b[31mred",
    "</li></ol><h1>out</h1>",
  ];
  for (const attack of attacks) await eve.say(attack);
  await bob.shows(attacks.length);
  assert.deepEqual(await bob.texts(), attacks);
  assert.equal(await bob.id("message-author").first().textContent(), name);
  const inLog = bob.id("log").locator("script, img, svg:not(.icon-actions), iframe, h1, [onerror], [onmouseover]");
  assert.equal(await inLog.count(), 0);
  const links = await bob.id("message-text").locator("a").evaluateAll((all) =>
    all.map(({ href, rel, target }) => ({ href, rel, target })),
  );
  const rel = "noopener noreferrer nofollow";
  assert.deepEqual(links, [{ href: "https://example.org/", rel, target: "_blank" }]);
  // The page's policy would stop what slips through.
  const policy = (await fetch(one.url)).headers.get("content-security-policy") ?? "";
  assert.match(policy, /default-src 'none'/);
  assert.doesNotMatch(policy, /unsafe/);
  assert.deepEqual([...eve.errors, ...bob.errors], []);
});

test("a reload keeps the name, the rooms and the place, and nobody sees a change", async (t) => {
  const [one, two] = await startCluster(t, 2);
  const browser = await startBrowser(t);
  const ann = await ChatPage.open(browser, one.url, "Ann");
  const bob = await ChatPage.open(browser, two.url, "Bob");
  await ann.say("before the reload");
  await ann.join("garden");
  await ann.say("among roses");
  await ann.shows(1);
  await bob.page.evaluate(() => {
    globalThis.listed = new Set();
    const look = () => globalThis.listed.add(document.querySelector("#people").textContent);
    new MutationObserver(look).observe(document.querySelector("#people"), { childList: true });
  });
  await ann.page.reload();
  await ann.online();
  assert.equal(await ann.id("me-name").textContent(), "Ann");
  assert.equal(await ann.id("room-title").textContent(), "garden");
  await ann.hears("among roses");
  assert.equal(await ann.page.locator('[data-own="true"]').count(), 1);

  await bob.say("are you back?");
  const lobby = ann.page.locator('[data-testid="room-item"][data-room="lobby"]');
  await lobby.getByTestId("unread").getByText("1").waitFor();
  await lobby.click();
  await ann.hears("are you back?");
  assert.deepEqual(await ann.texts(), ["before the reload", "are you back?"]);
  assert.equal(await lobby.getByTestId("unread").count(), 0);
  const listed = await bob.page.evaluate(() => [...globalThis.listed]);
  assert.ok(listed.every((people) => people.includes("Ann")), listed.join("; "));
});

test("the name can be changed, and what was written stays one's own", async (t) => {
  const [one] = await startCluster(t, 1);
  const browser = await startBrowser(t);
  const ann = await ChatPage.open(browser, one.url, "Ann");
  await ann.say("first");
  await ann.shows(1);
  await ann.id("me-edit").click();
  await ann.id("name-input").fill("Anna");
  await ann.screenshot("name");
  await ann.id("name-submit").click();
  await ann.id("me-name").getByText("Anna").waitFor();
  await eventually(() => ann.people(), (people) => people.includes("Anna"), "the new name");
  await ann.say("second");
  await ann.shows(2);
  assert.deepEqual(await ann.texts(), ["first", "second"]);
  assert.equal(await ann.page.locator('[data-own="true"]').count(), 2);
});

test("older messages come when one scrolls up, and the place is kept", async (t) => {
  const [one, two] = await startCluster(t, 2);
  const browser = await startBrowser(t);
  const bob = await ChatPage.open(browser, two.url, "Bob");
  const said = Array.from({ length: 130 }, (_, i) => `line ${i}`);
  for (const text of said) await bob.say(text);
  await bob.shows(said.length);

  const ann = await ChatPage.open(browser, one.url, "Ann");
  await ann.shows(50);
  assert.deepEqual(await ann.texts(), said.slice(-50));
  const log = ann.id("log");
  const gap = () => log.evaluate((box) => box.scrollHeight - box.scrollTop - box.clientHeight);
  assert.ok((await gap()) < 5, "starts at the newest");

  await log.evaluate((box) => box.scrollTo(0, 0));
  await ann.shows(100);
  assert.ok((await log.evaluate((box) => box.scrollTop)) > 500, "what was read stays in place");
  await bob.say("news");
  await ann.id("jump").waitFor();
  assert.ok((await gap()) > 500, "reading on is not disturbed");
  await ann.id("jump").click();
  await ann.hears("news");
  assert.ok((await gap()) < 5);
  assert.equal(await ann.id("jump").isHidden(), true);

  await log.evaluate((box) => box.scrollTo(0, 0));
  await ann.shows(said.length + 1);
  assert.deepEqual(await ann.texts(), [...said, "news"]);
  assert.equal(await ann.id("load-older").isHidden(), true);
});

test("the demo's pages fit a phone", async (t) => {
  const { urls } = await startDemo(t);
  const [first, second] = urls;
  const browser = await startBrowser(t);
  const mia = await ChatPage.open(browser, first, "Mia", PHONE);
  const bob = await ChatPage.open(browser, second, "Bob");
  await bob.say("Hello from the big screen. This line is long enough to be broken on a small one.");
  await mia.shows(1);
  await mia.say("Hello from the phone: https://example.org/a/rather/long/address?that=must&not=overflow");
  await bob.shows(2);
  const width = await mia.page.evaluate(() => document.documentElement.scrollWidth);
  assert.equal(width, PHONE.viewport.width, "nothing is wider than the screen");
  await mia.screenshot("phone");
  await mia.id("rooms-toggle").click();
  await mia.id("room-item").first().click({ trial: true });
  await mia.screenshot("phone-rooms");
  await mia.page.keyboard.press("Escape");
  await mia.id("people-toggle").click();
  await mia.id("people").getByText("Bob").click({ trial: true });
  await mia.page.keyboard.press("Escape");
  assert.deepEqual(await mia.errors, []);
});

test("a cluster that begins anew is told, and the page goes on as the same name", async (t) => {
  const demo = await startDemo(t);
  const browser = await startBrowser(t);
  const ann = await ChatPage.open(browser, demo.urls[0], "Ann");
  await ann.say("soon forgotten");
  await ann.shows(1);
  await demo.kill();
  await ann.id("banner").getByText(/reconnecting/).waitFor();
  await ann.say("for the new one");
  await startDemo(t, demo.port);
  await ann.id("notice").waitFor({ timeout: 60_000 });
  await ann.shows(1);
  assert.deepEqual(await ann.texts(), ["for the new one"]);
  assert.equal(await ann.id("me-name").textContent(), "Ann");
  assert.equal(await ann.page.locator('[data-own="true"]').count(), 1);
  await ann.screenshot("began-anew");
  assert.deepEqual(ann.errors, []);
});

test("the documentation is served and its links lead somewhere", async (t) => {
  const [one] = await startCluster(t, 1);
  const browser = await startBrowser(t);
  const page = await (await browser.newContext()).newPage();
  await page.goto(`${one.url}/docs`);
  await page.getByRole("heading", { name: "Quick start" }).waitFor();
  const dangling = await page.evaluate(() =>
    [...document.querySelectorAll('a[href^="#"]')]
      .map((link) => link.getAttribute("href"))
      .filter((href) => !document.querySelector(href)),
  );
  assert.deepEqual(dangling, []);
  const font = await page.evaluate(() => getComputedStyle(document.body).fontFamily);
  assert.match(font, /system-ui/, "the style sheet is served");
});

test("what an operator says stands on every page until it is closed, as text", async (t) => {
  const token = "operators-key-operators-key-0123";
  const [one, two] = await startCluster(t, 2, { HUBBUB__OPS__TOKEN: token });
  const browser = await startBrowser(t);
  const ann = await ChatPage.open(browser, one.url, "Ann");
  const bob = await ChatPage.open(browser, two.url, "Bob");
  const announce = async (said) => {
    const headers = { authorization: `Bearer ${token}`, "content-type": "application/json" };
    const response = await fetch(`${one.ops}/admin/announce`, { method: "POST", headers, body: JSON.stringify(said) });
    assert.equal(response.status, 200);
  };
  await announce({ text: "We restart at noon <img src=x onerror=alert(1)>" });
  await announce({ text: "be kind", room: "lobby" });
  for (const page of [ann, bob]) {
    const shown = page.id("announcement");
    await shown.nth(1).waitFor();
    assert.match(await shown.nth(0).textContent(), /We restart at noon <img src=x onerror=alert\(1\)>/);
    assert.match(await shown.nth(1).textContent(), /#lobby be kind/);
  }
  await ann.screenshot("announcements");
  await ann.id("announcement-close").first().click();
  assert.equal(await ann.id("announcement").count(), 1);
  assert.equal(await bob.id("announcement").count(), 2);
  assert.deepEqual([...ann.errors, ...bob.errors], []);
});
