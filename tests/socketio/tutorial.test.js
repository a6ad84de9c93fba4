// The well-known tutorial's page, as it stands, in Chromium against `hubbub demo`.

import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer, request } from "node:http";
import { connect } from "node:net";
import { test } from "node:test";
import { startDemo } from "../browser/cluster.js";
import { chromium } from "playwright-core";
import { until } from "./kit.js";

const PAGE = `<!DOCTYPE html>
<html>
  <head>
    <title>Socket.IO chat</title>
  </head>
  <body>
    <ul id="messages"></ul>
    <form id="form" action="">
      <input id="input" autocomplete="off" /><button>Send</button>
    </form>
    <script src="/socket.io/socket.io.js"></script>
    <script>
      const socket = io();

      const form = document.getElementById('form');
      const input = document.getElementById('input');
      const messages = document.getElementById('messages');

      form.addEventListener('submit', (e) => {
        e.preventDefault();
        if (input.value) {
          socket.emit('chat message', input.value);
          input.value = '';
        }
      });

      socket.on('chat message', (msg) => {
        const item = document.createElement('li');
        item.textContent = msg;
        messages.appendChild(item);
        window.scrollTo(0, document.body.scrollHeight);
      });
    </script>
  </body>
</html>`;

/** What stands in front of a node and has the page: everything else goes through. */
async function startSite(t, node) {
  const { hostname: host, port } = new URL(node);
  const site = createServer((incoming, answer) => {
    if (incoming.url === "/") return answer.end(PAGE);
    const { url: path, method, headers } = incoming;
    const passed = request({ host, port, path, method, headers }, (response) => {
      answer.writeHead(response.statusCode, response.headers);
      response.pipe(answer);
    });
    passed.on("error", () => answer.destroy());
    answer.on("close", () => passed.destroy());
    incoming.pipe(passed);
  });
  const sockets = new Set();
  site.on("upgrade", ({ url, headers }, client, head) => {
    const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
    const passed = connect(port, host, () => {
      passed.write(`GET ${url} HTTP/1.1\r\n${lines.join("")}\r\n`);
      passed.write(head);
      passed.pipe(client).pipe(passed);
    });
    for (const socket of [client, passed]) sockets.add(socket.on("error", () => {}));
  });
  site.listen(0, "127.0.0.1");
  await once(site, "listening");
  t.after(() => {
    for (const socket of sockets) socket.destroy();
    site.closeAllConnections();
    site.close();
  });
  return `http://127.0.0.1:${site.address().port}/`;
}

test("the tutorial's page talks across nodes", async (t) => {
  const demo = await startDemo(t);
  const executablePath = process.env.CHROMIUM ?? "/usr/bin/chromium";
  const browser = await chromium.launch({ executablePath, args: ["--headless", "--no-sandbox", "--disable-gpu"] });
  t.after(() => browser.close());
  const open = async (url) => {
    const page = await browser.newPage();
    page.failures = [];
    page.on("pageerror", (error) => page.failures.push(`${error}`));
    await page.goto(await startSite(t, url));
    const isUp = "socket.connected && socket.io.engine.transport.name === 'websocket'";
    await page.waitForFunction(isUp, null, { polling: 100 });
    return page;
  };
  const pages = await Promise.all(demo.urls.map(open));
  for (const [i, page] of pages.entries()) {
    await page.fill("#input", `hello from ${i}`);
    await page.click("button");
  }
  const texts = (page) => page.locator("#messages li").allTextContents();
  for (const page of pages) await until("three messages", async () => (await texts(page)).length === 3);
  const heard = await Promise.all(pages.map(texts));
  assert.deepEqual(new Set(heard[0]), new Set(["hello from 0", "hello from 1", "hello from 2"]));
  for (const other of heard) assert.deepEqual(other, heard[0]);
  for (const page of pages) assert.deepEqual(page.failures, []);
});
