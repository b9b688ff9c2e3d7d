"""Time of ``import planararm`` against ``import gymnasium``, in fresh interpreters, the two in turn.

    python benchmarks/import_time.py [--runs 15]

What an interpreter without imports takes is measured too and subtracted. Target: at most 1.3 times Gymnasium.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time

TARGET = 1.3
STATEMENTS = {"nothing": "pass", "gymnasium": "import gymnasium", "planararm": "import planararm"}


def seconds(statement: str) -> float:
    """Wall-clock time of one interpreter that runs the statement [s]."""
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", statement], check=True)
    return time.perf_counter() - start


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=15, help="interpreters per statement (default: %(default)s)")
    runs = parser.parse_args().runs
    for statement in STATEMENTS.values():
        seconds(statement)
    times: dict[str, list[float]] = {name: [] for name in STATEMENTS}
    for _ in range(runs):
        for name, statement in STATEMENTS.items():
            times[name].append(seconds(statement))
    idle = statistics.median(times["nothing"])
    version = sys.version.split()[0]
    print(f"Python {version}, {runs} interpreters each, without the {1e3 * idle:.0f} ms of an idle one\n")
    print(f"{'import':<12}{'median':>10}{'fastest':>10}")
    for name in ("gymnasium", "planararm"):
        median, fastest = statistics.median(times[name]) - idle, min(times[name]) - min(times["nothing"])
        print(f"{name:<12}{1e3 * median:>7.0f} ms{1e3 * fastest:>7.0f} ms")
    ratio = (statistics.median(times["planararm"]) - idle) / (statistics.median(times["gymnasium"]) - idle)
    print(f"\nratio of the medians: {ratio:.2f} (target: at most {TARGET})")
    return 0 if ratio <= TARGET else 1


if __name__ == "__main__":
    sys.exit(main())
