"""What the benchmark's harness costs and withstands.

* ``overhead``: time per result row beyond the policy's own, with verification, writing and reading back.
* ``jobs``: whether one process and two give the same rows, and how long they take.
* ``kill``: ``kill -9`` of a run at random moments, the command repeated each time, until it is done.
* ``million``: memory of a run over a million targets, of all its processes together.

    python benchmarks/harness.py [--only NAME ...]
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from planararm.benchmark.results import RESULTS
from planararm.benchmark.runner import run
from planararm.benchmark.scoring import TIMING_COLUMNS
from planararm.benchmark.suites import load_suite

KILLS = 20
MILLION = "v1/ik-clutter?seed=7&scale=435"


def rows_without_times(folder):
    lines = (folder / RESULTS).read_text(encoding="utf-8").splitlines()
    return [{k: v for k, v in json.loads(line).items() if k not in TIMING_COLUMNS} for line in lines]


def overhead(folder):
    suite = load_suite("v1/ik-clutter")
    run(["hold"], suite, folder / "warm")
    for policy in ("hold", "damped-least-squares", "projected-dls"):
        per_row = []
        for repeat in range(5):
            began = time.perf_counter()
            results = run([policy], suite, folder / f"{policy}{repeat}")
            wall = time.perf_counter() - began
            own = np.nansum(results["solve_time"]) + np.nansum(results["latency"])
            per_row.append((wall - own) / len(results))
        print(f"{policy}: {1e6 * np.median(per_row):.1f} us per row beyond the policy ({len(results)} rows, 5 runs)")


def jobs(folder):
    policies = ["closed-form", "damped-least-squares", "numpy-mlp", "projected-mlp"]
    taken = {}
    for number in (1, 2):
        began = time.perf_counter()
        run(policies, "v1/quick", folder / f"jobs{number}", jobs=number)
        taken[number] = time.perf_counter() - began
    same = rows_without_times(folder / "jobs1") == rows_without_times(folder / "jobs2")
    print(f"jobs 1: {taken[1]:.1f} s, jobs 2: {taken[2]:.1f} s; rows identical but for the times: {same}")


def kill(folder):
    def command(out):
        policies = ["closed-form", "damped-least-squares", "projected-dls"]
        return [sys.executable, "-m", "planararm.cli", "bench", *policies, "--no-report", "--jobs", "2", "--out", out]

    began = time.perf_counter()
    subprocess.run(command(folder / "calm"), check=True, capture_output=True)
    whole = time.perf_counter() - began
    draw, kills, out = random.Random(0), 0, folder / "killed"
    while kills < KILLS:
        process = subprocess.Popen(command(out), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            process.wait(draw.uniform(0.2, 1.2) * whole)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
            kills += 1
            continue
        if kills < KILLS:
            size = (out / RESULTS).stat().st_size
            # Done before the last kill: half of what there is goes, so that there is something to interrupt again.
            os.truncate(out / RESULTS, size // 2)
    subprocess.run(command(out), check=True, capture_output=True)
    same = rows_without_times(folder / "calm") == rows_without_times(out)
    print(f"{kills} times kill -9 at random moments of a run of {whole:.1f} s; rows identical: {same}")


def resident(pid):
    """Memory of a process and its descendants [bytes], shared pages counted once (proportional set size)."""
    total, pending = 0, [pid]
    while pending:
        one = pending.pop()
        try:
            for line in Path(f"/proc/{one}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    total += 1024 * int(line.split()[1])
            pending += [int(child) for child in Path(f"/proc/{one}/task/{one}/children").read_text().split()]
        except (OSError, ValueError):
            continue
    return total


def million(folder):
    for number in (1, 2):
        out = folder / f"million{number}"
        command = [sys.executable, "-m", "planararm.cli", "bench", "damped-least-squares", "--suite", MILLION]
        began, peak = time.perf_counter(), 0
        process = subprocess.Popen([*command, "--jobs", str(number), "--out", str(out)], stdout=subprocess.DEVNULL)
        while process.poll() is None:
            peak = max(peak, resident(process.pid))
            time.sleep(0.2)
        taken = time.perf_counter() - began
        size = (out / RESULTS).stat().st_size
        with (out / RESULTS).open("rb") as file:
            count = sum(1 for _ in file)
        page = (out / "report.html").stat().st_size
        print(
            f"jobs {number}: {count} targets in {taken:.0f} s, report included; peak memory {peak / 2**30:.2f} GiB; "
            f"results.jsonl {size / 2**30:.2f} GiB, report.html {page / 1e6:.2f} MB; exit code {process.returncode}"
        )
        shutil.rmtree(out)


PARTS = {"overhead": overhead, "jobs": jobs, "kill": kill, "million": million}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS))
    for name in parser.parse_args().only:
        with tempfile.TemporaryDirectory() as folder:
            PARTS[name](Path(folder))


if __name__ == "__main__":
    main()
