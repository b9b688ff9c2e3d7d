// A table of shares with a tint: the overview over the suites, and the groups of one suite.
function heatTable(table, name, rows) {
  const body = rows.map(([policy, cells]) => make(
    "tr", {}, make("th", { scope: "row" }, policyName(policy)),
    ...cells.map(([share, text]) => (known(share)
      ? make("td", { "data-value": share, style: `--share:${share}` }, text)
      : make("td", { "data-value": "", class: "absent" }, text))),
  ));
  table.append(make("caption", { class: "hidden" }, name), make("tbody", {}, ...body));
  return table;
}

const shareHead = (table, i, name, unit, about) => sortHead(table, i, { name, unit, about, first: "descending" });

const policyHead = (table) => sortHead(table, 0, { name: "policy", unit: "", about: "name of the policy", first: "ascending" });

function overviewTable() {
  const table = make("table", { class: "heat sortable" });
  const sections = data.suites.flatMap((suite) => suite.sections);
  const above = data.suites.map((suite) => make("th", { scope: "colgroup", colspan: suite.sections.length }, suite.name));
  const heads = sections.map((section, i) =>
    shareHead(table, i + 1, section.kind === "ik" ? "targets" : "paths", section.arm, section.title));
  table.append(make("thead", {}, make("tr", {}, make("td", {}), ...above), make("tr", {}, policyHead(table), ...heads)));
  const cell = (section, policy) => {
    const score = section.scores.find((one) => one.policy === policy);
    return score ? score.cells[`ok${state.tolerance}`] : [null, ABSENT];
  };
  const rows = data.policies.map((_, policy) => [policy, sections.map((section) => cell(section, policy))]);
  return heatTable(table, "Success by suite", rows);
}

function groupTable(suite) {
  const table = make("table", { class: "heat sortable" });
  const heads = suite.groups.map(([name, arm], i) => shareHead(table, i + 1, name, arm, `group ${name}, arm ${arm}`));
  table.append(make("thead", {}, make("tr", {}, policyHead(table), ...heads)));
  const rows = suite.by_group.map(([policy, cells]) => [policy, cells.map((cell) => (cell ? cell[state.tolerance] : [null, ABSENT]))]);
  return heatTable(table, "Success by group", rows);
}

function startHeat() {
  renderers.push((_, suite) => {
    if (data.suites.length > 1) clear(byId("overview-table")).append(overviewTable());
    clear(byId("group-table")).append(groupTable(suite));
    document.querySelectorAll(".chosen-tolerance").forEach((element) => (element.textContent = toleranceText(toleranceNow())));
  });
}
