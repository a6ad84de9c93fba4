// The reactions below a message: a button each, which puts mine there or takes it back.

import { element, focusedIn } from "./dom.js";
import { listNames } from "./text.js";

/** The picker's. Any other key that somebody uses is shown too. */
export const KEYS = ["👍", "❤️", "😂", "🎉", "😮", "😢", "👀", "✅"];

const MAX_NAMED = 12;
const MAX_COUNT = 999;

/** `pending`: key → on, of mine that have no ack yet. */
export function drawReactions(box, reactions, pending, { me, nameOf, toggle }) {
  const focused = box.contains(document.activeElement) ? focusedIn("*")?.dataset.key : null;
  const known = new Set(reactions.map(({ key }) => key));
  const coming = [...pending].filter(([key, on]) => on && !known.has(key));
  const all = [...reactions, ...coming.map(([key]) => ({ key, count: 0, users: [] }))];
  const buttons = all.map((reaction) => chip(reaction, pending.get(reaction.key), me, nameOf, toggle));
  box.replaceChildren(...buttons);
  buttons.find(({ dataset }) => dataset.key === focused)?.focus();
}

function chip({ key, count, users }, pending, me, nameOf, toggle) {
  const had = users.includes(me);
  const mine = pending ?? had;
  const shown = count + Number(mine) - Number(had);
  const names = users.slice(0, MAX_NAMED).map((id) => (id === me ? "you" : nameOf(id)));
  return element(
    "button",
    {
      class: `reaction${mine ? " is-mine" : ""}${pending === undefined ? "" : " is-pending"}`,
      "data-testid": "reaction",
      "data-key": key,
      "aria-pressed": mine ? "true" : "false",
      title: names.length > 0 ? listNames(names) : null,
      onclick: () => toggle(key),
    },
    element("bdi", { class: "key" }, key),
    " ",
    element("span", { class: "tally-small" }, shown > MAX_COUNT ? `${MAX_COUNT}+` : `${shown}`),
  );
}
