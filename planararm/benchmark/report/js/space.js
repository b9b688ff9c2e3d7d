// The configuration-space slice beside the scene: two joints, the others where they are in this frame.
const SLICE_PAD = 46;
const SLICE_FINE = 140;
const SLICE_COARSE = 84;

const channel = (colour) => colour.match(/[\da-f]{2}/gi).slice(0, 3).map((part) => parseInt(part, 16));

function sliceImage(values, size, margin) {
  const image = new ImageData(size, size);
  const [blocked, narrow] = [channel(inkOf("blocked")), channel(inkOf("narrow"))];
  for (let row = 0; row < size; row++) {
    for (let column = 0; column < size; column++) {
      const value = values[(size - 1 - row) * size + column];
      const at = 4 * (row * size + column);
      const colour = value < margin ? blocked : narrow;
      const near = Math.max(0, 1 - (value - margin) / 0.35);
      colour.forEach((part, i) => (image.data[at + i] = part));
      image.data[at + 3] = value < margin ? 235 : 110 * near * near;
    }
  }
  const canvas = make("canvas", { width: size, height: size });
  canvas.getContext("2d").putImageData(image, 0, 0);
  return canvas;
}

function sliceAxes(context, arm, a, b, place) {
  const [[aLow, aHigh], [bLow, bHigh]] = [arm.joint_limits[a], arm.joint_limits[b]];
  const low = SLICE_PAD;
  const high = SCENE_SIZE - SLICE_PAD;
  context.strokeStyle = token("--muted");
  context.strokeRect(low, low, high - low, high - low);
  context.fillStyle = token("--muted");
  context.font = "12px system-ui, sans-serif";
  context.textAlign = "center";
  const text = (value) => fixed(value, 1);
  niceTicks(aLow, aHigh, 4).forEach(({ value }) => context.fillText(text(value), place([value, bLow])[0], high + 16));
  context.fillText(`joint ${a + 1} [rad]`, SCENE_SIZE / 2, high + 35);
  context.textAlign = "right";
  niceTicks(bLow, bHigh, 4).forEach(({ value }) => context.fillText(text(value), low - 6, place([aLow, value])[1] + 4));
  context.save();
  context.translate(12, SCENE_SIZE / 2);
  context.rotate(-Math.PI / 2);
  context.textAlign = "center";
  context.fillText(`joint ${b + 1} [rad]`, 0, 0);
  context.restore();
}

function drawSpace(canvas, view, a, b, playing) {
  const { task, motion, frame, answer, layers } = view;
  const arm = data.arms[task.arm];
  const q = motion.frames[frame];
  const context = sharpContext(canvas, SCENE_SIZE, SCENE_SIZE);
  const inner = SCENE_SIZE - 2 * SLICE_PAD;
  const share = (value, [low, high]) => (high > low ? Math.min(1, Math.max(0, (value - low) / (high - low))) : 0.5);
  const place = ([x, y]) => [
    SLICE_PAD + inner * share(x, arm.joint_limits[a]),
    SCENE_SIZE - SLICE_PAD - inner * share(y, arm.joint_limits[b]),
  ];
  const at = (angles) => place([angles[a], angles[b]]);
  const discs = discsAt(task.discs, discTime(task, motion, frame));
  const size = playing ? SLICE_COARSE : SLICE_FINE;
  context.fillStyle = inkOf("workspace");
  context.fillRect(SLICE_PAD, SLICE_PAD, inner, inner);
  if (discs.length) {
    const values = sliceOf(arm, q, discs, a, b, size);
    context.imageSmoothingQuality = "high";
    context.drawImage(sliceImage(values, size, 0), SLICE_PAD, SLICE_PAD, inner, inner);
    // Values stand in the middle of the cells of the grid.
    const step = inner / size;
    const point = (x, y) => [SLICE_PAD + step * (x + 0.5), SCENE_SIZE - SLICE_PAD - step * (y + 0.5)];
    const lines = (level, colour, width) => contour(values, size, level).forEach(([x0, y0, x1, y1]) =>
      stroke(context, [point(x0, y0), point(x1, y1)], (pair) => pair, { colour, width }));
    lines(0, inkOf("disc-edge"), 1.5);
    if (layers.margin) lines(task.margin + 0.02, inkOf("link-caution"), 1);
  }
  stroke(context, motion.frames, at, { colour: inkOf("trail"), width: 1.2, alpha: 0.5 });
  stroke(context, motion.frames.slice(0, frame + 1), at, { colour: inkOf("trail"), width: 2.2 });
  disc(context, at(task.q_start), 6, { fillColour: inkOf("ghost"), edge: inkOf("card"), width: 1.5 });
  if (layers.answer) disc(context, at(motion.frames[motion.frames.length - 1]), 6, { fillColour: inkOf("target"), edge: inkOf("card"), width: 1.5 });
  const proposal = layers.proposal ? proposalAt(answer, frame) : null;
  if (proposal) disc(context, at(proposal), 6, { edge: inkOf("proposal"), width: 2 });
  disc(context, at(q), 5, { fillColour: inkOf("link"), edge: inkOf("card"), width: 1.5 });
  sliceAxes(context, arm, a, b, place);
}
