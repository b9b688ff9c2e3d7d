// Sort the rows of a table's body by a column; rows without a value stay below in either order.
function sortRows(table, column, order) {
  const sign = order === "ascending" ? 1 : -1;
  const key = (row) => {
    const cell = row.cells[column];
    if (!("value" in cell.dataset)) return cell.textContent.trim().toLowerCase();
    return cell.dataset.value === "" ? NaN : Number(cell.dataset.value);
  };
  const compare = (a, b) => (typeof a === "string" ? a.localeCompare(b) : a - b);
  const keyed = Array.from(table.tBodies[0].rows, (row) => [key(row), row]);
  keyed.sort(([a], [b]) => {
    if (Number.isNaN(a) || Number.isNaN(b)) return Number.isNaN(a) - Number.isNaN(b);
    return sign * compare(a, b);
  });
  table.tBodies[0].append(...keyed.map(([, row]) => row));
  const heads = table.querySelectorAll("th[data-column]");
  heads.forEach((head) => {
    if (Number(head.dataset.column) === column) head.setAttribute("aria-sort", order);
    else head.removeAttribute("aria-sort");
  });
}

// A heading that sorts: the first click brings the best to the top.
function sortHead(table, column, { name, unit, about, first }, sorted = () => {}) {
  const lines = unit ? [name, make("small", {}, unit)] : [name];
  const button = make("button", { type: "button", title: about || null }, ...lines);
  const head = make("th", { scope: "col", "data-column": column }, button);
  button.addEventListener("click", () => {
    const present = head.getAttribute("aria-sort");
    const order = present ? (present === "ascending" ? "descending" : "ascending") : first;
    sortRows(table, column, order);
    sorted(column, order);
  });
  return head;
}
