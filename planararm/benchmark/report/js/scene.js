// The arm in its scene.

function inkOf(name) {
  return token(`--${name}`);
}

function stroke(context, points, place, { colour, width, dash = [], alpha = 1 }) {
  context.save();
  context.globalAlpha = alpha;
  context.strokeStyle = colour;
  context.lineWidth = width;
  context.setLineDash(dash);
  context.lineCap = context.lineJoin = "round";
  context.beginPath();
  points.forEach((point, i) => context[i ? "lineTo" : "moveTo"](...place(point)));
  context.stroke();
  context.restore();
}

function disc(context, [x, y], radius, { fillColour = null, edge = null, width = 1, dash = [], alpha = 1 }) {
  context.save();
  context.globalAlpha = alpha;
  context.setLineDash(dash);
  context.beginPath();
  context.arc(x, y, Math.max(radius, 0), 0, 2 * Math.PI);
  if (fillColour) {
    context.fillStyle = fillColour;
    context.fill();
  }
  if (edge) {
    context.strokeStyle = edge;
    context.lineWidth = width;
    context.stroke();
  }
  context.restore();
}

function cross(context, [x, y], size, colour) {
  context.save();
  context.strokeStyle = colour;
  context.lineWidth = 2;
  context.beginPath();
  context.moveTo(x - size, y);
  context.lineTo(x + size, y);
  context.moveTo(x, y - size);
  context.lineTo(x, y + size);
  context.stroke();
  context.beginPath();
  context.arc(x, y, 0.62 * size, 0, 2 * Math.PI);
  context.stroke();
  context.restore();
}

function linkColour(clearance, margin, reach) {
  if (clearance < 0) return inkOf("link-danger");
  return clearance < margin + 0.02 * reach ? inkOf("link-caution") : inkOf("link");
}

function drawDiscs(context, task, discs, place, scale) {
  task.discs.forEach(([x, y, , dx, dy]) => {
    if (dx === undefined) return;
    stroke(context, [[x, y], [x + dx, y + dy]], place, { colour: inkOf("disc-edge"), width: 1.2, dash: [3, 4], alpha: 0.8 });
  });
  discs.forEach(([x, y, radius]) => {
    disc(context, place([x, y]), scale * radius, { fillColour: inkOf("disc"), edge: inkOf("disc-edge"), width: 1.2 });
  });
}

// The region that links' axes must keep out of: disc, link radius and safety margin.
function drawMargins(context, task, arm, discs, place, scale) {
  discs.forEach(([x, y, radius]) => {
    const kept = radius + arm.link_radius + task.margin;
    disc(context, place([x, y]), scale * kept, { edge: inkOf("link-caution"), width: 1, dash: [2, 3] });
  });
}

function drawArm(context, task, arm, q, discs, place, scale) {
  const positions = jointPositions(arm, q);
  const reach = reachOf(arm);
  const width = Math.max(2 * scale * arm.link_radius, 2.5);
  linkClearances(arm, positions, discs).forEach((clearance, i) => {
    stroke(context, [positions[i], positions[i + 1]], place, { colour: linkColour(clearance, task.margin, reach), width });
  });
  positions.slice(0, -1).forEach((position, i) => {
    disc(context, place(position), i ? 0.62 * width : 0.95 * width, { fillColour: i ? inkOf("card") : inkOf("ink"), edge: inkOf("ink"), width: 1.2 });
  });
}

function drawScene(canvas, view) {
  const { task, motion, frame, layers, answer } = view;
  const arm = data.arms[task.arm];
  const reach = reachOf(arm);
  const { context, side } = sharpContext(canvas);
  const scale = side / (2 * 1.12 * reach);
  const place = ([x, y]) => [side / 2 + scale * (x - arm.base[0]), side / 2 - scale * (y - arm.base[1])];
  const discs = discsAt(task.discs, discTime(task, motion, frame));
  const chain = (q, look) => stroke(context, jointPositions(arm, q), place, { width: Math.max(2 * scale * arm.link_radius, 2.5), ...look });
  const tips = motion.frames.map((q) => jointPositions(arm, q)[q.length]);
  const last = motion.frames.length - 1;

  disc(context, place(arm.base), scale * reach, { fillColour: inkOf("workspace"), edge: inkOf("line") });
  drawDiscs(context, task, discs, place, scale);
  if (layers.margin) drawMargins(context, task, arm, discs, place, scale);
  if (motion.targets) stroke(context, motion.targets, place, { colour: inkOf("target"), width: 3, alpha: 0.45 });
  if (layers.start) chain(task.q_start, { colour: inkOf("ghost"), alpha: 0.45 });
  if (layers.answer) chain(motion.frames[last], { colour: inkOf("target"), alpha: 0.4 });
  const proposal = layers.proposal ? proposalAt(answer, frame) : null;
  if (proposal) chain(proposal, { colour: inkOf("proposal"), width: 2, dash: [6, 5] });
  if (layers.trail) {
    stroke(context, tips, place, { colour: inkOf("trail"), width: 1, alpha: 0.35 });
    stroke(context, tips.slice(0, frame + 1), place, { colour: inkOf("trail"), width: 2 });
  }
  drawArm(context, task, arm, motion.frames[frame], discs, place, scale);
  cross(context, place(targetAt(task, motion, frame)), 9, inkOf("target"));
}
