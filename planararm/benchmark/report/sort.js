"use strict";
document.querySelectorAll("table.sortable").forEach((table) => {
  const body = table.tBodies[0];
  const heads = Array.from(table.tHead.rows[0].cells);

  const key = (row, column) => {
    const cell = row.cells[column];
    return "value" in cell.dataset ? parseFloat(cell.dataset.value) : cell.textContent.trim().toLowerCase();
  };

  const compare = (a, b) => {
    if (typeof a === "string") return a.localeCompare(b);
    return a - b;
  };

  heads.forEach((head, column) => {
    const button = head.querySelector("button");
    button.addEventListener("click", () => {
      const present = head.getAttribute("aria-sort");
      const order = present ? (present === "ascending" ? "descending" : "ascending") : button.dataset.first;
      const sign = order === "ascending" ? 1 : -1;
      const absent = (row) => Number.isNaN(key(row, column));
      const rows = Array.from(body.rows);
      rows.sort((a, b) => {
        if (absent(a) || absent(b)) return absent(a) - absent(b);
        return sign * compare(key(a, column), key(b, column));
      });
      rows.forEach((row) => body.append(row));
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", order);
    });
  });
});
