// Real servers for the Socket.IO tests, and small tools to wait and to speak Engine.IO by hand.

import path from "node:path";
import { once } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { io } from "socket.io-client";
import { WebSocket } from "ws";
import { BINARY, Process, answers, freePorts, startRedis } from "../browser/cluster.js";

export { sleep };

const here = path.dirname(fileURLToPath(import.meta.url));
const EXAMPLE = path.resolve(here, "../../target/release/examples/conformance");
const HAPROXY = "/usr/sbin/haproxy";
export const SECRET = "a secret of at least thirty-two bytes";

/** The conformance example: its base URL. */
export async function startConformance(t) {
  const [port] = await freePorts(1);
  const example = await Process.start(t, EXAMPLE, [`${port}`]);
  await example.until("ready", () => example.output.includes("listening"));
  return { url: `http://127.0.0.1:${port}`, example };
}

/**
 * `count` nodes over one Redis of their own; each has `url`, `ops`, `kill()` and `stop()`, which is
 * SIGTERM. `env` is added to the settings of all.
 */
export async function startNodes(t, count, env = {}) {
  const redis = await startRedis(t);
  const ports = await freePorts(2 * count);
  const start = async (_, i) => {
    const url = `http://127.0.0.1:${ports[i]}`;
    const ops = `127.0.0.1:${ports[count + i]}`;
    const settings = {
      HUBBUB__NODE__ID: `node-${i + 1}`,
      HUBBUB__HTTP__BIND: new URL(url).host,
      HUBBUB__OPS__BIND: ops,
      HUBBUB__REDIS__URL: redis,
      HUBBUB__AUTH__SECRET: SECRET,
      // The tests write faster than people do.
      HUBBUB__LIMITS__SENDS_PER_SECOND: "0",
      HUBBUB__LIMITS__USER_SENDS_PER_SECOND: "0",
      HUBBUB__LIMITS__USER_NEW_ROOMS_PER_MINUTE: "0",
      HUBBUB__LIMITS__CONNECTIONS_PER_ADDRESS: "0",
      HUBBUB__LIMITS__GUESTS_PER_MINUTE: "0",
      ...env,
    };
    const child = await Process.start(t, BINARY, ["serve"], settings);
    await child.until("ready", () => answers(`http://${ops}/readyz`));
    return { url, ops, child, kill: () => child.kill(), stop: () => child.child.kill("SIGTERM") };
  };
  return Promise.all(Array.from({ length: count }, start));
}

/** HAProxy in front of the nodes, sticky by a cookie: its URL. */
export async function startBalancer(t, nodes) {
  const [port] = await freePorts(1);
  const env = { FRONT: `${port}` };
  const names = ["DOOR", "OPS"];
  for (let i = 0; i < 3; i++) {
    const node = nodes[Math.min(i, nodes.length - 1)];
    const places = [new URL(node.url).host, node.ops.split(":")[1]];
    for (const [which, name] of names.entries()) env[`${name}_${i}`] = places[which];
  }
  const config = path.join(here, nodes.length === 2 ? "haproxy-2.cfg" : "haproxy-3.cfg");
  const balancer = await Process.start(t, HAPROXY, ["-db", "-f", config], env);
  const url = `http://127.0.0.1:${port}`;
  await balancer.until("ready", () => answers(`${url}/`));
  return url;
}

/** A token for `sub`, made by the binary. */
export async function token(t, sub, ...args) {
  const env = { HUBBUB__AUTH__SECRET: SECRET };
  const child = await Process.start(t, BINARY, ["token", "--sub", sub, ...args], env);
  await child.ended;
  return child.output.trim();
}

export const MODES = {
  "polling only": { transports: ["polling"] },
  "websocket only": { transports: ["websocket"] },
  "polling, then upgrade": { transports: ["polling", "websocket"] },
};

/** A real client that keeps the balancer's cookie; it ends with the test. */
export function client(t, url, options = {}) {
  const socket = io(url, {
    forceNew: true,
    withCredentials: true,
    reconnectionDelay: 100,
    reconnectionDelayMax: 500,
    ...options,
  });
  t.after(() => socket.disconnect());
  return socket;
}

/** Waits until `check` is true, for at most `ms`. */
export async function until(what, check, ms = 30_000) {
  const deadline = Date.now() + ms;
  for (;;) {
    const seen = await check();
    if (seen) return seen;
    if (Date.now() > deadline) throw new Error(`not in time: ${what}`);
    await sleep(10);
  }
}

/** Resolves with the arguments of the next `event`, or fails in time. */
export async function next(emitter, event, ms = 15_000) {
  const aborter = new AbortController();
  const timer = setTimeout(() => aborter.abort(new Error(`no ${event} in time`)), ms);
  try {
    return await new Promise((done, fail) => {
      emitter.once(event, (...args) => done(args));
      aborter.signal.addEventListener("abort", () => fail(aborter.signal.reason));
    });
  } finally {
    clearTimeout(timer);
  }
}

/** Engine.IO by hand over HTTP. */
export class Poller {
  constructor(base, path_ = "/socket.io/") {
    this.address = `${base}${path_}?EIO=4&transport=polling`;
  }

  static async open(base, path_) {
    const poller = new Poller(base, path_);
    const text = await (await fetch(poller.address)).text();
    poller.greeting = JSON.parse(text.slice(1));
    poller.sid = poller.greeting.sid;
    poller.address += `&sid=${encodeURIComponent(poller.sid)}`;
    return poller;
  }

  get(options) {
    return fetch(this.address, options);
  }

  async text() {
    return (await this.get()).text();
  }

  post(body, options) {
    return fetch(this.address, { method: "POST", body, ...options });
  }
}

/** Engine.IO by hand over a WebSocket: what came stands in `heard`. */
export class Talker {
  constructor(base, path_ = "/socket.io/", query = "") {
    const url = `${base.replace("http", "ws")}${path_}?EIO=4&transport=websocket${query}`;
    this.heard = [];
    this.closed = null;
    this.socket = new WebSocket(url);
    this.socket.on("message", (data, isBinary) => this.heard.push(isBinary ? data : `${data}`));
    this.socket.on("error", (error) => (this.error = error));
    this.socket.on("close", (code) => (this.closed = code));
  }

  static async open(base, path_, query) {
    const talker = new Talker(base, path_, query);
    await once(talker.socket, "open");
    return talker;
  }

  send(data) {
    this.socket.send(data);
  }

  /** The next message, or what it has been closed with. */
  async next(ms = 5_000) {
    await until("a message", () => this.heard.length > 0 || this.closed !== null, ms);
    return this.heard.length > 0 ? this.heard.shift() : { closed: this.closed };
  }

  /** Waits for the end, whatever comes before it. */
  async end(ms = 5_000) {
    await until("the end", () => this.closed !== null, ms);
    return this.closed;
  }
}
