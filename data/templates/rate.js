// A page that asks one person: a rank of prompts, a grade of videos, or the better of two. It shows
// no score, no id and no file name. Answers are kept in the browser and saved as a CSV file.
"use strict";

const { items, question, prompts, clips } = data;
const beside = prompts ? "prompt" : "reference";
const KIND = question.split("_")[0];
const TEXTS = {
  vagueness: {
    title: "How vague are these prompts?",
    ask: "Put the prompts in order. First comes the one that says most clearly what the video is " +
      "to show, last the one that leaves most open. Drag a prompt, use its buttons, or choose it " +
      "by Tab and move it by the arrow keys.",
  },
  accuracy: {
    title: prompts ? "How well do the videos show their prompts?" : "How close are the videos?",
    ask: prompts ? "How much of what the prompt asks for does the video show?"
      : "How close does the video come to the reference in what it shows?",
    keys: "Keys 1 to 5 answer.",
  },
  preference: {
    title: "Which video is better?",
    ask: `Which of the two videos comes closer to its own ${beside}?`,
    keys: "Keys ← and → answer, 0 for no difference.",
  },
}[KIND];
const GRADES = prompts ? ["nothing of it", "little", "half", "most", "all of it"]
  : ["nothing in common", "little", "half", "much", "the same"];

const state = {
  rater: "",
  order: [], // of the items, for this rater
  flipped: [], // whether the second of an item's two videos stands left
  answers: {}, // number of an item -> value and time
  at: 0, // the place in the order
};

// --- Chance that is the same for a rater who comes back ------------------------------------------

function generator(text) {
  let seed = 2166136261;
  for (const char of text) seed = Math.imul(seed ^ char.codePointAt(0), 16777619);
  return () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let mixed = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

function shuffled(list, next) {
  const drawn = [...list];
  for (let i = drawn.length - 1; i > 0; i--) {
    const j = Math.floor(next() * (i + 1));
    [drawn[i], drawn[j]] = [drawn[j], drawn[i]];
  }
  return drawn;
}

// --- Answers: kept in the browser, saved as CSV, read again --------------------------------------

const place = () => `squbed-rate ${data.page} ${state.rater}`;
let kept = true; // whether the browser keeps answers, which some do not for files

function keep() {
  try {
    localStorage.setItem(place(), JSON.stringify(state.answers));
  } catch {
    kept = false;
  }
}

function keptAnswers() {
  try {
    return JSON.parse(localStorage.getItem(place())) || {};
  } catch {
    kept = false;
    return {};
  }
}

const columns = ["rater", "task", "video", "other", "question", "value", "time"];
const named = (i) => { // what an item's row says of it
  const [first, second] = items[i];
  return [first.task, first.path || "", second ? second.path : "", question];
};

function asCsv() {
  const formula = /^'*[=+\-@＝＋－＠]/.test(state.rater) && Number.isNaN(Number(state.rater));
  const rater = `"${(formula ? `'${state.rater}` : state.rater).replaceAll('"', '""')}"`;
  const rows = items.flatMap((_, i) => {
    const given = state.answers[i];
    return given ? [[rater, ...named(i), given.value, given.time]] : [];
  });
  return [columns, ...rows].map((row) => `${row.join(",")}\n`).join("");
}

function save() {
  const address = URL.createObjectURL(new Blob([asCsv()], { type: "text/csv" }));
  const name = `ratings-${question}-${state.rater.replace(/[^\p{L}\p{N}-]+/gu, "_")}.csv`;
  make("a", { href: address, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(address), 10_000);
}

function read(text) { // of the cells, only the rater's may hold commas, and it comes first
  const rows = text.split(/\r?\n/).map((line) => line.split(",").slice(1 - columns.length));
  const found = new Map(rows.map((cells) => [cells.slice(0, 4).join(), cells.slice(4)]));
  items.forEach((_, i) => {
    const [value, time] = found.get(named(i).join()) || [];
    if (value) state.answers[i] = { value: Number(value), time };
  });
}

function answer(i, value) {
  state.answers[i] = { value, time: `${new Date().toISOString().slice(0, 19)}Z` };
  keep();
}

// --- Ranking -------------------------------------------------------------------------------------

function drawRanking() {
  const list = make("ol", {});
  const all = state.order.map((i) => {
    const [{ prompt }] = items[i];
    const name = make("span", { class: "long", dir: "auto" }, prompt);
    const move = (by) => make("button", { onclick: () => shift(row, by),
      "aria-label": `${by < 0 ? "up" : "down"}: ${prompt.slice(0, 100)}` }, by < 0 ? "↑" : "↓");
    const row = make("li", { tabindex: "0", draggable: "true" }, name, move(-1), move(1));
    row.dataset.item = i;
    row.addEventListener("keydown", (event) => {
      const by = { ArrowUp: -1, ArrowDown: 1 }[event.key];
      if (!by || event.target !== row) return;
      event.preventDefault();
      shift(row, by);
      row.focus();
    });
    row.addEventListener("dragstart", () => row.classList.add("moving"));
    row.addEventListener("dragend", () => { row.classList.remove("moving"); ranked(list); });
    return row;
  });
  list.addEventListener("dragover", (event) => {
    const [moving, over] = [list.querySelector(".moving"), event.target.closest("li")];
    event.preventDefault();
    if (!moving || !over || over === moving) return;
    const { top, height } = over.getBoundingClientRect();
    if (event.clientY < top + height / 2) over.before(moving);
    else over.after(moving);
  });
  list.append(...all);
  const done = () => { ranked(list); finish(); };
  show("", make("p", { class: "asked" }, TEXTS.ask), make("p", { class: "ends" }, "least vague"),
    list, make("p", { class: "ends" }, "vaguest"),
    make("button", { class: "main", onclick: done }, "This is my order"));
}

function shift(row, by) {
  const other = by < 0 ? row.previousElementSibling : row.nextElementSibling;
  if (!other) return;
  if (by < 0) other.before(row);
  else other.after(row);
  ranked(row.parentNode);
  const rank = [...row.parentNode.children].indexOf(row) + 1;
  find("place").textContent = `now ${rank} of ${items.length}`;
}

function ranked(list) { // ranks of all are answers as soon as one was moved
  [...list.children].forEach((row, k) => answer(Number(row.dataset.item), k + 1));
  state.order = [...list.children].map((row) => Number(row.dataset.item));
}

// --- Grades and pairs ----------------------------------------------------------------------------

const drawText = (side) => make("div", { class: "long asked", dir: "auto" }, side.prompt);
const drawClip = (path, name) => make("figure", {}, clip(clips[path], name),
  make("figcaption", {}, name));
const drawBeside = (side) => (prompts ? drawText(side) : drawClip(side.reference, "reference"));

function drawItem() {
  const i = state.order[state.at];
  const sides = state.flipped[i] ? [...items[i]].reverse() : items[i];
  const shown = KIND === "accuracy" ? [drawBeside(sides[0]), drawClip(sides[0].path, "video")]
    : sides.map((side) => make("div", { class: "side" }, drawBeside(side),
      drawClip(side.path, "video")));
  const given = state.answers[i]?.value;
  const buttons = choices(i).map(([value, label, text]) => make("button", {
    "aria-pressed": String(given === value), onclick: () => choose(value),
  }, label, make("small", {}, text)));
  show(`${state.at + 1} of ${items.length}`, make("p", { class: "asked" }, TEXTS.ask),
    make("div", { class: "pair" }, ...shown), make("div", { class: "answers" }, ...buttons),
    make("p", { class: "quiet" }, TEXTS.keys));
}

function choices(i) { // value, label and text of each answer; a pair's value is of its first video
  if (KIND === "accuracy") return GRADES.map((text, k) => [k + 1, String(k + 1), text]);
  const left = state.flipped[i] ? 0 : 1;
  return [[left, "←", "left"], [0.5, "0", "no difference"], [1 - left, "→", "right"]];
}

function choose(value) {
  answer(state.order[state.at], value);
  step(1);
}

function step(by) {
  state.at = Math.max(0, state.at + by);
  if (state.at >= items.length) finish();
  else drawItem();
}

// --- The page ------------------------------------------------------------------------------------

function show(where, ...children) {
  find("place").textContent = where;
  find("task").replaceChildren(...children);
  find("back").hidden = state.at === 0 || KIND === "vagueness";
  find("play").hidden = KIND === "vagueness" || !find("task").querySelector("img");
  find("save").hidden = Object.keys(state.answers).length === 0;
  if (!playing) find("task").querySelectorAll("img").forEach(still);
}

function finish() {
  state.at = items.length;
  const again = () => { state.at = 0; draw(); };
  const missing = items.length - Object.keys(state.answers).length;
  show("", make("h2", {}, missing ? `${missing} are not answered yet.` : "All is answered."),
    make("p", {}, "Save the answers, and send the file to whoever gave you this page."),
    make("button", { class: "main", onclick: save }, "Save answers"), " ",
    make("button", { onclick: again }, "Look at them again"));
}

const draw = () => (KIND === "vagueness" ? drawRanking() : drawItem());

function start(text) {
  const next = generator(`${data.page} ${state.rater}`);
  const everyone = items.map((_, i) => i);
  state.order = shuffled(everyone, next);
  state.flipped = everyone.map(() => KIND === "preference" && next() < 0.5);
  state.answers = keptAnswers();
  if (text !== null) read(text);
  keep();
  const given = (i) => state.answers[i];
  if (KIND === "vagueness" && everyone.every(given)) {
    state.order = everyone.sort((a, b) => given(a).value - given(b).value);
  }
  const open = state.order.findIndex((i) => !given(i));
  state.at = KIND === "vagueness" || open < 0 ? 0 : open;
  draw();
  if (text !== null && !everyone.some(given)) {
    find("place").textContent = "no answers to this page are in that file";
  }
}

function welcome() {
  const name = make("input", { id: "name", maxlength: "60", autocomplete: "off" });
  const file = make("input", { type: "file", accept: ".csv" });
  const begin = async () => {
    state.rater = name.value.trim().replace(/\s+/g, " ");
    if (state.rater) start(file.files.length ? await file.files[0].text() : null);
    else name.focus();
  };
  name.addEventListener("keydown", (event) => event.key === "Enter" && begin());
  file.addEventListener("change", begin);
  const count = `${items.length} ${KIND === "vagueness" ? "prompts" : "questions"}`;
  show(count, make("p", { class: "asked" }, TEXTS.ask),
    make("p", {}, "Answers are kept in this browser until you save them as a file; nothing is " +
      "sent. Whoever comes back under the same name goes on where they stopped."),
    make("p", {}, make("label", { for: "name" }, "Your name, or any other that only you use")),
    make("p", {}, name, " ", make("button", { class: "main", onclick: begin }, "Begin")),
    make("p", { class: "quiet" }, make("label", {}, "Or write your name and go on from a file " +
      "that you saved elsewhere: ", file)));
  name.focus();
}

find("title").textContent = TEXTS.title;
find("back").addEventListener("click", () => step(-1));
find("play").addEventListener("click", () => play(!playing));
find("save").addEventListener("click", save);
addEventListener("keydown", (event) => {
  if (KIND === "vagueness" || !find("task").querySelector(".answers")) return;
  const labels = choices(state.order[state.at]).map(([value, label]) => [label, value]);
  const key = { ArrowLeft: "←", ArrowRight: "→" }[event.key] || event.key;
  const value = new Map(labels).get(key);
  if (value === undefined || event.ctrlKey || event.metaKey || event.altKey) return;
  event.preventDefault();
  choose(value);
});
addEventListener("beforeunload", (event) => {
  if (!kept && Object.keys(state.answers).length) event.preventDefault();
});
play(playing);
welcome();
