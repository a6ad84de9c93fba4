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
    this.#handlers.get(type)?.delete(handler);
  }

  /** A handler that throws is a bug of its owner: it is reported as uncaught, the others run. */
  emit(type, detail) {
    for (const handler of [...(this.#handlers.get(type) ?? [])]) {
      try {
        handler(detail);
      } catch (error) {
        queueMicrotask(() => {
          throw error;
        });
      }
    }
  }
}
