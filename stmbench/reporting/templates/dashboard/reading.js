// Reading a chart off: by pointer (a tooltip) and by keyboard (a line of text below, which screen readers speak).
const TIP = document.getElementById("tip");

const describe = (machine, series, index) => {
  const { values, low, high } = numbersOf(series);
  const [sha, seconds, subject, changed] = machine.commits[index];
  let text = `${sha.slice(0, 12)}${changed ? " (with changes)" : ""}, ${dateOf(seconds)}: `;
  text += Number.isNaN(values[index]) ? "not measured" : withUnit(values[index], series);
  if (low && !Number.isNaN(low[index])) text += ` (${formatted(low[index], series)} to ${formatted(high[index], series)})`;
  const event = series.events.find((candidate) => candidate.commit === index);
  if (event) text += `; ${SIGNS[kind(event)]} ${event.verdict}, ${event.change}`;
  return { text, subject };
};

const latest = (machine, series) => {
  const index = numbersOf(series).values.findLastIndex((value) => !Number.isNaN(value));
  return { index, text: `latest: ${describe(machine, series, index).text}` };
};

// The line of text below a chart; its commit is a link where the page knows where commits are shown.
const readOut = (card, index, before = "") => {
  const { text, subject } = describe(card.machine, card.series, index);
  const rest = text.slice(card.machine.commits[index][0].slice(0, 12).length);
  card.readout.replaceChildren(before, commitLink(card.machine, index), rest, !before && subject ? `: ${subject}` : "");
};

const placeCursor = (card, index) => {
  const { svg, scale, machine, series } = card;
  svg.querySelectorAll(".cursor, .here").forEach((old) => old.remove());
  if (index === null) return;
  const x = short(scale.x(index));
  svg.append(shape("line", { class: "cursor", x1: x, x2: x, y1: MARGIN.top, y2: HEIGHT - MARGIN.bottom }));
  const value = numbersOf(series).values[index];
  if (!Number.isNaN(value)) svg.append(shape("circle", { class: "here", cx: x, cy: short(scale.y(value)), r: 3.5 }));
  card.index = index;
};

const byPointer = (card) => {
  const { svg, machine, series } = card;
  svg.addEventListener("pointermove", (event) => {
    if (!card.scale) return;
    const index = indexAt(card, event);
    placeCursor(card, index);
    const { text, subject } = describe(machine, series, index);
    TIP.textContent = subject ? `${text}\n${subject}` : text;
    TIP.hidden = false;
    const left = Math.min(event.clientX + 14, innerWidth - TIP.offsetWidth - 8);
    const below = event.clientY + 18 + TIP.offsetHeight < innerHeight;
    TIP.style.left = `${Math.max(4, left)}px`;
    TIP.style.top = `${below ? event.clientY + 18 : event.clientY - TIP.offsetHeight - 10}px`;
  });
  svg.addEventListener("pointerleave", () => {
    TIP.hidden = true;
    placeCursor(card, null);
  });
};

const nextIndex = (card, key) => {
  const { from, to } = card.scale;
  const now = card.index ?? to;
  const steps = card.series.events.map((event) => event.commit).filter((commit) => commit >= from && commit < to);
  switch (key) {
    case "ArrowRight": return Math.min(to - 1, now + 1);
    case "ArrowLeft": return Math.max(from, now - 1);
    case "PageDown": return Math.min(to - 1, now + Math.ceil((to - from) / 10));
    case "PageUp": return Math.max(from, now - Math.ceil((to - from) / 10));
    case "Home": return from;
    case "End": return to - 1;
    case "n": return steps.find((commit) => commit > now) ?? null;
    case "p": return steps.findLast((commit) => commit < now) ?? null;
    default: return null;
  }
};

const byKeyboard = (card) => {
  card.svg.addEventListener("keydown", (event) => {
    if (!card.drawn) draw(card);
    if (!card.scale || event.ctrlKey || event.altKey || event.metaKey) return;
    const zoom = { "+": () => zoomBy(card, 0.5), "=": () => zoomBy(card, 0.5), "-": () => zoomBy(card, 2), 0: () => showAll(card) }[event.key];
    if (zoom) {
      event.preventDefault();
      zoom();
      return;
    }
    const index = nextIndex(card, event.key);
    if (index === null) return;
    event.preventDefault();
    placeCursor(card, index);
    readOut(card, index);
  });
  card.svg.addEventListener("blur", () => placeCursor(card, null));
};
