// What a room is called on the page, and the sign before its name.

import { directRoom, isDirect, otherIn } from "./direct.js";
import { element, icon } from "./dom.js";

/** `info`: what `rooms` says of it; `page` has `identity` and `names`. */
export function titleOf(room, info, { identity, names }) {
  if (isDirect(room)) return names.of(otherIn(room, identity.user?.id));
  return info?.title || room;
}

/** As people write it: `#lobby`, or the name of who one talks with. */
export function fullTitle(room, info, page) {
  return `${isDirect(room) || info?.private ? "" : "#"}${titleOf(room, info, page)}`;
}

export function signOf(room, info) {
  if (isDirect(room)) return icon("person");
  return info?.private ? icon("lock") : element("span", { class: "hash", "aria-hidden": "true" }, "#");
}

/** Screen readers hear what the sign shows. */
export const kindOf = (room, info) => (!isDirect(room) && info?.private ? "private room " : "");

/** The room for talking with this person; null where there cannot be one. */
export const roomWith = (user, { identity }) => directRoom(identity.user?.id ?? "", user.id);
