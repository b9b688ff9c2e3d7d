// The configuration-space slice beside the scene: two joints, the others where they are in this frame.
const SLICE_PAD = 46;
const SLICE_FINE = 140;
const SLICE_COARSE = 84;

const channel = (colour) => colour.match(/[\da-f]{2}/gi).slice(0, 3).map((part) => parseInt(part, 16));

// In contact: filled; near it, up to a twelfth of the reach away: a halo.
function sliceImage(values, size, halo) {
  const image = new ImageData(size, size);
  const [blocked, narrow] = [channel(inkOf("blocked")), channel(inkOf("narrow"))];
  for (let row = 0; row < size; row++) {
    for (let column = 0; column < size; column++) {
      const value = values[(size - 1 - row) * size + column];
      const at = 4 * (row * size + column);
      const colour = value < 0 ? blocked : narrow;
      const near = Math.max(0, 1 - value / halo);
      colour.forEach((part, i) => (image.data[at + i] = part));
      image.data[at + 3] = value < 0 ? 235 : 110 * near * near;
    }
  }
  const canvas = make("canvas", { width: size, height: size });
  canvas.getContext("2d").putImageData(image, 0, 0);
  return canvas;
}

function sliceAxes(context, side, arm, a, b, place) {
  const [[left, right], [bottom, top]] = [arm.joint_limits[a], arm.joint_limits[b]];
  const low = SLICE_PAD;
  const high = side - SLICE_PAD;
  context.strokeStyle = token("--muted");
  context.strokeRect(low, low, high - low, high - low);
  context.fillStyle = token("--muted");
  context.textAlign = "center";
  const text = (value) => fixed(value, 1);
  niceTicks(left, right, 4).forEach(({ value }) => context.fillText(text(value), place([value, bottom])[0], high + 16));
  context.fillText(`joint ${a + 1} [rad]`, side / 2, high + 35);
  context.textAlign = "right";
  niceTicks(bottom, top, 4).forEach(({ value }) => context.fillText(text(value), low - 6, place([left, value])[1] + 4));
  context.save();
  context.translate(12, side / 2);
  context.rotate(-Math.PI / 2);
  context.textAlign = "center";
  context.fillText(`joint ${b + 1} [rad]`, 0, 0);
  context.restore();
}

function drawLevel(context, segments, place, colour, width) {
  context.strokeStyle = colour;
  context.lineWidth = width;
  context.beginPath();
  segments.forEach(([x0, y0, x1, y1]) => {
    context.moveTo(...place(x0, y0));
    context.lineTo(...place(x1, y1));
  });
  context.stroke();
}

function drawSpace(canvas, view, a, b, playing) {
  const { task, motion, frame, answer, layers } = view;
  const arm = data.arms[task.arm];
  const q = motion.frames[frame];
  const { context, side } = sharpContext(canvas);
  const inner = side - 2 * SLICE_PAD;
  const share = (value, [low, high]) => (high > low ? Math.min(1, Math.max(0, (value - low) / (high - low))) : 0.5);
  const place = ([x, y]) => [
    SLICE_PAD + inner * share(x, arm.joint_limits[a]),
    side - SLICE_PAD - inner * share(y, arm.joint_limits[b]),
  ];
  const at = (angles) => place([angles[a], angles[b]]);
  const discs = discsAt(task.discs, discTime(task, motion, frame));
  const size = playing ? SLICE_COARSE : SLICE_FINE;
  context.fillStyle = inkOf("workspace");
  context.fillRect(SLICE_PAD, SLICE_PAD, inner, inner);
  if (discs.length) {
    const values = sliceOf(arm, q, discs, a, b, size);
    context.imageSmoothingQuality = "high";
    context.drawImage(sliceImage(values, size, reachOf(arm) / 12), SLICE_PAD, SLICE_PAD, inner, inner);
    // Values stand in the middle of the cells of the grid.
    const step = inner / size;
    const point = (x, y) => [SLICE_PAD + step * (x + 0.5), side - SLICE_PAD - step * (y + 0.5)];
    if (layers.margin) drawLevel(context, contour(values, size, task.margin), point, inkOf("link-caution"), 2.5);
    drawLevel(context, contour(values, size, 0), point, inkOf("disc-edge"), 1);
  }
  stroke(context, motion.frames, at, { colour: inkOf("trail"), width: 1.2, alpha: 0.5 });
  stroke(context, motion.frames.slice(0, frame + 1), at, { colour: inkOf("trail"), width: 2.2 });
  disc(context, at(task.q_start), 6, { fillColour: inkOf("ghost"), edge: inkOf("card"), width: 1.5 });
  if (layers.answer) disc(context, at(motion.frames[motion.frames.length - 1]), 6, { fillColour: inkOf("target"), edge: inkOf("card"), width: 1.5 });
  const proposal = layers.proposal ? proposalAt(answer, frame) : null;
  if (proposal) disc(context, at(proposal), 6, { edge: inkOf("proposal"), width: 2 });
  disc(context, at(q), 5, { fillColour: inkOf("link"), edge: inkOf("card"), width: 1.5 });
  sliceAxes(context, side, arm, a, b, place);
}
