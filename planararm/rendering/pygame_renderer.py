"""Shapes onto pixels by pygame, in a window or as an array. The only file that imports pygame."""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import InvalidInputError, MissingExtraError, UnknownNameError
from .inputs import InputEvent
from .palette import PALETTE, RGB
from .shapes import Box, Capsule, Cross, Disc, Label, Polyline, Shape, Snapshot, View, scene_shapes, scene_view

MODES = ("human", "rgb_array")
MAX_SIZE = 4096
SUPERSAMPLING = 3
CACHED_LABELS = 256


def _load_pygame() -> Any:
    # Libraries that greet on standard output spoil the output of programs that are piped.
    os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
    try:
        import pygame
        import pygame.surfarray
    except ImportError as cause:
        raise MissingExtraError("Rendering", "render") from cause
    return pygame


class PygameRenderer:
    """Draws snapshots, in a window (``"human"``) or into arrays (``"rgb_array"``), which need no display.

    Everything is drawn three times as large and averaged down, so edges are smooth and the same snapshot gives
    the same pixels everywhere. pygame is imported, and the window opened, by the first frame.

    Args:
        size: Width and height [px].
        mode: ``"human"`` or ``"rgb_array"``.
        fps: Most frames per second in a window; None: no waiting.
        caption: Title of the window.

    Raises:
        UnknownNameError: Another mode.
        InvalidInputError: A size that is not two whole numbers from 1 to 4096, or ``fps`` that is not above 0.
    """

    def __init__(
        self,
        size: tuple[int, int] = (640, 640),
        mode: str = "rgb_array",
        fps: float | None = 20,
        caption: str = "planararm",
    ) -> None:
        if mode not in MODES:
            raise UnknownNameError("render mode", mode, MODES)
        sides = np.asarray(size)
        if sides.shape != (2,) or sides.dtype.kind not in "iu" or not ((sides >= 1) & (sides <= MAX_SIZE)).all():
            raise InvalidInputError(f"size must be two whole numbers from 1 to {MAX_SIZE}, got {size!r}.")
        if fps is not None and not fps > 0:
            raise InvalidInputError(f"fps must be > 0 or None, got {fps!r}.")
        self.size = (int(sides[0]), int(sides[1]))
        self.mode, self.fps, self.caption = mode, fps, caption
        self._canvas: _Canvas | None = None
        self._window: Any = None
        self._clock: Any = None

    def draw(
        self, snapshot: Snapshot, *, view: View | None = None, overlay: Iterable[Shape] = ()
    ) -> npt.NDArray[np.uint8] | None:
        """Draw one frame.

        Args:
            snapshot: What to show.
            view: Which part of the world; by default the whole workspace.
            overlay: Shapes on top, in pixels from the bottom left corner, y up.

        Returns:
            A new ``(H, W, 3)`` uint8 array, or None in ``"human"`` mode.

        Raises:
            MissingExtraError: pygame is not installed.
            InvalidInputError: ``"human"`` mode without a display.
        """
        pygame = _load_pygame()
        if self.mode == "human":
            self._open(pygame)
        if self._canvas is None:
            self._canvas = _Canvas(pygame, self.size)
        width, height = self.size
        self._canvas.clear()
        self._canvas.paint(scene_shapes(snapshot, width / height), view or scene_view(snapshot.scene, self.size))
        self._canvas.paint(overlay, View((width / 2, height / 2), 1.0, self.size))
        frame = self._canvas.averaged()
        if self.mode == "rgb_array":
            return np.ascontiguousarray(pygame.surfarray.pixels3d(frame).transpose(1, 0, 2))
        self._window.blit(frame, (0, 0))
        pygame.event.pump()
        pygame.display.flip()
        if self.fps is not None:
            self._clock.tick(self.fps)
        return None

    def _open(self, pygame: Any) -> None:
        """Open the window, also again after someone else has shut pygame down."""
        if self._window is not None and pygame.display.get_init():
            return
        try:
            pygame.display.init()
            self._window = pygame.display.set_mode(self.size)
        except pygame.error as cause:
            raise InvalidInputError(
                f'mode="human" needs a display, and there is none ({cause}); use mode="rgb_array", which needs none.'
            ) from cause
        pygame.display.set_caption(self.caption)
        self._clock = pygame.time.Clock()

    @property
    def is_on_screen(self) -> bool:
        """Whether there is a window that somebody can see; where there is no screen, SDL may draw one off it."""
        return self._window is not None and _load_pygame().display.get_driver() != "offscreen"

    def events(self) -> list[InputEvent]:
        """What has happened in the window since the last call; empty before the first frame."""
        if self._window is None:
            return []
        return _translate(_load_pygame())

    def close(self) -> None:
        """Close the window and free the memory; may be called any number of times."""
        if self._window is not None:
            _load_pygame().display.quit()
        self._window = self._canvas = self._clock = None


def _translate(pygame: Any) -> list[InputEvent]:
    """Empty pygame's queue into plain events; what nobody listens to is dropped."""
    events = []
    for event in pygame.event.get():
        if event.type == pygame.QUIT:
            events.append(InputEvent("quit"))
        elif event.type == pygame.MOUSEMOTION:
            events.append(InputEvent("move", event.pos))
        elif event.type == pygame.MOUSEBUTTONDOWN:
            events.append(InputEvent("press", event.pos, event.button))
        elif event.type == pygame.MOUSEBUTTONUP:
            events.append(InputEvent("release", event.pos, event.button))
        elif event.type == pygame.KEYDOWN:
            shift = bool(getattr(event, "mod", 0) & pygame.KMOD_SHIFT)
            events.append(InputEvent("key", key=pygame.key.name(event.key).lower(), shift=shift))
    return events


class _Canvas:
    """An off-screen surface, larger than the picture, that shapes are painted on."""

    def __init__(self, pygame: Any, size: tuple[int, int]) -> None:
        self._pygame = pygame
        self._size = size
        large = (size[0] * SUPERSAMPLING, size[1] * SUPERSAMPLING)
        self._surface = pygame.Surface(large, 0, 32)
        self._small = pygame.Surface(size, 0, 32)
        self._labels: dict[tuple[str, int, RGB], Any] = {}
        self._painters: dict[type, Callable[[Any, Any, View], None]] = {
            Capsule: self._capsule,
            Disc: self._disc,
            Polyline: self._polyline,
            Cross: self._cross,
            Box: self._box,
            Label: self._label,
        }

    def clear(self) -> None:
        self._surface.fill(PALETTE["background"])

    def averaged(self) -> Any:
        self._pygame.transform.smoothscale(self._surface, self._size, self._small)
        return self._small

    def paint(self, shapes: Iterable[Shape], view: View) -> None:
        """Paint shapes in order; neighbours of one alpha below 1 as one layer, so that their overlaps do not show."""
        large = View(view.center, view.scale * SUPERSAMPLING, self._surface.get_size())
        for alpha, group in itertools.groupby(shapes, key=lambda shape: shape.alpha):
            if alpha >= 1:
                for shape in group:
                    self._painters[type(shape)](self._surface, shape, large)
                continue
            layer = self._pygame.Surface(self._surface.get_size(), self._pygame.SRCALPHA, 32)
            for shape in group:
                self._painters[type(shape)](layer, shape, large)
            touched = layer.get_bounding_rect()
            layer.set_alpha(round(255 * alpha))
            self._surface.blit(layer, touched, touched)

    def _stroke(self, surface: Any, start: Sequence[float], end: Sequence[float], radius: float, color: RGB) -> None:
        """A segment of half width ``radius`` with round ends [px]."""
        draw = self._pygame.draw
        dx, dy = end[0] - start[0], end[1] - start[1]
        length = math.hypot(dx, dy)
        if length > 0:
            nx, ny = -dy / length * radius, dx / length * radius
            corners = [
                (start[0] + nx, start[1] + ny), (end[0] + nx, end[1] + ny),
                (end[0] - nx, end[1] - ny), (start[0] - nx, start[1] - ny),
            ]  # fmt: skip
            draw.polygon(surface, color, corners)
        for x, y in (start, end):
            draw.circle(surface, color, (x, y), max(radius, 0.5))

    def _capsule(self, surface: Any, shape: Capsule, view: View) -> None:
        start, end = view.to_pixels([shape.start, shape.end]).tolist()
        self._stroke(surface, start, end, shape.radius * view.scale, shape.color)

    def _disc(self, surface: Any, shape: Disc, view: View) -> None:
        center, radius = view.to_pixels(shape.center).tolist(), shape.radius * view.scale
        if shape.edge is not None:
            self._pygame.draw.circle(surface, shape.edge, center, radius)
            radius -= shape.edge_width * view.scale
        if radius > 0:
            self._pygame.draw.circle(surface, shape.color, center, radius)

    def _polyline(self, surface: Any, shape: Polyline, view: View) -> None:
        points = view.to_pixels(shape.points).tolist()
        radius = max(shape.width * view.scale / 2, 0.5)
        if shape.dash > 0:
            for start, end in _dashes(points, shape.dash * view.scale):
                self._stroke(surface, start, end, radius, shape.color)
            return
        for start, end in itertools.pairwise(points):
            self._stroke(surface, start, end, radius, shape.color)

    def _cross(self, surface: Any, shape: Cross, view: View) -> None:
        x, y = view.to_pixels(shape.center).tolist()
        size, radius = shape.size * view.scale, shape.width * view.scale / 2
        self._stroke(surface, (x - size, y), (x + size, y), radius, shape.color)
        self._stroke(surface, (x, y - size), (x, y + size), radius, shape.color)
        # pygame grows the ring inwards from its radius; its middle belongs at 0.65 of the size.
        self._pygame.draw.circle(surface, shape.color, (x, y), 0.65 * size + radius, max(1, round(2 * radius)))

    def _box(self, surface: Any, shape: Box, view: View) -> None:
        (left, bottom), (right, top) = view.to_pixels([shape.lower, shape.upper]).tolist()
        rectangle = self._pygame.Rect(round(left), round(top), round(right - left), round(bottom - top))
        corner = round(shape.corner_radius * view.scale)
        self._pygame.draw.rect(surface, shape.color, rectangle, border_radius=corner)
        if shape.edge is not None:
            self._pygame.draw.rect(surface, shape.edge, rectangle, width=SUPERSAMPLING, border_radius=corner)

    def _label(self, surface: Any, shape: Label, view: View) -> None:
        height = max(1, round(shape.height * view.scale))
        text = self._rendered(shape.text, height, shape.color)
        x, y = view.to_pixels(shape.position).tolist()
        if shape.align == "right":
            x -= text.get_width()
        elif shape.align == "center":
            x -= text.get_width() / 2
        if shape.halo is not None:
            rim = self._rendered(shape.text, height, shape.halo)
            for dx, dy in itertools.product((-SUPERSAMPLING, 0, SUPERSAMPLING), repeat=2):
                surface.blit(rim, (round(x) + dx, round(y) + dy))
        surface.blit(text, (round(x), round(y)))

    def _rendered(self, text: str, height: int, color: RGB) -> Any:
        """Text as a surface. Surfaces are kept, never fonts: those die when anyone else shuts pygame down."""
        key = (text, height, color)
        if key not in self._labels:
            if len(self._labels) >= CACHED_LABELS:
                self._labels.clear()
            self._pygame.font.init()
            font = self._pygame.font.Font(None, height)
            # SDL refuses text without width, and characters without a place in a font.
            self._labels[key] = font.render(text.replace("\0", "") or " ", True, color)
        return self._labels[key]


def _dashes(points: Sequence[Sequence[float]], dash: float) -> list[tuple[tuple[float, float], tuple[float, float]]]:
    """Every second piece of length ``dash`` of each segment."""
    pieces = []
    for (x0, y0), (x1, y1) in itertools.pairwise(points):
        length = math.hypot(x1 - x0, y1 - y0)
        for i in range(math.ceil(length / (2 * dash)) if length > 0 else 0):
            a, b = 2 * i * dash / length, min((2 * i + 1) * dash / length, 1.0)
            pieces.append(((x0 + a * (x1 - x0), y0 + a * (y1 - y0)), (x0 + b * (x1 - x0), y0 + b * (y1 - y0))))
    return pieces
