// One REST request to a node: JSON in, JSON out, and problems as errors.

import { HubbubError } from "./error.js";

const REQUEST_TIMEOUT_MS = 5_000;

/**
 * Resolves to the answer's JSON, to null when there is none. `node` is a base URL; under the same
 * `nonce` a request may be repeated.
 * @param {string | URL} node
 * @param {string} method
 * @param {string} path
 * @param {{ token?: string, body?: unknown, nonce?: string }} [options]
 */
export async function request(node, method, path, { token, body, nonce } = {}) {
  /** @type {Record<string, string>} */
  const headers = {};
  if (token) headers.authorization = `Bearer ${token}`;
  if (body !== undefined) headers["content-type"] = "application/json";
  if (nonce !== undefined) headers["idempotency-key"] = nonce;
  const response = await fetch(`${String(node).replace(/\/+$/, "")}${path}`, {
    method,
    headers,
    body: body === undefined ? undefined : JSON.stringify(body),
    signal: AbortSignal.timeout(REQUEST_TIMEOUT_MS),
  }).catch(async (error) => {
    throw unanswered(`no answer from ${node}: ${await reasonOf(error, node)}`);
  });
  if (!response.ok) throw await problemOf(response);
  if (response.status === 204) return null;
  return response.json().catch((error) => {
    throw unanswered(`half an answer from ${node}: ${error.message}`);
  });
}

function unanswered(message) {
  return Object.assign(new HubbubError("unavailable", message), { isUnanswered: true });
}

/** Browsers say "Failed to fetch" whatever has happened. A request whose answer the page may not read
 * tells a node that is away from one that refuses the page's origin. */
async function reasonOf(error, node) {
  // Node says only there what has happened.
  const why = error.cause?.message || error.message;
  const origin = globalThis.location?.origin;
  if (!(error instanceof TypeError) || !origin || new URL(node).origin === origin) return why;
  /** @type {RequestInit} */
  const options = { mode: "no-cors", signal: AbortSignal.timeout(REQUEST_TIMEOUT_MS) };
  const isThere = await fetch(`${node}/v1/openapi.json`, options).then(
    () => true,
    () => false,
  );
  return isThere ? `it refuses pages of ${origin}; add that to its http.allowed_origins` : why;
}

/** What a refusal says. */
export async function problemOf(response) {
  const problem = await response.json().catch(() => ({}));
  const message = problem.detail ?? problem.title ?? `HTTP ${response.status}`;
  const seconds = Number(response.headers.get("retry-after"));
  const retryAfter = problem.retry_after_ms ?? (seconds > 0 ? seconds * 1_000 : undefined);
  return new HubbubError(problem.code ?? codeOf(response.status), message, retryAfter);
}

function codeOf(status) {
  if (status === 401) return "unauthorized";
  if (status === 429) return "rate_limited";
  if (status === 404) return "not_found";
  return status >= 500 ? "unavailable" : "forbidden";
}
