// What is shown: numbers of the suite, of the tasks (a section of its leaderboard) and of the tolerance, the column set,
// and the policies whose curves are drawn. Renderers are called after every change.
const SHOWN_AT_FIRST = 8;

const state = { suite: 0, section: 0, tolerance: data.tolerances.indexOf(0.01), columns: "accuracy", shown: new Set() };
const renderers = [];

const suiteNow = () => data.suites[state.suite];
const sectionNow = () => suiteNow().sections[state.section];
const toleranceNow = () => data.tolerances[state.tolerance];
const toleranceText = (value) => powerOfTen(Math.round(Math.log10(value)));

function showFirstPolicies() {
  state.shown = new Set(sectionNow().scores.slice(0, SHOWN_AT_FIRST).map((score) => score.policy));
}

function render() {
  renderers.forEach((renderer) => renderer(sectionNow(), suiteNow()));
}

function update(changes) {
  const moved = "suite" in changes || "section" in changes;
  if ("suite" in changes && !("section" in changes)) changes.section = 0;
  Object.assign(state, changes);
  if (moved) showFirstPolicies();
  render();
}
