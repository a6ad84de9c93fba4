// The chat page: brings the identity, the client (through the SDK) and the views together.

import { Hubbub } from "/sdk/hubbub.js";

import { Composer } from "./app/composer.js";
import { byId } from "./app/dom.js";
import { closeDrawers, startDrawers } from "./app/drawers.js";
import { Identity, read, write } from "./app/identity.js";
import { Log } from "./app/log.js";
import { askName } from "./app/name-dialog.js";
import { drawPeople, drawTyping } from "./app/people.js";
import { RoomView } from "./app/room-view.js";
import { Sidebar, isRoomId } from "./app/sidebar.js";
import { Status } from "./app/status.js";
import { avatar, cleanName } from "./app/text.js";

const HOME = "lobby";
const ROOMS = "hubbub.rooms";
const ROOMS_EVERY_MS = 10_000;
const BAD_TOKEN = 4501;

/** This page's node first, then its siblings in random order. */
function allNodes() {
  const listed = document.querySelector('meta[name="hubbub-nodes"]').content.split(/\s+/);
  const siblings = listed.filter((node) => node && new URL(node).origin !== location.origin);
  for (let i = siblings.length - 1; i > 0; i--) {
    const j = Math.floor(Math.random() * (i + 1));
    [siblings[i], siblings[j]] = [siblings[j], siblings[i]];
  }
  return [location.origin, ...siblings.map((node) => node.replace(/\/+$/, ""))];
}

const nodes = allNodes();
const identity = new Identity(nodes);
const log = new Log((view) => view.loadOlder());
const views = new Map();
const sidebar = new Sidebar(choose);
const status = new Status((state) => (state === "closed" ? connect() : chat.retryNow()));
const composer = new Composer({
  send: (text) => view?.send(text),
  typing: (on) => view?.room?.typing(on),
});
let chat = null;
let view = null;
let offered = [];

function connect() {
  chat?.close();
  const client = new Hubbub({ urls: nodes, getToken: () => identity.token() });
  chat = client;
  chat.on("state", (state) => client === chat && hearState(state));
  for (const each of views.values()) each.attach(chat);
}

function hearState(state) {
  if (state.state === "online") {
    identity.see(chat.user);
    drawMe();
    loadRooms();
  }
  // The cluster knows this token no more (it began anew): come as a new guest of that name.
  if (state.state === "closed" && state.code === BAD_TOKEN) {
    identity.forgetToken();
    identity.take(identity.user.name).then(connect, (error) => status.fail(error.message));
    return;
  }
  status.show(state);
}

function enter(name) {
  if (views.has(name)) return;
  const made = new RoomView(name, identity, log, drawRoom);
  views.set(name, made);
  made.attach(chat);
  keepRooms();
}

/** Shows a room, and enters it first if need be. */
function choose(name) {
  closeDrawers();
  enter(name);
  view = views.get(name);
  if (location.hash !== `#${name}`) history.replaceState(null, "", `#${name}`);
  byId("room-title").textContent = name;
  log.show(view);
  composer.show(name);
  composer.focus();
  drawRoom(view);
}

function leave() {
  const left = view;
  views.delete(left.name);
  keepRooms();
  left.leave();
  choose(views.keys().next().value);
}

function keepRooms() {
  write("sessionStorage", ROOMS, JSON.stringify([...views.keys()]));
}

async function loadRooms() {
  if (document.hidden || chat.state.state !== "online") return;
  try {
    offered = await chat.rooms();
  } catch {
    return;
  }
  drawRoom(view);
}

function drawRoom(changed) {
  if (!view) return;
  sidebar.draw([...views.values()], offered, view.name);
  byId("leave").hidden = views.size < 2;
  if (changed !== view) return;
  drawPeople(view, identity);
  drawTyping(view);
}

function drawMe() {
  const { user } = identity;
  byId("me-name").textContent = cleanName(user.name);
  const drawn = avatar(user);
  drawn.id = "me-avatar";
  byId("me-avatar").replaceWith(drawn);
}

async function changeName() {
  if (await askName(cleanName(identity.user.name), "", (name) => identity.take(name))) {
    drawMe();
    connect();
  }
}

function hashRoom() {
  const name = decodeURIComponent(location.hash.slice(1));
  return isRoomId(name) ? name : HOME;
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
  document.addEventListener("visibilitychange", () => {
    if (!document.hidden && log.atBottom) view.read();
  });
  setInterval(loadRooms, ROOMS_EVERY_MS);
}

start();
