// The page at `/`: asks the API of the same server, shows what comes back. No library, no network beyond this server.

import { chart } from "/page/charts.js";
import { imagesCode, rowsCode } from "/page/code.js";

const PREVIEW_ROWS = 2000, SHOWN_ROWS = 100, OPERATORS = ["=", "!=", "<", "<=", ">", ">="];
const $ = (id) => document.getElementById(id);
let about = null, keyNeeded = false, running = null, figures = [];

async function ask(path, options = {}) {
  const answer = await fetch(path, { credentials: "same-origin", signal: running?.signal, ...options });
  if (answer.status === 401) { location.assign("/"); throw new Error("Sign in again."); }
  if (!answer.ok) {
    // A key that may not so much as list models: another one may.
    if (answer.status === 403) $("sign-out").hidden = false;
    const refusal = await answer.json().catch(() => null);
    const wait = answer.headers.get("Retry-After");
    throw new Error((refusal?.error?.message ?? `The server answered ${answer.status}.`) + (wait ? ` Try again in ${wait} s.` : ""));
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
  const { data, key } = await (await ask("/v1/models")).json();
  keyNeeded = key.needed;
  $("who").textContent = key.needed && key.name ? `Key: ${key.name}` : "";
  $("sign-out").hidden = !key.needed;
  $("model").replaceChildren(...data.map((model) => option(model.id, model.ref)));
  if (!data.length) { $("status").textContent = "This key may use no model."; return; }
  await choose();
}

// What is left to do when the page or another model could not be loaded.
const begin = () => ($("model").options.length ? choose() : start());

async function choose() {
  about = null;
  for (const id of ["about", "verdict", "curl", "python", "card"]) $(id).replaceChildren();
  about = await (await ask(`/v1/models/${encodeURIComponent($("model").value)}`)).json();
  const images = about.modality === "image";
  const size = images ? `, ${about.size.replace("x", " x ")} pixels` : `, ${about.schema.length} columns`;
  $("about").textContent = `${about.ref}: ${about.model}, trained on ${about.rows_trained_on.toLocaleString("en")} ${images ? "images" : "rows"}${size}.`;
  showVerdict();
  $("count-label").textContent = images ? "Images" : "Rows";
  $("count").max = images ? about.limits.max_images : about.limits.max_rows;
  $("count").value = images ? Math.min(24, about.limits.max_images) : Math.min(1000, about.limits.max_rows);
  $("conditions").hidden = $("download-part").hidden = images;
  $("prompt-part").hidden = !images;
  const levels = about.schema.find((column) => column.name === "label")?.levels ?? [];
  $("prompt").replaceChildren(option("", "any"), ...levels.map((level) => option(level)));
  $("clauses").replaceChildren();
  $("card").textContent = about.card;
  showCode();
  await generate();
}

function showVerdict() {
  const badge = (text, kind) => {
    const made = document.createElement("span");
    made.className = `badge ${kind}`;
    made.textContent = text;
    return made;
  };
  const badges = [badge(about.verdict === "not evaluated" ? "not evaluated" : `gates: ${about.verdict}`, about.verdict)];
  const { score, ceiling } = about.quality ?? {};
  if (score !== undefined && ceiling) badges.push(badge(`fidelity ${score.toFixed(2)}, real rows ${ceiling.toFixed(2)}`, ""));
  $("verdict").replaceChildren(...badges);
}

function showCode() {
  if (!about) return;
  // A number too large for a script would be read as another one.
  if (!$("seed").validity.valid) { $("curl").textContent = $("python").textContent = "The seed is not valid."; return; }
  const chosen = $("format").selectedOptions[0];
  const code = about.modality === "image"
    ? imagesCode(location.origin, imagesRequest(), keyNeeded)
    : rowsCode(location.origin, about.ref, request(Infinity), keyNeeded, { type: chosen.value, suffix: chosen.dataset.suffix });
  $("curl").textContent = code.curl;
  $("python").textContent = code.python;
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
  remove.textContent = "\u00d7";
  remove.setAttribute("aria-label", `Remove condition ${number}`);
  const item = document.createElement("li");
  remove.addEventListener("click", () => { item.remove(); showCode(); $("add").focus(); });
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

function imagesRequest() {
  const body = { model: about.ref, prompt: $("prompt").value, n: Number($("count").value), response_format: "b64_json" };
  if ($("seed").value !== "") body.seed = Number($("seed").value);
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

function showCharts(rows, conditions) {
  const training = about.profile?.columns ?? {};
  figures = about.schema
    .filter((column) => column.kind !== "identifier" && column.kind !== "constant")
    .map((column) => ({ name: column.name, ...chart(column.name, rows.map((row) => row[column.name]), training[column.name]) }))
    .filter((drawn) => drawn.figure);
  order();
  const compared = figures.some((drawn) => drawn.overlap !== null);
  $("charts-title").textContent = !compared ? "Columns" : conditions ? "Columns, against all training rows" : "Columns, against the training rows";
  document.querySelector(".legend").hidden = document.querySelector(".order").hidden = !compared;
}

function order() {
  const worst = $("order").value === "worst";
  const sorted = worst ? [...figures].sort((a, b) => (a.overlap ?? 2) - (b.overlap ?? 2)) : figures;
  $("charts").replaceChildren(...sorted.map((drawn) => drawn.figure));
}

// Large figures above the results: [title, value, note] each.
function showFigures(figures) {
  $("figures").replaceChildren(...figures.map(([title, value, note]) => {
    const group = document.createElement("div"), name = document.createElement("dt"), text = document.createElement("dd");
    name.textContent = title;
    text.textContent = value;
    if (note) { const small = document.createElement("small"); small.textContent = note; text.append(small); }
    group.append(name, text);
    return group;
  }));
  $("figures").hidden = false;
}

function rowFigures(rows, conditions) {
  const compared = figures.filter((drawn) => drawn.overlap !== null);
  const shown = [["Rows shown", rows.length.toLocaleString("en")], ["Columns", String(about.schema.length)]];
  if (!compared.length) return shown;
  const mean = compared.reduce((sum, drawn) => sum + drawn.overlap, 0) / compared.length;
  const worst = compared.reduce((a, b) => (b.overlap < a.overlap ? b : a));
  const sample = conditions ? "conditions shift it" : rows.length < 500 ? "few rows: partly chance" : "of single columns";
  return [...shown, ["Mean overlap with training", `${(100 * mean).toFixed(0)}%`, sample], ["Least overlap", `${(100 * worst.overlap).toFixed(0)}%`, worst.name]];
}

function showImages(data, prompt) {
  $("images").replaceChildren(...data.map((generated, i) => {
    const item = document.createElement("li"), link = document.createElement("a"), image = document.createElement("img");
    image.src = `data:image/png;base64,${generated.b64_json}`;
    image.alt = `AI-generated image ${i + 1}` + (prompt ? ` of class ${prompt}` : "");
    link.href = image.src;
    link.download = `${about.ref.replace("@", "-")}-synthetic-${i + 1}.png`;
    link.title = "Download";
    link.append(image);
    item.append(link);
    return item;
  }));
}

async function generate() {
  if (!$("ask").reportValidity()) { $("status").textContent = "Correct what is marked."; return; }
  const started = performance.now(), images = about.modality === "image";
  const seconds = () => ((performance.now() - started) / 1000).toFixed(1);
  $("status").textContent = "Generating...";
  if (images) {
    const body = imagesRequest();
    const { data } = await (await post("/v1/images/generations", body, "application/json")).json();
    showImages(data, body.prompt);
    $("figures").hidden = true;
    $("status").textContent = `${data.length} images from ${about.ref} in ${seconds()} s. Choose one to download it.`;
  } else {
    const body = request(PREVIEW_ROWS), conditions = body.where !== undefined;
    const { rows, model } = await (await post(`/v1/models/${encodeURIComponent(about.ref)}/rows`, body, "application/json")).json();
    showCharts(rows, conditions);
    showTable(rows);
    showFigures(rowFigures(rows, conditions));
    const more = Number($("count").value) > rows.length ? ` A sample; download for all ${Number($("count").value).toLocaleString("en")}.` : "";
    $("status").textContent = `${rows.length.toLocaleString("en")} rows from ${model} in ${seconds()} s.${more}`;
  }
  $("charts-part").hidden = $("table-part").hidden = images;
  $("images-part").hidden = !images;
}

async function download() {
  const chosen = $("format").selectedOptions[0];
  $("status").textContent = "Downloading...";
  const answer = await post(`/v1/models/${encodeURIComponent(about.ref)}/rows`, request(Infinity), chosen.value);
  const reader = answer.body.getReader(), parts = [];
  let bytes = 0, shown = 0;
  for (let piece = await reader.read(); !piece.done; piece = await reader.read()) {
    parts.push(piece.value);
    bytes += piece.value.length;
    // Not every piece: a screen reader would read them all.
    if (bytes - shown > 2e7) { shown = bytes; $("status").textContent = `Downloading, ${(bytes / 1e6).toFixed(0)} MB so far.`; }
  }
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob(parts));
  link.download = `${about.ref.replace("@", "-")}-synthetic.${chosen.dataset.suffix}`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);
  $("status").textContent = `Downloaded ${(bytes / 1e6).toFixed(2)} MB.`;
}

// Runs one action at a time, which Stop ends; what goes wrong is said where a screen reader hears it.
// The buttons only look disabled meanwhile: disabling them for real would take the focus from whoever pressed one by keyboard.
async function act(work) {
  running?.abort();
  const current = running = new AbortController();
  $("error").hidden = true;
  showBusy(true);
  const offer = setTimeout(() => { if (running === current) $("stop").hidden = false; }, 700);
  try {
    await work();
  } catch (fault) {
    if (running !== current) return;
    if (fault.name === "AbortError") $("status").textContent = "Stopped."; else fail(fault);
  } finally {
    clearTimeout(offer);
    if (running === current) {
      running = null;
      if (document.activeElement === $("stop")) $("go").focus();
      $("stop").hidden = true;
      showBusy(false);
    }
  }
}

function showBusy(busy) {
  for (const button of [$("go"), $("download")]) button.setAttribute("aria-disabled", busy);
}

$("ask").addEventListener("submit", (event) => { event.preventDefault(); if (!running) act(about ? generate : begin); });
$("ask").addEventListener("input", showCode);
$("download").addEventListener("click", () => { if (!running && $("ask").reportValidity()) act(about ? download : begin); });
$("stop").addEventListener("click", () => running?.abort());
$("add").addEventListener("click", () => { if (about) { addClause(); showCode(); } });
$("order").addEventListener("change", order);
$("model").addEventListener("change", () => act(choose));
act(start);
