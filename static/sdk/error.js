// One error class: a stable code, and a message for people.

export class HubbubError extends Error {
  constructor(code, message, retryAfterMs) {
    super(message);
    this.name = "HubbubError";
    this.code = code;
    this.retryAfterMs = retryAfterMs;
  }

  /** From an `error` frame. */
  static fromFrame(frame) {
    return new HubbubError(frame.code, frame.message, frame.retry_after_ms);
  }
}
