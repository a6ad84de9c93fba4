// Draws the node's own OpenAPI document: operations by their tags, then the shapes that they share.

const METHODS = ["get", "post", "put", "patch", "delete"];

const place = document.getElementById("api");
const contents = document.getElementById("contents");

/** An element with children; strings become text, never markup. */
function el(name, attributes, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes ?? {})) element.setAttribute(key, value);
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

/** Text with `code` in backquotes. */
function prose(text) {
  const parts = text.split("`");
  return el("span", null, ...parts.map((part, i) => (i % 2 ? el("code", null, part) : part)));
}

const nameOf = (reference) => reference.split("/").at(-1);
const link = (name) => el("a", { href: `#shape-${name}` }, name);

/** A schema in one line, with links to the shapes it names. */
function shape(schema) {
  if (!schema || Object.keys(schema).length === 0) return "any JSON";
  if (schema.$ref) return link(nameOf(schema.$ref));
  const choices = schema.oneOf ?? schema.anyOf;
  if (choices) return list(choices.filter(({ type }) => type !== "null").map(shape), " or ");
  if (schema.allOf) return list(schema.allOf.map(shape), " and ");
  if (schema.enum) return list(schema.enum.map((value) => el("code", null, `${value}`)), " · ");
  const types = [schema.type ?? "any JSON"].flat().filter((type) => type !== "null");
  if (types.includes("array")) return list(["list of ", shape(schema.items)], "");
  if (types.includes("object") && schema.properties) return list(["object"], "");
  return types.join(" or ");
}

function list(parts, between) {
  const all = parts.flatMap((part, i) => (i > 0 && between ? [between, part] : [part]));
  return el("span", null, ...all);
}

function table(titles, rows) {
  const head = el("tr", null, ...titles.map((title) => el("th", { scope: "col" }, title)));
  const body = rows.map((cells) => el("tr", null, ...cells.map((cell) => el("td", null, cell ?? ""))));
  const grid = el("table", null, el("thead", null, head), el("tbody", null, ...body));
  return el("div", { class: "table" }, grid);
}

const jsonOf = (content) => Object.entries(content ?? {})[0];

function operation(method, path, said) {
  const id = said.operationId ?? `${method}-${path}`;
  const section = el("section", { id });
  section.append(el("h3", null, el("code", null, `${method.toUpperCase()} ${path}`)));
  for (const text of [said.summary, said.description]) if (text) section.append(el("p", null, prose(text)));
  const rows = (said.parameters ?? []).map((it) => [
    el("code", null, it.name),
    it.required ? `${it.in}, required` : it.in,
    shape(it.schema),
    it.description ? prose(it.description) : "",
  ]);
  const body = jsonOf(said.requestBody?.content);
  if (body) rows.push(["body", said.requestBody.required ? `${body[0]}, required` : body[0], shape(body[1].schema), ""]);
  if (rows.length > 0) section.append(table(["Name", "Where", "What", ""], rows));
  const answers = Object.entries(said.responses).map(([status, answer]) => {
    if (answer.$ref) return [el("code", null, status), link("Problem"), "Refused."];
    const content = jsonOf(answer.content);
    return [el("code", null, status), content ? shape(content[1].schema) : "", prose(answer.description)];
  });
  section.append(table(["Status", "Answer", ""], answers));
  return section;
}

/** Fields of an object, or of the objects that it is made of. */
function fields(schema) {
  const parts = [schema, ...(schema.allOf ?? [])];
  return parts.flatMap((part) =>
    Object.entries(part.properties ?? {}).map(([name, field]) => [
      el("code", null, name),
      shape(field),
      part.required?.includes(name) ? "" : "optional",
      field.description ? prose(field.description) : "",
    ]),
  );
}

function definition(name, schema) {
  const section = el("section", { id: `shape-${name}` }, el("h3", null, name));
  if (schema.description) section.append(el("p", null, prose(schema.description)));
  const rows = fields(schema);
  section.append(rows.length > 0 ? table(["Field", "What", "", ""], rows) : el("p", null, shape(schema)));
  return section;
}

function chapter(title) {
  const id = `part-${title.toLowerCase()}`;
  contents.append(el("li", null, el("a", { href: `#${id}` }, title)));
  place.append(el("h2", { id }, title));
}

function draw({ info, paths, components }) {
  for (const part of (info.description ?? "").split("\n\n")) place.append(el("p", null, prose(part)));
  const all = Object.entries(paths).flatMap(([path, item]) =>
    METHODS.filter((method) => item[method]).map((method) => [method, path, item[method]]),
  );
  for (const tag of new Set(all.map(([, , said]) => said.tags?.[0] ?? "Other"))) {
    chapter(tag);
    const tagged = all.filter(([, , said]) => (said.tags?.[0] ?? "Other") === tag);
    place.append(...tagged.map((one) => operation(...one)));
  }
  chapter("Shapes");
  place.append(...Object.entries(components.schemas).map(([name, schema]) => definition(name, schema)));
}

try {
  const response = await fetch("/v1/openapi.json");
  if (!response.ok) throw new Error(`the node answers ${response.status}`);
  draw(await response.json());
  // What the address names has only just come.
  document.getElementById(decodeURIComponent(location.hash.slice(1)))?.scrollIntoView();
} catch (error) {
  place.append(el("p", { role: "alert" }, `The description cannot be shown: ${error.message}.`));
}
place.removeAttribute("aria-busy");
