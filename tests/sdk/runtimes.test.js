// One script under Node (as this suite runs it: the oldest that is promised) and under Deno.

import assert from "node:assert/strict";
import { test } from "node:test";

import { startFastDemo } from "../browser/cluster.js";
import { DENO, TOP, run } from "./kit.js";

const SMOKE = `${TOP}/tests/sdk/smoke.mjs`;

test("the same script under Node 22 and Deno, by WebSocket and by SSE", async (t) => {
  assert.match(process.version, /^v22\./, "npm puts the suite's own Node first");
  const { urls } = await startFastDemo(t);
  const places = urls.slice(0, 2);
  const deno = ["run", "--no-prompt", "--allow-net=127.0.0.1", SMOKE];
  const env = { DENO_NO_UPDATE_CHECK: "1" };
  for (const [program, args] of [[process.execPath, [SMOKE]], [DENO, deno]]) {
    const output = await run(t, program, [...args, ...places], env);
    const result = JSON.parse(output.trim().split("\n").at(-1));
    const both = ["Ann 1", "Bob 1", "Ann 2", "Bob 2", "Ann 3", "Bob 3"];
    const moves = ["Bob 1", "Bob 2", "Bob 3"];
    assert.deepEqual(result, { heard: both, moves, history: 6, transports: ["websocket", "sse"] }, program);
  }
});
