// A WebSocket class whose other end is the test: it says what comes, and sees what was sent.

export class FakeSocket {
  /** Every socket made, oldest first. */
  static made = [];

  static get last() {
    return FakeSocket.made.at(-1);
  }

  static forgetAll() {
    FakeSocket.made = [];
  }

  constructor(url, protocols) {
    this.url = url;
    this.protocols = protocols;
    this.readyState = 0;
    this.sent = [];
    FakeSocket.made.push(this);
  }

  send(text) {
    if (this.readyState !== 1) throw new Error("sent on a socket that is not open");
    this.sent.push(JSON.parse(text));
  }

  close() {
    this.readyState = 3;
  }

  /** The server accepts and says who it is. */
  welcome(fields = {}) {
    this.readyState = 1;
    const user = { id: "u-1", name: "Ann" };
    const limits = { frame_bytes: 65_536 };
    this.say({ type: "welcome", node: "gw-1", user, ping_ms: 25_000, limits, ...fields });
  }

  /** The server sends one frame. */
  say(frame) {
    this.onmessage({ data: typeof frame === "string" ? frame : JSON.stringify(frame) });
  }

  /** The connection ends. */
  end(code = 1006, reason = "") {
    this.readyState = 3;
    this.onclose({ code, reason });
  }

  /** What was sent of one type. */
  all(type) {
    return this.sent.filter((frame) => frame.type === type);
  }

  /** The server answers the last command of a type. */
  answer(type, reply) {
    const command = this.all(type).at(-1);
    this.say({ id: command.id, room: command.room, ...reply });
  }

  joined(fields = {}) {
    const room = { epoch: "e1", offset: 0, recovered: true, members: 1, rights: "rw", events: [] };
    this.answer("join", { type: "joined", ...room, ...fields });
  }
}

export function event(offset, fields = {}) {
  const from = { id: "u-2", name: "Bob" };
  const place = { epoch: "e1", offset, message: `m-${offset}`, ts: 1_000 + offset };
  return { type: "message", room: "lobby", from, body: { text: `t-${offset}` }, ...place, ...fields };
}
