// The chat page from the load balancer and from a gateway's own port, in Chromium. The compose
// suite starts the cluster and runs this with HUBBUB_PAGES=BALANCER,GATEWAY.

import assert from "node:assert/strict";
import { test } from "node:test";

import { ChatPage, startBrowser } from "../browser/page.js";

test("pages from two doors talk, and the cookie names the node", async (t) => {
  const [balancer, gateway] = process.env.HUBBUB_PAGES.split(",");
  const browser = await startBrowser(t);
  const ann = await ChatPage.open(browser, balancer, "Ann");
  const bob = await ChatPage.open(browser, gateway, "Bob");

  await ann.say("through the balancer");
  await bob.hears("through the balancer");
  await bob.say("past it");
  await ann.hears("past it");
  assert.deepEqual(await ann.texts(), await bob.texts());

  const cookies = await ann.page.context().cookies(balancer);
  const cookie = cookies.find(({ name }) => name === "hubbub_node");
  assert.equal(cookie.httpOnly, true);
  assert.ok((await ann.node()).startsWith(cookie.value), `${await ann.node()} ${cookie.value}`);
  assert.ok((await bob.node()).startsWith("gateway-2"), await bob.node());

  // Both pages know the other addresses of the cluster.
  for (const chat of [ann, bob]) {
    const nodes = await chat.page.locator('meta[name="hubbub-nodes"]').getAttribute("content");
    assert.equal(nodes.split(" ").length, 4, nodes);
    assert.deepEqual(chat.errors, []);
  }
});
