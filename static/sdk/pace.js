// Sends no faster than the server allows: asking too often ends a connection (4429).

/** The server's own bucket, as told in `welcome`, less one send, which makes up for the
 * network's jitter. */
export class Pace {
  #fullAt = 0;

  /** A new connection has a full bucket. */
  restart() {
    this.#fullAt = 0;
  }

  /** Takes one send out and returns 0, or returns how many milliseconds to wait for one.
   * @param {{ sends_per_second?: number, sends_burst?: number }} [limits]
   */
  take({ sends_per_second: rate, sends_burst: burst } = {}) {
    if (!rate) return 0;
    const now = performance.now();
    const one = 1_000 / rate;
    const fullAt = Math.max(this.#fullAt, now) + one;
    const wait = fullAt - now - one * Math.max(1, (burst ?? 1) - 1);
    // The clock has fractions of milliseconds, and so the sum has errors.
    if (wait > 0.001) return wait;
    this.#fullAt = fullAt;
    return 0;
  }
}
