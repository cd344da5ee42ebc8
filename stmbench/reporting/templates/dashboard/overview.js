// Models by metrics: a sparkline for each series, its level in the colour of the last change point.
const SPARK = { width: 96, height: 26, margin: { left: 3, right: 3, top: 3, bottom: 3 } };
const ROWS_AT_ONCE = 25;
let allRows = false;

const drawSpark = (button, machine, series, from) => {
  const scale = scalesFor(series, from, machine.commits.length, SPARK.width, SPARK.height, SPARK.margin);
  const svg = button.querySelector("svg");
  if (!scale) return;
  const { values } = numbersOf(series);
  const line = thinned(values, scale).map((i) => `${short(scale.x(i))} ${short(scale.y(values[i]))}`).join("L");
  const last = values.findLastIndex((value) => !Number.isNaN(value));
  const level = levels(series, scale);
  level.setAttribute("class", "spark-level");
  svg.replaceChildren(
    shape("path", { class: "spark-line", d: `M${line}` }),
    level,
    shape("circle", { class: "spark-last", cx: short(scale.x(last)), cy: short(scale.y(values[last])), r: 2 }),
  );
};
const sparks = new Map(); // button -> draws it
const sparkWatcher = new IntersectionObserver(
  (entries) => {
    for (const { target, isIntersecting } of entries) {
      if (!isIntersecting) continue;
      sparkWatcher.unobserve(target);
      sparks.get(target)?.();
    }
  },
  { rootMargin: "300px" },
);

const sparkFor = (machine, series, from, jump) => {
  const event = series.events.findLast((candidate) => candidate.commit >= from);
  const isSingle = countOf(series) < 2;
  const words = event ? `${SIGNS[kind(event)]} ${event.change}` : isSingle ? "one value" : "steady";
  const said = `${series.model}, ${series.title}${series.where ? `, ${series.where}` : ""}`;
  const state = event ? `last change point: ${event.verdict}, ${event.change}` : "no change point";
  const title = `${said}: ${latest(machine, series).text}; ${state}`;
  const button = element("button", { type: "button", class: `spark ${event ? kind(event) : "steady"}`, title, "aria-label": title });
  button.append(shape("svg", { viewBox: `0 0 ${SPARK.width} ${SPARK.height}`, "aria-hidden": "true" }), element("span", {}, words));
  if (twins(machine, series)) button.append(element("small", {}, series.where));
  button.addEventListener("click", () => jump(series));
  sparks.set(button, () => drawSpark(button, machine, series, from));
  sparkWatcher.observe(button);
  return button;
};

const drawOverview = (machine, chosen, from, jump) => {
  const table = document.querySelector("#overview table");
  const metrics = [...new Map(chosen.map((series) => [series.metric, series.title]))];
  const models = [...new Set(chosen.map((series) => series.model))];
  sparkWatcher.disconnect();
  sparks.clear();
  const heading = (text) => element("th", { scope: "col" }, text);
  table.tHead.replaceChildren(element("tr", {}, heading("Model"), ...metrics.map(([, title]) => heading(title))));
  const row = (model) => {
    const own = chosen.filter((series) => series.model === model);
    const cell = ([metric]) => element("td", {}, ...own.filter((series) => series.metric === metric).map((series) => sparkFor(machine, series, from, jump)));
    const name = model.split(/(?<=[_,[])/).flatMap((part) => [element("wbr"), part]); // where a long name may break
    return element("tr", {}, element("th", { scope: "row" }, ...name), ...metrics.map(cell));
  };
  table.tBodies[0].replaceChildren(...models.slice(0, allRows ? Infinity : ROWS_AT_ONCE).map(row));
  document.getElementById("overview").hidden = !chosen.length;
  const more = document.getElementById("more-models");
  more.hidden = allRows || models.length <= ROWS_AT_ONCE;
  more.textContent = `Show all ${models.length} models`;
  more.onclick = () => {
    allRows = true;
    drawOverview(machine, chosen, from, jump);
  };
};
