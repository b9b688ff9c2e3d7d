const DIFFICULTIES = {
  discs: {
    label: "discs in the scene",
    places: (bins) => bins,
    ticks: (bins) => bins.map((value) => ({ value, text: String(value) })),
    name: (bins, i) => String(bins[i]),
  },
  distance: {
    label: "distance of the target from the base, in reaches",
    places: (edges) => edges.slice(1).map((edge, i) => (edge + edges[i]) / 2),
    ticks: () => null,
    name: (edges, i) => `${edges[i].toFixed(2)}\u2013${edges[i + 1].toFixed(2)}`,
  },
};

function drawDifficulty(section, key) {
  if (!section.scores.length) {
    clear(byId(`by-${key}`));
    clear(byId(`by-${key}-table`));
    return;
  }
  const { bins, counts } = section.difficulty[key];
  const { label, places, ticks, name } = DIFFICULTIES[key];
  const at = places(bins);
  const [low, high] = [Math.min(...at), Math.max(...at)];
  const room = key === "discs" ? 0.4 : 0.04;
  const chart = plot(byId(`by-${key}`), {
    height: 290,
    x: { min: low - room, max: high + room, label, ticks: ticks(bins) || undefined },
    y: { ...SHARE_AXIS, label: `met within ${toleranceText(toleranceNow())} [%]` },
    about: `Success against the ${label}; the table below has the numbers`,
  });
  const sharesOf = (score) => unpackShares(score[key]).slice(state.tolerance * at.length, (state.tolerance + 1) * at.length);
  for (const score of shownScores(section)) {
    const points = sharesOf(score)
      .map((share, i) => (share === null ? null : [chart.px(at[i]), chart.py(share)]))
      .filter((point) => point !== null);
    chart.curves.append(curve(score.policy, points));
    const colour = `fill:${seriesColour(score.policy)}`;
    points.forEach(([cx, cy]) => chart.curves.append(draw("circle", { cx, cy, r: 3, style: colour, "data-policy": score.policy })));
  }
  showTable(
    byId(`by-${key}-table`), `Tasks met within ${toleranceNow()} of the reach [%] by ${label}`,
    ["policy", ...at.map((_, i) => `${name(bins, i)} (${plural(counts[i], "task")})`)],
    section.scores.map((score) => [policyName(score.policy), ...sharesOf(score).map(percent)]),
  );
}

function startDifficulty() {
  Object.keys(DIFFICULTIES).forEach((key) => {
    renderers.push((section) => drawDifficulty(section, key));
    whenResized(byId(`by-${key}`), () => drawDifficulty(sectionNow(), key));
  });
}
