"""Where things are in the window."""

from __future__ import annotations

from dataclasses import dataclass

from ..rendering.shapes import VIEW_MARGIN, View
from ..scene import Scene

MESSAGE_STRIP = 34
"""Height of the strip below the workspace [px]."""


@dataclass(frozen=True)
class Layout:
    """The workspace on the left, a panel on the right.

    Args:
        size: Width and height of the window [px].
        panel: Width of the panel [px].
    """

    size: tuple[int, int] = (1000, 700)
    panel: int = 316

    @property
    def world_size(self) -> tuple[int, int]:
        """Width and height of the part that shows the workspace [px], top left."""
        return self.size[0] - self.panel, self.size[1] - MESSAGE_STRIP

    def view(self, scene: Scene) -> View:
        """The map between the world and the whole window's pixels, the base in the middle of its part."""
        width, height = self.world_size
        scale = min(width, height) / (2 * VIEW_MARGIN * scene.arm.reach)
        base = scene.arm.base
        right, down = (self.size[0] - width) / 2, (self.size[1] - height) / 2
        return View((float(base[0]) + right / scale, float(base[1]) - down / scale), scale, self.size)

    def shows_world(self, pixel: tuple[float, float]) -> bool:
        """Whether a pixel (from the top left corner) belongs to the workspace's part."""
        return 0 <= pixel[0] < self.world_size[0] and 0 <= pixel[1] < self.world_size[1]
