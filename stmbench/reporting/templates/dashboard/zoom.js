// Zoom: drag over commits to see only these; a double click, the key 0 or the button below the chart shows all again.
const zooms = new Map(); // series -> [first commit, one after the last]
const FEWEST_ZOOMED = 2; // commits
const DRAG = 6; // pixels, below which a press is a click

const rangeOf = (card) => {
  const all = [card.from, card.machine.commits.length];
  const [from, to] = zooms.get(card.series) ?? all;
  return from >= all[0] ? [from, to] : all;
};
const zoomTo = (card, from, to) => {
  const [first, end] = [card.from, card.machine.commits.length];
  const [low, high] = [Math.max(first, from), Math.min(end, to)];
  if (high - low < Math.min(FEWEST_ZOOMED, end - first)) return;
  if (low === first && high === end) zooms.delete(card.series);
  else zooms.set(card.series, [low, high]);
  card.index = null;
  draw(card);
};
const showAll = (card) => zoomTo(card, card.from, card.machine.commits.length);
const zoomBy = (card, factor) => {
  const { from, to } = card.scale;
  const middle = card.index ?? (from + to) / 2;
  const half = Math.max(1, ((to - from) * factor) / 2);
  zoomTo(card, Math.floor(middle - half), Math.ceil(middle + half));
};

const indexAt = (card, event) => {
  const box = card.svg.getBoundingClientRect();
  return card.scale.index(((event.clientX - box.left) * card.scale.width) / box.width);
};
const byDrag = (card) => {
  const { svg } = card;
  let begun = null;
  const end = () => {
    begun = null;
    svg.querySelector(".chosen")?.remove();
  };
  svg.addEventListener("pointerdown", (event) => {
    if (card.scale && event.button === 0) begun = { x: event.clientX, index: indexAt(card, event), dragged: false };
  });
  svg.addEventListener("pointermove", (event) => {
    if (!begun || !card.scale) return;
    if (!begun.dragged && Math.abs(event.clientX - begun.x) < DRAG) return;
    if (!begun.dragged && event.isTrusted) svg.setPointerCapture(event.pointerId);
    begun.dragged = true;
    const { scale } = card;
    const [first, last] = [begun.index, indexAt(card, event)].sort((a, b) => a - b);
    svg.querySelector(".chosen")?.remove();
    const place = { x: short(scale.x(first) - scale.gap / 2), width: short((last - first + 1) * scale.gap) };
    svg.append(shape("rect", { class: "chosen", ...place, y: MARGIN.top, height: HEIGHT - MARGIN.top - MARGIN.bottom }));
  });
  svg.addEventListener("pointerup", (event) => {
    if (!begun || !card.scale) return end();
    const { dragged, index } = begun;
    end();
    const [first, last] = [index, indexAt(card, event)].sort((a, b) => a - b);
    if (dragged) zoomTo(card, first, last + 1);
    else readOut(card, index);
  });
  svg.addEventListener("pointercancel", end);
  svg.addEventListener("dblclick", () => showAll(card));
};
