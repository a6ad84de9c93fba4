// One error class: a stable code, and a message for people.

export class HubbubError extends Error {
  constructor(code, message, retryAfterMs) {
    super(message);
    this.name = "HubbubError";
    this.code = code;
    this.retryAfterMs = retryAfterMs;
  }

  /** @internal True: no node has said this, the request did not get there or back. */
  isUnanswered = false;

  /** From an `error` frame. */
  static fromFrame(frame) {
    return new HubbubError(frame.code, frame.message, frame.retry_after_ms);
  }
}
