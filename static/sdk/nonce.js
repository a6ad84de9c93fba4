// What a send is known by, however often it is repeated.

/** `crypto.randomUUID` is missing on pages without TLS; this is not. */
export function newNonce() {
  const bytes = crypto.getRandomValues(new Uint8Array(12));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
