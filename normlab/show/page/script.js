const specs = JSON.parse(document.getElementById("specs").textContent);
window.views = {};
const dark = window.matchMedia("(prefers-color-scheme: dark)");
const printing = window.matchMedia("print");

// Halfway to white, so that what is dark on paper shows on a dark screen, in the same order.
function lighter(colour) {
  const channels = [1, 3, 5].map(at => parseInt(colour.slice(at, at + 2), 16));
  return "#" + channels.map(c => Math.round((c + 255) / 2).toString(16).padStart(2, "0")).join("");
}
function lighten(part) {
  if (Array.isArray(part)) part.forEach(lighten);
  else if (part && typeof part === "object") {
    if (part.scale && Array.isArray(part.scale.range))
      part.scale.range = part.scale.range.map(v => /^#[0-9a-f]{6}$/i.test(v) ? lighter(v) : v);
    Object.entries(part).forEach(([key, value]) => { if (key !== "datasets") lighten(value); });
  }
}
function shown(spec) {
  spec = structuredClone(spec);
  spec.config.background = "transparent";
  if (window.innerWidth < 700) {  // a phone: panels below each other, the legend below them
    if (spec.columns) spec.columns = 1;
    Object.assign(spec.config.legend, { orient: "bottom", columns: 2 });
    if (spec.width) spec.width = Math.min(spec.width, window.innerWidth - 120);
  }
  if (dark.matches && !printing.matches) {
    lighten(spec);
    const text = { labelColor: "#ccc", titleColor: "#ddd" };
    for (const name of ["legend", "header"]) Object.assign(spec.config[name], text);
    Object.assign(spec.config.axis, text,
      { gridColor: "#333", domainColor: "#777", tickColor: "#777" });
    spec.config.view.stroke = "#555";
  }
  return spec;
}
async function draw() {
  for (const [name, spec] of Object.entries(specs)) {
    const options = { renderer: "svg", tooltip: { theme: dark.matches ? "dark" : "light" },
      actions: { export: true, source: false, compiled: false, editor: false } };
    const result = await vegaEmbed(`#${name}-picture`, shown(spec), options);
    window.views[name] = result.view;
    const slider = document.getElementById(`${name}-slider`);
    if (slider) move(slider);
  }
}
function move(slider) {
  const place = Number(slider.value);
  slider.nextElementSibling.textContent = JSON.parse(slider.dataset.names)[place];
  slider.setAttribute("aria-valuetext", slider.nextElementSibling.textContent);
  const view = window.views[slider.dataset.picture];
  if (view) view.signal("snapshot", place).runAsync();
}
document.querySelectorAll("input[data-picture]").forEach(slider =>
  slider.addEventListener("input", () => move(slider)));
for (const asked of [dark, printing]) asked.addEventListener("change", draw);
document.addEventListener("DOMContentLoaded", draw);  // when every script has said what it draws

// A table says that it goes on where the screen ends.
const results = document.querySelector(".wide");
const cue = document.querySelector(".scroll-cue");
const measure = () => { cue.hidden = results.scrollWidth <= results.clientWidth + 1; };
new ResizeObserver(measure).observe(results);
measure();

const table = document.getElementById("runs");
table.querySelectorAll("th").forEach((head, column) => head.addEventListener("click", () => {
  const down = head.getAttribute("aria-sort") === "ascending";
  table.querySelectorAll("th").forEach(other => other.removeAttribute("aria-sort"));
  head.setAttribute("aria-sort", down ? "descending" : "ascending");
  const key = row => { const cell = row.cells[column];
    return cell.dataset.value === undefined ? cell.textContent
      : cell.dataset.value === "" ? -Infinity : Number(cell.dataset.value); };
  const rows = [...table.tBodies[0].rows].sort((a, b) => {
    const [x, y] = [key(a), key(b)];
    return (x < y ? -1 : x > y ? 1 : 0) * (down ? -1 : 1); });
  rows.forEach(row => table.tBodies[0].append(row));
}));
