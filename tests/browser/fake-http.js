// A `fetch` whose other end is the test: streams that it writes, requests that it answers.

const encoder = new TextEncoder();

export class FakeHttp {
  /** Every request but those for streams: `{ method, path, headers, body }`. */
  asked = [];
  /** Every stream that was opened, oldest first: `{ path, headers, signal, say(), end() }`. */
  streams = [];
  /** What the next requests get; by default, what fits their path. */
  answers = [];
  isDown = false;

  constructor(t) {
    t.mock.method(globalThis, "fetch", (url, options) => this.#fetch(String(url), options));
  }

  get stream() {
    return this.streams.at(-1);
  }

  async #fetch(url, { method = "GET", headers, body, signal }) {
    const path = url.replace(/^https?:\/\/[^/]+/, "");
    if (this.isDown) throw new TypeError("fetch failed");
    if (headers.accept === "text/event-stream") return this.#open(path, headers, signal);
    this.asked.push({ method, path, headers, body: body && JSON.parse(body) });
    return this.answers.shift() ?? Response.json({ user: { id: "u-1", name: "Ann" } });
  }

  #open(path, headers, signal) {
    const refusal = this.answers.shift();
    if (refusal) return refusal;
    let out;
    const body = new ReadableStream({ start: (controller) => (out = controller) });
    signal.addEventListener("abort", () => out.error(signal.reason));
    const raw = (text) => out.enqueue(encoder.encode(text));
    const say = (frame, id) => {
      const place = id ? `id: ${id}\n` : "";
      raw(`${place}event: ${frame.type}\ndata: ${JSON.stringify(frame)}\n\n`);
    };
    this.streams.push({ path, headers, signal, raw, say, end: () => out.close() });
    return new Response(body, { headers: { "content-type": "text/event-stream" } });
  }
}

export const problem = (status, fields, headers = {}) =>
  new Response(JSON.stringify(fields), {
    status,
    headers: { "content-type": "application/problem+json", ...headers },
  });
