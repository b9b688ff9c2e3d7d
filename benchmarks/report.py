"""The report of 20 policies on every suite: its size, how long it takes to write, and how a browser opens it.

    python benchmarks/report.py [--policies 20] [--suites v1/quick v1/duka] [--out DIR]

The results are synthetic: the answers of one classical solver with noise, from 1e-7 rad for the first policy to 1 rad
for the last, scored as any policy's are. Needs Chromium (or Google Chrome) for the time that the page takes to open.
"""

from __future__ import annotations

import argparse
import json
import re
import resource
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np

from planararm.benchmark.calls import Answers
from planararm.benchmark.report import write_report
from planararm.benchmark.results import ResultsWriter, prepare_folder
from planararm.benchmark.rollout import IKRollout, rollout_ik
from planararm.benchmark.scoring import Rows, score_ik, score_tracking
from planararm.benchmark.suites import available_suites, load_suite
from planararm.benchmark.tasks import Suite, TaskGroup
from planararm.benchmark.tracking import TrackingRollout, rollout_tracking
from planararm.metrics import clearance, tracking_error
from planararm.policies import make_policy

SOLVER = "projected-dls"

MEASURE = """<script>
const errors = [];
window.addEventListener("error", (event) => errors.push(event.message));
console.error = (...words) => errors.push(words.join(" "));
window.addEventListener("load", () => setTimeout(() => {
  const timing = performance.getEntriesByType("navigation")[0];
  const drawn = document.querySelectorAll("#board tbody tr").length;
  const pre = document.createElement("pre");
  pre.id = "measured";
  pre.textContent = JSON.stringify({load: timing.loadEventEnd, rows: drawn, errors});
  document.body.append(pre);
}, 0));
</script>"""


def noisy_ik(group: TaskGroup, base: IKRollout, rng: np.random.Generator, noise: float) -> IKRollout:
    count = len(group)
    q = base.answers.q + noise * rng.standard_normal(base.answers.q.shape)
    answers = Answers.none(count, q.shape[-1])
    answers.q[:], answers.nominal_q[:] = q, q + 0.1 * rng.standard_normal(q.shape)
    answers.claimed[:] = rng.random(count) < 0.9
    answers.seconds[:] = 10 ** rng.uniform(-6, -3) * rng.lognormal(0, 0.2, count)
    return IKRollout(answers, answers.seconds * 20)


def noisy_track(group: TaskGroup, base: TrackingRollout, rng: np.random.Generator, noise: float) -> TrackingRollout:
    arm, count = group.scene.arm, len(group)
    q_path = base.q_path + noise * rng.standard_normal((count, 1, arm.num_joints))
    q_path[:, 0] = base.q_path[:, 0]
    errors = tracking_error(arm.end_effector(q_path[:, 1:]), group.targets[:, 1:])
    least = np.array([clearance(path, group.scene[i]).min() for i, path in enumerate(q_path)])
    seconds = np.full(count, 10 ** rng.uniform(-6, -3))
    contacts = (least < 0).astype(np.int64)
    return TrackingRollout(
        q_path, errors, base.jump, base.limit_violation, contacts, contacts, least, {}, set(), seconds
    )  # fmt: skip


def rows_of(suite: Suite, group: TaskGroup, name: str, base: object, rng: np.random.Generator, noise: float) -> Rows:
    arguments = (suite.name, name, 0, group, group.task_names())
    if isinstance(base, IKRollout):
        return score_ik(*arguments, noisy_ik(group, base, rng, noise), suite.tolerance)
    assert isinstance(base, TrackingRollout)
    return score_tracking(*arguments, noisy_track(group, base, rng, noise), suite.tolerance)


def write_results(folder: Path, suite: Suite, num_policies: int) -> int:
    """Synthetic results of a suite.

    Returns:
        The number of rows.
    """
    levels = np.logspace(-7, 0, num_policies)
    names = [f"synthetic-{level:.0e}-{i:02d}" for i, level in enumerate(levels)]
    folder.mkdir(parents=True, exist_ok=True)
    prepare_folder(folder, suite, dict.fromkeys(names, "synthetic"), [0], fresh=True)
    count = 0
    with ResultsWriter(folder, suite) as writer:
        for number, group in enumerate(suite.groups):
            policy = make_policy(SOLVER)
            base = rollout_ik(policy, group, latency_calls=0) if group.kind == "ik" else rollout_tracking(policy, group)
            for i, (name, level) in enumerate(zip(names, levels, strict=True)):
                rows = rows_of(suite, group, name, base, np.random.default_rng([number, i]), level)
                writer.write(rows.lines, name, 0, group.name, slice(0, len(group)))
                count += len(rows)
    return count


def open_in_browser(page: Path, browser: str) -> dict[str, object]:
    """What a headless browser says of a page: milliseconds to its load event, rows of the leaderboard, errors."""
    with tempfile.TemporaryDirectory() as scratch:
        copy = Path(scratch) / "page.html"
        copy.write_text(page.read_text(encoding="utf-8").replace("<head>", f"<head>{MEASURE}", 1), encoding="utf-8")
        command = [browser, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={scratch}/profile"]
        done = subprocess.run(
            [*command, "--dump-dom", copy.as_uri()], capture_output=True, text=True, timeout=120, check=True
        )
    found = re.search(r'<pre id="measured">(.*?)</pre>', done.stdout)
    if found is None:
        raise SystemExit(f"The page did not finish loading:\n{done.stderr}")
    measured: dict[str, object] = json.loads(found.group(1))
    return measured


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--policies", type=int, default=20)
    parser.add_argument("--suites", nargs="+", default=available_suites())
    parser.add_argument("--out", type=Path, help="keep results and report here")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        out = arguments.out or Path(scratch)
        began, count = time.perf_counter(), 0
        folders = [out / name.replace("/", "-") for name in arguments.suites]
        for name, folder in zip(arguments.suites, folders, strict=True):
            count += write_results(folder, load_suite(name), arguments.policies)
        print(f"{count} rows of {arguments.policies} policies on {len(folders)} suites: "
              f"{time.perf_counter() - began:.1f} s")  # fmt: skip
        began = time.perf_counter()
        page = write_report(folders, out=out / "report.html")
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(f"report written in {time.perf_counter() - began:.1f} s, peak memory {peak:.0f} MB")
        print(f"size: {page.stat().st_size / 1e6:.2f} MB (to stay below: 5)")
        browser = shutil.which("chromium") or shutil.which("google-chrome")
        if browser is None:
            print("no Chromium here: not opened")
            return
        measured = [open_in_browser(page, browser) for _ in range(3)]
        loads = ", ".join(f"{one['load']:.0f}" for one in measured)
        print(f"opens in {loads} ms (to stay below: 2000), {measured[0]['rows']} rows in the leaderboard, "
              f"console errors: {measured[0]['errors'] or 'none'}")  # fmt: skip


if __name__ == "__main__":
    main()
