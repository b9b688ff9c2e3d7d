"""What an environment shows: one element of its dynamics, drawn by pygame."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from ..dynamics import Dynamics
from ..rendering.shapes import Snapshot

if TYPE_CHECKING:
    from ..rendering.pygame_renderer import PygameRenderer

TRAIL_LENGTH = 400


class Viewer:
    """Collects the trail of one element and draws it; opens the window at the first frame.

    Args:
        dynamics: The batch.
        element: Which of its elements.
        mode: ``"human"`` or ``"rgb_array"``.
        fps: Frames per second of the window.
    """

    def __init__(self, dynamics: Dynamics, element: int, mode: str, fps: int) -> None:
        self._dynamics, self._element, self._mode, self._fps = dynamics, element, mode, fps
        self._trail: deque[npt.NDArray[np.float64]] = deque(maxlen=TRAIL_LENGTH)
        self._renderer: PygameRenderer | None = None
        self.restart()

    def restart(self) -> None:
        """Forget the trail: an episode has started."""
        self._trail.clear()
        self.record()

    def record(self) -> None:
        """Add where the end effector is to the trail."""
        self._trail.append(self._dynamics.state.joint_positions[self._element, -1].copy())

    def snapshot(self) -> Snapshot:
        """What there is to see now."""
        dynamics, i, state = self._dynamics, self._element, self._dynamics.state
        step = int(state.steps[i])
        goals = state.goals[i]
        error, clearance = dynamics.measures[0, i], dynamics.clearance[i]
        text = [f"step {step}", f"error {error:.4f} m"]
        if np.isfinite(clearance):
            text.append(f"clearance {clearance:.4f} m")
        if dynamics.collided[i]:
            text.append("contact")
        return Snapshot(
            state.scene(i, dynamics.task),
            state.q[i].copy(),
            goals[min(step, len(goals) - 1)].copy(),
            path=goals.copy() if len(goals) > 1 else None,
            trail=np.array(self._trail) if len(self._trail) > 1 else None,
            clearance=float(clearance),
            text=tuple(text),
        )

    def draw(self) -> npt.NDArray[np.uint8] | None:
        """Draw the present state; the frame in ``"rgb_array"`` mode, None in ``"human"`` mode."""
        if self._renderer is None:
            from ..rendering.pygame_renderer import PygameRenderer

            self._renderer = PygameRenderer(mode=self._mode, fps=self._fps)
        return self._renderer.draw(self.snapshot())

    def close(self) -> None:
        """Close the window; legal twice."""
        if self._renderer is not None:
            self._renderer.close()
            self._renderer = None
