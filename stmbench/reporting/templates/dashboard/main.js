// A card for each chart of the selection; a chart is drawn when it comes near the window, and only then.
const CHARTS = document.getElementById("charts");
const cards = new Map(); // figure -> card

const draw = (card) => {
  card.scale = drawChart(card.svg, card.machine, card.series, ...rangeOf(card));
  card.drawn = true;
  card.whole.hidden = !zooms.has(card.series);
  if (card.scale && !card.readout.textContent) readOut(card, latest(card.machine, card.series).index, "latest: ");
};
const watcher = new IntersectionObserver(
  (entries) => {
    for (const { target, isIntersecting } of entries) {
      const card = cards.get(target);
      if (card && isIntersecting && !card.drawn) draw(card);
    }
  },
  { rootMargin: "300px" },
);

const cardFor = (machine, series, from) => {
  const worst = series.events.filter((event) => event.commit >= from);
  const label = `${series.model}, ${series.title}${series.unit ? ` in ${series.unit}` : ""}, ${worst.length} change point${worst.length === 1 ? "" : "s"}`;
  const svg = shape("svg", { tabindex: 0, role: "application", "aria-roledescription": "chart", "aria-label": label });
  const readout = element("p", { class: "readout", "aria-live": "polite" });
  const swatch = element("span", { class: "swatch" });
  swatch.style.background = `light-dark(${series.colour}, ${series.dark})`;
  const caption = element("figcaption", {}, element("strong", {}, swatch, series.model), element("small", {}, series.where));
  const whole = element("button", { type: "button", hidden: "" }, "All commits");
  caption.append(whole);
  const card = { machine, series, from, svg, readout, whole, drawn: false, scale: null, index: null };
  whole.addEventListener("click", () => showAll(card));
  byPointer(card);
  byDrag(card);
  byKeyboard(card);
  const figure = element("figure", {}, caption, svg, readout);
  cards.set(figure, card);
  watcher.observe(figure);
  return figure;
};

const jump = (series) => {
  const [figure, card] = [...cards].find(([, candidate]) => candidate.series === series);
  if (!card.drawn) draw(card);
  figure.scrollIntoView({ block: "center" });
  card.svg.focus({ preventScroll: true });
};

const arrow = { higher: "higher is better", lower: "lower is better", neither: "" };
const show = (series) => {
  FORM.elements.metric.value = series.metric;
  FORM.elements.mixer.value = "";
  FORM.elements.model.value = series.model;
  update();
  const svg = CHARTS.querySelector("svg");
  svg?.scrollIntoView({ block: "center" });
  svg?.focus({ preventScroll: true });
};

const update = () => {
  const machine = currentMachine();
  const { chosen, from } = selected(machine);
  watcher.disconnect();
  cards.clear();
  const parts = [];
  let metric = null;
  for (const series of chosen) {
    if (series.metric !== metric?.metric || series.probe !== metric.probe) {
      metric = series;
      const words = [series.unit, series.probe && "at the machine's usual speed", arrow[series.better]].filter(Boolean).join(", ");
      parts.push(element("h3", {}, series.title, element("small", {}, words ? ` ${words}` : "")));
    }
    parts.push(cardFor(machine, series, from));
  }
  CHARTS.replaceChildren(...(parts.length ? parts : [element("p", { class: "empty" }, "No series in this selection.")]));
  drawOverview(machine, chosen, from, jump);
  listSteps(machine, chosen, from, show);
  for (const [figure, card] of cards) {
    if (figure.getBoundingClientRect().top > innerHeight) break; // what is in sight does not wait for the watcher
    draw(card);
  }
  const notes = document.getElementById("notes");
  notes.hidden = !machine.notes.length;
  notes.querySelector("ul").replaceChildren(...machine.notes.map((text) => element("li", {}, text)));
  writeAddress();
};

const later = (work, wait) => {
  let timer = 0;
  return () => {
    clearTimeout(timer);
    timer = setTimeout(work, wait);
  };
};
const updateSoon = later(update, 150);

fill(FORM.elements.machine, DATA.machines.map((machine) => [machine.id, machine.name]));
FORM.addEventListener("submit", (event) => event.preventDefault());
FORM.addEventListener("change", (event) => {
  if (event.target.name === "machine") fillFor(currentMachine());
  stepsShown = AT_ONCE;
  update();
});
FORM.addEventListener("input", (event) => event.target.name === "model" && updateSoon());
FORM.addEventListener("reset", () => setTimeout(() => {
  zooms.clear();
  fillFor(currentMachine());
  update();
}));
addEventListener("hashchange", () => {
  if (!location.hash.includes("=")) return; // a jump within the page, not a selection
  readAddress();
  update();
});
addEventListener("beforeprint", () => {
  for (const card of cards.values()) if (!card.drawn) draw(card);
});
addEventListener("resize", later(() => {
  for (const card of cards.values()) if (card.drawn) draw(card);
}, 200));
readAddress();
update();
document.documentElement.dataset.ready = "1";
