// What a policy did with a task as frames: configurations, and the time of each.
const IK_FRAMES = 60;
const IK_SECONDS = 2;

function motionOf(task, answer) {
  if (task.kind === "track") {
    const frames = answer && answer.path ? unpackRows(answer.path) : [task.q_start];
    return { frames, times: answer && answer.path ? task.times : [0], targets: unpackRows(task.path) };
  }
  const end = (answer && answer.q) || task.q_start;
  const frames = Array.from({ length: IK_FRAMES + 1 }, (_, i) =>
    task.q_start.map((from, joint) => from + (i / IK_FRAMES) * (end[joint] - from)));
  return { frames, times: frames.map((_, i) => (i / IK_FRAMES) * IK_SECONDS), targets: null };
}

// What the policy proposed before its projection, if it says: one configuration, or one per frame.
function proposalAt(answer, frame) {
  if (!answer || !answer.nominal) return null;
  if (Array.isArray(answer.nominal)) return answer.nominal;
  const rows = unpackRows(answer.nominal);
  return rows[Math.min(frame, rows.length - 1)];
}

const discTime = (task, motion, frame) => (task.kind === "track" ? motion.times[frame] : 0);

function targetAt(task, motion, frame) {
  return motion.targets ? motion.targets[Math.min(frame, motion.targets.length - 1)] : task.target;
}

// The numbers of a frame, for the read-out.
function frameFacts(task, motion, frame) {
  const arm = data.arms[task.arm];
  const q = motion.frames[frame];
  const tip = jointPositions(arm, q)[q.length];
  const target = targetAt(task, motion, frame);
  return {
    q,
    tip,
    target,
    time: motion.times[frame],
    error: Math.hypot(tip[0] - target[0], tip[1] - target[1]) / reachOf(arm),
    clearance: clearanceOf(arm, q, discsAt(task.discs, discTime(task, motion, frame))),
  };
}
