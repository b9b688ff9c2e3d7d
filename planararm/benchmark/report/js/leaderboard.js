const SETS = [["accuracy", "Accuracy"], ["safety", "Safety"], ["speed", "Speed"], ["all", "All columns"]];

function columnsOf(section) {
  const present = data.columns.filter((column) => column.key in (section.scores[0] || { cells: {} }).cells);
  if (state.columns === "all") return present;
  const chosen = `ok${state.tolerance}`;
  return present.filter((column) => column.sets.includes(state.columns) || column.key === chosen
    || (column.key === `interval${state.tolerance}` && state.columns === "accuracy"));
}

function bestTexts(section, columns) {
  return new Map(columns.map(({ key, first }) => {
    const cells = section.scores.map((score) => score.cells[key]).filter(([value]) => known(value));
    const better = first === "descending" ? (a, b) => a[0] > b[0] : (a, b) => a[0] < b[0];
    const best = cells.reduce((found, cell) => (found === null || better(cell, found) ? cell : found), null);
    return [key, best && cells.some((cell) => cell[1] !== best[1]) ? best[1] : null];
  }));
}

function scoreCell([value, text, interval], column, best) {
  const cell = make("td", { "data-value": known(value) ? value : "", class: text === best ? "best" : null });
  if (column.bar && known(value)) {
    cell.append(make("span", { class: "bar", style: `--share:${value}` }));
    if (interval && column.key === `ok${state.tolerance}`) {
      cell.append(make("span", { class: "whisker", style: `--low:${interval[0]};--high:${interval[1]}` }));
    }
  }
  cell.append(make("span", {}, text));
  return cell;
}

function startLeaderboard() {
  const host = byId("leaderboard-table");
  const chosen = { column: null, order: null };
  radios(byId("columns"), "columns", SETS.map(([key, name]) => [key, name, name]), state.columns,
    (columns) => update({ columns }));

  renderers.push((section, suite) => {
    const columns = columnsOf(section);
    const best = bestTexts(section, columns);
    const table = make("table", { class: "sortable", id: "board" });
    const remember = (column, order) => Object.assign(chosen, { column: column ? columns[column - 1].key : "policy", order });
    const policy = { name: "policy", unit: "", about: "name of the policy", first: "ascending" };
    const heads = [policy, ...columns].map((column, i) => sortHead(table, i, column, remember));
    const rows = section.scores.map((score) => make(
      "tr", {}, make("th", { scope: "row" }, policyName(score.policy)),
      ...columns.map((column) => scoreCell(score.cells[column.key], column, best.get(column.key))),
    ));
    table.append(
      make("caption", { class: "hidden" }, `${suite.name}: ${section.title}`),
      make("thead", {}, make("tr", {}, ...heads)), make("tbody", {}, ...rows),
    );
    byId("leaderboard-caption").textContent = `${section.title}: ${section.caption}`;
    clear(host).append(table);
    clear(byId("without")).append(...section.without.map(([index, reason]) =>
      make("p", { class: "note" }, make("strong", {}, policyName(index)), ` has no score here: ${reason}.`)));
    const place = chosen.column === "policy" ? 0 : 1 + columns.findIndex(({ key }) => key === chosen.column);
    const usual = 1 + columns.findIndex(({ key }) => key === `ok${state.tolerance}`);
    if (chosen.column !== null && (place > 0 || chosen.column === "policy")) sortRows(table, place, chosen.order);
    else if (rows.length) sortRows(table, usual, "descending");
  });
}
