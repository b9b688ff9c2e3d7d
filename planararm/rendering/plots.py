"""Configuration space: where an arm may be, over two of its joints, as numbers and as a matplotlib figure.

What a disc is to the arm is hard to see in the plane; over the joint angles it is a region that a motion, a
curve there, must go round.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from ..collision import clearance
from ..errors import InvalidInputError, MissingExtraError
from ..scene.core import Scene
from ..validate import exact_array
from .palette import PALETTE, RGB, mix

FloatArray = npt.NDArray[np.float64]

MAX_RESOLUTION = 2000
PLOT_RESOLUTION = 240

CHUNK = 400_000
"""Pairs of a link and a disc that are worked out at a time: bounds the memory, whatever the resolution."""

FIGURE_SIZE = (6.2, 5.0)
"""Width and height [inch]."""

DPI = 140


def configuration_space(
    scene: Scene, q: Any, joints: tuple[int, int] = (1, 2), resolution: int = 200
) -> tuple[FloatArray, FloatArray]:
    """Clearance on a grid over the limits of two joints, the other joints as in ``q``.

    Shuttling discs stand where they are at time 0; for another time give
    ``Scene(scene.arm, scene.obstacles.frozen_at(time))``.

    Args:
        scene: The arm and its discs, without batch axes.
        q: ``(n,)`` the configuration that the grid goes through [rad].
        joints: The two joints, counted from 0.
        resolution: Angles per joint, k, from 2 to 2000; both limits are among them.

    Returns:
        The angles ``(2, k)`` [rad], one row per joint, and the clearance ``(k, k)`` [m] with
        ``clearance[i, j]`` at ``q[joints[0]] = angles[0, i]``, ``q[joints[1]] = angles[1, j]``; inf without
        discs. The arm is free where it is at least ``scene.safety_margin``.

    Raises:
        InvalidInputError: A batched scene, a wrong ``q``, joints that are not two different ones that can move,
            or a resolution out of range.
    """
    q, first, second = _checked(scene, q, joints)
    is_whole = isinstance(resolution, int | np.integer) and not isinstance(resolution, bool)
    if not (is_whole and 2 <= resolution <= MAX_RESOLUTION):
        raise InvalidInputError(f"resolution must be a whole number from 2 to {MAX_RESOLUTION}, got {resolution!r}.")
    arm, obstacles = scene.arm, scene.obstacles
    lower, upper = arm.joint_limits[[first, second]].T
    angles = np.linspace(lower, upper, resolution, axis=-1)
    values = np.empty(resolution * resolution)
    chunk = max(1, CHUNK // (arm.num_joints * max(1, obstacles.num_obstacles)))
    for start in range(0, values.size, chunk):
        cells = np.arange(start, min(start + chunk, values.size))
        configurations = np.tile(q, (cells.size, 1))
        configurations[:, first] = angles[0, cells // resolution]
        configurations[:, second] = angles[1, cells % resolution]
        values[cells] = clearance(configurations, arm, obstacles)
    return angles, values.reshape(resolution, resolution)


def _checked(scene: Scene, q: Any, joints: Any) -> tuple[FloatArray, int, int]:
    if not isinstance(scene, Scene):
        raise InvalidInputError(f"A configuration space needs a Scene, got {type(scene).__name__}.")
    if scene.batch_shape:
        raise InvalidInputError(
            f"A configuration space is that of one scene, got a batch {scene.batch_shape}; "
            "index it first, e.g. scene[0]."
        )
    arm = scene.arm
    n = arm.num_joints
    q = exact_array("q", q, (n,))
    if n < 2:
        raise InvalidInputError("A configuration space over two joints needs an arm of at least two, got one of one.")
    pair = joints if isinstance(joints, tuple | list | np.ndarray) else ()
    are_joints = [isinstance(j, int | np.integer) and not isinstance(j, bool) and 0 <= j < n for j in pair]
    if not (len(pair) == 2 and all(are_joints) and pair[0] != pair[1]):
        raise InvalidInputError(f"joints must be two different whole numbers from 0 to {n - 1}, got {joints!r}.")
    for joint in pair:
        lower, upper = arm.joint_limits[joint]
        if lower == upper:
            raise InvalidInputError(f"Joint {joint} is fixed at {lower} rad by its limits; choose one that moves.")
    return q, int(pair[0]), int(pair[1])


def plot_configuration_space(scene: Scene, q: Any, joints: tuple[int, int] = (1, 2)) -> Any:
    """A figure of :func:`configuration_space`: dark where the arm is not free, paler near it, a mark at ``q``.

    Args:
        scene: The arm and its discs, without batch axes.
        q: ``(n,)`` the configuration that the picture goes through [rad].
        joints: The two joints, counted from 0.

    Returns:
        A matplotlib ``Figure`` that no window manager knows of; write it by ``figure.savefig("name.png")``.

    Raises:
        MissingExtraError: matplotlib is not installed.
        InvalidInputError: As :func:`configuration_space`.
    """
    try:
        from matplotlib.colors import LinearSegmentedColormap, Normalize
        from matplotlib.figure import Figure
    except ImportError as cause:
        raise MissingExtraError("Plotting a configuration space", "report") from cause
    angles, values = configuration_space(scene, q, joints, PLOT_RESOLUTION)
    figure = Figure(figsize=FIGURE_SIZE, dpi=DPI, facecolor=_color(PALETTE["background"]), layout="constrained")
    axes = figure.add_subplot()
    near, far = mix(PALETTE["link"], PALETTE["background"], 0.93), mix(PALETTE["link"], PALETTE["background"], 0.35)
    shades = LinearSegmentedColormap.from_list("clearance", [_color(near), _color(far)])
    colors = shades.with_extremes(under=_color(PALETTE["obstacle"]))
    margin = scene.safety_margin
    # Without discs every clearance is infinite; where nothing is free the range needs some extent all the same.
    most = margin + min(max(float(values.max()) - margin, 0.01 * scene.arm.reach), scene.arm.reach)
    shown = np.minimum(values, most)
    look: dict[str, Any] = {"cmap": colors, "norm": Normalize(margin, most), "shading": "nearest"}
    # In a vector format each of the cells would be a polygon of its own.
    mesh = axes.pcolormesh(*angles, shown.T, rasterized=True, **look)
    if values.min() < margin <= values.max():
        axes.contour(*angles, values.T, levels=[margin], colors=[_color(PALETTE["obstacle_edge"])], linewidths=0.9)
    _mark(axes, np.asarray(q, dtype=np.float64), scene, joints)
    _angle_axes(axes, angles, joints)
    others = "" if scene.arm.num_joints == 2 else ", the others held"
    axes.set_title(f"Where the arm is free: joints {joints[0]} and {joints[1]}{others}", fontsize=10.5, pad=10)
    bar = figure.colorbar(mesh, ax=axes, extend="min", pad=0.02)
    bar.set_label("clearance [m]; dark: below the safety margin", fontsize=9)
    bar.ax.tick_params(labelsize=8.5)
    bar.outline.set_visible(False)
    return figure


def _color(rgb: RGB) -> tuple[float, float, float]:
    red, green, blue = rgb
    return red / 255, green / 255, blue / 255


def _mark(axes: Any, q: FloatArray, scene: Scene, joints: tuple[int, int]) -> None:
    """A spot where the arm is, in the colours of a link that is free or is not."""
    is_free = bool(clearance(q, scene.arm, scene.obstacles) >= scene.safety_margin)
    axes.plot(
        *q[list(joints)],
        marker="o",
        markersize=9,
        markerfacecolor=_color(PALETTE["link" if is_free else "link_danger"]),
        markeredgecolor=_color(PALETTE["background"]),
        markeredgewidth=1.8,
        linestyle="none",
        gid="configuration",
    )


def _angle_axes(axes: Any, angles: FloatArray, joints: tuple[int, int]) -> None:
    """Limits and ticks, in fractions of pi where the range is wide enough for that."""
    for axis, joint, values, set_limits in zip(
        (axes.xaxis, axes.yaxis), joints, angles, (axes.set_xlim, axes.set_ylim), strict=True
    ):
        set_limits(values[0], values[-1])
        axis.set_label_text(f"joint {joint} [rad]", fontsize=9)
        span = values[-1] - values[0]
        if span >= math.pi:
            step = max(1, math.ceil(span / (4 * math.pi) - 1e-9))
            quarters = step * np.arange(
                math.ceil(values[0] / (step * math.pi / 2) - 1e-9),
                math.floor(values[-1] / (step * math.pi / 2) + 1e-9) + 1,
            )
            axis.set_ticks(quarters * math.pi / 2, [pi_label(int(quarter)) for quarter in quarters])
    axes.tick_params(labelsize=8.5)
    for spine in axes.spines.values():
        spine.set_color(_color(PALETTE["workspace_edge"]))


def pi_label(quarters: int) -> str:
    """The angle of so many quarter turns, as one writes it: ``-2`` is ``"-π"``, ``3`` is ``"3π/2"``.

    Args:
        quarters: The angle divided by pi / 2.
    """
    if quarters == 0:
        return "0"
    count = quarters if quarters % 2 else quarters // 2
    sign, number = "-" if count < 0 else "", "" if abs(count) == 1 else str(abs(count))
    return f"{sign}{number}π{'/2' if quarters % 2 else ''}"
