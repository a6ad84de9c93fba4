// Who is in the room shown, and who writes there.

import { byId, element } from "./dom.js";
import { avatar, cleanName, listNames } from "./text.js";

const byName = new Intl.Collator(undefined, { sensitivity: "base" });

export function drawPeople(view, identity) {
  const mine = identity.user?.id;
  const people = [...view.people.values()].sort(
    (a, b) => (b.id === mine) - (a.id === mine) || byName.compare(a.name, b.name),
  );
  const items = people.map((user) =>
    element(
      "li",
      { class: "person", "data-testid": "person", "data-user": user.id },
      avatar(user),
      element("bdi", {}, cleanName(user.name)),
      user.id === mine ? element("span", { class: "you" }, "(you)") : null,
    ),
  );
  const more = view.count - people.length;
  if (more > 0) items.push(element("li", { class: "person is-more" }, `and ${more} more`));
  byId("people").replaceChildren(...items);
  byId("count").textContent = view.count;
  byId("count-small").textContent = view.count;
}

export function drawTyping(view) {
  const names = [...view.writing.values()].map(({ name }) => cleanName(name));
  const verb = names.length > 1 ? "are" : "is";
  byId("typing").textContent = names.length > 0 ? `${listNames(names)} ${verb} typing…` : "";
}
