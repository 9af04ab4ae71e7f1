// The page at `/`: asks the API of the same server, shows what comes back. No library, no network beyond this server.

import { chart } from "/page/charts.js";

const PREVIEW_ROWS = 2000, SHOWN_ROWS = 100, OPERATORS = ["=", "!=", "<", "<=", ">", ">="];
const $ = (id) => document.getElementById(id);
let about = null;

async function ask(path, options = {}) {
  const answer = await fetch(path, { credentials: "same-origin", ...options });
  if (answer.status === 401) { location.assign("/"); throw new Error("Sign in again."); }
  if (!answer.ok) {
    const told = await answer.json().catch(() => null);
    const wait = answer.headers.get("Retry-After");
    throw new Error((told?.error?.message ?? `The server answered ${answer.status}.`) + (wait ? ` Try again in ${wait} s.` : ""));
  }
  return answer;
}

const post = (path, body, accept) =>
  ask(path, { method: "POST", headers: { "Content-Type": "application/json", Accept: accept }, body: JSON.stringify(body) });

function option(value, text = value) {
  const made = document.createElement("option");
  made.value = value;
  made.textContent = text;
  return made;
}

function fail(fault) {
  $("error").textContent = fault.message;
  $("error").hidden = false;
  $("status").textContent = "";
}

async function start() {
  const { data } = await (await ask("/v1/models")).json();
  $("model").replaceChildren(...data.map((model) => option(model.id, model.ref)));
  if (data.length) await choose(); else $("status").textContent = "This key may use no model.";
}

async function choose() {
  about = await (await ask(`/v1/models/${encodeURIComponent($("model").value)}`)).json();
  const pictures = about.modality === "image";
  const quality = about.quality?.score === undefined ? "" : ` Fidelity ${about.quality.score.toFixed(2)}` + (about.quality.ceiling ? ` of ${about.quality.ceiling.toFixed(2)}.` : ".");
  $("about").textContent = `${about.ref}, ${about.model}: trained on ${about.rows_trained_on.toLocaleString("en")} ${pictures ? "pictures" : "rows"}. Gates: ${about.verdict}.${quality}`;
  $("count-label").textContent = pictures ? "Pictures" : "Rows";
  $("count").max = pictures ? about.limits.max_images : about.limits.max_rows;
  $("count").value = pictures ? 12 : 500;
  $("conditions").hidden = $("download-part").hidden = pictures;
  $("prompt-part").hidden = !pictures;
  const levels = about.schema.find((column) => column.name === "label")?.levels ?? [];
  $("prompt").replaceChildren(option("", "any"), ...levels.map((level) => option(level)));
  $("clauses").replaceChildren();
  $("card").textContent = about.card;
}

// One condition: column, operator, value; the value offers the column's levels.
function addClause() {
  const number = $("clauses").children.length + 1;
  const column = document.createElement("select");
  column.setAttribute("aria-label", `Column of condition ${number}`);
  const fields = about.schema.filter((field) => field.kind !== "identifier");
  column.append(...fields.map((field) => option(field.name)));
  const operator = document.createElement("select");
  operator.setAttribute("aria-label", `Comparison of condition ${number}`);
  operator.append(...OPERATORS.map((sign) => option(sign)));
  const value = document.createElement("input");
  value.setAttribute("aria-label", `Value of condition ${number}`);
  value.required = true;
  const known = document.createElement("datalist");
  known.id = `levels-${Date.now()}-${number}`;
  value.setAttribute("list", known.id);
  const offer = () => {
    const field = about.schema.find((item) => item.name === column.value);
    known.replaceChildren(...(field.levels ?? []).map((level) => option(level)));
    const bounds = field.minimum !== null && field.minimum !== undefined;
    value.placeholder = field.levels ? field.levels[0] : bounds ? `${field.minimum} to ${field.maximum}` : "";
  };
  column.addEventListener("change", offer);
  offer();
  const remove = document.createElement("button");
  remove.type = "button";
  remove.className = "plain";
  remove.textContent = "x";
  remove.setAttribute("aria-label", `Remove condition ${number}`);
  const item = document.createElement("li");
  remove.addEventListener("click", () => { item.remove(); $("add").focus(); });
  item.append(column, operator, value, known, remove);
  $("clauses").append(item);
  column.focus();
}

function request(mostRows) {
  const body = { num_rows: Math.min(mostRows, Number($("count").value)) };
  if ($("seed").value !== "") body.seed = Number($("seed").value);
  const where = [...$("clauses").children].map((item) => {
    const [column, operator] = item.querySelectorAll("select");
    return `${column.value}${operator.value}${item.querySelector("input").value}`;
  });
  if (where.length) body.where = where;
  return body;
}

function cell(value) {
  const made = document.createElement("td");
  if (value === null) { made.textContent = "missing"; made.className = "missing"; return made; }
  made.textContent = typeof value === "object" ? JSON.stringify(value) : String(value);
  if (typeof value === "number") made.className = "number";
  return made;
}

function showTable(rows) {
  const names = about.schema.map((column) => column.name);
  const head = document.createElement("thead"), body = document.createElement("tbody"), line = document.createElement("tr");
  for (const name of names) {
    const title = document.createElement("th");
    title.scope = "col";
    title.textContent = name;
    line.append(title);
  }
  head.append(line);
  for (const row of rows.slice(0, SHOWN_ROWS)) {
    const made = document.createElement("tr");
    made.append(...names.map((name) => cell(row[name])));
    body.append(made);
  }
  const caption = document.createElement("caption");
  caption.textContent = `The first ${Math.min(SHOWN_ROWS, rows.length)} of ${rows.length.toLocaleString("en")} rows shown. AI-generated.`;
  $("table").replaceChildren(caption, head, body);
}

function showCharts(rows) {
  const training = about.profile?.columns ?? {};
  const drawn = about.schema
    .filter((column) => column.kind !== "identifier" && column.kind !== "constant")
    .map((column) => chart(column.name, rows.map((row) => row[column.name]), training[column.name]))
    .filter((figure) => figure !== null);
  $("charts").replaceChildren(...drawn);
  $("charts-title").textContent = about.profile ? "Columns, against the training rows" : "Columns";
  document.querySelector(".legend").hidden = !about.profile;
}

function showPictures(data, prompt) {
  $("pictures").replaceChildren(...data.map((picture, i) => {
    const item = document.createElement("li"), image = document.createElement("img");
    image.src = `data:image/png;base64,${picture.b64_json}`;
    image.alt = `AI-generated picture ${i + 1}` + (prompt ? ` of class ${prompt}` : "");
    item.append(image);
    return item;
  }));
}

async function generate() {
  const started = performance.now(), pictures = about.modality === "image";
  $("status").textContent = "Generating...";
  if (pictures) {
    const body = { model: about.ref, prompt: $("prompt").value, n: Number($("count").value), response_format: "b64_json" };
    if ($("seed").value !== "") body.seed = Number($("seed").value);
    const { data } = await (await post("/v1/images/generations", body, "application/json")).json();
    showPictures(data, body.prompt);
    $("status").textContent = `${data.length} pictures from ${about.ref} in ${((performance.now() - started) / 1000).toFixed(1)} s.`;
  } else {
    const { rows, model } = await (await post(`/v1/models/${encodeURIComponent(about.ref)}/rows`, request(PREVIEW_ROWS), "application/json")).json();
    showCharts(rows);
    showTable(rows);
    const more = Number($("count").value) > rows.length ? ` A sample; download for all ${Number($("count").value).toLocaleString("en")}.` : "";
    $("status").textContent = `${rows.length.toLocaleString("en")} rows from ${model} in ${((performance.now() - started) / 1000).toFixed(1)} s.${more}`;
  }
  $("charts-part").hidden = $("table-part").hidden = pictures;
  $("pictures-part").hidden = !pictures;
}

async function download() {
  const chosen = $("format").selectedOptions[0];
  $("status").textContent = "Downloading...";
  const data = await (await post(`/v1/models/${encodeURIComponent(about.ref)}/rows`, request(Infinity), chosen.value)).blob();
  const link = document.createElement("a");
  link.href = URL.createObjectURL(data);
  link.download = `${about.ref.replace("@", "-")}-synthetic.${chosen.dataset.suffix}`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);
  $("status").textContent = `Downloaded ${(data.size / 1e6).toFixed(2)} MB.`;
}

// Runs one action at a time; what goes wrong is said where a screen reader hears it.
async function act(work) {
  $("error").hidden = true;
  $("go").disabled = $("download").disabled = true;
  try { await work(); } catch (fault) { fail(fault); } finally { $("go").disabled = $("download").disabled = false; }
}

$("ask").addEventListener("submit", (event) => { event.preventDefault(); act(generate); });
$("download").addEventListener("click", () => { if ($("ask").reportValidity()) act(download); });
$("add").addEventListener("click", addClause);
$("model").addEventListener("change", () => act(choose));
act(start);
