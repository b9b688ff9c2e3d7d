"""Version 1 of the suites. Never changed: changed tasks are a new version."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from ...paths import available_paths
from ...scene.generator import sample_scenes
from ..tasks import TaskGroup
from .drawing import drawn_ik_group
from .groups import free_scenes, ik_group, named_path_group, witness_group
from .tracks import drawn_witness_group, moving_group, named_paths, path_group, spline_group

Groups = tuple[TaskGroup, ...]
Streams = Iterator[np.random.Generator]
Times = Callable[[int], int]
"""How many of something: the number of the bundled suite times the scale."""


class Recipe(NamedTuple):
    """How a suite is made from random streams and a scale."""

    description: str
    groups: Callable[[Streams, Times], Groups]


def _quick(streams: Streams, times: Times) -> Groups:
    rng = next(streams)
    free_kinds = {"uniform": times(180), "beyond": times(20)}
    free = ik_group(rng, "ik-free", "unit3", free_scenes("unit3", sum(free_kinds.values())), free_kinds)
    rng = next(streams)
    clutter_scenes = sample_scenes(rng, times(300), "unit3", (1, 6))
    clutter = ik_group(rng, "ik-clutter", "unit3", clutter_scenes, {"uniform": times(300)})
    rng = next(streams)
    hard_kinds = {"near-singular": times(10), "blocked": times(10)}
    hard_scenes = sample_scenes(rng, sum(hard_kinds.values()), "unit3", (2, 5), narrow_passages=1)
    hard = ik_group(rng, "ik-hard", "unit3", hard_scenes, hard_kinds, per_scene=5)
    rng, count = next(streams), times(50)
    two = ik_group(rng, "ik-unit2", "unit2", sample_scenes(rng, count, "unit2", (0, 4)), {"uniform": count})
    rng = next(streams)
    five = ik_group(rng, "ik-unit5", "unit5", sample_scenes(rng, count, "unit5", (0, 4)), {"reachable": count})
    shapes = ("circle", "square", "star", "lemniscate", "lissajous", "spline")
    track_free = named_path_group("track-free", "unit3", shapes, 200, np.array([0.0, 0.8, 0.8]))
    rng = next(streams)
    track_clutter = witness_group(rng, "track-clutter", "unit3", sample_scenes(rng, times(6), "unit3", 3), 200)
    return free, clutter, hard, two, five, track_free, track_clutter


def _ik_free(streams: Streams, times: Times) -> Groups:
    three = {"uniform": times(2000), "beyond": times(200)}
    return (
        drawn_ik_group(next(streams), "ik-free", "unit3", three),
        drawn_ik_group(next(streams), "ik-unit2", "unit2", {"uniform": times(300)}),
    )


def _ik_clutter(streams: Streams, times: Times) -> Groups:
    return (
        drawn_ik_group(next(streams), "ik-clutter", "unit3", {"uniform": times(2000)}, (1, 6)),
        drawn_ik_group(next(streams), "ik-unit2", "unit2", {"uniform": times(300)}, (0, 4)),
    )


def _ik_hard(streams: Streams, times: Times) -> Groups:
    hard = {"near-singular": times(400), "blocked": times(400), "tight": times(200)}
    return (
        drawn_ik_group(next(streams), "ik-hard", "unit3", hard, (2, 5)),
        drawn_ik_group(next(streams), "ik-passage", "unit3", {"passage": times(400)}, (2, 6), narrow_passages=1),
    )


def _track_free(streams: Streams, times: Times) -> Groups:
    names = tuple(available_paths())
    return (
        path_group(next(streams), "track-slow", "unit3", named_paths(names, "unit3"), 200),
        path_group(next(streams), "track-fast", "unit3", named_paths(names, "unit3", " in 1 s"), 20),
        spline_group(next(streams), "track-spline", "unit3", times(12), 200),
    )


def _track_clutter(streams: Streams, times: Times) -> Groups:
    return (drawn_witness_group(next(streams), "track-clutter", "unit3", times(100), 200, (1, 6)),)


def _track_moving(streams: Streams, times: Times) -> Groups:
    kinds = {"crossing": times(40), "passing": times(20)}
    return (moving_group(next(streams), "track-moving", "unit3", kinds, 200, (1, 4)),)


def _duka(streams: Streams, times: Times) -> Groups:
    named = named_paths(tuple(available_paths()), "duka")
    return (
        drawn_ik_group(next(streams), "ik-free", "duka", {"uniform": times(600)}),
        drawn_ik_group(next(streams), "ik-clutter", "duka", {"uniform": times(600)}, (1, 3)),
        path_group(next(streams), "track-free", "duka", named, 200),
        drawn_witness_group(next(streams), "track-clutter", "duka", times(20), 200, (1, 3)),
    )


def _redundant(streams: Streams, times: Times) -> Groups:
    kinds = {"reachable": times(300), "uniform": times(100)}
    arms = ("unit5", "snake10")
    return (
        *(drawn_ik_group(next(streams), f"ik-{arm}", arm, kinds, (0, 6)) for arm in arms),
        *(drawn_witness_group(next(streams), f"track-{arm}", arm, times(20), 200, (0, 6)) for arm in arms),
    )


RECIPES = {
    "v1/quick": Recipe("Scores a policy within seconds: targets and paths in free space and among discs.", _quick),
    "v1/ik-free": Recipe("Targets anywhere in the workspace and beyond it, without discs.", _ik_free),
    "v1/ik-clutter": Recipe("Targets anywhere in the workspace, among discs.", _ik_clutter),
    "v1/ik-hard": Recipe(
        "Targets near the workspace's boundary, behind narrow gaps, hardly reachable, and blocked by discs.", _ik_hard
    ),
    "v1/track-free": Recipe("Paths in free space, slow and as fast as the arm can or faster.", _track_free),
    "v1/track-clutter": Recipe("Paths among discs that a certified motion is known to follow.", _track_clutter),
    "v1/track-moving": Recipe("Paths among moving discs that a certified motion is known to follow.", _track_moving),
    "v1/duka": Recipe("An arm with narrow joint limits: targets and paths in free space and among discs.", _duka),
    "v1/redundant": Recipe("Arms of five and ten links: targets and paths among discs.", _redundant),
}
"""Of every suite, by name."""
