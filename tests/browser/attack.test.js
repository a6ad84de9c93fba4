// C29: whatever people write, and wherever the page shows it, nothing of it runs.

import assert from "node:assert/strict";
import { test } from "node:test";

import { startFastDemo } from "./cluster.js";
import { ChatPage, startBrowser } from "./page.js";

/** After OWASP's cheat sheets: each would raise a dialog, load something, or leave its place. */
const CORPUS = [
  "<script>alert(1)</script>",
  "<SCRIPT SRC=//evil.example/x.js></SCRIPT>",
  '<img src=x onerror="alert(2)">',
  "<img src=`javascript:alert(3)`>",
  '<svg onload=alert(4)>',
  "<svg><animate onbegin=alert(5) attributeName=x dur=1s>",
  "<body onload=alert(6)>",
  "<iframe srcdoc='<script>alert(7)</script>'></iframe>",
  "<a href='javascript:alert(8)'>x</a>",
  "<math><mi xlink:href='data:x,<script>alert(9)</script>'>",
  "<details open ontoggle=alert(10)>",
  "<input autofocus onfocus=alert(11)>",
  '"><script>alert(12)</script>',
  "';alert(13)//",
  "</textarea></title></script><script>alert(14)</script>",
  "<!--<img src='--><img src=x onerror=alert(15)//'>",
  "javascript:alert(16)",
  "JaVaScRiPt:alert(17)",
  "java\tscript:alert(18)",
  "data:text/html,<script>alert(19)</script>",
  "vbscript:msgbox(20)",
  'https://example.org/"onmouseover="alert(21)',
  "https://example.org/?<script>alert(22)</script>",
  "{{constructor.constructor('alert(23)')()}}",
  "${alert(24)}",
  "<style>*{display:none}</style>",
  "<meta http-equiv=refresh content='0;url=https://evil.example'>",
  "<base href=https://evil.example/>",
  "<form action=https://evil.example><button>x</button></form>",
  "\u202egnp.exe \u2066hidden\u2069",
  "\u001b[31mred\u001b[2J\u0007",
  "\u0000<\u0000script>alert(25)</script>",
];

/** What the page could only have from the corpus. */
const FOREIGN =
  "#app script, #app iframe, #app base, #app meta, #app style, #app form[action*=evil], #app math, " +
  "#app [onerror], #app [onload], #app [ontoggle], #app [onbegin], #app [onfocus], #app [onmouseover], " +
  "#app details[open][ontoggle], #app a[href^='javascript' i], #app a[href^='data' i], #app a[href^='vbscript' i]";

async function assertHarmless(chat, where) {
  assert.equal(await chat.page.locator(FOREIGN).count(), 0, where);
  const links = await chat.page.locator("#app a[href]").evaluateAll((all) =>
    all.map((a) => ({ protocol: a.protocol, rel: a.rel, outside: a.origin !== location.origin })),
  );
  for (const { protocol, rel, outside } of links) {
    assert.match(protocol, /^https?:$/, where);
    if (outside) assert.match(rel, /noopener/, where);
  }
  assert.equal(new URL(chat.page.url()).hostname, "127.0.0.1", where);
  assert.deepEqual(chat.errors, [], where);
}

/** A guest who speaks to the node past the page and the SDK, out of a browser of its own. */
async function guest(browser, url, name) {
  const made = await fetch(`${url}/v1/guests`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ name }),
  });
  assert.equal(made.status, 201, await made.clone().text());
  const { token } = await made.json();
  const page = await (await browser.newContext()).newPage();
  await page.goto(`${url}/docs`);
  await page.evaluate(async (token) => {
    const socket = new WebSocket(`ws://${location.host}/v1/ws`, ["hubbub.v1", `hubbub.bearer.${token}`]);
    const waiting = new Map();
    let last = 0;
    socket.onmessage = ({ data }) => {
      const frame = JSON.parse(data);
      waiting.get(frame.id)?.(frame);
    };
    await new Promise((resolve, reject) => Object.assign(socket, { onopen: resolve, onerror: reject }));
    globalThis.tell = (command) => socket.send(JSON.stringify(command));
    globalThis.ask = (command) =>
      new Promise((resolve) => {
        last += 1;
        waiting.set(last, resolve);
        globalThis.tell({ ...command, id: last });
      });
  }, token);
  return {
    token,
    ask: (command) => page.evaluate((command) => globalThis.ask(command), command),
    tell: (command) => page.evaluate((command) => globalThis.tell(command), command),
  };
}

test("C29: no script runs wherever people's words are shown, under the strict policy", async (t) => {
  const { urls } = await startFastDemo(t);
  const browser = await startBrowser(t);
  const bob = await ChatPage.open(browser, urls[1], "Bob");
  const eve = await guest(browser, urls[0], CORPUS[2]);
  assert.equal((await eve.ask({ type: "join", room: "lobby" })).type, "joined");

  const offsets = [];
  for (const text of CORPUS) {
    const sent = await eve.ask({ type: "send", room: "lobby", body: { text } });
    assert.equal(sent.type, "sent", JSON.stringify(sent));
    offsets.push(sent.offset);
  }
  await bob.shows(CORPUS.length);
  await assertHarmless(bob, "messages");
  assert.equal(await bob.id("message-author").first().textContent(), CORPUS[2]);

  // Bodies that are no text, edits and reactions.
  const odd = [{ text: { toString: "<script>alert(30)</script>" } }, ["<script>alert(31)</script>"], "<script>alert(32)</script>"];
  for (const body of odd) await eve.ask({ type: "send", room: "lobby", body });
  await eve.ask({ type: "edit", room: "lobby", target: offsets.at(-1), body: { text: `edited ${CORPUS[0]}` } });
  await eve.ask({ type: "react", room: "lobby", target: offsets.at(-1), key: "<b>x</b>", on: true });
  await eve.tell({ type: "typing", room: "lobby", on: true });
  await bob.hears(`edited ${CORPUS[0]}`);
  await assertHarmless(bob, "edits, reactions, typing");

  // A room's title and topic, in the list and above the messages.
  const made = await fetch(`${urls[0]}/v1/rooms`, {
    method: "POST",
    headers: { "content-type": "application/json", authorization: `Bearer ${eve.token}` },
    body: JSON.stringify({ room: "trap", title: CORPUS[2], topic: `${CORPUS[0]} ${CORPUS[16]}` }),
  });
  assert.equal(made.status, 201, await made.text());
  await bob.join("trap");
  await bob.id("room-title").getByText(CORPUS[2], { exact: true }).waitFor();
  await assertHarmless(bob, "title and topic");

  // A room's name out of the address, which no room can have.
  for (const attack of [CORPUS[2], "../../evil", "javascript:alert(40)"]) {
    await bob.page.goto(`${urls[1]}/#${encodeURIComponent(attack)}`);
    await bob.page.reload();
    await bob.online();
    await assertHarmless(bob, `#${attack}`);
  }

  const policy = (await fetch(urls[0])).headers.get("content-security-policy") ?? "";
  for (const directive of [
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self'",
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
  ]) {
    assert.ok(policy.split("; ").includes(directive), `${directive} in ${policy}`);
  }
  assert.match(policy, /connect-src 'self'/);
  assert.doesNotMatch(policy, /unsafe|\*/);
});
