// What a message is after a change: the form in which `history` gives it.

/**
 * The message after an `edited`, `deleted` or `reacted` event; the same object when it changes
 * nothing. Safe to repeat: what the message has in it already is not counted twice.
 */
export function fold(message, change) {
  if (message.deleted) return message;
  if (change.type === "edited") return edit(message, change);
  if (change.type === "reacted") return react(message, change);
  return change.type === "deleted" ? tombstone(message) : message;
}

/** An edit without a body changes nothing: its message is deleted, or a newer edit has replaced it. */
function edit(message, { body, mentions, ts, by, offset, deleted }) {
  if (deleted || message.edited?.offset >= offset) return message;
  const edited = { ...message, body, edited: { ts, by, offset } };
  delete edited.mentions;
  return mentions ? { ...edited, mentions } : edited;
}

function tombstone({ type, room, message, from, ts, epoch, offset }) {
  return { type, room, message, from, ts, deleted: true, epoch, offset };
}

function react(message, { key, by, on }) {
  const reactions = message.reactions ?? [];
  const known = reactions.find((reaction) => reaction.key === key);
  const next = on ? add(known, key, by.id) : take(known, by.id);
  if (next === known) return message;
  const others = reactions.map((reaction) => (reaction === known ? next : reaction));
  const all = known ? others : [...others, next];
  const { reactions: _, ...rest } = message;
  const left = all.filter(({ count }) => count > 0);
  return left.length > 0 ? { ...rest, reactions: left } : rest;
}

function add(known, key, user) {
  if (!known) return { key, count: 1, users: [user] };
  if (known.users.includes(user)) return known;
  return { key, count: known.count + 1, users: [...known.users, user] };
}

/** `users` names only the first: beyond them the count alone is known. */
function take(known, user) {
  if (!known) return known;
  const users = known.users.filter((id) => id !== user);
  const isListed = users.length < known.users.length;
  if (!isListed && known.count <= known.users.length) return known;
  return { ...known, count: known.count - 1, users };
}
