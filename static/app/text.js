// What strangers wrote, made fit to show: names, links, times.

import { element } from "./dom.js";

/** Controls, and the marks that reorder text around them: fine in nobody's name. */
const CONTROLS = /[\p{Cc}\u200e\u200f\u202a-\u202e\u2066-\u2069]/gu;
const LINK = /https?:\/\/[^\s\p{Cc}<>"'\u200e\u200f\u202a-\u202e\u2066-\u2069]+/giu;
/** What ends a sentence rather than a link. */
const TAIL = /[.,:;!?)\]}*_]+$/;
const TINTS = 8;

export function cleanName(name) {
  const clean = String(name ?? "").replace(CONTROLS, "").trim();
  return clean || "nameless";
}

function linkTo(text) {
  if (!URL.canParse(text)) return text;
  const { href, protocol } = new URL(text);
  if (protocol !== "http:" && protocol !== "https:") return text;
  const rel = "noopener noreferrer nofollow";
  return element("a", { href, target: "_blank", rel }, text);
}

/** Text nodes, and links for what is a http(s) address. */
export function withLinks(text) {
  const parts = [];
  let at = 0;
  for (const match of text.matchAll(LINK)) {
    const address = match[0].replace(TAIL, "");
    parts.push(text.slice(at, match.index), linkTo(address));
    at = match.index + address.length;
  }
  parts.push(text.slice(at));
  return parts.filter((part) => part !== "");
}

export function avatar({ id, name }) {
  let hash = 0;
  for (const char of id) hash = (hash * 31 + char.codePointAt(0)) >>> 0;
  const letters = cleanName(name).split(/[\s_.-]+/u).filter(Boolean).slice(0, 2);
  const initials = letters.map((word) => [...word][0].toUpperCase()).join("");
  return element("span", { class: `avatar tint-${hash % TINTS}`, "aria-hidden": "true" }, initials);
}

const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
const date = new Intl.DateTimeFormat(undefined, { weekday: "long", day: "numeric", month: "long" });

export function timeOf(ts) {
  const when = new Date(ts);
  const title = when.toLocaleString();
  return element("time", { datetime: when.toISOString(), title }, clock.format(when));
}

export const dayOf = (ts) => date.format(new Date(ts));

/** "Ann", "Ann and Bob", "Ann, Bob and 3 others" */
export function listNames(names) {
  if (names.length <= 1) return names.join("");
  if (names.length === 2) return names.join(" and ");
  const others = names.length - 2;
  return `${names[0]}, ${names[1]} and ${others} other${others > 1 ? "s" : ""}`;
}
