// Which node we are on, and what is going on while we are on none.

import { byId } from "./dom.js";

export class Status {
  #state = { state: "connecting" };
  #clock;
  #again;

  /** `again()`: try now, or start anew when the server has closed for good. */
  constructor(again) {
    this.#again = again;
    byId("retry-now").addEventListener("click", () => this.#again(this.#state.state));
  }

  show(state) {
    this.#state = state;
    clearInterval(this.#clock);
    this.#drawNode(state);
    byId("banner").hidden = state.state === "online";
    byId("spinner").hidden = state.state === "closed";
    byId("retry-now").hidden = state.state === "connecting";
    byId("retry-now").textContent = state.state === "closed" ? "Connect again" : "Try now";
    byId("banner-text").textContent = bannerText(state);
    this.#countDown();
    if (state.nextAttemptAt) this.#clock = setInterval(() => this.#countDown(), 200);
  }

  /** No connection was even tried. */
  fail(message) {
    this.show({ state: "closed", node: null, nextAttemptAt: null, reason: message });
  }

  #drawNode({ state, node }) {
    byId("lamp").className = `lamp is-${state}`;
    byId("node").textContent = node ?? "";
    byId("node-label").textContent = { online: "connected to", closed: "disconnected" }[state] ?? `${state}…`;
  }

  #countDown() {
    const { state, nextAttemptAt } = this.#state;
    const seconds = Math.ceil(((nextAttemptAt ?? 0) - Date.now()) / 1_000);
    let text = "";
    if (nextAttemptAt && seconds > 0) text = `Next try in ${seconds} s.`;
    else if (state === "reconnecting") text = "Trying now.";
    byId("countdown").textContent = text;
  }
}

function bannerText({ state, reason }) {
  if (state === "connecting") return "Connecting…";
  if (state === "reconnecting") return "Connection lost, reconnecting. What you write is kept.";
  if (state === "closed") return `Disconnected: ${reason || "the server closed the connection"}.`;
  return "";
}
