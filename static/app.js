// The chat page: brings the identity, the client (through the SDK) and the views together.

import { Hubbub } from "/sdk/hubbub.js";

import { announce } from "./app/announcements.js";
import { Composer } from "./app/composer.js";
import { isDirect } from "./app/direct.js";
import { byId } from "./app/dom.js";
import { closeDrawers, startDrawers } from "./app/drawers.js";
import { Identity, read, write } from "./app/identity.js";
import { Invite } from "./app/invite.js";
import { Log } from "./app/log.js";
import { MessageMenu } from "./app/message-menu.js";
import { askName } from "./app/name-dialog.js";
import { Names } from "./app/names.js";
import { drawPeople, drawTyping } from "./app/people.js";
import { RoomView } from "./app/room-view.js";
import { Search } from "./app/search.js";
import { Sidebar, isRoomId } from "./app/sidebar.js";
import { Status } from "./app/status.js";
import { avatar, cleanName } from "./app/text.js";
import { fullTitle, signOf, titleOf } from "./app/title.js";

const HOME = "lobby";
const ROOMS = "hubbub.rooms";
const ROOMS_EVERY_MS = 10_000;
/** Rooms are entered without the list when it takes longer than this. */
const ROOMS_WAIT_MS = 2_000;
/** Direct messages that are entered by themselves, so that they come at once. */
const MAX_DIRECT = 20;
const BAD_TOKEN = 4501;

/** This page's node first, then its siblings in random order. */
function allNodes() {
  const meta = /** @type {HTMLMetaElement} */ (document.querySelector('meta[name="hubbub-nodes"]'));
  const listed = meta.content.split(/\s+/);
  const siblings = listed.filter((node) => node && new URL(node).origin !== location.origin);
  for (let i = siblings.length - 1; i > 0; i--) {
    const j = Math.floor(Math.random() * (i + 1));
    [siblings[i], siblings[j]] = [siblings[j], siblings[i]];
  }
  return [location.origin, ...siblings.map((node) => node.replace(/\/+$/, ""))];
}

const nodes = allNodes();
const identity = new Identity(nodes);
const page = {
  identity,
  names: new Names(),
  log: new Log(),
  menu: new MessageMenu(),
  changed: drawRoom,
  done: () => composer.focus(),
  infoOf: (room) => views.get(room)?.info ?? offered.find((row) => row.room === room),
};
const views = new Map();
const sidebar = new Sidebar(page, {
  choose,
  start: (room) => chat.createRoom({ room, private: true }).then(loadRooms),
});
const _search = new Search(page, {
  find: (q, options) => chat.search(q, options),
  room: () => view.name,
  go: (room, offset) => {
    choose(room);
    view.jump(offset);
  },
});
const invite = new Invite();
const status = new Status((state) => (state === "closed" ? connect() : chat.retryNow()));
const composer = new Composer({
  send: (text) => view?.send(text),
  typing: (on) => view?.room?.typing(on),
  editNewest: () => view?.editNewest() ?? false,
  people: () => [...(view?.presence.people.values() ?? [])].filter(({ id }) => !identity.isMine(id)),
});
let chat = null;
let view = null;
let offered = [];
/** What is unread is known: rooms may be entered. */
let isReady = false;
/** Direct messages that the reader has left: they come back with something unread. */
const closed = new Set();

function connect() {
  chat?.close();
  const client = new Hubbub({ urls: nodes, token: () => identity.token() });
  chat = client;
  chat.on("state", (state) => client === chat && hearState(state));
  chat.on("announcement", (said) => client === chat && announce(said));
  if (isReady) for (const each of views.values()) each.attach(chat);
}

async function hearState(state) {
  status.show(state);
  if (state.state === "online") {
    identity.see(chat.user);
    drawMe();
    await Promise.race([loadRooms(), new Promise((done) => setTimeout(done, ROOMS_WAIT_MS))]);
    enterAll();
  }
  // The cluster knows this token no more (it began anew): come as a new guest of that name.
  if (state.state === "closed" && state.code === BAD_TOKEN) {
    identity.forgetToken();
    identity.take(identity.user.name).then(connect, (error) => status.fail(error.message));
  }
}

/** The first connection stands, and the list of rooms was asked for before any was entered. */
function enterAll() {
  if (isReady) return;
  isReady = true;
  for (const each of views.values()) each.attach(chat);
}

function enter(name) {
  if (views.has(name)) return;
  closed.delete(name);
  const made = new RoomView(name, page);
  const known = offered.find((row) => row.room === name);
  if (known) made.hearInfo(known);
  views.set(name, made);
  if (isReady) made.attach(chat);
  keepRooms();
}

/** Shows a room, and enters it first if need be. */
function choose(name) {
  closeDrawers();
  enter(name);
  if (view !== views.get(name)) view?.close();
  view = views.get(name);
  view.open();
  if (location.hash !== `#${name}`) history.replaceState(null, "", `#${name}`);
  page.log.show(view);
  composer.show(name);
  composer.focus();
  drawRoom(view);
}

function leave() {
  closed.add(view.name);
  drop(view);
  choose(views.keys().next().value);
}

function drop(left) {
  views.delete(left.name);
  keepRooms();
  left.leave();
}

function keepRooms() {
  write("sessionStorage", ROOMS, JSON.stringify([...views.keys()]));
}

async function loadRooms() {
  if (chat.state.state !== "online") return;
  try {
    offered = await chat.rooms();
  } catch {
    return;
  }
  for (const row of offered) {
    if (row.last) page.names.see(row.last.from);
    views.get(row.room)?.hearInfo(row);
  }
  const isWanted = ({ room, unread }) => unread > 0 || !closed.has(room);
  const direct = offered.filter((row) => row.mine && isDirect(row.room) && isWanted(row));
  for (const { room } of direct.slice(0, MAX_DIRECT)) enter(room);
  page.log.check();
  drawRoom(view);
}

function drawRoom(changed) {
  if (!view) return;
  const unread = sidebar.draw(views, offered, view.name);
  const title = fullTitle(view.name, view.info, page);
  document.title = `${unread > 0 ? `(${unread}) ` : ""}${title} · Hubbub`;
  byId("leave").hidden = views.size < 2;
  if (changed !== view) return;
  drawHead(title);
  drawPeople(view, page, choose);
  invite.draw(view, [...views.values()].flatMap(({ presence }) => [...presence.people.values()]));
  drawTyping(view);
}

function drawHead(title) {
  byId("room-title").textContent = titleOf(view.name, view.info, page);
  byId("room-sign").replaceChildren(signOf(view.name, view.info));
  byId("room-topic").textContent = view.info.topic ?? "";
  composer.name(title);
}

function drawMe() {
  const { user } = identity;
  byId("me-name").textContent = cleanName(user.name);
  const drawn = avatar(user);
  drawn.id = "me-avatar";
  byId("me-avatar").replaceWith(drawn);
}

/** Another name is another guest, who is in none of the direct messages of the one before. */
async function changeName() {
  if (!(await askName(cleanName(identity.user.name), "", (name) => identity.take(name)))) return;
  drawMe();
  const direct = [...views.values()].filter(({ name }) => isDirect(name));
  direct.forEach(drop);
  connect();
  if (direct.includes(view)) choose(views.keys().next().value ?? HOME);
}

function hashRoom() {
  try {
    const name = decodeURIComponent(location.hash.slice(1));
    return isRoomId(name) ? name : HOME;
  } catch {
    return HOME;
  }
}

async function start() {
  startDrawers();
  byId("room-title").textContent = hashRoom();
  byId("leave").addEventListener("click", leave);
  byId("me-edit").addEventListener("click", changeName);
  if (!identity.user) {
    const known = identity.rememberedName;
    // A second tab takes the name that is known; if that fails, it asks.
    const taken = known && (await identity.take(known).then(() => true, () => false));
    if (!taken) await askName("", known, (name) => identity.take(name));
  }
  drawMe();
  connect();
  const wanted = hashRoom();
  JSON.parse(read("sessionStorage", ROOMS) ?? "[]").forEach(enter);
  choose(wanted);
  window.addEventListener("hashchange", () => choose(hashRoom()));
  document.addEventListener("visibilitychange", () => !document.hidden && page.log.check());
  setInterval(() => !document.hidden && loadRooms(), ROOMS_EVERY_MS);
}

start();
