// Real servers for the browser tests: Redis, `hubbub serve` processes, `hubbub demo`.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";

const here = path.dirname(fileURLToPath(import.meta.url));
export const BINARY = path.resolve(here, process.env.HUBBUB_BIN ?? "../../target/release/hubbub");
const START_MS = 30_000;

/** What still runs when this process ends, however it ends, ends with it. */
const living = new Set();
process.on("exit", () => {
  for (const child of living) child.kill("SIGKILL");
});
for (const signal of ["SIGINT", "SIGTERM"]) process.once(signal, () => process.exit(1));

/** Ports that were free a moment ago. */
export async function freePorts(count) {
  const servers = Array.from({ length: count }, () => createServer().listen(0, "127.0.0.1"));
  await Promise.all(servers.map((server) => once(server, "listening")));
  const ports = servers.map((server) => server.address().port);
  await Promise.all(servers.map((server) => new Promise((done) => server.close(done))));
  return ports;
}

/** The first of `count` ports in a row that were free a moment ago. */
async function freeRow(count) {
  for (;;) {
    const [first] = await freePorts(1);
    const row = Array.from({ length: count }, (_, i) => createServer().listen(first + i, "127.0.0.1"));
    const opened = await Promise.allSettled(row.map((server) => once(server, "listening")));
    await Promise.all(row.map((server) => new Promise((done) => server.close(done))));
    if (opened.every(({ status }) => status === "fulfilled")) return first;
  }
}

/** One child process in a directory of its own; what it says is kept for when it fails. */
export class Process {
  static async start(t, command, args, env = {}) {
    const directory = await mkdtemp(path.join(tmpdir(), "hubbub-browser-"));
    const child = spawn(command, args, { cwd: directory, env: { ...process.env, ...env } });
    const process_ = new Process(child, `${path.basename(command)} ${args.join(" ")}`);
    t.after(async () => {
      await process_.kill();
      await rm(directory, { recursive: true, force: true });
    });
    return process_;
  }

  constructor(child, name) {
    this.child = child;
    this.name = name;
    this.output = "";
    this.failure = null;
    const keep = (data) => (this.output = (this.output + data).slice(-4_000));
    child.stdout.on("data", keep);
    child.stderr.on("data", keep);
    child.on("error", (error) => (this.failure = error));
    living.add(child);
    this.ended = new Promise((done) => {
      child.on("close", done);
      child.on("error", done);
    }).finally(() => living.delete(child));
  }

  get alive() {
    return this.failure === null && this.child.exitCode === null && this.child.signalCode === null;
  }

  /** -9, and waits for the end. */
  async kill() {
    if (this.alive) this.child.kill("SIGKILL");
    await this.ended;
  }

  /** Waits until `check` is true of the process. */
  async until(what, check) {
    const deadline = Date.now() + START_MS;
    while (!(await check())) {
      if (!this.alive || Date.now() > deadline) {
        const why = this.failure ?? `not ${what} in time, or ended (${this.child.exitCode})`;
        throw new Error(`${this.name}: ${why}\n${this.output}`);
      }
      await sleep(50);
    }
  }
}

export const answers = (url) => fetch(url).then((response) => response.ok, () => false);

export async function startRedis(t) {
  const [port] = await freePorts(1);
  const args = ["--port", `${port}`, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"];
  const redis = await Process.start(t, "redis-server", args);
  await redis.until("ready", () => redis.output.includes("Ready to accept connections"));
  return `redis://127.0.0.1:${port}`;
}

/**
 * `count` nodes over one Redis of their own, each with `url`, `ops`, `id` and `kill()`. Their pages
 * know one another. `settings` are added to those of each. Everything ends with the test.
 */
export async function startCluster(t, count, settings = {}) {
  const redis = await startRedis(t);
  const ports = await freePorts(2 * count);
  const urls = ports.slice(0, count).map((port) => `http://127.0.0.1:${port}`);
  const nodes = urls.map(async (url, i) => {
    const ops = `127.0.0.1:${ports[count + i]}`;
    const env = {
      HUBBUB__NODE__ID: `node-${i + 1}`,
      HUBBUB__HTTP__BIND: new URL(url).host,
      HUBBUB__HTTP__PUBLIC_URLS: urls.join(","),
      HUBBUB__HTTP__ALLOWED_ORIGINS: urls.join(","),
      HUBBUB__OPS__BIND: ops,
      HUBBUB__REDIS__URL: redis,
      // The tests write faster than people do.
      HUBBUB__LIMITS__SENDS_PER_SECOND: "0",
      HUBBUB__LIMITS__USER_SENDS_PER_SECOND: "0",
      HUBBUB__LIMITS__USER_NEW_ROOMS_PER_MINUTE: "0",
      ...settings,
    };
    const node = await Process.start(t, BINARY, ["serve"], env);
    await node.until("ready", () => answers(`http://${ops}/readyz`));
    const freeze = () => node.child.kill("SIGSTOP");
    return { url, ops: `http://${ops}`, id: env.HUBBUB__NODE__ID, kill: () => node.kill(), freeze };
  });
  return Promise.all(nodes);
}

/** `hubbub demo` with three nodes: their `urls`, the first `port`, and `kill()`. */
export async function startDemo(t, wanted, env = {}) {
  const port = wanted ?? (await freeRow(3));
  const demo = await Process.start(t, BINARY, ["demo", "--port", `${port}`], env);
  const urls = [0, 1, 2].map((i) => `http://127.0.0.1:${port + i}`);
  for (const url of urls) await demo.until("ready", () => answers(url));
  return { urls, port, kill: () => demo.kill() };
}

/** A demo, which keeps an archive, whose people may write as fast as they can. */
export const startFastDemo = (t) =>
  startDemo(t, undefined, { HUBBUB__LIMITS__SENDS_PER_SECOND: "0", HUBBUB__LIMITS__USER_SENDS_PER_SECOND: "0" });
