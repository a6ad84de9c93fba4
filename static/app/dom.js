// Making elements. Text goes in as text nodes only: nothing here, or anywhere in the page,
// turns a string into markup.

/** An element of the page. */
export const byId = (id) => document.getElementById(id);

/** A text field, a check box or a button of the page.
 * @param {string} id
 */
export const inputById = (id) => /** @type {HTMLInputElement} */ (byId(id));

/** The element with the focus, or the one around it that this selector finds.
 * @param {string} selector
 */
export const focusedIn = (selector) => /** @type {HTMLElement?} */ (document.activeElement?.closest?.(selector) ?? null);

/** `element("p", {class: "x", "data-n": 1, onclick: f}, "text", child, null)` */
export function element(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

const SVG = "http://www.w3.org/2000/svg";
const SHAPES = {
  actions: "M12 21a9 9 0 1 1 0-18 9 9 0 0 1 0 18ZM8.5 14.5c1.8 2.4 5.2 2.4 7 0M9 9.5v.01M15 9.5v.01",
  lock: "M6 11h12v9H6zM8.5 11V7.5a3.5 3.5 0 0 1 7 0V11",
  person: "M12 11.5a3.8 3.8 0 1 0 0-7.6 3.8 3.8 0 0 0 0 7.6ZM4.5 20.5c.5-4.5 3.5-6.5 7.5-6.5s7 2 7.5 6.5",
};

export function icon(name) {
  const path = fill(document.createElementNS(SVG, "path"), { d: SHAPES[name] }, []);
  const attributes = { viewBox: "0 0 24 24", "aria-hidden": "true", class: `icon-${name}` };
  return fill(document.createElementNS(SVG, "svg"), attributes, [path]);
}

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}
