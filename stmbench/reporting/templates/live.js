// A page that is served follows its store: it asks for the version, takes in training curves, and loads itself again
// when rows changed. What the reader has chosen is kept: place, order, filters, hidden models, light or dark.
const KEPT = "stmbench watch";
const ASK_EVERY = 2000;
const watching = document.getElementById("watching");
const captionOf = (table) => document.getElementById(table.getAttribute("aria-labelledby"))?.textContent.replace(/^Table \d+\.\s*/, "");
const landmarks = () => [...document.querySelectorAll("h2, figure, div.table")].map((element) => {
  const name = element.matches("h2") ? element : element.querySelector("figcaption, .caption");
  return { element, name: name?.textContent.replace(/^(Table|Figure) \d+\.\s*/, "") };
});
const keyOf = (details) => `${details.closest("section")?.querySelector("h2")?.textContent}: ${details.querySelector("summary")?.textContent}`;
const enlarged = () => [...document.querySelectorAll(".card.large")].map((card) => card.getAttribute("aria-label"));
let toEnlarge = []; // in the section that comes after the page
const enlargeAgain = (names, within) => {
  for (const card of within.querySelectorAll("figure > .card:not(.large)")) {
    if (names.includes(card.getAttribute("aria-label"))) card.parentElement.querySelector(".enlarge")?.click();
  }
};
const filterOf = (table) => table.closest("div.table")?.querySelector("input.filter");

const remember = () => {
  const above = landmarks().filter(({ element }) => element.getBoundingClientRect().top < 100).at(-1);
  const state = {
    theme: root.dataset.theme,
    off: [...document.querySelectorAll('[data-toggle][aria-pressed="false"]')].map((button) => button.dataset.toggle),
    details: [...document.querySelectorAll("details")].map((one) => [keyOf(one), one.open]),
    enlarged: enlarged(),
    place: above && scrollY > 0 ? [above.name, above.element.getBoundingClientRect().top] : null,
    tables: [...document.querySelectorAll("table.sortable")].map((table) => {
      const sorted = table.querySelector("thead th[aria-sort]");
      const filter = filterOf(table);
      return {
        name: captionOf(table),
        sorted: sorted && [sorted.textContent, sorted.getAttribute("aria-sort")],
        filter: filter?.value,
        focused: filter === document.activeElement,
        left: table.parentElement.scrollLeft,
      };
    }),
  };
  sessionStorage.setItem(KEPT, JSON.stringify(state));
};

const recall = () => {
  const state = JSON.parse(sessionStorage.getItem(KEPT) ?? "null");
  if (!state) return;
  sessionStorage.removeItem(KEPT);
  if (state.theme) {
    root.dataset.theme = state.theme;
    label();
  }
  for (const button of document.querySelectorAll("[data-toggle]")) if (state.off.includes(button.dataset.toggle)) button.click();
  const open = new Map(state.details);
  for (const one of document.querySelectorAll("details")) one.open = open.get(keyOf(one)) ?? one.open;
  enlargeAgain(state.enlarged, document);
  toEnlarge = state.enlarged;
  for (const table of document.querySelectorAll("table.sortable")) {
    const then = state.tables.find(({ name }) => name === captionOf(table));
    if (!then) continue;
    const heading = then.sorted && [...table.tHead.rows[0].cells].find((cell) => cell.textContent === then.sorted[0]);
    for (let clicks = heading ? (then.sorted[1] === "ascending" ? 1 : 2) : 0; clicks > 0; clicks--) heading.querySelector("button").click();
    const filter = filterOf(table);
    if (filter && then.filter) {
      filter.value = then.filter;
      filter.dispatchEvent(new Event("input"));
    }
    if (filter && then.focused) filter.focus({ preventScroll: true });
    table.parentElement.scrollLeft = then.left;
  }
  say("");
  if (!state.place) return;
  const there = landmarks().find(({ name }) => name === state.place[0]);
  if (there) scrollBy(0, there.element.getBoundingClientRect().top - state.place[1]);
};

// ---- runs under way: a section of its own, so that a new point of a curve does not load the page again
const place = document.getElementById("live");
let training = "";
const hideInPlace = () => {
  for (const button of document.querySelectorAll("[data-toggle]")) {
    const off = button.getAttribute("aria-pressed") === "false";
    for (const element of place.querySelectorAll("[data-model]")) {
      if (element.dataset.model === button.dataset.toggle) element.classList.toggle("off", off);
    }
  }
};
const takeIn = async (version) => {
  const text = await (await fetch("training")).text();
  const large = enlarged();
  const before = document.documentElement.scrollHeight;
  const isAbove = place.getBoundingClientRect().bottom < 0;
  place.replaceChildren(document.createRange().createContextualFragment(text));
  place.querySelectorAll(".says").forEach(letSay);
  place.querySelectorAll("figure > .card").forEach(letEnlarge);
  enlargeAgain([...large, ...toEnlarge], place);
  toEnlarge = [];
  hideInPlace();
  if (isAbove && scrollY > 0 && CSS.supports("overflow-anchor", "none") === false) scrollBy(0, document.documentElement.scrollHeight - before);
  training = version;
};
for (const button of document.querySelectorAll("[data-toggle]")) button.addEventListener("click", hideInPlace);

const ago = (seconds) => {
  if (seconds < 90) return `${Math.max(0, Math.round(seconds))} s ago`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min ago`;
  return seconds < 172800 ? `${Math.round(seconds / 3600)} h ago` : `${Math.round(seconds / 86400)} days ago`;
};
const ask = async () => {
  try {
    const found = await (await fetch("version")).json();
    if (found.rows !== SHOWN) {
      remember();
      location.reload();
      return;
    }
    if (found.training !== training) await takeIn(found.training);
    watching.textContent = `This page follows the store; it last looked at ${new Date().toLocaleTimeString()}.`;
  } catch {
    watching.textContent = "stmbench watch has ended, so this page stays as it is.";
  }
  for (const cell of place.querySelectorAll("[data-written]")) cell.textContent = ago(Date.now() / 1000 - cell.dataset.written);
};
const follow = async () => {
  if (!document.hidden) await ask(); // a page that nobody sees is not drawn again
  setTimeout(follow, ASK_EVERY);
};
document.addEventListener("visibilitychange", () => { if (!document.hidden) ask(); });
recall();
follow();
