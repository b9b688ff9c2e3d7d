// Latency against error: the lower left corner is where one wants to be.
const LEAST_ERROR = 1e-9;
const LABEL_HEIGHT = 14;

function decades(values) {
  const low = Math.floor(Math.log10(Math.min(...values)) - 0.15);
  const high = Math.ceil(Math.log10(Math.max(...values)) + 0.15);
  return { min: 10 ** low, max: 10 ** high, log: true };
}

// The first of right, left, above and below that touches no label placed before.
function placeLabel(x, y, width, chart, taken) {
  const places = [[x + 9, y + 4], [x - 9 - width, y + 4], [x - width / 2, y - 10], [x - width / 2, y + 20], [x + 9, y - 10], [x + 9, y + 18]];
  const box = ([left, base]) => ({ left, right: left + width, top: base - LABEL_HEIGHT + 2, bottom: base + 2 });
  const inside = (b) => b.left > chart.left && b.right < chart.right + 8 && b.top > 0 && b.bottom < chart.bottom;
  const free = (b) => taken.every((o) => b.right < o.left || o.right < b.left || b.bottom < o.top || o.bottom < b.top);
  const found = places.find((place) => inside(box(place)) && free(box(place)));
  if (found) taken.push(box(found));
  return found || null;
}

function drawScatter(section) {
  const kind = byId("scatter-error").value;
  const time = byId("scatter-time").value;
  const points = shownScores(section)
    .map(({ policy, cells }) => ({ policy, time: (cells[time] || [null])[0], error: (cells[kind] || [null])[0] }))
    .filter((point) => known(point.time) && known(point.error));
  if (!points.length) {
    clear(byId("scatter")).append(make("p", { class: "note empty" }, "None of the shown policies has both values here."));
    clear(byId("scatter-table"));
    return;
  }
  const clamped = points.map((point) => ({ ...point, error: Math.max(point.error, LEAST_ERROR) }));
  const x = decades(clamped.map((point) => point.time));
  const ticks = decadeTicks(x.min, x.max, 12).map(({ value }) => ({ value, text: duration(value) }));
  const chart = plot(byId("scatter"), {
    height: 400,
    x: { ...x, ticks, label: "time per answer" },
    y: { ...decades(clamped.map((point) => point.error)), label: clamped.some((point) => point.error === LEAST_ERROR) ? "error, fraction of the reach (1e-9 or less at 1e-9)" : "error, fraction of the reach" },
    about: `Time per answer against error for ${plural(points.length, "policy", "policies")}; the table below has the numbers`,
  });
  const taken = clamped.map((point) => {
    const [cx, cy] = [chart.px(point.time), chart.py(point.error)];
    return { left: cx - 6, right: cx + 6, top: cy - 6, bottom: cy + 6 };
  });
  clamped.forEach((point) => {
    const [cx, cy] = [chart.px(point.time), chart.py(point.error)];
    const name = policyName(point.policy);
    const colour = `fill:${seriesColour(point.policy)}`;
    chart.curves.append(draw("circle", { cx, cy, r: 5.5, style: colour, "data-policy": point.policy }, draw("title", {}, name)));
    const short = name.length > 28 ? `${name.slice(0, 27)}\u2026` : name;
    const place = placeLabel(cx, cy, 6.6 * short.length, chart, taken);
    if (place) chart.curves.append(draw("text", { x: place[0], y: place[1], class: "point", "data-policy": point.policy }, short));
  });
  showTable(
    byId("scatter-table"), `Time per answer and error, ${section.title}`, ["policy", "time", "error"],
    points.map((point) => [policyName(point.policy), duration(point.time), scientific(point.error)]),
  );
}

function startScatter() {
  renderers.push(drawScatter);
  ["scatter-error", "scatter-time"].forEach((id) => byId(id).addEventListener("change", () => drawScatter(sectionNow())));
  whenResized(byId("scatter"), () => drawScatter(sectionNow()));
}
