// Guests: on a cluster in guest mode, anyone may ask a node for a token.

import { request } from "./rest.js";
import { httpUrl } from "./url.js";

/** A token is renewed when it has less than this left. */
const MARGIN_MS = 60_000;

export function newGuest(node, name) {
  return request(node, "POST", "/v1/guests", { body: name ? { name } : {} });
}

/**
 * For a client without a token: one guest for all its connections. Each connection as a guest
 * of its own would be another sender, whose retries are no duplicates to the server.
 */
export function guestTokens(name) {
  let guest = null;
  return async (socketUrl) => {
    if (guest && guest.expires - Date.now() > MARGIN_MS) return guest.token;
    guest = await newGuest(httpUrl(socketUrl), name);
    return guest.token;
  };
}
