// What operators say to everybody, or to a room: it stays until it is closed.

import { byId, element } from "./dom.js";
import { timeOf } from "./text.js";

/** The oldest go. */
const MAX_SHOWN = 3;

export function announce({ room, text, ts }) {
  const list = byId("announcements");
  const close = () => item.remove();
  const place = room === undefined ? null : element("bdi", { class: "announced-in" }, `#${room}`);
  const item = element(
    "div",
    { class: "banner announcement", "data-testid": "announcement" },
    element("p", {}, timeOf(ts), " ", place, place && " ", element("bdi", { dir: "auto" }, text)),
    element("button", { class: "quiet", type: "button", "data-testid": "announcement-close", onclick: close }, "Close"),
  );
  list.append(item);
  while (list.children.length > MAX_SHOWN) list.firstElementChild.remove();
}
