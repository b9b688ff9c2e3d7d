// Share of the solvable tasks that a policy met within an error: what failed stays in the denominator, so a curve ends
// at the share of tasks with a valid answer.
const errorAt = (i) => 10 ** (data.ecdf.low + i / data.ecdf.per_decade);

function drawEcdf(section) {
  const host = byId("ecdf");
  const shown = shownScores(section).map(({ policy, ecdf }) => ({ policy, shares: unpackShares(ecdf) }));
  const last = data.ecdf.count - 1;
  const chart = plot(host, {
    height: 360,
    x: { min: errorAt(0), max: errorAt(last), log: true, label: "error, fraction of the reach" },
    y: { ...SHARE_AXIS, label: "tasks met within this error [%]" },
    about: `Distribution of the error on ${section.title} for ${plural(shown.length, "policy", "policies")}; the table below has the numbers`,
  });
  const mark = chart.px(toleranceNow());
  chart.curves.append(draw("line", { x1: mark, x2: mark, y1: chart.top, y2: chart.bottom, class: "mark" }));
  for (const { policy, shares } of shown) {
    chart.curves.append(curve(policy, shares.map((share, i) => [chart.px(errorAt(i)), chart.py(share)])));
  }
  readOff(chart, shown);
  const picks = [-8, -6, -5, -4, -3, -2, -1].map((exponent) => (exponent - data.ecdf.low) * data.ecdf.per_decade);
  showTable(
    byId("ecdf-table"), `Share of tasks met within an error [%], ${section.title}`,
    ["policy", ...picks.map((i) => toleranceText(errorAt(i)))],
    section.scores.map(({ policy, ecdf }) => {
      const shares = unpackShares(ecdf);
      return [policyName(policy), ...picks.map((i) => percent(shares[i]))];
    }),
  );
}

function readOff(chart, shown) {
  const note = byId("ecdf-read");
  const line = draw("line", { y1: chart.top, y2: chart.bottom, class: "probe", visibility: "hidden" });
  chart.curves.append(line);
  note.textContent = "Point at the chart to read it off. The dashed line is the chosen tolerance.";
  chart.svg.addEventListener("pointermove", (event) => {
    const place = event.clientX - chart.svg.getBoundingClientRect().left;
    const share = Math.min(1, Math.max(0, (place - chart.left) / (chart.right - chart.left)));
    const i = Math.round(share * (data.ecdf.count - 1));
    line.setAttribute("visibility", "visible");
    line.setAttribute("x1", chart.px(errorAt(i)));
    line.setAttribute("x2", chart.px(errorAt(i)));
    const values = shown.map(({ policy, shares }) => `${policyName(policy)} ${percent(shares[i])}`).join(", ");
    note.textContent = `Within ${scientific(errorAt(i))}: ${values || "no policy is shown"} [%].`;
  });
}

function startEcdf() {
  renderers.push(drawEcdf);
  whenResized(byId("ecdf"), () => drawEcdf(sectionNow()));
}
