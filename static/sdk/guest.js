// Guests: on a cluster in guest mode, anyone may ask a node for a token.

import { request } from "./rest.js";
import { httpUrl } from "./url.js";

/** A token is renewed when it has less than this left. */
const MARGIN_MS = 60_000;

export function newGuest(node, name) {
  return request(node, "POST", "/v1/guests", { body: name ? { name } : {} });
}

/**
 * For a client without a token: one guest for all its connections, and with `memory` (`read()`,
 * `write(value)`) also after a reload. Each connection as a guest of its own would be another
 * sender, whose retries are no duplicates to the server.
 */
export function guestTokens(name, memory) {
  let guest = memory.read();
  // Who is called otherwise now is somebody else.
  if (guest?.asked !== name) guest = null;
  return async ({ url, refused }) => {
    const isGood = guest?.expires - Date.now() > MARGIN_MS && !refused;
    if (isGood) return guest.token;
    guest = { ...(await newGuest(httpUrl(url), name)), asked: name };
    memory.write(guest);
    return guest.token;
  };
}
