"""What the bundled suites hold: tasks by kind and truth, time to generate them, content hash; and a suite of a million.

    python benchmarks/suites.py [--large v1/ik-clutter] [--scale 500]

Truth: 1 can be met, 0 proven that it cannot, -1 unknown. The large suite is generated in a process of its own, whose
peak of memory is shown. Exits with status 1 if a suite takes more than 5 s, all of them 15 s, the large one 60 s or
1 GB.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import time
from collections import Counter

from rich.console import Console
from rich.table import Table

from planararm.benchmark.suites import available_suites, load_suite, make_suite
from planararm.benchmark.tasks import Suite

SUITE_SECONDS, TOTAL_SECONDS, LARGE_SECONDS, LARGE_MEMORY = 5.0, 15.0, 60.0, 1e9


def generate(name: str) -> tuple[Suite, float]:
    """A suite and the seconds that it took."""
    start = time.perf_counter()
    suite = load_suite(name)
    return suite, time.perf_counter() - start


def describe(suite: Suite) -> list[tuple[str, str, str]]:
    """Group, arm and the numbers of tasks by label and truth."""
    lines = []
    for group in suite.groups:
        counts = Counter(zip(group.labels, group.truth.tolist(), strict=True))
        named = group.kind == "track" and len(set(group.labels)) == len(group)
        if named:
            truth = Counter(group.truth.tolist())
            tasks = ", ".join(f"{count} named paths ({verdict})" for verdict, count in truth.items())
        else:
            tasks = ", ".join(f"{count} {label} ({verdict})" for (label, verdict), count in counts.items())
        lines.append((group.name, group.arm, tasks))
    return lines


def large(name: str, scale: float) -> None:
    """Print tasks, seconds and bytes of a large suite's generation."""
    # Once before: compiled kernels have to be loaded, and the second suite of a process is what is of interest.
    make_suite(name, seed=2, scale=0.01)
    start = time.perf_counter()
    suite = make_suite(name, seed=1, scale=scale)
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    print(len(suite), seconds, peak)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--large", default="v1/ik-clutter", help="recipe of the large suite")
    parser.add_argument("--scale", type=float, default=500, help="how many times as many tasks")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        large(options.large, options.scale)
        return 0
    # Compile first.
    for name in available_suites():
        make_suite(name, seed=1, scale=0.01)
    table = Table(title="bundled suites")
    for column in ("suite", "group", "arm", "tasks (truth)", "seconds", "content hash"):
        table.add_column(column, overflow="fold")
    times = []
    for name in available_suites():
        suite, seconds = generate(name)
        times.append(seconds)
        for i, line in enumerate(describe(suite)):
            rest = (f"{seconds:.2f}", suite.content_hash) if i == 0 else ("", "")
            table.add_row(name if i == 0 else "", *line, *rest, end_section=i == len(suite.groups) - 1)
    console = Console(width=None if sys.stdout.isatty() else 180)
    console.print(table)
    console.print(f"all of them: {sum(times):.1f} s")

    command = [sys.executable, __file__, "--child", "--large", options.large, "--scale", str(options.scale)]
    child = subprocess.run(command, capture_output=True, text=True, check=True)
    count, seconds, peak = (float(text) for text in child.stdout.split())
    console.print(
        f"{options.large}?seed=1&scale={options.scale:g}: {count:,.0f} tasks in {seconds:.1f} s, "
        f"peak of the process {peak / 1e9:.2f} GB",
        highlight=False,
    )
    slow = max(times) > SUITE_SECONDS or sum(times) > TOTAL_SECONDS
    return int(slow or seconds > LARGE_SECONDS or peak > LARGE_MEMORY)


if __name__ == "__main__":
    sys.exit(main())
