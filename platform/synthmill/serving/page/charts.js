// Bars of one column: generated rows filled, training rows outlined, in the bins that the training summary names.

const WIDTH = 260, HEIGHT = 110, BASE = 92;
const SVG = "http://www.w3.org/2000/svg";

function number(value, temporal) {
  if (value === null || value === undefined) return NaN;
  if (!temporal) return Number(value);
  const text = String(value);
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

function edgeText(x, temporal) {
  if (temporal) return new Date(x).toISOString().slice(0, 10);
  return Math.abs(x) >= 1e5 || (x !== 0 && Math.abs(x) < 1e-2) ? x.toExponential(1) : String(Number(x.toPrecision(4)));
}

function short(text, most) {
  return text.length > most ? `${text.slice(0, most - 1)}...` : text;
}

function percent(share) {
  return `${(100 * share).toFixed(share < 0.1 ? 1 : 0)}%`;
}

function describe(name, summary, made, overlap) {
  const told = summary.levels
    ? summary.levels.slice(0, 5).map((level, i) => `${level}: ${percent(made.shares[i])}` + (summary.own ? "" : `, training ${percent(summary.shares[i])}`)).join("; ")
    : `from ${edgeText(summary.edges[0], summary.temporal)} to ${edgeText(summary.edges.at(-1), summary.temporal)}`;
  return `${name}. ${told}.` + (overlap === null ? "" : ` The two distributions overlap by ${percent(overlap)}.`);
}

export function chart(name, values, training) {
  const summary = training && training.shares ? training : ownSummary(values);
  if (!summary) return null;
  const made = sharesOf(values, summary);
  const real = summary.shares ?? [];
  const gap = real.reduce((sum, share, i) => sum + Math.abs(share - made.shares[i]), Math.abs((summary.other ?? 0) - made.other));
  const missing = values.filter((value) => value === null).length / Math.max(1, values.length);
  const overlap = summary.own ? null : Math.max(0, 1 - (gap + Math.abs((summary.missing ?? 0) - missing)) / 2);
  const top = Math.max(0.0001, ...made.shares, ...real);
  const step = WIDTH / made.shares.length;
  const picture = element("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": describe(name, summary, made, overlap) });
  made.shares.forEach((share, i) => {
    const height = (share / top) * (BASE - 6);
    picture.append(element("rect", { class: "bar-generated", x: i * step + 1, y: BASE - height, width: Math.max(1, step - 2), height }));
    if (real.length) {
      const tall = (real[i] / top) * (BASE - 6);
      picture.append(element("rect", { class: "bar-training", x: i * step + 1.5, y: BASE - tall, width: Math.max(1, step - 3), height: tall }));
    }
  });
  if (summary.levels) {
    const most = Math.max(2, Math.floor(step / 5));
    if (most > 2) summary.levels.forEach((level, i) => picture.append(element("text", { x: (i + 0.5) * step, y: BASE + 13, "text-anchor": "middle" }, short(level, most))));
  } else {
    picture.append(element("text", { x: 0, y: BASE + 13 }, edgeText(summary.edges[0], summary.temporal)));
    picture.append(element("text", { x: WIDTH, y: BASE + 13, "text-anchor": "end" }, edgeText(summary.edges.at(-1), summary.temporal)));
  }
  const figure = document.createElement("figure");
  const caption = document.createElement("figcaption");
  const title = document.createElement("strong");
  title.textContent = name;
  const note = document.createElement("span");
  note.textContent = overlap === null ? "" : `overlap ${percent(overlap)}`;
  caption.append(title, note);
  figure.append(caption, picture);
  return figure;
}
