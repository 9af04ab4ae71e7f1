// One column as a chart: generated rows filled, training rows as a line, in the bins that the training summary names.

const WIDTH = 260, HEIGHT = 120, BASE = 102, LINE = 17, SHOWN_LEVELS = 6;
const SVG = "http://www.w3.org/2000/svg";

const CLOCK = /^(?:(-?\d+) days?,? )?(\d+):(\d\d)(?::(\d\d(?:\.\d+)?))?$/;

// Dates and times as milliseconds since 1970; times of day (08:30:00.5) and durations (1 day, 2:00:00) as milliseconds.
function number(value, temporal) {
  if (value === null || value === undefined) return NaN;
  if (!temporal) return Number(value);
  const text = String(value), clock = CLOCK.exec(text);
  if (clock) return 1000 * (86400 * Number(clock[1] ?? 0) + 3600 * Number(clock[2]) + 60 * Number(clock[3]) + Number(clock[4] ?? 0));
  return Date.parse(text.length > 10 && !/[zZ]|[+-]\d\d:?\d\d$/.test(text) ? `${text}Z` : text);
}

// Shares of the generated values in the bars of a training summary; without one, in bars of their own.
export function sharesOf(values, summary) {
  const total = Math.max(1, values.length);
  if (summary.levels) {
    const at = new Map(summary.levels.map((level, i) => [level, i]));
    const counts = new Array(summary.levels.length).fill(0);
    let other = 0;
    for (const value of values) {
      if (value === null) continue;
      const i = at.get(String(value)) ?? at.get(Number.isFinite(Number(value)) ? String(Number(value)) : "");
      if (i === undefined) other += 1; else counts[i] += 1;
    }
    return { shares: counts.map((count) => count / total), other: other / total };
  }
  const { edges } = summary, bins = edges.length - 1, counts = new Array(bins).fill(0);
  const low = edges[0], width = (edges[bins] - low) / bins;
  for (const value of values) {
    const x = number(value, summary.temporal);
    if (!Number.isNaN(x)) counts[Math.max(0, Math.min(bins - 1, Math.floor((x - low) / width)))] += 1;
  }
  return { shares: counts.map((count) => count / total), other: 0 };
}

// A summary made of the generated values themselves, for models that carry none.
export function ownSummary(values) {
  const present = values.filter((value) => value !== null);
  const numbers = present.map(Number);
  const distinct = new Set(present.map(String));
  if (present.length && numbers.every(Number.isFinite) && typeof present[0] === "number" && distinct.size > 12) {
    const low = Math.min(...numbers), high = Math.max(...numbers);
    return { edges: Array.from({ length: 21 }, (_, i) => low + (i * (high - low)) / 20), own: true };
  }
  if (distinct.size > 60) return null;
  const counts = new Map();
  for (const value of present) counts.set(String(value), (counts.get(String(value)) ?? 0) + 1);
  return { levels: [...counts].sort((a, b) => b[1] - a[1]).slice(0, 12).map(([level]) => level), own: true };
}

function element(name, attributes, text) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== undefined) made.textContent = text;
  return made;
}

const compact = new Intl.NumberFormat("en", { notation: "compact", maximumSignificantDigits: 3 });

function clockText(x) {
  const seconds = Math.abs(x) / 1000, two = (n) => String(Math.floor(n)).padStart(2, "0");
  if (seconds > 0 && seconds < 60) return `${Number((x / 1000).toPrecision(3))} s`;
  return `${x < 0 ? "-" : ""}${two(seconds / 3600)}:${two((seconds / 60) % 60)}`;
}

function edgeText(x, { temporal, clock }) {
  if (clock) return clockText(x);
  if (temporal) return new Date(x).toISOString().slice(0, 10);
  if (x !== 0 && Math.abs(x) < 1e-2) return x.toExponential(1);
  return Math.abs(x) >= 1e4 ? compact.format(x) : String(Number(x.toPrecision(3)));
}

function short(text, most) {
  return text.length > most ? `${text.slice(0, most - 1)}\u2026` : text;
}

function percent(share) {
  return `${(100 * share).toFixed(share < 0.1 ? 1 : 0)}%`;
}

function describe(name, summary, made, overlap) {
  const text = summary.levels
    ? summary.levels.slice(0, 5).map((level, i) => `${level}: ${percent(made.shares[i])}` + (summary.own ? "" : `, training ${percent(summary.shares[i])}`)).join("; ")
    : `from ${edgeText(summary.edges[0], summary)} to ${edgeText(summary.edges.at(-1), summary)}`;
  return `${name}. ${text}.` + (overlap === null ? "" : ` The two distributions overlap by ${percent(overlap)}.`);
}

// One line a level: its name, a bar of the generated share with a mark at the training share, and the generated share in figures.
function levelLines(summary, made, real, missing) {
  const most = summary.levels.length > SHOWN_LEVELS ? SHOWN_LEVELS - 1 : summary.levels.length;
  const lines = summary.levels.slice(0, most).map((level, i) => [level, made.shares[i], real[i]]);
  const rest = (shares, other) => shares.slice(most).reduce((sum, share) => sum + share, other ?? 0);
  const rare = rest(made.shares, made.other), rareReal = rest(real, summary.other);
  if (summary.levels.length > most || rare + rareReal > 0) lines.push(["others", rare, real.length ? rareReal : undefined]);
  if (missing > 0 || summary.missing > 0) lines.push(["missing", missing, real.length ? summary.missing : undefined]);
  const top = Math.max(0.0001, ...lines.flatMap(([, share, training]) => [share, training ?? 0]));
  const chart = element("svg", { viewBox: `0 0 ${WIDTH} ${Math.max(HEIGHT, lines.length * LINE)}` });
  lines.forEach(([level, share, training], i) => {
    const y = i * LINE + 2, from = 100, room = WIDTH - from - 38;
    const name = element("text", { class: "level", x: from - 6, y: y + 11, "text-anchor": "end" }, short(level, 17));
    name.append(element("title", {}, level));
    chart.append(name, element("rect", { class: "track", x: from, y, width: room, height: LINE - 5, rx: 2 }));
    chart.append(element("rect", { class: "bar-generated", x: from, y, width: Math.max(0.5, (share / top) * room), height: LINE - 5, rx: 2 }));
    if (training !== undefined) {
      const x = from + (training / top) * room;
      const mark = element("path", { class: "bar-training", d: `M${x} ${y - 1.5}V${y + LINE - 3.5}` });
      mark.append(element("title", {}, `${level}: ${percent(share)}, training ${percent(training)}`));
      chart.append(mark);
    }
    chart.append(element("text", { x: WIDTH, y: y + 11, "text-anchor": "end" }, percent(share)));
  });
  return chart;
}

// A bar a bin, the training rows as an outline over all of them.
function histogram(summary, made, real) {
  const top = Math.max(0.0001, ...made.shares, ...real), step = WIDTH / made.shares.length;
  const height = (share) => (share / top) * (BASE - 6);
  const chart = element("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}` });
  made.shares.forEach((share, i) => {
    chart.append(element("rect", { class: "bar-generated", x: i * step + 0.75, y: BASE - height(share), width: step - 1.5, height: height(share), rx: 1 }));
  });
  chart.append(element("path", { class: "axis", d: `M0 ${BASE + 0.5}H${WIDTH}` }));
  if (real.length) {
    const outline = real.map((share, i) => `L${i * step} ${BASE - height(share)}H${(i + 1) * step}`).join("");
    chart.append(element("path", { class: "bar-training", d: `M0 ${BASE}${outline}V${BASE}` }));
  }
  const middle = (summary.edges[0] + summary.edges.at(-1)) / 2;
  [["start", 0, summary.edges[0]], ["middle", WIDTH / 2, middle], ["end", WIDTH, summary.edges.at(-1)]].forEach(([anchor, x, value]) => {
    chart.append(element("text", { x, y: BASE + 14, "text-anchor": anchor }, edgeText(value, summary)));
  });
  return chart;
}

// { figure, overlap }: overlap is 1 minus the total variation distance from the training rows; null without a training summary.
export function chart(name, values, training) {
  const summary = training && training.shares ? training : ownSummary(values);
  if (!summary) return null;
  const made = sharesOf(values, summary), real = summary.shares ?? [];
  const gap = real.reduce((sum, share, i) => sum + Math.abs(share - made.shares[i]), Math.abs((summary.other ?? 0) - made.other));
  const missing = values.filter((value) => value === null).length / Math.max(1, values.length);
  const overlap = summary.own ? null : Math.max(0, 1 - (gap + Math.abs((summary.missing ?? 0) - missing)) / 2);
  const chart = summary.levels ? levelLines(summary, made, real, missing) : histogram(summary, made, real);
  chart.setAttribute("role", "img");
  chart.setAttribute("aria-label", describe(name, summary, made, overlap) + (missing ? ` ${percent(missing)} missing.` : ""));
  const figure = document.createElement("figure"), caption = document.createElement("figcaption");
  const title = document.createElement("strong"), note = document.createElement("span");
  title.textContent = name;
  note.textContent = overlap === null ? "" : `overlap ${percent(overlap)}`;
  caption.append(title, note);
  figure.append(caption, chart);
  return { figure, overlap };
}
