// Without scripts the page stands as it was measured; with them tables sort and filter, and models can be hidden.
const made = (tag, properties) => Object.assign(document.createElement(tag), properties);
const say = (text) => { document.getElementById("said").textContent = text; };

// ---- sort by a column: click on its heading
for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0];
  const original = [...body.rows];
  const place = new Map(original.map((row, index) => [row, index]));
  const headings = [...table.tHead.rows[0].cells];
  const numeric = headings.map((heading) => heading.classList.contains("number"));
  const key = (row, column) => {
    const cell = row.cells[column];
    if (cell.dataset.value !== undefined) return Number(cell.dataset.value);
    const text = cell.textContent.trim().toLowerCase();
    return numeric[column] && text === "–" ? null : text;
  };
  const compare = (a, b, sign) => {
    if (a === b) return 0;
    if (a === null) return 1; // what is missing stays below
    if (b === null) return -1;
    if (typeof a !== typeof b) return typeof a === "number" ? -sign : sign;
    return (a < b ? -1 : 1) * sign;
  };
  headings.forEach((heading, column) => {
    const button = made("button", { type: "button" });
    button.append(...[...heading.childNodes].filter((node) => node.className !== "to"));
    heading.prepend(button);
    const name = button.textContent;
    button.addEventListener("click", () => {
      const next = heading.getAttribute("aria-sort") === "ascending" ? "descending" : "ascending";
      for (const other of headings) other.removeAttribute("aria-sort");
      heading.setAttribute("aria-sort", next);
      const sign = next === "ascending" ? 1 : -1;
      body.append(...[...original].sort(
        (a, b) => compare(key(a, column), key(b, column), sign) || place.get(a) - place.get(b),
      ));
      say(`sorted by ${name}, ${next}`);
    });
  });

  // ---- filter: rows that hold all of the words
  if (original.length > 2) {
    const caption = document.getElementById(table.getAttribute("aria-labelledby"));
    const input = made("input", { type: "search", className: "filter", placeholder: "Filter rows" });
    input.setAttribute("aria-label", `Filter rows of ${caption.textContent}`);
    const shown = made("span", { className: "shown" });
    shown.setAttribute("role", "status");
    input.addEventListener("input", () => {
      const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
      let count = 0;
      for (const row of original) {
        const text = row.textContent.toLowerCase();
        row.hidden = !words.every((word) => text.includes(word));
        count += row.hidden ? 0 : 1;
      }
      shown.textContent = words.length ? `${count} of ${original.length} rows` : "";
    });
    caption.after(input, shown);
  }
}

// ---- show or hide a model everywhere
const owned = new Map();
for (const element of document.querySelectorAll("[data-model]")) {
  const model = element.dataset.model;
  if (!owned.has(model)) owned.set(model, []);
  owned.get(model).push(element);
}
for (const button of document.querySelectorAll("[data-toggle]")) {
  button.addEventListener("click", () => {
    const off = button.getAttribute("aria-pressed") === "true";
    button.setAttribute("aria-pressed", String(!off));
    for (const element of owned.get(button.dataset.toggle) ?? []) element.classList.toggle("off", off);
    say(`${button.textContent.trim()} is ${off ? "hidden" : "shown"}`);
  });
}

// ---- light or dark: the system's choice until the button is used
const root = document.documentElement;
const theme = document.getElementById("theme");
const dark = () => (root.dataset.theme ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";
const label = () => { theme.textContent = dark() ? "Light" : "Dark"; };
theme.addEventListener("click", () => {
  root.dataset.theme = dark() ? "light" : "dark";
  label();
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", label);
label();
document.getElementById("controls").hidden = false;

// ---- on a phone the legend is folded, and figures fit the width until somebody enlarges one
const phone = matchMedia("(max-width: 46rem)");
const fold = () => { document.getElementById("legend").open = !phone.matches; };
phone.addEventListener("change", fold);
fold();
const letEnlarge = (card) => {
  const button = made("button", { type: "button", className: "enlarge", textContent: "Enlarge" });
  button.addEventListener("click", () => {
    button.textContent = card.classList.toggle("large") ? "Fit the width" : "Enlarge";
  });
  card.after(button);
};
document.querySelectorAll("figure > .card").forEach(letEnlarge);

// ---- what a mark says, at once and for fingers too; its <title> would come a second time
const tip = document.getElementById("tip");
const letSay = (mark) => {
  const title = mark.querySelector(":scope > title");
  mark.says = title.textContent;
  title.remove();
};
document.querySelectorAll(".says").forEach(letSay);
document.addEventListener("pointerover", (event) => {
  const mark = event.target.closest?.(".says");
  tip.hidden = !mark;
  if (!mark) return;
  tip.textContent = mark.says;
  const { width, height } = tip.getBoundingClientRect();
  tip.style.left = `${Math.max(4, Math.min(event.clientX + 12, innerWidth - width - 8))}px`;
  tip.style.top = `${event.clientY + 18 + height > innerHeight ? event.clientY - height - 10 : event.clientY + 18}px`;
});
document.addEventListener("scroll", () => { tip.hidden = true; }, { passive: true });
document.addEventListener("keydown", (event) => { if (event.key === "Escape") tip.hidden = true; });
addEventListener("beforeprint", () => { for (const one of document.querySelectorAll("details")) one.open = true; });
