// Every example as a reader runs it, but for the ports, against `hubbub demo`.

import assert from "node:assert/strict";
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import path from "node:path";
import { test } from "node:test";

import { chromium } from "playwright-core";

import { Hubbub } from "../../static/sdk/hubbub.js";
import { Process, startDemo } from "../browser/cluster.js";
import { TOP, readTop, run, until } from "./kit.js";

const EXAMPLES = path.join(TOP, "examples");
const RUST = path.join(TOP, "target/release/examples/chat");
const PYTHON = process.env.HUBBUB_PYTHON ?? path.join(TOP, "tests/judges/.venv/bin/python");
const TIMEOUT = { timeout: 30_000 };

/** The folder over HTTP, with the demo's own ports in its pages; and the demo that allows it. */
async function startSite(t) {
  let port;
  const site = createServer(async (request, response) => {
    const page = await readFile(path.join(EXAMPLES, request.url, "index.html"), "utf8").catch(() => null);
    response.writeHead(page ? 200 : 404, { "content-type": "text/html" });
    response.end(page?.replaceAll(/127\.0\.0\.1:300([0-2])/g, (_, node) => `127.0.0.1:${port + Number(node)}`));
  }).listen(0, "127.0.0.1");
  await once(site, "listening");
  t.after(() => {
    site.closeAllConnections();
    site.close();
  });
  const origin = `http://127.0.0.1:${site.address().port}`;
  const demo = await startDemo(t, undefined, { HUBBUB__HTTP__ALLOWED_ORIGINS: origin });
  port = demo.port;
  return { urls: demo.urls, origin };
}

async function startBrowser(t) {
  const executablePath = process.env.CHROMIUM ?? "/usr/bin/chromium";
  const browser = await chromium.launch({ executablePath, args: ["--headless", "--no-sandbox", "--disable-gpu"] });
  t.after(() => browser.close());
  return async (url) => {
    const page = await (await browser.newContext()).newPage();
    page.failures = [];
    page.on("pageerror", (error) => page.failures.push(String(error)));
    await page.goto(url);
    return page;
  };
}

/** Someone in the room, by the SDK: what they hear, and `say()`. */
async function enter(t, url, name, room = "lobby") {
  const chat = new Hubbub({ urls: url, name, storage: false });
  t.after(() => chat.close());
  const heard = [];
  const handle = await chat.join(room, { on: { message: ({ body }) => heard.push(body.text ?? body) } });
  return { heard, room: handle, say: (text) => handle.send({ text }) };
}

/** What is in a room beside texts: a message that is gone, an event, and a bare value. */
async function leaveNoText(room) {
  const { offset } = await room.send({ text: "to be deleted" });
  await room.delete(offset);
  await room.emit("move", { x: 1 });
  await room.send("bare");
}

/** An example that talks over its standard streams. */
async function talk(t, command, args) {
  const child = await Process.start(t, command, args);
  const says = (text) => child.until(`heard to say ${text}`, () => child.output.includes(text));
  return { child, says, type: (line) => child.child.stdin.write(`${line}\n`) };
}

test("browser, Node, Python, Rust, curl and Socket.IO talk in one room", async (t) => {
  const { urls, origin } = await startSite(t);
  const witness = await enter(t, urls[2], "Witness");
  await leaveNoText(witness.room);
  witness.heard.length = 0;
  const open = await startBrowser(t);
  const [page, tutorial] = [await open(`${origin}/browser/`), await open(`${origin}/socketio/`)];
  const node = await talk(t, process.execPath, [path.join(EXAMPLES, "node/chat.mjs"), "Nora", urls[0], urls[1]]);
  const python = await talk(t, PYTHON, [path.join(EXAMPLES, "python/chat.py"), `${urls[1].replace("http", "ws")}/v1/ws`]);
  const rust = await talk(t, RUST, ["lobby", "Rhea", urls[1]]);
  const curl = await talk(t, "sh", [path.join(EXAMPLES, "sse/listen.sh"), urls[2]]);
  await witness.say("is everybody there?");
  await Promise.all([node, python, rust, curl].map(({ says }) => says("is everybody there?")));
  await page.getByText("Witness: is everybody there?").waitFor(TIMEOUT);
  await tutorial.getByText("is everybody there?").waitFor(TIMEOUT);

  node.type("from node");
  python.type("from python");
  rust.type("from rust");
  await page.fill("input", "from the page");
  await page.click("button");
  await tutorial.fill("input", "from socket.io");
  await tutorial.click("button");
  const sent = await run(t, "sh", [path.join(EXAMPLES, "sse/send.sh"), "from \"curl\" \\", urls[0]]);
  assert.equal(JSON.parse(sent).room, "lobby");
  const words = ["node", "python", "rust", "the page", "socket.io", '"curl" \\'].map((who) => `from ${who}`);
  for (const text of words) {
    await Promise.all([node, python, rust].map(({ says }) => says(text)));
    await curl.says(JSON.stringify(text).slice(1, -1));
    await page.getByText(text).waitFor(TIMEOUT);
    await tutorial.getByText(text).waitFor(TIMEOUT);
  }
  assert.deepEqual([...witness.heard].sort(), [...words, "is everybody there?"].sort(), "each once");
  for (const { child } of [node, python, rust]) {
    child.child.stdin.end();
    await child.ended;
    assert.equal(child.child.exitCode, 0, child.output);
    assert.doesNotMatch(child.output, /undefined|Error/);
  }
  assert.doesNotMatch(await page.locator("ol").textContent(), /undefined/);
  assert.deepEqual([page.failures, tutorial.failures], [[], []]);
});

test("the game: two pages on one board, and who moves out of turn changes nothing", async (t) => {
  const { urls, origin } = await startSite(t);
  const open = await startBrowser(t);
  const [ann, bob] = [await open(`${origin}/game/`), await open(`${origin}/game/`)];
  const boardOf = (page) => page.locator("main button").allTextContents();
  const shows = (page, board) => until(board, async () => (await boardOf(page)).map((mark) => mark || ".").join("") === board);
  const click = (page, field) => page.locator("main button").nth(field).click();
  await Promise.all([ann, bob].map((page) => shows(page, ".........")));
  const moves = [[ann, 0, "X........"], [bob, 3, "X..O....."], [ann, 1, "XX.O....."], [bob, 4, "XX.OO...."], [ann, 2, "XXXOO...."]];
  for (const [page, field, board] of moves) {
    await click(page, field);
    await Promise.all([ann, bob].map((each) => shows(each, board)));
  }
  assert.match(await bob.locator("p").textContent(), /won/);
  const late = await open(`${origin}/game/`);
  await shows(late, "XXXOO....");
  const cheat = new Hubbub({ urls: urls[2], storage: false });
  t.after(() => cheat.close());
  await cheat.join("tic-tac-toe");
  await cheat.room("tic-tac-toe").emit("move", { field: 8, mark: "O" });
  await click(late, 0);
  await Promise.all([ann, bob, late].map((page) => shows(page, ".........")));
  assert.deepEqual([...ann.failures, ...bob.failures, ...late.failures], []);
});

test("the feed: a backend publishes by REST, readers on other nodes hear it once and in order", async (t) => {
  const { urls } = await startSite(t);
  const { room } = await enter(t, urls[0], "Moderator", "prices");
  await leaveNoText(room);
  const reader = await talk(t, process.execPath, [path.join(EXAMPLES, "feed/read.mjs"), urls[1], urls[2]]);
  const output = await run(t, process.execPath, [path.join(EXAMPLES, "feed/publish.mjs"), urls[0], "4"]);
  const published = output.trim().split("\n").map((line) => line.split(" "));
  assert.deepEqual(published.map(([n, , status]) => [n, status]), ["1", "2", "3", "4"].map((n) => [n, "201"]));
  const prices = () => reader.child.output.split("\n").filter(Boolean).map((line) => line.split(" ").at(-1));
  await until("all prices", () => prices().length >= 4);
  assert.deepEqual(prices(), published.map(([, price]) => price));
});

test("the tool: a list that is the same for everyone", async (t) => {
  const { urls } = await startSite(t);
  const todo = (url, ...args) => run(t, process.execPath, [path.join(EXAMPLES, "tool/todo.mjs"), url, ...args]);
  const watcher = await talk(t, process.execPath, [path.join(EXAMPLES, "tool/todo.mjs"), urls[2], "watch"]);
  await todo(urls[0], "add", "water", "the", "plants");
  const [number] = (await todo(urls[1], "add", "sleep")).split("\n").find((line) => line.endsWith("water the plants")).split(" ");
  assert.match(await todo(urls[2], "done", number), new RegExp(`^${number} \\[x\\] water the plants$`, "m"));
  assert.match(await todo(urls[0]), /\[x\] water the plants\n\d+ \[ \] sleep\n/);
  await watcher.says("[x] water the plants");
});

test("the README says how to run each, and its five clients are short", async () => {
  const readme = await readTop("examples/README.md");
  for (const file of ["browser", "node/chat.mjs", "python/chat.py", "sse/listen.sh", "sse/send.sh", "socketio", "game", "feed/publish.mjs", "feed/read.mjs", "tool/todo.mjs"]) {
    assert.ok(readme.includes(file), file);
  }
});
