// From values to pixels. Commits stand at equal distances; a value far outside is drawn on the edge.
const MARGIN = { left: 52, right: 8, top: 16, bottom: 20 };

const FEW = 10; // values that all have to be seen, with their intervals: too few to call one an outlier

const valueRange = ({ values, low: lows, high: highs }, from, to, levels, noise) => {
  let count = 0, lowest = Infinity, extent = [Infinity, -Infinity];
  for (let i = from; i < to; i++) {
    if (Number.isNaN(values[i])) continue;
    count += 1;
    lowest = Math.min(lowest, values[i]);
    const [below, above] = lows && !Number.isNaN(lows[i]) ? [lows[i], highs[i]] : [values[i], values[i]];
    extent = [Math.min(extent[0], below, values[i]), Math.max(extent[1], above, values[i])];
  }
  if (!count) return null; // nothing measured
  const [bottom, top] = [Math.min(...levels), Math.max(...levels)];
  let [low, high] = [bottom - 4 * noise, top + 4 * noise];
  if (count < FEW) {
    const room = 0.1 * (extent[1] - extent[0]);
    [low, high] = [Math.min(low, extent[0] - room), Math.max(high, extent[1] + room)];
  }
  // what is steady is not blown up to its noise; without noise a step takes a third of the height
  const middle = (low + high) / 2, least = noise || top === bottom ? 0.04 * Math.abs(middle) || 1 : 3 * (top - bottom);
  if (high - low < least) [low, high] = [middle - least / 2, middle + least / 2];
  return [lowest >= 0 ? Math.max(0, low) : low, high];
};

const niceTicks = (low, high, count) => {
  const raw = (high - low) / count;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((candidate) => candidate >= raw);
  const ticks = [];
  for (let i = Math.ceil(low / step); i * step <= high; i++) ticks.push(i * step);
  return { ticks, digits: Math.max(0, -Math.floor(Math.log10(step) + 1e-9)) };
};

const DIGIT = 6.4; // pixels of a letter of the axis

const scalesFor = (series, from, to, width, height, given) => {
  const levels = series.levels.filter((_, n) => series.starts[n] < to && (series.starts[n + 1] ?? Infinity) > from);
  const range = valueRange(numbersOf(series), from, to, levels, series.noise);
  if (!range) return null;
  const [low, high] = range;
  const { ticks, digits } = niceTicks(low, high, 4);
  const texts = ticks.map((tick) => tick.toLocaleString("en", { minimumFractionDigits: digits, maximumFractionDigits: digits }));
  // numbers of any length have room
  const margin = given ?? { ...MARGIN, left: Math.max(MARGIN.left, 12 + DIGIT * Math.max(...texts.map((text) => text.length))) };
  const inner = { width: width - margin.left - margin.right, height: height - margin.top - margin.bottom };
  const gap = inner.width / Math.max(1, to - from);
  return {
    low, high, gap, width, height, from, to, margin,
    ticks: ticks.map((tick, n) => [tick, texts[n]]),
    x: (index) => margin.left + (index - from + 0.5) * gap,
    y: (value) => margin.top + inner.height * (1 - (Math.min(high, Math.max(low, value)) - low) / (high - low)),
    index: (x) => Math.min(to - 1, Math.max(from, Math.floor((x - margin.left) / gap) + from)),
  };
};
