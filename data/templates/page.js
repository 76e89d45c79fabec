// What every page has. Its data stand in the element #data as JSON; text reaches the page as text
// nodes alone, never as markup. Previews play or stand still.
"use strict";

const find = (id) => document.getElementById(id);
const data = JSON.parse(find("data").textContent);
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

function clip(address, alt, error = null) {
  if (!address) return make("span", { class: "clip" }, error === null ? "no preview" : "failed");
  const image = make("img", { class: "clip", alt: alt.slice(0, 300), title: alt.slice(0, 300) });
  image.addEventListener("load", () => image.classList.toggle("small", image.naturalWidth < 128));
  image.src = address;
  return image;
}

let playing = !matchMedia("(prefers-reduced-motion: reduce)").matches;

async function still(image) { // a copy of one frame stands in its place
  image.hidden = true;
  await image.decode().catch(() => { image.hidden = false; });
  if (playing || !image.hidden) return;
  const { naturalWidth: width, naturalHeight: height, alt, className } = image;
  const copy = make("canvas", { width, height, role: "img", "aria-label": alt, class: className });
  copy.getContext("2d").drawImage(image, 0, 0);
  image.before(copy);
}

function play(on) {
  playing = on;
  find("play").textContent = on ? "Pause" : "Play";
  find("task").querySelectorAll("canvas").forEach((copy) => copy.remove());
  find("task").querySelectorAll("img").forEach((image) => {
    image.hidden = false;
    if (!on) still(image);
  });
}
