"""Results for the tests of the report: policies that fail in many ways, an awkward name, moving discs."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import small_suite as ours
from small_suite import small_suite

from planararm.arm import make_arm
from planararm.benchmark.entrants import Entrant
from planararm.benchmark.frame import Results
from planararm.benchmark.runner import run
from planararm.benchmark.suites import witness_group
from planararm.benchmark.tasks import Suite, TaskGroup
from planararm.obstacles import Obstacles
from planararm.policies import make_policy
from planararm.scene import Scene

AWKWARD = "</script><script>window.broken = 1</script> & \"<b>'"
BROWSER = shutil.which("chromium") or shutil.which("google-chrome")

COLLECT = """<script>
window.complaints = [];
window.addEventListener("error", (event) => complaints.push(String(event.message)));
window.addEventListener("unhandledrejection", (event) => complaints.push(String(event.reason)));
for (const name of ["error", "warn"]) console[name] = (...words) => complaints.push(words.join(" "));
</script>"""

REPORT = """<script>
const byId = (id) => document.getElementById(id);
const all = (selector) => Array.from(document.querySelectorAll(selector));
const change = (id, value) => {
  byId(id).value = value;
  byId(id).dispatchEvent(new Event("change"));
};
const wait = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));
window.addEventListener("load", async () => {
  const found = {};
  try {
    await (async () => { %s })();
  } catch (error) {
    complaints.push(`${error} ${error.stack}`);
  }
  const pre = document.createElement("pre");
  pre.id = "findings";
  pre.textContent = JSON.stringify({ ...found, complaints });
  document.body.append(pre);
});
</script>"""


class Proposes(ours.Base):
    """Says what it proposed before it thought better of it."""

    def solve(self, target_position, q, scene, *, target_orientation=None):
        solution = super().solve(target_position, q, scene)
        solution.info["nominal_q"] = np.asarray(solution.q) + 0.1
        return solution


@cache
def moving_suite() -> Suite:
    """Two paths among a disc that shuttles and one that stands."""
    rng = np.random.default_rng(3)
    obstacles = Obstacles([[2.6, 1.0], [-2.0, -2.0]], [0.2, 0.3], [[0.0, -2.0, 0.9, 0.25], [0, 0, 0, 0]])
    still = Scene(make_arm("unit3"), Obstacles.none())
    free = witness_group(rng, "track", "unit3", Scene.stack([still, still]), 130)
    scene = Scene.stack([Scene(still.arm, obstacles)] * 2)
    group = TaskGroup("moving", "unit3", scene, free.q_start, free.targets, free.truth, ("shuttle", "shuttle"))
    return Suite("test/moving", "Discs that move.", (group,))


def entrants() -> list[Any]:
    """Six policies, of which one supports only three joints."""
    return [
        "hold",
        "closed-form",
        Entrant("sometimes", ours.RaisesSometimes),
        Entrant("boasts", ours.Boasts),
        Entrant(AWKWARD, Proposes),
        Entrant("damped", make_policy("damped-least-squares")),
    ]


def run_small(folder: Path) -> Results:
    """Results of the small suite."""
    return run(entrants(), small_suite(), folder)


def run_moving(folder: Path) -> Results:
    """Results of the suite with moving discs."""
    return run(["hold", Entrant(AWKWARD, Proposes)], moving_suite(), folder)


def data_of(page: str) -> Any:
    """The JSON in a page."""
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    assert found is not None
    return json.loads(found.group(1))


def browse(page: Path, scratch: Path, script: str, *options: str) -> dict[str, Any]:
    """Open a copy of a page in a headless browser, run a script there and return what it found.

    Args:
        page: The page.
        scratch: For the copy and the browser's profile.
        script: JavaScript that fills ``found``; may ``await wait(milliseconds)``.
        *options: More options of the browser.
    """
    assert BROWSER is not None
    text = page.read_text(encoding="utf-8").replace("<head>", f"<head>{COLLECT}{REPORT % script}", 1)
    copy = scratch / "copy.html"
    copy.write_text(text, encoding="utf-8")
    done = subprocess.run(
        [
            BROWSER,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            f"--user-data-dir={scratch / 'profile'}",
            "--window-size=1280,900",
            "--virtual-time-budget=30000",
            *options,
            "--dump-dom",
            copy.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=100,
        check=True,
    )
    found = re.search(r'<pre id="findings">(.*?)</pre>', done.stdout, re.DOTALL)
    assert found is not None, done.stderr[-2000:]
    plain = found.group(1).replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
    findings: dict[str, Any] = json.loads(plain)
    return findings
