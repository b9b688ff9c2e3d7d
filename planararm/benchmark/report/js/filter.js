function radios(host, group, entries, chosen, choose) {
  entries.forEach(([value, text, spoken]) => {
    const input = make("input", { type: "radio", name: group, value, checked: value === chosen, "aria-label": spoken });
    input.addEventListener("change", () => choose(value));
    host.append(make("label", {}, input, make("span", { "aria-hidden": "true" }, text)));
  });
}

function spokenResult(section, suite) {
  const [best] = section.scores;
  const what = `${suite.name}, ${section.title}, tolerance ${toleranceNow()} of the reach`;
  if (!best) return `${what}: no policy has a score.`;
  return `${what}: ${policyName(best.policy)} leads with ${best.cells[`ok${state.tolerance}`][1]} % met.`;
}

function startFilter() {
  const suites = byId("suite");
  const tasks = byId("tasks");
  options(suites, data.suites.map((suite) => suite.name), state.suite);
  suites.addEventListener("change", () => update({ suite: Number(suites.value) }));
  tasks.addEventListener("change", () => update({ section: Number(tasks.value) }));
  radios(
    byId("tolerance"), "tolerance",
    data.tolerances.map((value, i) => [i, toleranceText(value), `${value} of the reach`]),
    state.tolerance, (tolerance) => update({ tolerance }),
  );
  let said = null;
  renderers.push((section, suite) => {
    suites.value = state.suite;
    options(tasks, suite.sections.map((one) => one.title), state.section);
    const text = spokenResult(section, suite);
    if (said !== null && said !== text) byId("status").textContent = text;
    said = text;
  });
}
