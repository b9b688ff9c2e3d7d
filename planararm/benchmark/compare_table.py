"""A comparison in words and tables, for the terminal and the page."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from .compare import Case, Comparison, Difference
from .intervals import Interval
from .table import ABSENT, fraction, percent, plain_table

SUCCESS_HEADS = (
    "tasks of",
    "count",
    "A\n%",
    "B\n%",
    "A less B\npoints",
    "95 %\ninterval",
    "A only",
    "B only",
    "ties",
    "p",
)
ERROR_HEADS = (
    "tasks of",
    "median\nA",
    "median\nB",
    "A / B,\nmedian task",
    "95 %\ninterval",
    "RMS\nA",
    "RMS\nB",
    "A / B",
    "95 %\ninterval",
    "time\nA / B",
)


def points(share: float) -> str:
    """A difference of shares in percentage points, with its sign."""
    return ABSENT if math.isnan(share) else f"{100 * share:+.1f}".replace("-", "\N{MINUS SIGN}")


def times(ratio: float) -> str:
    """A ratio, two digits."""
    return ABSENT if math.isnan(ratio) else f"{ratio:.2g}"


def between(interval: Interval, show: Any) -> str:
    """An interval; ``show`` writes one of its ends."""
    return ABSENT if math.isnan(interval.low) else f"{show(interval.low)} to {show(interval.high)}"


def p_value(value: float) -> str:
    """A p-value, two digits."""
    return "<0.0001" if value < 1e-4 else f"{value:.2g}"


def success_row(one: Difference) -> list[str]:
    """Cells of :data:`SUCCESS_HEADS`."""
    return [
        one.title,
        str(one.num_tasks),
        percent(one.success[0]),
        percent(one.success[1]),
        points(one.success_difference),
        between(one.success_interval, points),
        str(one.wins),
        str(one.losses),
        str(one.ties),
        p_value(one.p_value),
    ]


def error_row(one: Difference) -> list[str]:
    """Cells of :data:`ERROR_HEADS`."""
    return [
        one.title,
        *(fraction(error) for error in one.median_error),
        times(one.error_ratio),
        between(one.error_ratio_interval, times),
        *(fraction(error) for error in one.rms_error),
        times(one.rms_ratio),
        between(one.rms_ratio_interval, times),
        times(one.time_ratio),
    ]


def verdict(comparison: Comparison, section: Difference) -> str:
    """What a section shows, in sentences that claim no more than its intervals do."""
    where = f"{section.num_tasks} {'paths' if section.kind == 'track' else 'targets'} of {section.arm}"
    a, b = comparison.policy_a, comparison.policy_b
    if section.success_interval.excludes(0.0):
        more, less = (a, b) if section.success_difference > 0 else (b, a)
        text = f"{more} meets more of these {where} than {less}"
    else:
        text = f"{a} and {b} cannot be told apart by the share that they meet of these {where}"
    share_a, share_b = (percent(share) for share in section.success)
    text += f": {share_a} % against {share_b} %, difference {points(section.success_difference)} points"
    return f"{text} (95 % interval {between(section.success_interval, points)}). {_about_errors(a, b, section)}"


def _about_errors(a: str, b: str, section: Difference) -> str:
    if math.isnan(section.rms_ratio_interval.low):
        return "How their errors differ, one task cannot tell."
    if section.rms_ratio_interval == section.error_ratio_interval == (1.0, 1.0):
        return "Their errors are equal."
    parts = [
        _about_ratio(f"{a}'s RMS error", b, section.rms_ratio, section.rms_ratio_interval),
        _about_ratio("its error on the median task", b, section.error_ratio, section.error_ratio_interval),
    ]
    return f"{'; '.join(parts)}."


def _about_ratio(what: str, other: str, ratio: float, interval: Interval) -> str:
    ends = f"{times(ratio)} times that of {other} (95 % interval {between(interval, times)})"
    if not interval.excludes(1.0):
        return f"{what} cannot be told apart: {ends}"
    return f"{what} is {'smaller' if ratio < 1 else 'larger'}: {ends}"


def left_out(comparison: Comparison) -> str:
    """Which tasks do not count; empty if all do."""
    reasons = (
        (comparison.num_unreachable, "proven unreachable"),
        (comparison.num_unsupported, "not supported by one of the two"),
        (comparison.num_unpaired, "run with only one of the two"),
    )
    counted = [f"{count} {why}" for count, why in reasons if count]
    return f"Tasks left out: {', '.join(counted)}." if counted else ""


def describe_case(comparison: Comparison, case: Case) -> str:
    """What happened to both policies on one task."""
    a, b = (
        f"{policy}: {outcome}, error {fraction(error)} of the reach"
        for policy, outcome, error in zip(
            (comparison.policy_a, comparison.policy_b), case.outcomes, case.errors, strict=True
        )
    )
    return f"{case.task} ({case.label}). {a}; {b}"


def success_note(comparison: Comparison) -> str:
    """What the table of success shows."""
    return (
        f"A: {comparison.policy_a}. B: {comparison.policy_b}. A only, B only: met by one of them; ties: by both or "
        "neither. p: of so uneven a split by chance. Of twenty intervals, one misses the true difference. "
        f"{left_out(comparison)}"
    ).rstrip()


ERROR_NOTE = (
    "Medians and root mean squares over the tasks, all failures included. A / B, median task: on half of the "
    "tasks the ratio of A's error to B's is smaller. Time: medians per answer in a batch."
)


def print_comparison(comparison: Comparison, console: Any) -> None:
    """Print verdicts and tables.

    Args:
        comparison: What was found.
        console: A ``rich.console.Console``, see :func:`planararm.benchmark.table.make_console`.
    """
    from rich.text import Text

    rows = shown(comparison)
    console.print(
        plain_table(
            f"Success within {comparison.tolerance:g} of the reach",
            success_note(comparison),
            SUCCESS_HEADS,
            [success_row(one) for one in rows],
        )
    )
    console.print()
    console.print(
        plain_table(
            "Tracking error [fraction of reach] and time", ERROR_NOTE, ERROR_HEADS, [error_row(one) for one in rows]
        )
    )
    for section in comparison.sections:
        console.print()
        console.print(Text(verdict(comparison, section)))


def shown(comparison: Comparison) -> Sequence[Difference]:
    """Sections, then groups; a section of one group is that group."""
    alone = {section.num_tasks for section in comparison.sections} if len(comparison.sections) == 1 else set()
    groups = [group for group in comparison.groups if group.num_tasks not in alone]
    return [*comparison.sections, *groups]
