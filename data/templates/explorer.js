// The explorer: two scatters, a table and a task's videos, linked. The data stand in the element
// #data as JSON; text reaches the page as text nodes alone, never as markup.
"use strict";

const data = JSON.parse(document.getElementById("data").textContent);
const { values, tasks, names } = data;
const columns = new Map(data.columns.map((column) => [column.key, column]));
const everyone = tasks.map((_, i) => i);
const TERMS = ["aleatoric", "epistemic", "total"];
const state = {
  ...data.start, // x, y, colour, x2, y2, by: keys of columns
  search: "",
  hidden: new Set(), // values of the colour column that are switched off
  share: 1, // of the tasks: those with the least of the column `by`
  weight: 0.5, // of aleatoric uncertainty in the weighted total
  brushes: [null, null], // in each scatter: low x, high x, low y, high y
  sort: data.start.x,
  down: true,
  task: 0,
  active: everyone, // what search, legend, slider and brushes leave
  order: everyone, // these as the table sorts them
  playing: !matchMedia("(prefers-reduced-motion: reduce)").matches,
};

const find = (id) => document.getElementById(id);
const DRAWN = new Set(["svg", "g", "line", "text", "circle", "rect"]);

function make(tag, attributes = {}, ...children) {
  const space = DRAWN.has(tag) ? "http://www.w3.org/2000/svg" : "http://www.w3.org/1999/xhtml";
  const node = document.createElementNS(space, tag);
  for (const [name, given] of Object.entries(attributes)) {
    if (name === "onclick") node.addEventListener("click", given);
    else if (given !== null) node.setAttribute(name, given);
  }
  node.append(...children.filter((child) => child !== null));
  return node;
}

const value = (key, i) => values[key][i];
const label = (key) => columns.get(key).label;
const known = (key, i) => value(key, i) !== null;
const ranked = (key, i) => known(key, i) && !tasks[i].unranked;
const counted = (n, what) => `${n.toLocaleString("en")} ${what}${n === 1 ? "" : "s"}`;
const fixed = (number, digits) => number.toFixed(digits).replace("-", "−");
const sum = (list) => list.reduce((a, b) => a + b, 0);

function shown(given) {
  if (given === null) return "–";
  if (typeof given === "string") return given;
  const size = Math.abs(given);
  const whole = Number.isInteger(given) || size >= 1000;
  return fixed(given, whole ? 0 : size >= 100 ? 1 : size >= 10 ? 2 : 3);
}

// --- Kendall's tau-b and its interval, as the package computes them ----------------------------

// Each task's part in the pairs: concordant less discordant, untied in x, untied in y.
function pairs(x, y) {
  const parts = [0, 1, 2].map(() => new Float64Array(x.length));
  for (let i = 0; i < x.length; i++) {
    for (let j = 0; j < i; j++) {
      const [a, b] = [Math.sign(x[i] - x[j]), Math.sign(y[i] - y[j])];
      for (const k of [i, j]) {
        parts[0][k] += a * b;
        parts[1][k] += a * a;
        parts[2][k] += b * b;
      }
    }
  }
  return { parts, sums: parts.map((part) => sum(part) / 2) };
}

const tauOf = ([signed, x, y]) => (x > 0 && y > 0 ? signed / Math.sqrt(x * y) : null);

function spread(taus) {
  const mean = sum(taus) / taus.length;
  return Math.sqrt(sum(taus.map((t) => (t - mean) ** 2)) / taus.length);
}

// The 95 % percentile interval over resampled tasks, drawn in to the jackknife's standard error
// from ten tasks on, as in statistics/resampling.py.
function interval(x, y) {
  const [n, { sums, parts }] = [x.length, pairs(x, y)];
  const tau = tauOf(sums);
  let seed = n; // of a linear congruential generator: equal selections give equal intervals
  const pick = () => {
    seed = (Math.imul(1664525, seed) + 1013904223) >>> 0;
    return Math.floor((seed / 2 ** 32) * n);
  };
  const resampled = Array.from({ length: Math.max(200, Math.min(1000, 5e7 / n ** 2)) }, () => {
    const drawn = Array.from(x, pick);
    return tauOf(pairs(drawn.map((i) => x[i]), drawn.map((i) => y[i])).sums);
  });
  const there = (taus) => taus.filter((t) => t !== null);
  const taus = there(resampled);
  const without = there(x.map((_, i) => tauOf(sums.map((all, k) => all - parts[k][i]))));
  const expected = Math.sqrt(n - 1) * spread(without);
  const factor = n >= 10 && expected > 0 ? Math.min(1, expected / spread(taus)) : 1;
  const sorted = taus.map((t) => tau + factor * (t - tau)).sort((a, b) => a - b);
  return [0.025, 0.975].map((share) => {
    const place = share * (sorted.length - 1);
    const [low, high] = [Math.floor(place), Math.ceil(place)];
    return sorted[low] + (place - low) * (sorted[high] - sorted[low]);
  });
}

// --- Which tasks are left, in which order ------------------------------------------------------

const HOLDS = {
  "<": (a, b) => a < b,
  ">": (a, b) => a > b,
  "<=": (a, b) => a <= b,
  ">=": (a, b) => a >= b,
  "=": (a, b) => String(a).toLowerCase() === String(b),
};

// A test for each term; commas part them: COLUMN < NUMBER, or words of a task's texts.
function searches() {
  const texts = data.columns.filter((column) => !column.number);
  const terms = state.search.toLowerCase().split(",").map((term) => term.trim());
  return terms.filter(Boolean).map((term) => {
    const [, name, sign, given] = /^(.+?)\s*(<=|>=|<|>|=)\s*(.+)$/.exec(term) || [];
    const named = ({ key, label: words }) => [key, words].some((n) => n.toLowerCase() === name);
    const column = [...columns.values()].find(named);
    if (column) {
      const bound = column.number ? Number(given.replace("−", "-")) : given;
      return (i) => known(column.key, i) && HOLDS[sign](value(column.key, i), bound);
    }
    const said = (i) => [tasks[i].prompt, tasks[i].id, ...texts.map((c) => value(c.key, i))];
    return (i) => said(i).join("\n").toLowerCase().includes(term);
  });
}

function inBrush(number, i, x, y) {
  const [low, high, bottom, top] = state.brushes[number] || [-Infinity, Infinity];
  if (bottom === undefined) return true;
  const [a, b] = [value(x, i), value(y, i)];
  return known(x, i) && known(y, i) && low <= a && a <= high && bottom <= b && b <= top;
}

function update() {
  const tests = searches();
  tests.push((i) => !state.colour || !state.hidden.has(String(value(state.colour, i))));
  let left = everyone.filter((i) => tests.every((test) => test(i)));
  if (state.share < 1) {
    const sorted = left.filter((i) => ranked(state.by, i));
    sorted.sort((a, b) => value(state.by, a) - value(state.by, b) || a - b);
    left = sorted.slice(0, Math.max(3, Math.round(state.share * sorted.length)));
  }
  left = left.filter((i) => inBrush(0, i, state.x, state.y) && inBrush(1, i, state.x2, state.y2));
  state.active = left.sort((a, b) => a - b);
  const cell = (i) => (state.sort === "prompt" ? tasks[i].prompt : value(state.sort, i));
  const compare = (a, b) => (typeof a === "string" ? a.localeCompare(b) : a - b);
  state.order = [...left].sort((a, b) => {
    const missing = (cell(a) === null) - (cell(b) === null); // these come last
    return missing || (state.down ? -1 : 1) * compare(cell(a), cell(b)) || a - b;
  });
  find("count").textContent = `${left.length} of ${counted(tasks.length, "task")}`;
  find("clear").hidden = left.length === tasks.length;
  drawLegend();
  redraw();
}

function redraw() {
  plots.forEach((draw) => draw());
  drawTable();
  const place = state.order.indexOf(state.task);
  find("place").textContent = place < 0 ? "not selected" : `${place + 1} of ${state.order.length}`;
}

// --- Colours -----------------------------------------------------------------------------------

const RAMP = [[199, 221, 238], [0, 114, 178], [0, 38, 66]];
const MISSING = "#9aa3ab";

function range(key, of = everyone) {
  const there = of.filter((i) => known(key, i)).map((i) => value(key, i));
  return there.length ? [Math.min(...there), Math.max(...there)] : [0, 1];
}

function kinds(key) { // of a text column: each value and its count, the most frequent first
  const counts = new Map();
  values[key].forEach((name) => counts.set(name, (counts.get(name) || 0) + 1));
  return [...counts].sort((a, b) => b[1] - a[1]);
}

function painter(key) {
  const { coverage, category } = data.colours;
  if (!key) return () => category[0];
  if (!columns.get(key).number) {
    const order = kinds(key).map(([name]) => name);
    return (name) => coverage[name] || category[order.indexOf(name)] || MISSING;
  }
  const [low, high] = range(key);
  return (number) => {
    if (number === null) return MISSING;
    const place = (high > low ? (number - low) / (high - low) : 1) * (RAMP.length - 1);
    const k = Math.min(Math.floor(place), RAMP.length - 2);
    return `rgb(${RAMP[k].map((c, rgb) => Math.round(c + (place - k) * (RAMP[k + 1][rgb] - c)))})`;
  };
}

function drawLegend() {
  const [key, paint] = [state.colour, painter(state.colour)];
  if (!key) return;
  const ends = range(key).map((end) => make("span", {}, shown(end)));
  if (columns.get(key).number) {
    return find("legend").replaceChildren(ends[0], make("i", { class: "ramp" }), ends[1]);
  }
  const buttons = kinds(key).slice(0, 24).map(([name, count], place) => {
    const [swatch, on] = [make("i", { class: "swatch" }), !state.hidden.has(String(name))];
    swatch.style.background = paint(name);
    const toggle = () => {
      state.hidden[on ? "add" : "delete"](String(name));
      update();
      find("legend").children[place].focus();
    };
    const words = make("span", {}, `${shown(name)} ${count}`);
    return make("button", { "aria-pressed": String(on), onclick: toggle }, swatch, words);
  });
  find("legend").replaceChildren(...buttons);
}

// --- A scatter ---------------------------------------------------------------------------------

const MARGIN = { left: 52, right: 10, top: 8, bottom: 38 };

function scale(key, points, from, to) {
  const [least, most] = range(key, points);
  const pad = 0.05 * (most - least || Math.abs(most) || 1);
  const [low, high] = [least - pad, most + pad];
  const rough = (high - low) / (Math.abs(to - from) / 64);
  const power = 10 ** Math.floor(Math.log10(rough));
  const unit = [1, 2, 5, 10].find((s) => s * power >= rough) * power;
  const first = Math.ceil(low / unit);
  const ticks = Array.from({ length: Math.floor(high / unit) - first + 1 },
    (_, k) => Number(((first + k) * unit).toPrecision(12)));
  const at = (v) => from + ((v - low) / (high - low)) * (to - from);
  return { ticks, at, back: (place) => low + ((place - from) / (to - from)) * (high - low) };
}

function rectangle([x0, x1, y0, y1]) {
  const [width, height] = [Math.abs(x1 - x0), Math.abs(y1 - y0)];
  const [x, y] = [Math.min(x0, x1), Math.min(y0, y1)];
  return make("rect", { class: "brush", x, y, width, height });
}

function scatter(number, xName, yName) {
  const [box, readout] = [find(`plot${number}`), find(`tau${number}`)];
  let [places, scales, drag, timer] = [[], null, null, 0]; // a place: task, x, y in pixels

  function draw() {
    const [x, y] = [state[xName], state[yName]];
    const [width, height] = [box.clientWidth, box.clientHeight];
    const { left, top } = MARGIN;
    const [bottom, right] = [height - MARGIN.bottom, width - MARGIN.right];
    const points = everyone.filter((i) => known(x, i) && known(y, i));
    const [sx, sy] = (scales = [scale(x, points, left, right), scale(y, points, bottom, top)]);
    const turned = `translate(11 ${(top + bottom) / 2}) rotate(-90)`;
    const grid = make("g", { class: "grid" },
      ...sx.ticks.flatMap((t) => [
        make("line", { x1: sx.at(t), x2: sx.at(t), y1: top, y2: bottom }),
        make("text", { x: sx.at(t), y: bottom + 14, class: "middle" }, shown(t))]),
      ...sy.ticks.flatMap((t) => [
        make("line", { x1: left, x2: right, y1: sy.at(t), y2: sy.at(t) }),
        make("text", { x: left - 6, y: sy.at(t) + 4, class: "end" }, shown(t))]),
      make("text", { class: "name", x: (left + right) / 2, y: height - 5 }, label(x)),
      make("text", { class: "name", transform: turned }, label(y)));
    const [paint, active] = [painter(state.colour), new Set(state.active)];
    const above = ([i]) => (i === state.task ? 2 : Number(active.has(i)));
    places = points.map((i) => [i, sx.at(value(x, i)), sy.at(value(y, i))]);
    places.sort((a, b) => above(a) - above(b));
    const circles = places.map(([i, cx, cy]) => {
      const kinds = { hollow: tasks[i].unranked, off: !active.has(i), current: i === state.task };
      const names = Object.keys(kinds).filter((kind) => kinds[kind]).join(" ");
      const circle = make("circle", { cx, cy, r: kinds.current ? 7 : 4.5, class: names });
      circle.style.color = paint(state.colour && value(state.colour, i));
      return circle;
    });
    const about = `${label(y)} against ${label(x)}, a point a task; the table has the numbers`;
    const svg = make("svg", { width, height, role: "img", "aria-label": about }, grid, ...circles);
    const brush = state.brushes[number - 1];
    if (brush) svg.append(rectangle(brush.map((end, k) => scales[k >> 1].at(end))));
    box.replaceChildren(svg);
    measure(x, y);
  }

  function measure(x, y) {
    const used = state.active.filter((i) => ranked(x, i) && ranked(y, i));
    const [a, b] = [x, y].map((key) => used.map((i) => value(key, i)));
    const [tau, rest] = [tauOf(pairs(a, b).sums), state.active.length - used.length];
    const say = (ends) => {
      const between = ends ? ` [${ends.map((end) => fixed(end, 2)).join(", ")}]` : "";
      const about = ` · ${counted(used.length, "task")}${rest ? `, ${rest} not ranked` : ""}`;
      const number = tau === null ? "no τ" : `τ = ${fixed(tau, 2)}`;
      readout.replaceChildren(make("b", {}, number), between, make("i", {}, about));
      Object.assign(readout.dataset, { tau, n: used.length, interval: JSON.stringify(ends) });
    };
    clearTimeout(timer);
    say(null);
    if (tau !== null && used.length >= 8) timer = setTimeout(() => say(interval(a, b)), 100);
  }

  const point = ({ clientX, clientY }) => {
    const frame = box.getBoundingClientRect();
    return [clientX - frame.left, clientY - frame.top];
  };
  const nearest = ([px, py]) => {
    const far = places.map(([i, x, y]) => [Math.hypot(x - px, y - py), i]);
    return far.filter(([d]) => d < 12).sort((a, b) => a[0] - b[0])[0]?.[1];
  };

  function hover(event) {
    const [tip, i] = [find("tip"), nearest(point(event))];
    tip.hidden = i === undefined || Boolean(drag?.moved);
    if (tip.hidden) return;
    const used = new Set([state[xName], state[yName], state.colour].filter(Boolean));
    const lines = [...used].map((key) => `${label(key)}: ${shown(value(key, i))}`);
    tip.replaceChildren(make("b", { dir: "auto" }, tasks[i].prompt.slice(0, 200)),
      ...lines.map((line) => make("div", {}, line)));
    tip.style.left = `${Math.min(event.clientX + 14, innerWidth - tip.offsetWidth - 8)}px`;
    tip.style.top = `${Math.min(event.clientY + 14, innerHeight - tip.offsetHeight - 8)}px`;
  }

  box.addEventListener("pointerdown", (event) => {
    drag = { from: point(event), moved: false };
    box.setPointerCapture(event.pointerId);
  });
  box.addEventListener("pointermove", (event) => {
    hover(event);
    if (!drag) return;
    const [[x0, y0], [x1, y1]] = [drag.from, point(event)];
    drag.moved ||= Math.hypot(x1 - x0, y1 - y0) > 4;
    if (!drag.moved) return;
    box.querySelector(".brush")?.remove();
    box.firstChild.append(rectangle([x0, x1, y0, y1]));
  });
  box.addEventListener("pointerup", (event) => {
    if (!drag) return;
    const [{ from, moved }, to] = [drag, point(event)];
    drag = null;
    const i = nearest(to);
    if (!moved && i !== undefined) return open(i);
    const ends = scales.flatMap((s, k) => [s.back(from[k]), s.back(to[k])].sort((a, b) => a - b));
    state.brushes[number - 1] = moved ? ends : null;
    update();
  });
  box.addEventListener("pointerleave", () => { find("tip").hidden = true; });
  new ResizeObserver(draw).observe(box);
  return draw;
}

// --- The table ---------------------------------------------------------------------------------

const MOST_ROWS = 1000;

function drawTable() {
  const { x, y, x2, y2, colour, sort } = state;
  const keys = [...new Set(["prompt", x, y, x2, y2, colour].filter(Boolean))];
  const head = keys.map((key, place) => {
    const order = sort !== key ? "none" : state.down ? "descending" : "ascending";
    const change = () => {
      Object.assign(state, { sort: key, down: sort === key ? !state.down : key !== "prompt" });
      update();
      find("head").children[place].firstChild.focus();
    };
    const name = make("button", { onclick: change }, key === "prompt" ? "prompt" : label(key));
    return make("th", { "aria-sort": order, scope: "col" }, name);
  });
  const rows = state.order.slice(0, MOST_ROWS).map((i) => {
    const { prompt, unranked } = tasks[i];
    const name = make("button", { dir: "auto", onclick: () => open(i) }, prompt.slice(0, 300));
    const first = make("td", {}, name, unranked ? make("em", {}, "not ranked") : null);
    const others = keys.slice(1).map((key) => make("td", {}, shown(value(key, i))));
    return make("tr", { "aria-current": i === state.task ? "true" : null }, first, ...others);
  });
  find("head").replaceChildren(...head);
  find("rows").replaceChildren(...rows);
  find("more").hidden = state.order.length <= MOST_ROWS;
}

// --- A task's panel ----------------------------------------------------------------------------

function open(i) {
  state.task = i;
  redraw();
  find("rows").querySelector("[aria-current]")?.scrollIntoView({ block: "nearest" });
  const texts = data.columns.filter((column) => !column.number && known(column.key, i));
  const chips = [tasks[i].id, ...texts.map((c) => `${c.label}: ${value(c.key, i)}`)];
  find("task").replaceChildren(
    make("h2", { dir: "auto", class: "long" }, tasks[i].prompt),
    make("p", {}, ...chips.map((text) => make("span", { class: "chip" }, text))),
    make("div", { class: "parts" }, ...tasks[i].of.map((part, k) => drawPart(part, i, k))));
  if (!state.playing) find("task").querySelectorAll("img").forEach(still);
}

function drawPart(part, i, k) {
  const mark = names.length > 1 ? `.${"AB"[k]}` : "";
  const notes = part.marks.map((text) => make("p", { class: "mark" }, text));
  const reference = part.referenced
    ? make("figure", {}, clip(part.reference, "reference video"), make("figcaption", {}, "reference"))
    : make("p", { class: "quiet" }, "No reference, so no accuracy against one");
  const head = ["", ...data.accuracies, "caption", "seed"].map((name) => make("th", {}, name));
  const rows = part.videos.map(({ latent, problem, scores, caption, seed }) => {
    const cells = [`z${latent + 1}`, ...scores.map(shown), problem ?? shown(caption), shown(seed)];
    const line = make("tr", {}, ...cells.map((text) => make("td", { dir: "auto" }, text)));
    line.className = problem === null ? "" : "mark";
    return line;
  });
  return make("section", {}, mark ? make("h3", {}, `${"AB"[k]}: ${names[k]}`) : null,
    make("div", { class: "terms" }, ...TERMS.map((t, n) => drawTerm(part.terms[n], i, t + mark))),
    ...notes, reference, make("ol", {}, ...part.latents.map((_, z) => drawLatent(part, z))),
    make("details", {},
      make("summary", {}, `${counted(rows.length, "video")}: accuracies, captions, seeds`),
      make("div", { class: "wide" }, make("table", {}, make("tr", {}, ...head), ...rows))));
}

function drawTerm({ text, remark }, i, key) {
  const told = [make("span", {}, key.split(".")[0]), make("b", {}, text)];
  const others = everyone.filter((j) => columns.has(key) && j !== i && ranked(key, j));
  if (others.length && ranked(key, i)) {
    const below = others.filter((j) => value(key, j) < value(key, i)).length / others.length;
    const track = make("i", { class: "track" }, make("i"));
    track.firstChild.style.left = `${100 * below}%`;
    told.push(track, make("small", {}, `less certain than ${Math.round(100 * below)} % of tasks`));
  }
  return make("div", {}, ...told, remark ? make("small", { class: "mark" }, remark) : null);
}

function drawLatent({ latents, videos }, z) {
  const { prompt, entropy } = latents[z];
  const others = latents.filter((_, k) => k !== z).map((l) => new Set((l.prompt || "").split(/\s/)));
  const words = (prompt || "").split(/(\s)/).map((word) => // those that not all have are marked
    word.trim() && others.some((other) => !other.has(word)) ? make("mark", {}, word) : word);
  const twin = latents.findIndex((latent) => latent.prompt === prompt);
  const own = videos.filter((video) => video.latent === z);
  const clips = own.map(({ clip: address, problem, caption }, k) => {
    const alt = `video ${k + 1} of latent prompt ${z + 1}: ${caption ?? prompt ?? ""}`;
    return address || problem !== null ? clip(address, alt, problem) : null;
  });
  const told = [entropy === null ? "" : `videos ${shown(entropy)}`];
  if (!prompt) told.unshift("latent prompt not known");
  else if (twin < z) told.push(`the same as z${twin + 1}`);
  return make("li", {}, make("div", { class: "clips" }, ...clips), make("div", { class: "long" },
    make("b", {}, `z${z + 1} `), make("span", { dir: "auto" }, ...words),
    make("small", {}, told.filter(Boolean).join(" · "))));
}

function clip(address, alt, problem = null) {
  if (!address) return make("span", { class: "clip" }, problem === null ? "no preview" : "failed");
  const image = make("img", { class: "clip", alt: alt.slice(0, 300), title: alt.slice(0, 300) });
  image.addEventListener("load", () => image.classList.toggle("small", image.naturalWidth < 128));
  image.src = address;
  return image;
}

// --- Playing, controls, keys -------------------------------------------------------------------

async function still(image) { // a copy of one frame stands in its place
  await image.decode().catch(() => null);
  if (state.playing || image.hidden || !image.naturalWidth) return;
  const { naturalWidth: width, naturalHeight: height, alt, className } = image;
  const copy = make("canvas", { width, height, role: "img", "aria-label": alt, class: className });
  copy.getContext("2d").drawImage(image, 0, 0);
  image.before(copy);
  image.hidden = true;
}

function play(on) {
  state.playing = on;
  find("play").textContent = on ? "Pause" : "Play";
  find("task").querySelectorAll("canvas").forEach((copy) => copy.remove());
  find("task").querySelectorAll("img").forEach((image) => {
    image.hidden = false;
    if (!on) still(image);
  });
}

function step(by) {
  const place = state.order.indexOf(state.task);
  const next = place < 0 ? 0 : Math.max(0, Math.min(state.order.length - 1, place + by));
  if (state.order.length) open(state.order[next]);
}

function weigh() {
  const [a, e, w] = [values.aleatoric, values.epistemic, state.weight];
  values.weighted = a.map((v, i) => (v === null || e[i] === null ? null : w * v + (1 - w) * e[i]));
}

const plots = [scatter(1, "x", "y"), scatter(2, "x2", "y2")];
if (columns.has("weighted")) weigh();
for (const use of ["x", "y", "colour", "x2", "y2", "by"]) {
  find(use).value = state[use];
  find(use).addEventListener("change", () => {
    state[use] = find(use).value;
    if (use === "colour") state.hidden.clear();
    else if (use !== "by") state.brushes[Number(use.endsWith("2"))] = null;
    update();
  });
}
for (const use of ["search", "share", "weight"]) {
  find(use)?.addEventListener("input", ({ target }) => {
    state[use] = use === "search" ? target.value : target.value / 100;
    if (use !== "search") find(`${use}-said`).textContent = fixed(state[use], 2);
    if (use === "weight") weigh();
    update();
  });
}
find("clear").addEventListener("click", () => {
  Object.assign(state, { search: "", share: 1, brushes: [null, null], hidden: new Set() });
  Object.assign(find("search"), { value: "" });
  Object.assign(find("share"), { value: 100 });
  find("share-said").textContent = "1.00";
  update();
});
find("play").addEventListener("click", () => play(!state.playing));
find("before").addEventListener("click", () => step(-1));
find("after").addEventListener("click", () => step(1));
document.addEventListener("keydown", (event) => {
  const by = { ArrowUp: -1, ArrowLeft: -1, ArrowDown: 1, ArrowRight: 1 }[event.key];
  if (event.key === "Escape") find("clear").click();
  if (!by || event.target.matches("input, select")) return;
  event.preventDefault();
  step(by);
});
update();
play(state.playing);
open(state.order[0] ?? 0);
