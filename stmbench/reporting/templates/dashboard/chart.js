// One chart as SVG: grid, intervals, dots, levels, and the bands in which change points lie.
const SVG = "http://www.w3.org/2000/svg";
const HEIGHT = 170;

const shape = (name, attributes, text) => {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== undefined) made.textContent = text;
  return made;
};
const short = (number) => number.toFixed(1);

const grid = (machine, scale) => {
  const found = [];
  const { left, right } = scale.margin;
  for (const [tick, text] of scale.ticks) {
    const y = Math.round(scale.y(tick));
    found.push(shape("line", { class: "grid", x1: left, x2: scale.width - right, y1: y, y2: y }));
    found.push(shape("text", { x: left - 5, y: y + 4, "text-anchor": "end" }, text));
  }
  const count = Math.max(1, Math.min(scale.to - scale.from, Math.floor(scale.width / 130)));
  for (let n = 0; n < count; n++) {
    const index = scale.from + Math.floor(((n + 0.5) * (scale.to - scale.from)) / count);
    const place = { x: short(scale.x(index)), y: scale.height - 5, "text-anchor": "middle" };
    found.push(shape("text", place, dateOf(machine.commits[index][1])));
  }
  return found;
};

// Of commits that share a column of pixels the lowest and the highest value are drawn: no more dots than can be seen.
const thinned = (values, scale) => {
  const every = Math.max(1, Math.ceil(1.5 / scale.gap));
  const chosen = [];
  for (let start = scale.from; start < scale.to; start += every) {
    let lowest = -1, highest = -1;
    for (let i = start; i < Math.min(scale.to, start + every); i++) {
      if (Number.isNaN(values[i])) continue;
      if (lowest < 0 || values[i] < values[lowest]) lowest = i;
      if (highest < 0 || values[i] > values[highest]) highest = i;
    }
    if (lowest >= 0) chosen.push(...(lowest === highest ? [lowest] : [lowest, highest]));
  }
  return chosen;
};

const dots = ({ values, low, high }, scale) => {
  let inside = "", outside = "", intervals = "";
  const half = Math.min(1, scale.gap / 2);
  for (const i of thinned(values, scale)) {
    const x = scale.x(i), y = short(scale.y(values[i]));
    if (values[i] < scale.low || values[i] > scale.high) outside += `M${short(x - 2)} ${y}a2 2 0 1 0 4 0a2 2 0 1 0-4 0`;
    else inside += `M${short(x)} ${y}h0`;
    if (low && !Number.isNaN(low[i])) {
      const top = short(scale.y(high[i])), bottom = short(scale.y(low[i]));
      intervals += `M${short(x - half)} ${top}h${short(2 * half)}V${bottom}h${short(-2 * half)}z`;
    }
  }
  return [
    shape("path", { class: "interval", d: intervals }),
    shape("path", { class: scale.gap > 8 ? "dots large" : "dots", d: inside }),
    shape("path", { class: "outside", d: outside }),
  ];
};

const countOf = (series) => numbersOf(series).values.reduce((count, value) => count + !Number.isNaN(value), 0);

// A single measurement has no level beside itself.
const levels = (series, scale) => {
  let line = "";
  if (countOf(series) < 2) return shape("path", { class: "level", d: "" });
  series.levels.forEach((level, n) => {
    const start = Math.max(series.starts[n], scale.from);
    const end = Math.min(series.starts[n + 1] ?? scale.to, scale.to);
    if (start >= end) return;
    const y = short(scale.y(level)), half = scale.gap / 2;
    line += `${line ? "L" : "M"}${short(scale.x(start) - half)} ${y}H${short(scale.x(end - 1) + half)}`;
  });
  return shape("path", { class: "level", d: line });
};

const bands = (series, scale) => {
  const found = [];
  for (const event of series.events) {
    if (event.commit < scale.from || event.commit >= scale.to) continue;
    const left = scale.x(Math.max(event.first, scale.from)) - scale.gap;
    const wide = Math.max(3, scale.x(event.last) - left);
    const size = { x: short(left), width: short(wide), y: MARGIN.top, height: scale.height - MARGIN.top - MARGIN.bottom };
    found.push(shape("rect", { class: "range", ...size }));
    const place = { class: `mark ${kind(event)}`, x: short(left + wide / 2), y: MARGIN.top - 3 };
    found.push(shape("text", place, SIGNS[kind(event)]));
  }
  return found;
};

const drawChart = (svg, machine, series, from, to) => {
  const width = Math.max(240, svg.clientWidth);
  const scale = scalesFor(series, from, to, width, HEIGHT);
  svg.setAttribute("viewBox", `0 0 ${width} ${HEIGHT}`);
  if (!scale) {
    svg.replaceChildren(shape("text", { x: 12, y: 30 }, "nothing measured in these commits"));
    return null;
  }
  const numbers = numbersOf(series);
  const marks = bands(series, scale);
  const line = levels(series, scale), drawn = dots(numbers, scale);
  // a thousand dots would hide the line, and the line a few dots
  const above = scale.gap > 8 ? [line, ...drawn] : [...drawn, line];
  svg.replaceChildren(...grid(machine, scale), ...marks, ...above);
  return scale;
};
