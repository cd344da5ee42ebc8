// Click on a heading to sort by its column; without scripts the table stands as it was measured.
for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0];
  const original = [...body.rows];
  const place = new Map(original.map((row, index) => [row, index]));
  const key = (row, column) => {
    const cell = row.cells[column];
    if (column === 0) return cell.textContent.trim().toLowerCase();
    return cell.dataset.value === undefined ? null : Number(cell.dataset.value);
  };
  const compare = (a, b, sign) => {
    if (a === b) return 0;
    if (a === null) return 1; // what is missing stays below
    if (b === null) return -1;
    return (a < b ? -1 : 1) * sign;
  };
  [...table.tHead.rows[0].cells].forEach((heading, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...heading.childNodes);
    heading.append(button);
    button.addEventListener("click", () => {
      const next = heading.getAttribute("aria-sort") === "ascending" ? "descending" : "ascending";
      for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
      heading.setAttribute("aria-sort", next);
      const sign = next === "ascending" ? 1 : -1;
      const rows = [...original].sort(
        (a, b) => compare(key(a, column), key(b, column), sign) || place.get(a) - place.get(b),
      );
      body.append(...rows);
    });
  });
}
