// Server-sent events out of a `fetch`, which unlike `EventSource` sends headers and is everywhere.

/** No event of the server comes near it. */
const MAX_EVENT_CHARS = 4 * 1024 * 1024;

/**
 * The events of a stream; `id` only where the event has one of its own. `onChunk` is called whenever
 * something comes, comments included.
 * @param {ReadableStream} body
 * @param {() => void} onChunk
 * @returns {AsyncGenerator<{ type: string, data?: string, id?: string }>}
 */
export async function* eventsOf(body, onChunk) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  /** @type {{ type?: string, data?: string, id?: string }} */
  let event = {};
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      onChunk();
      text += value;
      // A CR at the end may be half of a CRLF.
      const lines = text.split(/\r\n|\n|\r(?!$)/);
      text = lines.pop();
      for (const line of lines) {
        if (line !== "") take(event, line);
        else {
          if (event.data !== undefined) yield { type: "message", ...event };
          event = {};
        }
      }
      if (text.length + (event.data?.length ?? 0) > MAX_EVENT_CHARS) {
        throw new Error("an event without an end");
      }
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

function take(event, line) {
  const [, name, value] = /^([^:]*)(?:: ?)?(.*)$/s.exec(line);
  if (name === "data") event.data = event.data === undefined ? value : `${event.data}\n${value}`;
  else if (name === "event") event.type = value;
  else if (name === "id") event.id = value;
}
