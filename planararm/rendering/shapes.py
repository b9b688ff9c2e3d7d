"""What a picture of the arm consists of: plain shapes in world coordinates, for whatever draws them.

Knows no graphics library, so that the geometry of a picture is tested as numbers.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..collision import signed_distance
from ..errors import InvalidInputError
from ..scene.core import Scene
from ..validate import exact_array, finite_array
from .palette import PALETTE, RGB, clearance_color, mix

FloatArray = npt.NDArray[np.float64]
Point = tuple[float, float]

VIEW_MARGIN = 1.1
"""Half the height of the view, as a multiple of the reach."""

COMFORT = 0.06
"""Distance beyond the safety margin over which a link's colour turns normal, as a fraction of the reach."""

TRAIL_PIECES = 24


@dataclass(frozen=True)
class Capsule:
    """A thick segment with round ends: everything within ``radius`` of the segment."""

    start: Point
    end: Point
    radius: float
    color: RGB
    role: str
    alpha: float = 1.0


@dataclass(frozen=True)
class Disc:
    """A filled circle; the edge, ``edge_width`` wide, lies inside the radius."""

    center: Point
    radius: float
    color: RGB
    role: str
    edge: RGB | None = None
    edge_width: float = 0.0
    alpha: float = 1.0


@dataclass(frozen=True, eq=False)
class Polyline:
    """Line segments through ``points`` ``(k, 2)``; ``dash`` > 0 breaks it into dashes of that length."""

    points: FloatArray
    width: float
    color: RGB
    role: str
    dash: float = 0.0
    alpha: float = 1.0


@dataclass(frozen=True)
class Cross:
    """An upright cross with a ring around it, ``size`` from the centre to each of its ends."""

    center: Point
    size: float
    width: float
    color: RGB
    role: str
    alpha: float = 1.0


@dataclass(frozen=True)
class Box:
    """A filled rectangle with rounded corners."""

    lower: Point
    upper: Point
    color: RGB
    role: str
    corner_radius: float = 0.0
    edge: RGB | None = None
    alpha: float = 1.0


@dataclass(frozen=True)
class Label:
    """One line of text of the given ``height``; ``position`` is its top left, or right, corner.

    ``halo`` is the colour of a thin rim that keeps it legible on top of anything.
    """

    text: str
    position: Point
    height: float
    color: RGB
    role: str
    align: str = "left"
    halo: RGB | None = None
    alpha: float = 1.0


Shape = Capsule | Disc | Polyline | Cross | Box | Label
"""Any of the shapes; they are drawn in order, later ones on top."""


@dataclass(frozen=True)
class View:
    """The map from world coordinates (y up) to pixels (y down), without distortion.

    Args:
        center: World point in the middle of the picture [m].
        scale: Pixels per metre.
        size: Width and height [px].
    """

    center: Point
    scale: float
    size: tuple[int, int]

    def to_pixels(self, points: Any) -> FloatArray:
        """World points ``(*k, 2)`` [m] as pixels ``(*k, 2)``, from the top left corner."""
        offset = (np.asarray(points, dtype=np.float64) - self.center) * (self.scale, -self.scale)
        return np.asarray(offset + (self.size[0] / 2, self.size[1] / 2))

    def to_world(self, pixels: Any) -> FloatArray:
        """Pixels ``(*k, 2)`` as world points ``(*k, 2)`` [m]; the inverse of :meth:`to_pixels`."""
        offset = np.asarray(pixels, dtype=np.float64) - (self.size[0] / 2, self.size[1] / 2)
        return np.asarray(offset / (self.scale, -self.scale) + self.center)


def scene_view(scene: Scene, size: tuple[int, int] = (640, 640)) -> View:
    """The view that shows the whole workspace of a scene's arm, the base in the middle.

    Args:
        scene: The scene.
        size: Width and height of the picture [px].
    """
    base = scene.arm.base
    return View((float(base[0]), float(base[1])), min(size) / (2 * VIEW_MARGIN * scene.arm.reach), size)


@dataclass(frozen=True, eq=False)
class Snapshot:
    """Everything that one picture shows.

    Args:
        scene: The arm and its discs, without batch axes.
        q: ``(n,)`` the configuration [rad].
        target_position: ``(2,)`` [m], or None for none.
        path: ``(k, 2)`` where the target goes [m], or None.
        trail: ``(k, 2)`` where the end effector has been [m], oldest first, or None.
        clearance: Distance to the nearest disc by which the arm is coloured [m], one number or ``(n,)`` one for
            each link; None: each link's own distance is worked out.
        text: Lines of text in the top left corner.
        ghosts: ``(k, n)`` other configurations, drawn translucent [rad].
        time: Time at which shuttling discs are drawn [s].

    Raises:
        InvalidInputError: A batched scene, wrong shapes, NaN.
    """

    scene: Scene
    q: Any
    target_position: Any = None
    path: Any = None
    trail: Any = None
    clearance: Any = None
    text: Sequence[str] = ()
    ghosts: Any = ()
    time: float = 0.0

    def __post_init__(self) -> None:
        if not isinstance(self.scene, Scene):
            raise InvalidInputError(f"A snapshot needs a Scene, got {type(self.scene).__name__}.")
        if self.scene.batch_shape:
            raise InvalidInputError(
                f"A snapshot shows one scene, got a batch {self.scene.batch_shape}; index it first, e.g. scene[0]."
            )
        n = self.scene.arm.num_joints
        checked = {
            "q": exact_array("q", self.q, (n,)),
            "target_position": _optional("target_position", self.target_position, (2,)),
            "path": _rows("path", self.path, 2),
            "trail": _rows("trail", self.trail, 2),
            "clearance": self._link_clearance(n),
            "ghosts": _rows("ghosts", self.ghosts if len(self.ghosts) else None, n),
            "text": (self.text,) if isinstance(self.text, str) else tuple(str(line) for line in self.text),
        }
        for name, value in checked.items():
            object.__setattr__(self, name, value)

    def _link_clearance(self, n: int) -> FloatArray:
        """The distance by which each link is coloured ``(n,)`` [m]."""
        if self.clearance is None:
            discs = self.scene.obstacles.frozen_at(self.time)
            if discs.num_obstacles == 0:
                return np.full(n, np.inf)
            q = exact_array("q", self.q, (n,))
            return np.asarray(signed_distance(q, self.scene.arm, discs)).min(axis=-1)
        values = np.asarray(self.clearance, dtype=np.float64)
        if values.shape not in ((), (n,)) or np.isnan(values).any():
            raise InvalidInputError(f"clearance must be one number or {n}, without NaN, got {self.clearance!r}.")
        return np.array(np.broadcast_to(values, (n,)))


def _optional(name: str, values: Any, shape: tuple[int, ...]) -> FloatArray | None:
    return None if values is None else exact_array(name, values, shape)


def _rows(name: str, values: Any, width: int) -> FloatArray:
    if values is None:
        return np.zeros((0, width))
    array = finite_array(name, values, (width,))
    if array.ndim != 2:
        raise InvalidInputError(f"{name} must have shape (k, {width}), got {array.shape}.")
    return array


def scene_shapes(snapshot: Snapshot, aspect: float = 1.0) -> list[Shape]:
    """The shapes of a picture, back to front, in world coordinates [m].

    Workspace, path, trail, discs, ghosts, arm, target, text.

    Args:
        snapshot: What to show.
        aspect: Width of the picture divided by its height; it moves the text to the corner.
    """
    return [
        *_workspace(snapshot),
        *_path_and_trail(snapshot),
        *_discs(snapshot),
        *_ghosts(snapshot),
        *_arm(snapshot),
        *_target(snapshot),
        *_text(snapshot, aspect),
    ]


def _point(values: Any) -> Point:
    return float(values[0]), float(values[1])


def _workspace(snapshot: Snapshot) -> list[Shape]:
    """The annulus that the arm could reach without limits and discs."""
    arm = snapshot.scene.arm
    base, width = _point(arm.base), 0.006 * arm.reach
    edge = PALETTE["workspace_edge"]
    shapes: list[Shape] = [Disc(base, arm.reach, PALETTE["workspace"], "workspace", edge, width)]
    if arm.inner_reach > 0:
        shapes.append(Disc(base, arm.inner_reach, PALETTE["background"], "workspace_hole", edge, width))
    return shapes


def _path_and_trail(snapshot: Snapshot) -> list[Shape]:
    reach = snapshot.scene.arm.reach
    shapes: list[Shape] = []
    if len(snapshot.path) > 1:
        shapes.append(Polyline(snapshot.path, 0.008 * reach, PALETTE["path"], "path"))
    trail = snapshot.trail
    cuts = np.unique(np.linspace(0, max(len(trail) - 1, 0), TRAIL_PIECES + 1).astype(int))
    for first, last in itertools.pairwise(cuts):
        age = 1 - last / cuts[-1]
        color = mix(PALETTE["trail"], PALETTE["workspace"], 0.75 * age)
        shapes.append(Polyline(trail[first : last + 1], (0.01 - 0.004 * age) * reach, color, "trail"))
    return shapes


def _discs(snapshot: Snapshot) -> list[Shape]:
    scene = snapshot.scene
    obstacles, width = scene.obstacles, 0.006 * scene.arm.reach
    present = np.ones(obstacles.num_obstacles, bool) if obstacles.mask is None else np.asarray(obstacles.mask)
    shapes: list[Shape] = []
    if obstacles.shuttle is not None:
        for i in np.flatnonzero(present & (np.asarray(obstacles.shuttle)[:, 2] > 0)):
            start = np.asarray(obstacles.centers[i])
            track = np.stack([start, start + np.asarray(obstacles.shuttle[i, :2])])
            shapes.append(Polyline(track, width, PALETTE["shuttle"], "shuttle", dash=5 * width))
    positions = np.asarray(obstacles.positions(snapshot.time))
    for i in np.flatnonzero(present):
        radius = float(obstacles.radii[i])
        shapes.append(
            Disc(
                _point(positions[i]), radius, PALETTE["obstacle"], "obstacle",
                PALETTE["obstacle_edge"], min(width, radius),
            )
        )  # fmt: skip
    return shapes


def _ghosts(snapshot: Snapshot) -> list[Shape]:
    arm = snapshot.scene.arm
    return [
        Capsule(_point(start), _point(end), arm.link_radius, PALETTE["ghost"], "ghost", alpha=0.4)
        for ghost in snapshot.ghosts
        for start, end in _segments(arm.forward_kinematics(ghost))
    ]


def _segments(positions: FloatArray) -> list[tuple[FloatArray, FloatArray]]:
    return list(itertools.pairwise(positions))


def _arm(snapshot: Snapshot) -> list[Shape]:
    """The links at their true width, then base and joints as marks on top of them."""
    scene, arm = snapshot.scene, snapshot.scene.arm
    positions = arm.forward_kinematics(snapshot.q)
    mark = max(1.5 * arm.link_radius, 0.009 * arm.reach)
    shapes: list[Shape] = [
        Capsule(
            _point(start), _point(end), arm.link_radius,
            clearance_color(float(room), scene.safety_margin, COMFORT * arm.reach), "link",
        )
        for (start, end), room in zip(_segments(positions), snapshot.clearance, strict=True)
    ]  # fmt: skip
    edge, width = PALETTE["joint_edge"], 0.4 * mark
    shapes.append(Disc(_point(positions[0]), 2.2 * mark, PALETTE["base"], "base"))
    shapes.append(Disc(_point(positions[0]), mark, PALETTE["joint"], "joint"))
    shapes += [Disc(_point(p), mark, PALETTE["joint"], "joint", edge, width) for p in positions[1:-1]]
    shapes.append(Disc(_point(positions[-1]), mark, PALETTE["joint_edge"], "end_effector"))
    return shapes


def _target(snapshot: Snapshot) -> list[Shape]:
    if snapshot.target_position is None:
        return []
    center, reach = _point(snapshot.target_position), snapshot.scene.arm.reach
    # On a disc or a link, green alone would hardly show.
    return [
        Cross(center, 0.04 * reach, 0.02 * reach, PALETTE["background"], "target_halo"),
        Cross(center, 0.04 * reach, 0.009 * reach, PALETTE["target"], "target"),
    ]


def _text(snapshot: Snapshot, aspect: float) -> list[Shape]:
    arm = snapshot.scene.arm
    half, height = VIEW_MARGIN * arm.reach, 0.055 * arm.reach
    left, top = arm.base[0] - half * max(aspect, 1.0), arm.base[1] + half * max(1 / aspect, 1.0)
    return [
        Label(
            line, (left + height, top - height * (0.8 + 1.35 * i)), height,
            PALETTE["text"], "text", halo=PALETTE["background"],
        )
        for i, line in enumerate(snapshot.text)
    ]  # fmt: skip
