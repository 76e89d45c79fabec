// The explorer: two scatters, a table and a task's videos, linked.
"use strict";

const { values, tasks, names } = data;
const columns = new Map(data.columns.map((column) => [column.key, column]));
const everyone = tasks.map((_, i) => i);
const state = {
  ...data.start, // x, y, colour, x2, y2, by: keys of columns
  search: "",
  hidden: new Set(), // values of the colour column that are switched off
  share: 1, // of the tasks: those with the least of the column `by`
  weight: 0.5, // of aleatoric uncertainty in the weighted total
  target: 0, // the accuracy that is wanted, and
  level: 0, // the mean shortfall from it that can be borne, in the unit of the column y
  decision: null, // what these come to: a threshold on the column x
  brushes: [null, null], // in each scatter: low x, high x, low y, high y
  sort: data.start.x,
  down: true,
  task: 0,
  active: everyone, // what search, legend, slider and brushes leave
  order: everyone, // these as the table sorts them
};

const value = (key, i) => values[key][i];
const label = (key) => columns.get(key).label;
const known = (key, i) => value(key, i) !== null;
const ranked = (key, i) => known(key, i) && !tasks[i].unranked;
const counted = (n, what) => `${n.toLocaleString("en")} ${what}${n === 1 ? "" : "s"}`;
const plain = (number) => String(number).replace("-", "−");
const fixed = (number, digits) => plain(number.toFixed(digits));

function shown(given) {
  if (given === null) return "–";
  if (typeof given === "string") return given;
  const digits = 3 - Math.floor(Math.log10(Math.abs(given)));
  return fixed(given, Number.isInteger(given) ? 0 : Math.max(0, Math.min(3, digits)));
}

// --- Which tasks are left, in which order ------------------------------------------------------

const same = (a, b) => String(a).toLowerCase() === String(b);
const HOLDS = { "<": (a, b) => a < b, ">": (a, b) => a > b, "=": same };

// A test for each term; commas part them: COLUMN < NUMBER, or words of a task's texts.
function searches() {
  const texts = data.columns.filter((column) => !column.number);
  const terms = state.search.toLowerCase().split(",").map((term) => term.trim());
  return terms.filter(Boolean).map((term) => {
    const [, name, sign, given] = /^(.+?)\s*([<>=])\s*(.+)$/.exec(term) || [];
    const { key, number } = data.columns.find((c) =>
      [c.key, c.label].some((known) => known.toLowerCase() === name)) || {};
    const bound = number ? Number(given.replace("−", "-")) : given;
    if (key) return (i) => known(key, i) && HOLDS[sign](value(key, i), bound);
    return (i) => [tasks[i].prompt, tasks[i].id, ...texts.map((c) => value(c.key, i))]
      .join("\n").toLowerCase().includes(term);
  });
}

const inBrush = (brush, i, ...keys) => !brush || keys.every((key, k) =>
  known(key, i) && brush[2 * k] <= value(key, i) && value(key, i) <= brush[2 * k + 1]);

function update() {
  const tests = searches();
  let left = everyone.filter((i) => tests.every((test) => test(i)));
  left = left.filter((i) => !state.hidden.has(value(state.colour, i)));
  if (state.share < 1) {
    const sorted = left.filter((i) => ranked(state.by, i));
    sorted.sort((a, b) => value(state.by, a) - value(state.by, b) || a - b);
    left = sorted.slice(0, Math.max(3, Math.round(state.share * sorted.length)));
  }
  left = left.filter((i) => inBrush(state.brushes[0], i, state.x, state.y));
  state.active = left = left.filter((i) => inBrush(state.brushes[1], i, state.x2, state.y2));
  const cell = (i) => (state.sort === "prompt" ? tasks[i].prompt : value(state.sort, i));
  const compare = (a, b) => (typeof a === "string" ? a.localeCompare(b) : a - b);
  state.order = [...left].sort((a, b) => {
    const missing = (cell(a) === null) - (cell(b) === null); // these come last
    return missing || (state.down ? -1 : 1) * compare(cell(a), cell(b)) || a - b;
  });
  find("count").textContent = `${left.length} of ${counted(tasks.length, "task")}`;
  find("clear").hidden = left.length === tasks.length;
  decide();
  drawLegend();
  redraw();
}

function redraw() {
  plots.forEach((draw) => draw());
  drawTable();
  const place = state.order.indexOf(state.task) + 1;
  find("place").textContent = place ? `${place} of ${state.order.length}` : "not selected";
}

// --- A decision: up to which uncertainty to accept ---------------------------------------------

const UNCERTAIN = ["Uncertainty", "Other estimators", "Weighted"]; // groups of columns

function bounds() { // of the sliders, by what was measured; they start as notebook 06 does, or amid
  const [low, high] = range(state.y);
  const [least, most] = [(high - low) / 200 || 1, (high - low) / 2 || 2];
  const amid = (given, from, to) => (from < given && given < to ? given : (from + to) / 2);
  Object.assign(state, { target: amid(0.5, low, high), level: amid(0.1, least, most) });
  Object.assign(find("target"), { min: low, max: high, value: state.target });
  Object.assign(find("level"), { min: least, max: most, value: state.level });
}

function decide() {
  const { x, y, target, level } = state;
  const { floor } = columns.get(y);
  const fits = UNCERTAIN.includes(columns.get(x).group) && !x.endsWith(".difference");
  find("decision").hidden = floor === null || !fits;
  state.decision = null;
  if (find("decision").hidden) return;
  const used = state.active.filter((i) => ranked(x, i) && ranked(y, i));
  const [u, accuracy] = [x, y].map((key) => used.map((i) => value(key, i)));
  const found = controlRisk(u, accuracy, { target, level, bound: target - floor });
  const kept = found ? `accept ${shown(found.threshold)} and less: ${found.accepted} of ` +
    `${counted(used.length, "task")}, mean shortfall ${shown(found.risk)}, of those accepted ` +
    shown(found.shortfall)
    : `no threshold keeps this with ${counted(used.length, "task")}`;
  state.decision = found;
  find("target-said").textContent = shown(target);
  find("level-said").textContent = shown(level);
  find("decided").textContent = kept;
  find("decided").dataset.threshold = found ? found.threshold : "none";
}

// --- Colours -----------------------------------------------------------------------------------

const [RAMP, MISSING] = [[[199, 221, 238], [0, 114, 178], [0, 38, 66]], "#9aa3ab"];

function range(key) { // of what was measured
  const numbers = everyone.filter((i) => ranked(key, i)).map((i) => value(key, i));
  return numbers.length ? [Math.min(...numbers), Math.max(...numbers)] : [0, 1];
}

function kinds(key) { // of a text column: each value and its count, the most frequent first
  const groups = [...Map.groupBy(values[key], (name) => name)];
  return groups.map(([name, all]) => [name, all.length]).sort((a, b) => b[1] - a[1]);
}

function painter(key) {
  if (!columns.get(key).number) {
    const order = kinds(key).map(([name]) => name);
    const { coverage, category } = data.colours;
    return (name) => coverage[name] || category[order.indexOf(name)] || MISSING;
  }
  const [low, high] = range(key);
  return (number) => {
    if (number === null) return MISSING;
    const share = Math.max(0, Math.min(1, (number - low) / (high - low || 1)));
    const k = share < 0.5 ? 0 : 1;
    return `rgb(${RAMP[k].map((c, rgb) => c + (2 * share - k) * (RAMP[k + 1][rgb] - c))})`;
  };
}

function drawLegend() {
  const [key, paint] = [state.colour, painter(state.colour)];
  if (columns.get(key).number) {
    const [low, high] = range(key).map((end) => make("span", {}, shown(end)));
    return find("legend").replaceChildren(low, make("i", { class: "ramp" }), high);
  }
  find("legend").replaceChildren(...kinds(key).slice(0, 24).map(([name, count], place) => {
    const [swatch, on] = [make("i", { class: "swatch" }), !state.hidden.has(name)];
    swatch.style.background = paint(name);
    const toggle = () => {
      state.hidden[on ? "add" : "delete"](name);
      update();
      find("legend").children[place].focus();
    };
    const words = `${shown(name)} ${count}`;
    return make("button", { "aria-pressed": String(on), onclick: toggle }, swatch, words);
  }));
}

// --- A scatter ---------------------------------------------------------------------------------

const [LEFT, RIGHT, TOP, BOTTOM] = [64, 10, 8, 38]; // pixels around a scatter

function scale(key, from, to) {
  const [least, most] = range(key);
  const pad = 0.05 * (most - least || Math.abs(most) || 1);
  const [low, high] = [least - pad, most + pad];
  const rough = (high - low) / (Math.abs(to - from) / 50); // between ticks
  const power = 10 ** Math.floor(Math.log10(rough));
  const unit = [1, 2, 5, 10].find((s) => s * power >= rough) * power;
  const ticks = [];
  for (let k = Math.ceil(low / unit); k * unit <= high; k++) {
    ticks.push(Number((k * unit).toPrecision(12)));
  }
  const at = (v) => from + ((Math.max(low, Math.min(high, v)) - low) / (high - low)) * (to - from);
  return { ticks, at, back: (place) => low + ((place - from) / (to - from)) * (high - low) };
}

function rectangle([x0, x1, y0, y1]) {
  const size = { width: Math.abs(x1 - x0), height: Math.abs(y1 - y0) };
  return make("rect", { class: "brush", x: Math.min(x0, x1), y: Math.min(y0, y1), ...size });
}

function scatter(number, xName, yName) {
  const [box, readout] = [find(`plot${number}`), find(`tau${number}`)];
  let [scales, drag, timer, measured] = [null, null, 0, ""];
  let places = []; // of each task: its number, and x and y in pixels

  function draw() {
    const [x, y] = [state[xName], state[yName]];
    const [width, height] = [box.clientWidth, box.clientHeight];
    const [left, right, top, bottom] = [LEFT, width - RIGHT, TOP, height - BOTTOM];
    const points = everyone.filter((i) => known(x, i) && known(y, i));
    const [sx, sy] = (scales = [scale(x, left, right), scale(y, bottom, top)]);
    const turned = `translate(11 ${(top + bottom) / 2}) rotate(-90)`;
    const grid = make("g", { class: "grid" },
      ...sx.ticks.flatMap((t) => [
        make("line", { x1: sx.at(t), x2: sx.at(t), y1: top, y2: bottom }),
        make("text", { x: sx.at(t), y: bottom + 14, class: "middle" }, plain(t))]),
      ...sy.ticks.flatMap((t) => [
        make("line", { x1: left, x2: right, y1: sy.at(t), y2: sy.at(t) }),
        make("text", { x: left - 6, y: sy.at(t) + 4, class: "end" }, plain(t))]),
      make("text", { class: "name", x: (left + right) / 2, y: height - 5 }, label(x)),
      make("text", { class: "name", transform: turned }, label(y)));
    if (number === 1 && state.decision) {
      const [across, up] = [sx.at(state.decision.threshold), sy.at(state.target)];
      const ends = [[across, across, top, bottom], [left, right, up, up]];
      grid.append(...ends.map(([x1, x2, y1, y2]) =>
        make("line", { class: "decided", x1, x2, y1, y2 })));
    }
    const [paint, active] = [painter(state.colour), new Set(state.active)];
    const above = ([i]) => (i === state.task ? 2 : Number(active.has(i)));
    places = points.map((i) => [i, sx.at(value(x, i)), sy.at(value(y, i))]);
    places.sort((a, b) => above(a) - above(b));
    const circles = places.map(([i, cx, cy]) => {
      const [current, off] = [i === state.task, !active.has(i)];
      const kinds = [current && "current", off && "off", tasks[i].unranked && "hollow"];
      const attributes = { cx, cy, r: current ? 7 : 4.5, class: kinds.filter(Boolean).join(" ") };
      const circle = make("circle", attributes);
      circle.style.color = paint(value(state.colour, i));
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
    const before = measured;
    measured = JSON.stringify([state.active, a, b]);
    if (measured === before) return;
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

  const point = (event, { left, top } = box.getBoundingClientRect()) =>
    [event.clientX - left, event.clientY - top];
  const nearest = ([px, py]) => {
    const far = places.map(([i, x, y]) => [Math.hypot(x - px, y - py), i]);
    return far.filter(([d]) => d < 12).sort((a, b) => a[0] - b[0])[0]?.[1];
  };

  function hover(event) {
    const [tip, i] = [find("tip"), nearest(point(event))];
    tip.hidden = i === undefined || Boolean(drag?.moved);
    if (tip.hidden) return;
    const used = [...new Set([state[xName], state[yName], state.colour])];
    const lines = used.map((key) => make("div", {}, `${label(key)}: ${shown(value(key, i))}`));
    tip.replaceChildren(make("b", { dir: "auto" }, tasks[i].prompt.slice(0, 200)), ...lines);
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

function drawTable() {
  const { x, y, x2, y2, colour, sort } = state;
  const keys = [...new Set(["prompt", x, y, x2, y2, colour])];
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
  const rows = state.order.slice(0, 1000).map((i) => {
    const { prompt, unranked } = tasks[i];
    const name = make("button", { dir: "auto", onclick: () => open(i) }, prompt.slice(0, 300));
    const first = make("td", {}, name, unranked ? make("em", {}, "not ranked") : null);
    const others = keys.slice(1).map((key) => make("td", {}, shown(value(key, i))));
    return make("tr", { "aria-current": i === state.task ? "true" : null }, first, ...others);
  });
  find("head").replaceChildren(...head);
  find("rows").replaceChildren(...rows);
  find("more").hidden = state.order.length <= rows.length;
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
  if (!playing) find("task").querySelectorAll("img").forEach(still);
}

function drawPart(part, i, k) {
  const mark = names.length > 1 ? `.${"AB"[k]}` : "";
  const terms = part.terms.map((term) => drawTerm(term, i, term.name + mark));
  const clips = data.clips[k];
  const reference = part.reference ? make("figure", {}, clip(clips[part.reference], "reference"),
    make("figcaption", {}, "reference")) : make("p", { class: "quiet" }, "no reference");
  const head = ["", ...data.accuracies, "caption", "seed"].map((name) => make("th", {}, name));
  const rows = part.videos.map(([latent, seed, , caption, error, ...scores]) => {
    const cells = [`z${latent + 1}`, ...scores.map(shown), error ?? shown(caption), shown(seed)];
    const failed = { class: error === null ? null : "mark" };
    return make("tr", failed, ...cells.map((text) => make("td", { dir: "auto" }, text)));
  });
  return make("section", {}, mark ? make("h3", {}, `${"AB"[k]}: ${names[k]}`) : null,
    make("div", { class: "terms" }, ...terms),
    ...part.marks.map((text) => make("p", { class: "mark" }, text)),
    make("div", { class: "videos" }, reference,
      make("ol", {}, ...part.latents.map((_, z) => drawLatent(part, z, clips)))),
    make("details", {},
      make("summary", {}, `${counted(rows.length, "video")}: accuracies, captions, seeds`),
      make("div", { class: "wide" }, make("table", {}, make("tr", {}, ...head), ...rows))));
}

function drawTerm({ name, unit, text, remark }, i, key) {
  const told = [make("span", {}, `${name} (${unit})`), make("b", {}, text)];
  const others = everyone.filter((j) => columns.has(key) && j !== i && ranked(key, j));
  if (others.length && ranked(key, i)) {
    const below = others.filter((j) => value(key, j) < value(key, i)).length;
    const track = make("i", { class: "track" }, make("i"));
    track.firstChild.style.left = `${(100 * below) / others.length}%`;
    told.push(track, make("small", {}, `less certain than ${below} of ${others.length} others`));
  }
  return make("div", {}, ...told, remark ? make("small", { class: "mark" }, remark) : null);
}

function drawLatent({ latents, videos }, z, addresses) {
  const [number, prompt, entropy] = latents[z];
  const others = latents.map(([, other]) => new Set((other || "").split(/\s/)));
  const words = (prompt || "").split(/(\s)/).map((word) => // those that not all have are marked
    word.trim() && others.some((other) => !other.has(word)) ? make("mark", {}, word) : word);
  const twin = latents.findIndex(([, other]) => other === prompt);
  const own = videos.filter(([latent]) => latent === number);
  const clips = own.map(([, , path, caption, error], k) => {
    const alt = `video ${k + 1} of latent prompt ${number + 1}: ${caption ?? prompt ?? ""}`;
    return addresses[path] || error !== null ? clip(addresses[path], alt, error) : null;
  });
  const told = [entropy === null ? "" : `uncertainty of its videos: ${shown(entropy)}`];
  if (!prompt) told.unshift("latent prompt not known");
  else if (twin < z) told.push(`the same as z${latents[twin][0] + 1}`);
  return make("li", {}, make("div", { class: "clips" }, ...clips), make("div", { class: "long" },
    make("b", {}, `z${number + 1} `), make("span", { dir: "auto" }, ...words),
    make("small", {}, told.filter(Boolean).join(" · "))));
}

// --- Playing, controls, keys -------------------------------------------------------------------

function step(by) {
  const place = state.order.indexOf(state.task) + by;
  const next = state.order[Math.max(0, Math.min(state.order.length - 1, place))];
  if (next !== undefined) open(next);
}

function weigh() {
  const [a, e, w] = [values.aleatoric, values.epistemic, state.weight];
  values.weighted = a.map((v, i) => (v === null || e[i] === null ? null : w * v + (1 - w) * e[i]));
}

const plots = [scatter(1, "x", "y"), scatter(2, "x2", "y2")];
if (columns.has("weighted")) weigh();
bounds();
for (const use of ["x", "y", "colour", "x2", "y2", "by"]) {
  find(use).value = state[use];
  find(use).addEventListener("change", () => {
    state[use] = find(use).value;
    if (use === "colour") state.hidden.clear();
    else if (use !== "by") state.brushes[Number(use.endsWith("2"))] = null;
    if (use === "y") bounds();
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
for (const use of ["target", "level"]) {
  find(use).addEventListener("input", ({ target }) => {
    state[use] = Number(target.value);
    update();
  });
}
find("clear").addEventListener("click", () => {
  Object.assign(state, { search: "", share: 1, brushes: [null, null], hidden: new Set() });
  [find("search").value, find("share").value, find("share-said").value] = ["", 100, "1.00"];
  update();
});
find("play").addEventListener("click", () => play(!playing));
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
play(playing);
open(state.order[0]);
