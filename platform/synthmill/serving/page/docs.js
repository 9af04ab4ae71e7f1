// The OpenAPI document as a page: every operation with its fields. No library, no network beyond this server.

function made(name, text, className) {
  const element = document.createElement(name);
  if (text !== undefined) element.textContent = text;
  if (className) element.className = className;
  return element;
}

function resolve(document_, schema) {
  return schema?.$ref ? schema.$ref.split("/").slice(1).reduce((node, part) => node[part], document_) : schema;
}

function typeOf(schema) {
  if (schema.anyOf) return schema.anyOf.map(typeOf).join(" or ");
  if (schema.enum) return schema.enum.map((value) => JSON.stringify(value)).join(" or ");
  if (schema.const !== undefined) return JSON.stringify(schema.const);
  if (schema.type === "array") return `list of ${schema.items ? typeOf(schema.items) : "anything"}`;
  return schema.type ?? "object";
}

function fields(schema) {
  const table = made("table"), head = made("tr"), required = schema.required ?? [];
  for (const title of ["Field", "Type", "Meaning"]) { const cell = made("th", title); cell.scope = "col"; head.append(cell); }
  table.append(head);
  for (const [name, field] of Object.entries(schema.properties ?? {})) {
    const row = made("tr"), title = made("th", name + (required.includes(name) ? " (required)" : ""));
    title.scope = "row";
    row.append(title, made("td", typeOf(field)), made("td", field.description ?? ""));
    table.append(row);
  }
  const scroll = made("div", undefined, "scroll");
  scroll.append(table);
  return scroll;
}

function operation(document_, path, method, described) {
  const section = made("section", undefined, "operation"), title = made("h2");
  title.append(made("span", method.toUpperCase(), "method"), ` ${path}`);
  section.append(title, made("p", described.description ?? described.summary ?? ""));
  const body = resolve(document_, described.requestBody?.content?.["application/json"]?.schema);
  if (body) section.append(made("h3", "Body (JSON)"), fields(body));
  const kinds = Object.keys(described.responses?.["200"]?.content ?? {});
  if (kinds.length > 1) section.append(made("p", `Accept: ${kinds.join(", ")}`));
  const good = Object.keys(described.responses ?? {}).filter((status) => status < 400);
  section.append(made("p", `Answers with ${good.join(", ")}, or with one of the errors below.`));
  return section;
}

// Every operation has the same errors: one table for all.
function errors(document_) {
  const section = made("section", undefined, "operation"), table = made("table"), head = made("tr"), scroll = made("div", undefined, "scroll");
  for (const title of ["Status", "Meaning"]) { const cell = made("th", title); cell.scope = "col"; head.append(cell); }
  table.append(head);
  const known = new Map(Object.values(document_.paths).flatMap(Object.values).flatMap((described) => Object.entries(described.responses)));
  for (const [status, answer] of [...known].filter(([status]) => status >= 400).sort()) {
    const row = made("tr"), title = made("th", status);
    title.scope = "row";
    row.append(title, made("td", answer.description));
    table.append(row);
  }
  scroll.append(table);
  section.append(made("h2", "Errors"), made("p", 'A JSON object {"error": {"message", "type", "param", "code"}}; the message begins with the field at fault.'), scroll);
  return section;
}

const answer = await fetch("/openapi.json", { credentials: "same-origin" });
const document_ = await answer.json();
const sections = Object.entries(document_.paths).flatMap(([path, methods]) =>
  Object.entries(methods).map(([method, described]) => operation(document_, path, method, described)));
document.getElementById("operations").replaceChildren(...sections, errors(document_));
