// Making elements. Text goes in as text nodes only: nothing here, or anywhere in the page,
// turns a string into markup.

export const byId = (id) => document.getElementById(id);

/** `element("p", {class: "x", "data-n": 1, onclick: f}, "text", child, null)` */
export function element(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}
