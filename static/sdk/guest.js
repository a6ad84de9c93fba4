// Guests: on a cluster in guest mode, anyone may ask a node for a token.

import { HubbubError } from "./error.js";

const REQUEST_TIMEOUT_MS = 5_000;
/** A token is renewed when it has less than this left. */
const MARGIN_MS = 60_000;

export async function newGuest(node, name) {
  const response = await fetch(`${String(node).replace(/\/+$/, "")}/v1/guests`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(name ? { name } : {}),
    signal: AbortSignal.timeout(REQUEST_TIMEOUT_MS),
  }).catch((error) => {
    throw new HubbubError("unavailable", `no answer from ${node}: ${error.message}`);
  });
  if (response.ok) return response.json();
  const problem = await response.json().catch(() => ({}));
  const message = problem.detail ?? problem.title ?? `HTTP ${response.status}`;
  throw new HubbubError(problem.code ?? codeOf(response.status), message);
}

function codeOf(status) {
  if (status === 429) return "rate_limited";
  return status >= 500 ? "unavailable" : "forbidden";
}

/**
 * For a client without a token: one guest for all its connections. Each connection as a guest
 * of its own would be another sender, whose retries are no duplicates to the server.
 */
export function guestTokens(name) {
  let guest = null;
  return async (socketUrl) => {
    if (guest && guest.expires - Date.now() > MARGIN_MS) return guest.token;
    const node = socketUrl.replace(/^ws/, "http").replace(/\/v1\/ws(\?.*)?$/, "");
    guest = await newGuest(node, name);
    return guest.token;
  };
}
