// From what people write (a page's address, a host's) to the address of the socket.

const SCHEMES = { "http:": "ws:", "https:": "wss:", "ws:": "ws:", "wss:": "wss:" };

export function socketUrl(text) {
  const base = globalThis.location?.href;
  const url = URL.canParse(text, base) ? new URL(text, base) : null;
  const scheme = SCHEMES[url?.protocol];
  if (!scheme) throw new TypeError(`not a http(s) or ws(s) URL: ${text}`);
  const path = url.pathname.replace(/\/+$/, "");
  return `${scheme}//${url.host}${path.endsWith("/v1/ws") ? path : `${path}/v1/ws`}${url.search}`;
}

/** The node's own address, for REST, from its socket's. */
export const httpUrl = (url) => url.replace(/^ws/, "http").replace(/\/v1\/ws(\?.*)?$/, "");

/** The addresses to take turns with; without any, the page's own origin. */
export function socketUrls(urls) {
  const given = typeof urls === "string" ? [urls] : [...(urls ?? [])];
  if (given.length === 0 && globalThis.location) given.push(globalThis.location.origin);
  if (given.length === 0) throw new TypeError("`urls` must name at least one node");
  return [...new Set(given.map(socketUrl))];
}
