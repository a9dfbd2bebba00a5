// Draws every chart of the page from the specification beside its still picture, which stays for print and without scripts.
const dark = matchMedia("(prefers-color-scheme: dark)");
const inks = JSON.parse(document.getElementById("inks").textContent);

// The specification in the inks of a dark ground; its data stay as they are.
function inked(value, key) {
  if (key === "datasets" || key === "usermeta") return value;
  if (Array.isArray(value)) return value.map((item) => inked(item));
  if (value && typeof value === "object") return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, inked(v, k)]));
  return typeof value === "string" && Object.hasOwn(inks, value) ? inks[value] : value;
}

// The heading stands in the caption; the plot is as wide as the column, its letters as large as ever.
function fitted({ title, ...spec }, figure) {
  const width = figure.querySelector(".live").clientWidth;
  return typeof spec.width === "number" ? { ...spec, width, autosize: { type: "fit-x", contains: "padding" } } : spec;
}

async function draw(figure) {
  const spec = fitted(JSON.parse(figure.querySelector(".spec").textContent), figure);
  const config = { ...spec.config, background: "transparent", padding: { left: 4, top: 4, bottom: 4, right: figure.clientWidth < 500 ? 28 : 4 } };
  const shown = dark.matches ? inked({ ...spec, config }) : { ...spec, config };
  figure.view?.finalize();
  const { view } = await vegaEmbed(figure.querySelector(".live"), shown,
    { mode: "vega-lite", renderer: "svg", actions: false, ast: true, tooltip: { theme: dark.matches ? "dark" : "light" } });
  figure.view = view;
  figure.classList.add("drawn");
  reachable(figure);
}

// Legend entries take the focus, and Enter or Space is a click on them.
function reachable(figure) {
  for (const legend of figure.querySelectorAll(".role-legend")) legend.setAttribute("role", "group");
  const names = [...figure.querySelectorAll(".role-legend-label text")];
  for (const [n, symbol] of figure.querySelectorAll(".role-legend-symbol path").entries()) {
    symbol.setAttribute("tabindex", "0");
    symbol.setAttribute("role", "button");
    symbol.setAttribute("aria-label", `Single out ${names[n]?.textContent ?? "this entry"}`);
    symbol.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" && event.key !== " ") return;
      event.preventDefault();
      symbol.dispatchEvent(new MouseEvent("click", { bubbles: true }));
    });
  }
}

// Charts are drawn one after another, so that none is drawn twice at once, and in between the page answers the reader.
// What is in a closed fold has no width: it is due until its fold opens.
const figures = [...document.querySelectorAll("figure.chart")];
const due = new Set(figures);
let queue = Promise.resolve();

async function drawDue() {
  for (const figure of due) {
    if (!figure.clientWidth) continue;
    due.delete(figure);
    await draw(figure).catch(console.error);
    await new Promise((go) => setTimeout(go));
  }
}

const soon = () => { queue = queue.then(drawDue); };
const again = () => { figures.forEach((figure) => due.add(figure)); soon(); };
let waiting, width = innerWidth;
soon();
dark.addEventListener("change", again);
addEventListener("resize", () => {
  if (innerWidth === width) return; // the address bar of a phone comes and goes
  width = innerWidth;
  clearTimeout(waiting);
  waiting = setTimeout(again, 150);
});

// A fold draws what it shows. On paper everything is unfolded but for the tables behind the charts.
const folds = document.querySelectorAll("details.more");
folds.forEach((fold) => fold.addEventListener("toggle", soon));
let open = [];
addEventListener("beforeprint", () => { open = [...folds].map((fold) => fold.open); folds.forEach((fold) => (fold.open = true)); });
addEventListener("afterprint", () => folds.forEach((fold, n) => (fold.open = open[n])));
