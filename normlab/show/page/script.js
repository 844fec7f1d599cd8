const specs = JSON.parse(document.getElementById("specs").textContent);
window.views = {};
const narrow = window.innerWidth < 700;
for (const [name, spec] of Object.entries(specs)) {
  if (narrow) {  // a phone: panels below each other, the legend below them
    if (spec.columns) spec.columns = 1;
    Object.assign(spec.config.legend, { orient: "bottom", columns: 2 });
  }
  vegaEmbed("#" + name, spec, { renderer: "svg", actions: { export: true, source: false,
    compiled: false, editor: false } }).then(result => { window.views[name] = result.view; });
}
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
