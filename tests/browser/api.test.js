// The description of the API, drawn by the page under the node's own content security policy.

import assert from "node:assert/strict";
import { test } from "node:test";

import { startFastDemo } from "./cluster.js";
import { startBrowser } from "./page.js";

test("the API is drawn from the node's document, without a request to anywhere else", async (t) => {
  const { urls } = await startFastDemo(t);
  const browser = await startBrowser(t);
  const page = await (await browser.newContext({ viewport: { width: 1200, height: 900 } })).newPage();
  const [errors, foreign] = [[], []];
  page.on("pageerror", (error) => errors.push(error.message));
  page.on("console", (line) => line.type() === "error" && errors.push(line.text()));
  page.on("request", (request) => request.url().startsWith(urls[0]) || foreign.push(request.url()));
  await page.goto(`${urls[0]}/docs/api.html#send_message`);
  await page.locator("#api:not([aria-busy])").waitFor();

  const document = await (await fetch(`${urls[0]}/v1/openapi.json`)).json();
  const drawn = await page.locator("#api section > h3").allTextContents();
  for (const [path, item] of Object.entries(document.paths)) {
    for (const method of Object.keys(item)) {
      assert.ok(drawn.includes(`${method.toUpperCase()} ${path}`), `${method} ${path}`);
    }
  }
  for (const name of Object.keys(document.components.schemas)) assert.ok(drawn.includes(name), name);
  const dangling = await page.$$eval("main a[href^='#']", (links) =>
    links.map((link) => link.hash.slice(1)).filter((id) => !window.document.getElementById(id)),
  );
  assert.deepEqual(dangling, []);
  await page.screenshot({ path: new URL("../artifacts/api.png", import.meta.url).pathname });
  assert.deepEqual([errors, foreign], [[], []]);
});
