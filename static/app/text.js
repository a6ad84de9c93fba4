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

/** Text nodes, links for what is a http(s) address, and who is mentioned, by name. */
export function withMarks(text, { mentions = [], nameOf, isMe }) {
  const parts = [];
  let at = 0;
  for (const match of text.matchAll(LINK)) {
    const address = match[0].replace(TAIL, "");
    parts.push(...withMentions(text.slice(at, match.index), mentions, nameOf, isMe), linkTo(address));
    at = match.index + address.length;
  }
  parts.push(...withMentions(text.slice(at), mentions, nameOf, isMe));
  return parts.filter((part) => part !== "");
}

/** `mentions`: ids that the server has found in the text, as `@id`. */
function withMentions(text, mentions, nameOf, isMe) {
  if (mentions.length === 0) return [text];
  const ids = [...mentions].sort((a, b) => b.length - a.length).map(escapeRegExp);
  const known = new RegExp(`(?<![\\p{L}\\p{N}])@(${ids.join("|")})(?![\\p{L}\\p{N}_])`, "u");
  const parts = text.split(known);
  return parts.map((part, i) => (i % 2 === 0 ? part : mention(part, nameOf(part), isMe(part))));
}

/** Text as a part of a regular expression that means just that. */
export const escapeRegExp = (text) => text.replace(/[\\^$.*+?()[\]{}|]/g, "\\$&");

function mention(id, name, isMe) {
  const classes = isMe ? "mention is-me" : "mention";
  return element("bdi", { class: classes, title: `@${id}` }, `@${name}`);
}

export function avatar({ id, name }) {
  let hash = 0;
  for (const char of id) hash = (hash * 31 + char.codePointAt(0)) >>> 0;
  const letters = cleanName(name).split(/[\s_.-]+/u).filter(Boolean).slice(0, 2);
  const initials = letters.map((word) => [...word][0].toUpperCase()).join("");
  return element("span", { class: `avatar tint-${hash % TINTS}`, "aria-hidden": "true" }, initials);
}

const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
/** @type {Intl.DateTimeFormatOptions} */
const parts = { weekday: "long", day: "numeric", month: "long" };
const date = new Intl.DateTimeFormat(undefined, parts);
const dateOfOtherYear = new Intl.DateTimeFormat(undefined, { ...parts, year: "numeric" });

export function timeOf(ts) {
  const when = new Date(ts);
  const title = when.toLocaleString();
  return element("time", { datetime: when.toISOString(), title }, clock.format(when));
}

export function dayOf(ts) {
  const when = new Date(ts);
  const isThisYear = when.getFullYear() === new Date().getFullYear();
  return (isThisYear ? date : dateOfOtherYear).format(when);
}

/** "Ann", "Ann and Bob", "Ann, Bob and 3 others" */
export function listNames(names) {
  if (names.length <= 1) return names.join("");
  if (names.length === 2) return names.join(" and ");
  const others = names.length - 2;
  return `${names[0]}, ${names[1]} and ${others} other${others > 1 ? "s" : ""}`;
}
