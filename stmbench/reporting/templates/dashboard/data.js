// The embedded data: one object a machine; values come as base64 of 32-bit floats and are unpacked when first drawn.
const DATA = JSON.parse(document.getElementById("data").textContent);

const unpack = (text) => {
  const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const view = new DataView(bytes.buffer);
  return Float32Array.from({ length: bytes.length / 4 }, (_, index) => view.getFloat32(4 * index, true));
};

const numbersOf = (series) => {
  if (!series.unpacked) {
    series.unpacked = {
      values: unpack(series.values),
      low: series.low && unpack(series.low),
      high: series.high && unpack(series.high),
    };
  }
  return series.unpacked;
};

for (const machine of DATA.machines) {
  for (const series of machine.series) series.events = [];
  for (const event of machine.events) machine.series[event.series].events.push(event);
  for (const series of machine.series) series.events.sort((a, b) => a.commit - b.commit);
}

const NUMBERS = new Map();
const formatted = (value, series) => {
  // as many decimals as show three digits
  const small = value !== 0 && Math.abs(value) < 10 ** (2 - series.decimals);
  const digits = small ? Math.min(12, 2 - Math.floor(Math.log10(Math.abs(value)))) : series.decimals;
  if (!NUMBERS.has(digits)) {
    NUMBERS.set(digits, new Intl.NumberFormat("en", { minimumFractionDigits: digits, maximumFractionDigits: digits }));
  }
  return NUMBERS.get(digits).format(value);
};
const withUnit = (value, series) => formatted(value, series) + (series.unit ? ` ${series.unit}` : "");
const dateOf = (seconds) => new Date(1000 * seconds).toISOString().slice(0, 10);
const kind = (event) => (event.worse > 0 ? "worse" : event.worse < 0 ? "better" : "neither");
const SIGNS = { worse: "▼", better: "▲", neither: "◆" };

const element = (name, attributes = {}, ...children) => {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children); // text becomes text nodes: nothing from a user is read as HTML
  return made;
};

const commitLink = (machine, index) => {
  const [sha] = machine.commits[index];
  const short = element("code", {}, sha.slice(0, 12));
  if (!DATA.commitUrl) return short;
  return element("a", { href: DATA.commitUrl.replaceAll("{commit}", encodeURIComponent(sha)) }, short);
};
