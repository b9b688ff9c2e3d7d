// Axes in an SVG as wide as its place, so that text keeps its size; drawn again when the place changes.
const PLOT_MARGIN = { left: 58, right: 16, top: 14, bottom: 44 };
const SERIES_COLOURS = 8;
const DASHES = ["", "7 3", "2 3", "9 3 2 3"];

const seriesColour = (policy) => `var(--series-${policy % SERIES_COLOURS})`;
const seriesDash = (policy) => DASHES[Math.floor(policy / SERIES_COLOURS) % DASHES.length];

const SHARE_AXIS = {
  min: 0, max: 1, ticks: [0, 0.25, 0.5, 0.75, 1].map((value) => ({ value, text: String(100 * value) })),
};

// Axis: {min, max, log, label, ticks}. Returns the SVG's group for curves and the maps from values to places.
function plot(host, { height, x, y, about }) {
  const width = Math.max(280, host.clientWidth || 640);
  const { left, right, top, bottom } = PLOT_MARGIN;
  const scale = (axis, from, to) => {
    const map = axis.log ? Math.log10 : (value) => value;
    const [low, high] = [map(axis.min), map(axis.max)];
    return (value) => from + ((map(Math.min(axis.max, Math.max(axis.min, value))) - low) / (high - low)) * (to - from);
  };
  const px = scale(x, left, width - right);
  const py = scale(y, height - bottom, top);
  const svg = draw("svg", { width, height, viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": about, class: "plot" });
  const xTicks = x.ticks || (x.log ? decadeTicks(x.min, x.max, Math.floor(width / 60)) : niceTicks(x.min, x.max, Math.floor(width / 60)));
  const yTicks = y.ticks || (y.log ? decadeTicks(y.min, y.max, Math.floor(height / 32)) : niceTicks(y.min, y.max, 5));
  for (const { value, text } of xTicks) {
    svg.append(
      draw("line", { x1: px(value), x2: px(value), y1: top, y2: height - bottom, class: "grid" }),
      draw("text", { x: px(value), y: height - bottom + 17, class: "tick", "text-anchor": "middle" }, text),
    );
  }
  for (const { value, text } of yTicks) {
    svg.append(
      draw("line", { x1: left, x2: width - right, y1: py(value), y2: py(value), class: "grid" }),
      draw("text", { x: left - 8, y: py(value) + 4, class: "tick", "text-anchor": "end" }, text),
    );
  }
  const middle = (top + height - bottom) / 2;
  const curves = draw("g", {});
  svg.append(
    draw("path", { d: `M${left},${top}V${height - bottom}H${width - right}`, class: "axis" }),
    draw("text", { x: (left + width - right) / 2, y: height - 6, class: "label", "text-anchor": "middle" }, x.label),
    draw("text", { transform: `translate(14,${middle})rotate(-90)`, class: "label", "text-anchor": "middle" }, y.label),
    curves,
  );
  clear(host).append(svg);
  return { svg, curves, px, py, width, height, left, right: width - right, top, bottom: height - bottom };
}

function curve(policy, points) {
  const path = points.map(([x, y], i) => `${i ? "L" : "M"}${x.toFixed(1)},${y.toFixed(1)}`).join("");
  return draw(
    "path", { d: path, class: "curve", "data-policy": policy, style: `stroke:${seriesColour(policy)}`, "stroke-dasharray": seriesDash(policy) || null },
    draw("title", {}, policyName(policy)),
  );
}
