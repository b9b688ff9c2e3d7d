// Where in the workspace a policy errs, and how close it comes to the discs. Targets are binned by their position
// relative to the base, in reaches; blue is good, vermilion is not, pale is the boundary between them.
const MAP_PAD = 34;
const RINGS = [0, 0.25, 0.5, 0.75, 1, 1.25];

function mixColour(from, to, weight) {
  return `rgb(${from.map((value, i) => Math.round(value + weight * (to[i] - value))).join(",")})`;
}

const mapEnds = () => (isDark()
  ? { good: [86, 170, 240], middle: [92, 101, 111], bad: [250, 112, 74] }
  : { good: [0, 84, 150], middle: [236, 239, 241], bad: [196, 48, 14] });

// Colour of a position on the scale from -1, good, to 1, bad; equal steps look about equal.
function mapColour(position, ends = mapEnds()) {
  const clipped = Math.max(-1, Math.min(1, position));
  return mixColour(ends.middle, clipped < 0 ? ends.good : ends.bad, Math.abs(clipped) ** 0.8);
}

const MAPS = {
  error: {
    name: "Error",
    values: (score) => bytes(score.map_error),
    value: (code) => (code ? data.maps.error_low + ((code - 1) / 254) * (data.maps.error_high - data.maps.error_low) : null),
    position: (value) => {
      const middle = Math.log10(toleranceNow());
      return value > middle ? (value - middle) / (0 - middle) : (value - middle) / Math.min(3, middle - data.maps.error_low);
    },
    text: (value) => scientific(10 ** value),
    ends: () => [`${scientific(toleranceNow() / 1000)} and less`, scientific(toleranceNow()), "1"],
    ring: (values) => scientific(10 ** (values.reduce((sum, value) => sum + value, 0) / values.length)),
    about: "geometric mean of the error, fraction of the reach",
  },
  clearance: {
    name: "Clearance",
    values: (score) => bytes(score.map_clearance),
    value: (code) => (code ? ((code - 128) / 127) * data.maps.clearance : null),
    position: (value) => -value / (0.5 * data.maps.clearance),
    text: (value) => fixed(value, 3),
    ends: () => [`${fixed(data.maps.clearance / 2)} and more`, "0", `${fixed(-data.maps.clearance / 2)} and less`],
    ring: (values) => fixed(Math.min(...values), 3),
    about: "smallest clearance, fraction of the reach; negative is overlap with a disc",
  },
};

function mapGrid(score, map, size) {
  const codes = map.values(score);
  return Array.from(codes, map.value).map((value, i) => ({ value, column: i % size, row: Math.floor(i / size) }));
}

function drawMap(canvas, cells, map, size) {
  const { context, side } = sharpContext(canvas);
  const inner = side - 2 * MAP_PAD;
  const step = inner / size;
  const ends = mapEnds();
  context.fillStyle = token("--muted");
  context.textAlign = "center";
  const half = data.maps.half_width;
  const place = (value) => MAP_PAD + ((value + half) / (2 * half)) * inner;
  [-1, -0.5, 0, 0.5, 1].forEach((value) => {
    context.fillText(String(value).replace("-", "\u2212"), place(value), side - 12);
    context.fillText(String(value).replace("-", "\u2212"), 14, side - place(value) + 4);
  });
  for (const { value, column, row } of cells) {
    if (value === null) continue;
    context.fillStyle = mapColour(map.position(value), ends);
    const left = Math.round(MAP_PAD + column * step);
    const top = Math.round(side - MAP_PAD - (row + 1) * step);
    context.fillRect(left, top, Math.round(MAP_PAD + (column + 1) * step) - left, Math.round(side - MAP_PAD - row * step) - top);
  }
  context.strokeStyle = token("--muted");
  context.lineWidth = 1;
  context.beginPath();
  context.arc(side / 2, side / 2, inner / (2 * half), 0, 2 * Math.PI);
  context.stroke();
  context.fillStyle = token("--ink");
  context.beginPath();
  context.arc(side / 2, side / 2, 3.5, 0, 2 * Math.PI);
  context.fill();
}

function cellText(cells, map, size, column, row) {
  const width = (2 * data.maps.half_width) / size;
  const at = (i) => fixed((i + 0.5) * width - data.maps.half_width);
  const { value } = cells[row * size + column];
  const where = `At (${at(column)}, ${at(row)})`;
  return value === null ? `${where}: no task.` : `${where}: ${map.text(value)}.`;
}

// Reading off a map by pointer, or by arrow keys when the canvas has the focus.
function probeMap(key) {
  const canvas = byId(`map-${key}`);
  const cursor = { column: 0, row: 0, cells: null, size: 1 };
  const tell = () => {
    byId(`map-${key}-read`).textContent = cellText(cursor.cells, MAPS[key], cursor.size, cursor.column, cursor.row);
  };
  const within = (i) => Math.min(cursor.size - 1, Math.max(0, i));
  canvas.addEventListener("pointermove", (event) => {
    if (!cursor.cells) return;
    const box = canvas.getBoundingClientRect();
    const step = (box.width - 2 * MAP_PAD) / cursor.size;
    cursor.column = within(Math.floor((event.clientX - box.left - MAP_PAD) / step));
    cursor.row = within(Math.floor((box.bottom - MAP_PAD - event.clientY) / step));
    tell();
  });
  const steps = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };
  canvas.addEventListener("keydown", (event) => {
    if (!cursor.cells || !(event.key in steps)) return;
    event.preventDefault();
    cursor.column = within(cursor.column + steps[event.key][0]);
    cursor.row = within(cursor.row + steps[event.key][1]);
    tell();
  });
  return (cells, size) => {
    Object.assign(cursor, { cells, size, column: size >> 1, row: size >> 1 });
    byId(`map-${key}-read`).textContent = "Point at the map to read it off, or use the arrow keys on it.";
  };
}

function ringRows(cells, size, map) {
  const rings = RINGS.slice(1).map(() => []);
  const width = (2 * data.maps.half_width) / size;
  for (const { value, column, row } of cells) {
    const radius = Math.hypot((column + 0.5) * width - data.maps.half_width, (row + 0.5) * width - data.maps.half_width);
    const ring = RINGS.findIndex((edge) => radius < edge) - 1;
    if (value !== null && ring >= 0) rings[ring].push(value);
  }
  return rings.map((values) => (values.length ? map.ring(values) : ABSENT));
}

function startMaps() {
  const select = byId("map-policy");
  const probes = Object.fromEntries(Object.keys(MAPS).map((key) => [key, probeMap(key)]));
  let chosen = null;

  const redraw = () => {
    const section = sectionNow();
    const score = section.scores.find((one) => one.policy === chosen);
    byId("map-figures").hidden = !score;
    clear(byId("map-table"));
    if (!score) return;
    const rows = Object.entries(MAPS).map(([key, map]) => {
      const cells = mapGrid(score, map, section.map_size);
      const some = cells.some(({ value }) => value !== null);
      byId(`map-${key}`).closest("figure").hidden = !some;
      drawMap(byId(`map-${key}`), cells, map, section.map_size);
      byId(`map-${key}`).setAttribute("aria-label", `${map.name} of ${policyName(chosen)} over the workspace, ${map.about}`);
      probes[key](cells, section.map_size);
      const bar = byId(`map-${key}-scale`);
      const stops = Array.from({ length: 11 }, (_, i) => mapColour(-1 + i / 5));
      clear(bar).append(
        make("span", { class: "ramp", style: `background:linear-gradient(90deg,${stops.join(",")})` }),
        ...map.ends().map((text) => make("span", {}, text)),
      );
      return [`${map.name}: ${map.about}`, ...ringRows(cells, section.map_size, map)];
    });
    const heads = RINGS.slice(1).map((edge, i) => `${fixed(RINGS[i])}\u2013${fixed(edge)}`);
    showTable(byId("map-table"), `${policyName(chosen)} by distance of the target from the base, fraction of the reach`, ["distance", ...heads], rows);
  };

  select.addEventListener("change", () => {
    chosen = Number(select.value);
    redraw();
  });
  whenResized(byId("map-figures"), redraw);
  renderers.push((section) => {
    const policies = section.scores.map((score) => score.policy);
    if (!policies.includes(chosen)) chosen = policies.length ? policies[0] : null;
    clear(select).append(...policies.map((policy) => make("option", { value: policy, selected: policy === chosen }, policyName(policy))));
    redraw();
  });
}
