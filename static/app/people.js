// Who is in the room shown, and who writes there.

import { byId, element, focusedIn } from "./dom.js";
import { avatar, cleanName, listNames } from "./text.js";
import { roomWith } from "./title.js";

const byName = new Intl.Collator(undefined, { sensitivity: "base" });

/** `choose(room)` opens the direct messages with somebody. */
export function drawPeople(view, page, choose) {
  const mine = page.identity.user?.id;
  const { count } = view.presence;
  const people = [...view.presence.people.values()].sort(
    (a, b) => Number(b.id === mine) - Number(a.id === mine) || byName.compare(a.name, b.name),
  );
  const focused = focusedIn(".person")?.dataset.user;
  const items = people.map((user) => person(user, mine, roomWith(user, page), choose));
  const more = count - people.length;
  if (more > 0) items.push(element("li", { class: "person is-more" }, `and ${more} more`));
  byId("people").replaceChildren(...items);
  items.find(({ dataset }) => focused && dataset.user === focused)?.querySelector("button")?.focus();
  byId("count").textContent = count;
  byId("count-small").textContent = count;
}

function person(user, mine, room, choose) {
  const parts = [avatar(user), element("bdi", {}, cleanName(user.name))];
  if (user.id === mine) parts.push(element("span", { class: "you" }, "(you)"));
  const name = cleanName(user.name);
  const title = `Direct messages with ${name}`;
  const attributes = { class: "who", "data-testid": "direct", title, onclick: () => choose(room) };
  const inside = room ? element("button", attributes, ...parts) : element("div", { class: "who" }, ...parts);
  return element("li", { class: "person", "data-testid": "person", "data-user": user.id }, inside);
}

export function drawTyping(view) {
  const names = [...view.presence.writing.values()].map(({ name }) => cleanName(name));
  const verb = names.length > 1 ? "are" : "is";
  byId("typing").textContent = names.length > 0 ? `${listNames(names)} ${verb} typing…` : "";
}
