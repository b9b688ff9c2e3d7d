const LAYERS = ["start", "answer", "proposal", "trail", "margin"];
const TRUTHS = { 1: "can be met", 0: "proven unreachable", "-1": "not known whether it can be met" };

function answerFacts(task, answer) {
  const claims = { 1: "claimed to have met it", 0: "did not claim to have met it" };
  const facts = [["outcome", answer.outcome], ["largest error", `${answer.error} of the reach`]];
  if (known(answer.clearance)) facts.push(["least clearance", `${fixed(answer.clearance, 4)} m`]);
  if (answer.motion) facts.push(["motion", answer.motion]);
  if (answer.claimed in claims) facts.push(["the policy", claims[answer.claimed]]);
  if (answer.message) facts.push(["message", answer.message]);
  return [["task", `${task.name} (${task.label})`], ["ground truth", TRUTHS[task.truth]], ...facts];
}

// Frames are stored in 16 bits: smaller errors than this are rounding.
const FRAME_RESOLUTION = 1e-3;

function frameError(error) {
  return error < FRAME_RESOLUTION ? `below ${scientific(FRAME_RESOLUTION)}` : scientific(error);
}

function spokenFrame(player, facts) {
  const near = known(facts.clearance) ? `clearance ${fixed(facts.clearance, 3)} m` : "no discs";
  const joints = facts.q.map((angle) => fixed(angle)).join(", ");
  return `Frame ${player.frame + 1} of ${player.count}, ${fixed(facts.time)} s: error ${frameError(facts.error)} of the reach, ${near}, q = (${joints}) rad.`;
}

function startReplay() {
  const [tasks, policies, range] = [byId("replay-task"), byId("replay-policy"), byId("replay-frame")];
  const [first, second] = [byId("replay-joint-a"), byId("replay-joint-b")];
  const view = { task: null, answer: null, motion: null, frame: 0, layers: {} };
  let suite = null;
  let preferred = null;

  const show = (player) => {
    view.frame = player.frame;
    range.max = player.count - 1;
    range.value = player.frame;
    const facts = frameFacts(view.task, view.motion, player.frame);
    const text = spokenFrame(player, facts);
    range.setAttribute("aria-valuetext", `frame ${player.frame + 1} of ${player.count}`);
    byId("replay-frame-text").textContent = text;
    // While it plays, thirty sentences a second would drown everything else.
    if (!player.playing) byId("replay-live").textContent = text;
    byId("replay-play").textContent = player.playing ? "Pause" : "Play";
    drawScene(byId("replay-scene"), view);
    drawSpace(byId("replay-space"), view, Number(first.value), Number(second.value), player.playing);
  };
  const player = makePlayer(show);

  const loadAnswer = () => {
    view.answer = view.task.answers[policies.value];
    view.motion = motionOf(view.task, view.answer);
    clear(byId("replay-facts")).append(...answerFacts(view.task, view.answer).map(([name, text]) =>
      make("div", {}, make("dt", {}, name), make("dd", {}, text))));
    const { times } = view.motion;
    document.querySelectorAll(".of-proposal").forEach((element) => (element.hidden = !view.answer.nominal));
    player.load(view.motion.frames.length, times.length > 1 ? times[1] - times[0] : 0.05);
  };
  const loadTask = () => {
    view.task = suite.replays[Number(tasks.value)];
    const there = data.policies.map((_, i) => i).filter((i) => i in view.task.answers);
    const chosen = there.includes(preferred) ? preferred : there[0];
    clear(policies).append(...there.map((i) => make("option", { value: i, selected: i === chosen }, policyName(i))));
    const joints = view.task.q_start.map((_, i) => `joint ${i + 1}`);
    options(first, joints, 0);
    options(second, joints, Math.min(1, joints.length - 1));
    loadAnswer();
  };
  const loadSuite = () => {
    const sets = ["worst", "random", "chosen"].map((set) => {
      const own = suite.replays.map((task, i) => [task, i]).filter(([task]) => task.set === set);
      const entries = own.map(([task, i]) => make("option", { value: i }, `${task.name} (${task.label})`));
      return own.length ? make("optgroup", { label: data.replay_sets[set] }, ...entries) : null;
    });
    clear(tasks).append(...sets.filter((set) => set !== null));
    byId("replay").hidden = !suite.replays.length;
    if (suite.replays.length) loadTask();
  };

  tasks.addEventListener("change", loadTask);
  policies.addEventListener("change", () => {
    preferred = Number(policies.value);
    loadAnswer();
  });
  [first, second].forEach((select) => select.addEventListener("change", () => show(player)));
  LAYERS.forEach((layer) => {
    const box = byId(`replay-${layer}`);
    view.layers[layer] = box.checked;
    box.addEventListener("change", () => {
      view.layers[layer] = box.checked;
      show(player);
    });
  });
  byId("replay-play").addEventListener("click", player.toggle);
  byId("replay-back").addEventListener("click", () => (player.pause(), player.go(player.frame - 1)));
  byId("replay-on").addEventListener("click", () => (player.pause(), player.go(player.frame + 1)));
  byId("replay-speed").addEventListener("change", () => (player.speed = Number(byId("replay-speed").value)));
  range.addEventListener("input", () => {
    const frame = Number(range.value);
    player.pause();
    player.go(frame);
  });
  const keys = {
    ArrowLeft: () => player.go(player.frame - 1),
    ArrowRight: () => player.go(player.frame + 1),
    Home: () => player.go(0),
    End: () => player.go(player.count - 1),
  };
  byId("replay-stage").addEventListener("keydown", (event) => {
    if (event.key === " ") player.toggle();
    else if (event.key in keys) (player.pause(), keys[event.key]());
    else return;
    event.preventDefault();
  });

  const redraw = () => view.task && show(player);
  whenResized(byId("replay-stage"), redraw);
  return {
    show: (next) => {
      if (next === suite) return;
      suite = next;
      loadSuite();
    },
    redraw,
    facts: () => frameFacts(view.task, view.motion, player.frame),
    view,
  };
}
