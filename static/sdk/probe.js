// On the fallback, WebSocket is tried again now and then, beside the connection that works.

const TIMEOUT_MS = 10_000;

export class Probe {
  #timer;
  #socket = null;

  /** After `wait` ms calls `open()`; the first word it hears is handed to `onWord(socket, event)`. */
  start(wait, open, onWord, onFailure) {
    this.stop();
    this.#timer = setTimeout(() => this.#try(open, onWord, onFailure), wait);
  }

  stop() {
    clearTimeout(this.#timer);
    const socket = this.#socket;
    this.#socket = null;
    if (socket && socket.readyState < 2) socket.close(1000);
  }

  #try(open, onWord, onFailure) {
    const socket = open();
    this.#socket = socket;
    const isCurrent = () => socket === this.#socket;
    const fail = () => {
      if (!isCurrent()) return;
      this.stop();
      onFailure();
    };
    this.#timer = setTimeout(fail, TIMEOUT_MS);
    socket.onclose = fail;
    socket.onerror = fail;
    socket.onmessage = (event) => {
      if (!isCurrent()) return;
      clearTimeout(this.#timer);
      this.#socket = null;
      onWord(socket, event);
    };
  }
}
