// What the tests of the SDK share: nodes, a network that blocks WebSockets, other programs.

import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";

import { BINARY, Process } from "../browser/cluster.js";

export { sleep };

const here = path.dirname(fileURLToPath(import.meta.url));
export const TOP = path.resolve(here, "../..");
export const bin = (name) => path.join(here, "node_modules/.bin", name);
/** The package `deno` itself asks for binaries of all systems, which not every registry has. */
const packed = path.join(here, "node_modules/@deno/linux-x64-glibc/deno");
export const DENO = existsSync(packed) ? packed : "deno";
export const SECRET = "a secret of at least thirty-two bytes";

/** Waits until `check()` gives something, for at most `ms`. */
export async function until(what, check, ms = 30_000) {
  const deadline = Date.now() + ms;
  for (;;) {
    const seen = await check();
    if (seen) return seen;
    if (Date.now() > deadline) throw new Error(`not in time: ${what}`);
    await sleep(20);
  }
}

/** Runs a program to its end and gives what it said; anything but exit 0 is an error. */
export async function run(t, command, args, env = {}) {
  const child = await Process.start(t, command, args, env);
  await child.ended;
  if (child.child.exitCode !== 0) throw new Error(`${child.name}: ${child.failure ?? child.output}`);
  return child.output;
}

/** A token for `sub`, made by the binary. */
export async function makeToken(t, sub, ...args) {
  const output = await run(t, BINARY, ["token", "--sub", sub, ...args], { HUBBUB__AUTH__SECRET: SECRET });
  return output.trim();
}

export const readTop = (file) => readFile(path.join(TOP, file), "utf8");
