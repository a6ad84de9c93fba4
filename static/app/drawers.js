// On small screens the rooms and the people slide in from the sides.

import { byId } from "./dom.js";

const DRAWERS = [
  ["rooms-drawer", "rooms-toggle"],
  ["people-drawer", "people-toggle"],
];

function set(drawerId, toggleId, open) {
  byId(drawerId).classList.toggle("is-open", open);
  byId(toggleId).setAttribute("aria-expanded", open ? "true" : "false");
  byId("scrim").hidden = !open;
  if (!open) return;
  const first = /** @type {HTMLElement?} */ (byId(drawerId).querySelector("button, input, [tabindex]"));
  first?.focus();
}

/** Closes what is open; the focus goes back to the button that opened it. */
export function closeDrawers() {
  for (const [drawer, toggle] of DRAWERS) {
    if (!byId(drawer).classList.contains("is-open")) continue;
    set(drawer, toggle, false);
    byId(toggle).focus();
  }
}

export function startDrawers() {
  for (const [drawer, toggle] of DRAWERS) {
    byId(toggle).addEventListener("click", () => {
      const open = !byId(drawer).classList.contains("is-open");
      closeDrawers();
      set(drawer, toggle, open);
    });
  }
  byId("scrim").addEventListener("click", closeDrawers);
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") closeDrawers();
  });
}
