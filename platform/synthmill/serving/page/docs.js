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

function operation(document_, path, method, told) {
  const section = made("section", undefined, "operation"), title = made("h2");
  title.append(made("span", method.toUpperCase(), "method"), ` ${path}`);
  section.append(title, made("p", told.description ?? told.summary ?? ""));
  const body = resolve(document_, told.requestBody?.content?.["application/json"]?.schema);
  if (body) section.append(made("h3", "Body (JSON)"), fields(body));
  const kinds = Object.keys(told.responses?.["200"]?.content ?? {});
  if (kinds.length > 1) section.append(made("p", `Accept: ${kinds.join(", ")}`));
  section.append(made("p", `Answers: ${Object.entries(told.responses ?? {}).map(([status, answer]) => `${status} ${answer.description}`).join("; ")}`));
  return section;
}

const answer = await fetch("/openapi.json", { credentials: "same-origin" });
const document_ = await answer.json();
const sections = Object.entries(document_.paths).flatMap(([path, methods]) =>
  Object.entries(methods).map(([method, told]) => operation(document_, path, method, told)));
document.getElementById("operations").replaceChildren(...sections);
