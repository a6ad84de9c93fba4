// How long a node may leave commands without an answer: then it is probed, and then left.

const PROBE_MS = 5_000;
const MOVE_MS = 10_000;

export class Patience {
  #probe;
  #move;
  #open = 0;
  #timer;

  /** `probe` asks the node for a sign of life, `move` gives the connection up. */
  constructor(probe, move) {
    this.#probe = probe;
    this.#move = move;
  }

  /** A command was sent that the node answers. */
  asked() {
    this.#open++;
    if (this.#timer === undefined) this.#wait();
  }

  /** The node has answered a command: for what is still open the time begins anew. */
  answered() {
    this.#open--;
    this.#clear();
    if (this.#open > 0) this.#wait();
  }

  /** A command ended without a word of the node: the time goes on. */
  failed() {
    this.#open--;
  }

  /** The connection is gone, and every answer with it. */
  stop() {
    this.#open = 0;
    this.#clear();
  }

  #wait() {
    this.#timer = setTimeout(() => {
      this.#probe();
      this.#timer = setTimeout(() => this.#move(), MOVE_MS - PROBE_MS);
    }, PROBE_MS);
  }

  #clear() {
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }
}
