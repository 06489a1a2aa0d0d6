// The service's own description, /openapi.json, as a page to read.

import { element } from "./showing.js";

const at = (id) => document.getElementById(id);

const nameOf = (reference) => reference.split("/").at(-1);

/** A type as a person would write it: "list of number", "Detection", "text or none". */
function typeOf(schema = {}) {
  if (schema.$ref) return nameOf(schema.$ref);
  if (schema.anyOf) return schema.anyOf.map(typeOf).join(" or ");
  if (schema.enum) return schema.enum.join(", ");
  if (schema.const) return schema.const;
  if (schema.type === "array") return `list of ${typeOf(schema.items)}`;
  if (schema.type === "object" && schema.additionalProperties) return `name → ${typeOf(schema.additionalProperties)}`;
  return { string: "text", null: "none" }[schema.type] ?? schema.type ?? "anything";
}

function table(titles, rows) {
  const row = (kind, texts) => element("tr", {}, ...texts.map((text) => element(kind, { textContent: text })));
  const head = element("thead", {}, row("th", titles));
  return element("table", {}, head, element("tbody", {}, ...rows.map((texts) => row("td", texts))));
}

function example(path, method, { requestBody, parameters = [] }) {
  const query = parameters.some(({ name }) => name === "threshold") ? "?threshold=0.5" : "";
  const image = requestBody ? "-F image=@new.jpg " : method === "get" ? "" : `-X ${method.toUpperCase()} `;
  return `curl ${image}'${location.origin}${path}${query}'`;
}

function operation(path, method, described) {
  const { summary, parameters = [], responses } = described;
  const parts = [
    element("h2", { textContent: `${method.toUpperCase()} ${path}` }),
    element("p", { textContent: summary }),
    element("pre", { textContent: example(path, method, described), tabIndex: 0 }),
  ];
  if (parameters.length) {
    const rows = parameters.map(({ name, schema, description = "" }) => [
      name,
      typeOf(schema),
      schema.default === undefined ? "" : String(schema.default),
      description,
    ]);
    parts.push(table(["parameter", "type", "otherwise", "what it does"], rows));
  }
  const answers = Object.entries(responses).map(([status, { description, content = {} }]) => {
    const kinds = Object.entries(content).map(([kind, { schema }]) => (schema?.$ref ? nameOf(schema.$ref) : kind));
    return [status, kinds.join(", "), description];
  });
  parts.push(table(["status", "answer", "when"], answers));
  return element("section", {}, ...parts);
}

function schema(name, { description = "", properties = {} }) {
  const rows = Object.entries(properties).map(([key, held]) => [key, typeOf(held), held.description ?? ""]);
  return element(
    "section",
    {},
    element("h3", { textContent: name }),
    element("p", { textContent: description }),
    table(["field", "type", "what it is"], rows),
  );
}

const { info, paths, components, security } = await (await fetch("/openapi.json")).json();
const key = security ? " Every question must bring the key: the header Authorization with 'Bearer KEY'." : "";
at("about").textContent = `${info.title} ${info.version}. ${info.description}${key}`;
at("operations").replaceChildren(
  ...Object.entries(paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, described]) => operation(path, method, described)),
  ),
);
at("schemas").replaceChildren(
  ...Object.entries(components.schemas)
    .filter(([, held]) => held.properties)
    .map(([name, held]) => schema(name, held)),
);
