// Direct messages: a room of two, named by both ids in order, so that both find the same one.

const PREFIX = "dm:";
const PERSON = /^[A-Za-z0-9_.-]+$/;
const MAX_ROOM_ID = 128;

/** The room of these two; null for oneself, and for ids that no room can be named by. */
export function directRoom(me, other) {
  if (me === other || !PERSON.test(me) || !PERSON.test(other)) return null;
  const room = PREFIX + [me, other].sort().join(":");
  return room.length <= MAX_ROOM_ID ? room : null;
}

export const isDirect = (room) => room.startsWith(PREFIX);

/** With whom: the id in the room's name that is not mine. */
export function otherIn(room, me) {
  const ids = room.slice(PREFIX.length).split(":");
  return ids.find((id) => id !== me) ?? ids[0];
}
