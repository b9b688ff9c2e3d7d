// Uses the report as a reader would, and notes what it then shows in `found`; see test_report_browser.py.
const column = (i) => all("#board tbody tr").map((row) => row.cells[i].textContent);
const heads = () => all("#board thead th").map((head) => head.textContent);
const head = (text) => all("#board thead th").find((one) => one.textContent.startsWith(text));
const press = (head) => head.querySelector("button").click();
const painted = (id) => {
  const canvas = byId(id);
  const pixels = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
  const colours = new Set();
  for (let i = 0; i < pixels.length; i += 4) colours.add(`${pixels[i]},${pixels[i + 1]},${pixels[i + 2]},${pixels[i + 3]}`);
  return colours.size;
};
const spoken = (element) => (element.getAttribute("aria-label") || element.textContent || element.title
  || (element.labels && element.labels.length ? element.labels[0].textContent : "") || "").trim();

found.title = document.title;
found.broken = window.broken === undefined;
found.rows = column(0);
found.heads = heads();
found.initial = all("#board th[aria-sort]").map((one) => [one.textContent, one.getAttribute("aria-sort")]);
found.unnamed = all("button, select, input, canvas, [role=img], [role=region]").filter((one) => !spoken(one)).map((one) => one.outerHTML);
found.wide = document.documentElement.scrollWidth - window.innerWidth;
found.boardWide = byId("leaderboard-table").scrollWidth - byId("leaderboard-table").clientWidth;
found.overviewWide = byId("overview-table").scrollWidth - byId("overview-table").clientWidth;
found.overview = all("#overview-table tbody tr").length;

press(head("RMSE"));
found.byError = [column(0), head("RMSE").getAttribute("aria-sort"), all("#board th[aria-sort]").length];
press(head("RMSE"));
found.byErrorReversed = [column(0), head("RMSE").getAttribute("aria-sort")];
press(head("policy"));
found.byName = column(0);

const radio = (id, i) => all(`#${id} input`)[i].click();
found.sets = {};
["accuracy", "safety", "speed", "all"].forEach((name, i) => {
  radio("columns", i);
  found.sets[name] = heads();
});
radio("columns", 0);
found.byNameStill = column(0);
radio("tolerance", 3);
found.chosen = all(".chosen-tolerance").map((one) => one.textContent);
found.interval = heads().indexOf("interval95 %") - heads().findIndex((text) => text.startsWith("@1e-4"));
found.status = byId("status").textContent;
found.groupCells = all("#group-table tbody tr").map((row) => Array.from(row.cells, (cell) => cell.textContent));
radio("tolerance", 1);

found.sections = all("#tasks option").map((one) => one.textContent);
found.stackLabels = all("#stacks [role=img]").map((one) => one.getAttribute("aria-label"));
found.curves = all("#ecdf .curve").length;
all("#policies button")[0].click();
found.pressed = all("#policies button[aria-pressed]").map((one) => one.getAttribute("aria-pressed"));
found.curvesLess = all("#ecdf .curve").length;
found.focusKept = document.activeElement === all("#policies button")[0];
byId("show-none").click();
found.curvesNone = all("#ecdf .curve").length;
byId("show-all").click();
found.curvesAll = all("#ecdf .curve").length;
found.points = all("#scatter .point, #scatter circle").length;
found.tables = ["ecdf-table", "by-discs-table", "by-distance-table", "scatter-table", "map-table"].map((id) => byId(id).querySelectorAll("tbody tr").length);
change("scatter-time", "single95");
found.scatterNames = all("#scatter-table tbody th").map((one) => one.textContent);

found.mapColours = [painted("map-error"), painted("map-clearance")];
const map = byId("map-error");
map.dispatchEvent(new KeyboardEvent("keydown", { key: "ArrowRight" }));
const first = byId("map-error-read").textContent;
map.dispatchEvent(new KeyboardEvent("keydown", { key: "ArrowUp" }));
found.mapRead = [first, byId("map-error-read").textContent];

const { replay } = window.planararm;
const frame = () => Number(byId("replay-frame").value);
found.replayTasks = all("#replay-task option").map((one) => one.textContent);
const pick = (kind) => {
  const tasks = window.planararm.data.suites[window.planararm.state.suite].replays;
  const index = tasks.findIndex((task) => task.kind === kind && task.discs.length > 1);
  change("replay-task", index);
  return tasks[index];
};
pick("ik");
found.before = [frame(), byId("replay-play").textContent];
byId("replay-play").click();
await wait(400);
found.during = [frame(), byId("replay-play").textContent, byId("replay-live").textContent];
byId("replay-play").click();
const paused = frame();
await wait(300);
found.paused = [frame() - paused, byId("replay-play").textContent, byId("replay-live").textContent];
byId("replay-on").click();
byId("replay-on").click();
byId("replay-back").click();
found.stepped = frame() - paused;
const key = (name) => byId("replay-stage").dispatchEvent(new KeyboardEvent("keydown", { key: name, cancelable: true }));
key("End");
found.end = [frame(), Number(byId("replay-frame").max)];
key("ArrowLeft");
found.left = frame();
key(" ");
await wait(1000);
found.ended = [frame(), byId("replay-play").textContent];
key("Home");
found.home = frame();
byId("replay-frame").value = 17;
byId("replay-frame").dispatchEvent(new Event("input"));
found.scrubbed = frame();
found.painted = [painted("replay-scene"), painted("replay-space")];
byId("replay-speed").value = "4";
byId("replay-speed").dispatchEvent(new Event("change"));
change("replay-joint-a", 2);
change("replay-joint-b", 0);
byId("replay-margin").click();
found.facts = byId("replay-facts").textContent;

change("suite", 1);
found.secondSuite = [all("#tasks option").length, all("#replay-task option").length, byId("leaderboard-caption").textContent];
const { jointPositions, discsAt, clearanceOf, sliceOf, data } = window.planararm;
const numbers = (suite, kind) => {
  window.planararm.update({ suite });
  const task = pick(kind);
  return Array.from(byId("replay-policy").options, (option) => {
    change("replay-policy", option.value);
    byId("replay-frame").value = byId("replay-frame").max;
    byId("replay-frame").dispatchEvent(new Event("input"));
    const facts = replay.facts();
    const { frames, times } = replay.view.motion;
    const arm = data.arms[task.arm];
    const size = 9;
    const time = kind === "track" ? facts.time : 0;
    const discs = discsAt(task.discs, time);
    return {
      task: task.name, policy: option.textContent, facts, arm, time, discs, raw: task.discs,
      positions: jointPositions(arm, facts.q), frames: frames.length, size,
      slice: Array.from(sliceOf(arm, facts.q, discs, 2, 0, size)),
      clearances: frames.map((q, i) => clearanceOf(arm, q, discsAt(task.discs, kind === "track" ? times[i] : 0))),
    };
  });
};
found.numbers = [...numbers(0, "ik"), ...numbers(0, "track"), ...numbers(1, "track")];
const { percent, duration, scientific } = window.planararm;
found.texts = [SHARES.map(percent), TIMES.map(duration), ERRORS.map(scientific)];
const dark = getComputedStyle(document.documentElement).colorScheme;
byId("theme").click();
found.themes = [dark, getComputedStyle(document.documentElement).colorScheme, byId("theme").getAttribute("aria-label")];
