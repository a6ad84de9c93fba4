// Events by name, with handlers that cannot stop one another.

export class Emitter {
  #handlers = new Map();

  /** Calls `handler` at each event of this type; the returned function takes it back. */
  on(type, handler) {
    if (!this.#handlers.has(type)) this.#handlers.set(type, new Set());
    this.#handlers.get(type).add(handler);
    return () => this.off(type, handler);
  }

  off(type, handler) {
    const handlers = this.#handlers.get(type);
    if (handlers?.delete(handler) && handlers.size === 0) this.#handlers.delete(type);
  }

  /** @internal A handler that throws is a bug of its owner: it is reported as uncaught, the
   * others run. */
  dispatch(type, ...details) {
    for (const handler of [...(this.#handlers.get(type) ?? [])]) {
      try {
        handler(...details);
      } catch (error) {
        queueMicrotask(() => {
          throw error;
        });
      }
    }
  }
}
