// Asks for a name, until there is one that a node accepts.

import { byId, inputById } from "./dom.js";
import { cleanName } from "./text.js";

const ADJECTIVES = ["Brave", "Calm", "Clever", "Cheerful", "Curious", "Gentle", "Lucky", "Quiet"];
const ANIMALS = ["Badger", "Finch", "Fox", "Heron", "Lynx", "Otter", "Panda", "Robin"];
const pick = (list) => list[Math.floor(Math.random() * list.length)];

/**
 * Resolves to true when `take(name)` has succeeded, to false when the reader cancels, which
 * only `current` (a name to keep) allows.
 */
export function askName(current, suggestion, take) {
  const dialog = /** @type {HTMLDialogElement} */ (byId("name-dialog"));
  const form = byId("name-form");
  const input = inputById("name-input");
  const submit = inputById("name-submit");
  const cancel = byId("name-cancel");
  byId("name-title").textContent = current ? "Change your name" : "What is your name?";
  submit.textContent = current ? "Change name" : "Start chatting";
  cancel.hidden = !current;
  byId("name-error").textContent = "";
  input.value = current || suggestion || `${pick(ADJECTIVES)} ${pick(ANIMALS)}`;
  dialog.showModal();
  input.select();

  return new Promise((resolve) => {
    const end = (taken) => {
      listening.abort();
      dialog.close();
      resolve(taken);
    };
    const listening = new AbortController();
    const { signal } = listening;
    cancel.addEventListener("click", () => end(false), { signal });
    dialog.addEventListener(
      "cancel",
      (event) => {
        event.preventDefault();
        if (current) end(false);
      },
      { signal },
    );
    form.addEventListener(
      "submit",
      async (event) => {
        event.preventDefault();
        submit.disabled = true;
        const error = await tryName(input.value, take);
        submit.disabled = false;
        byId("name-error").textContent = error;
        if (error) input.focus();
        else end(true);
      },
      { signal },
    );
  });
}

async function tryName(text, take) {
  if (text.trim() === "") return "Please give a name.";
  try {
    await take(cleanName(text));
    return "";
  } catch (error) {
    return error.message;
  }
}
