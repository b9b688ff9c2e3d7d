"""The loop of the window: events in, one control step, one frame out."""

from __future__ import annotations

from typing import Any

from ..errors import InvalidInputError
from ..rendering.pygame_renderer import PygameRenderer
from .controller import Controller
from .layout import Layout
from .model import PlayModel
from .view import overlay, snapshot


def play(
    policy: Any = "closed-form",
    scene: Any = "clutter",
    *,
    arm: Any = None,
    fps: float = 30,
    frames: int | None = None,
) -> None:
    """Open a window in which the target follows the mouse and discs can be moved; H in it shows all keys.

    The arm moves as in the environments: within its velocity limits, every motion certified, stopped just before it
    touches a disc. A policy that fails leaves the arm where it is, and the window says why.

    Args:
        policy: The policy to begin with, as :func:`planararm.policies.make_policy` takes it.
        scene: The scene to begin with, as :func:`planararm.scene.make_scene` takes it.
        arm: The arm of named scenes, as :func:`planararm.arm.make_arm` takes it; None: each scene's own.
        fps: Frames, and control steps, per second.
        frames: End after so many frames; None: when the window is closed.

    Raises:
        PlanarArmError: The policy or scene to begin with cannot be made.
        MissingExtraError: pygame is not installed.
        InvalidInputError: There is no display, or an argument is out of range.
    """
    if frames is not None and (isinstance(frames, bool) or not isinstance(frames, int) or frames < 1):
        raise InvalidInputError(f"frames must be a whole number >= 1 or None, got {frames!r}.")
    layout = Layout()
    renderer = PygameRenderer(layout.size, mode="human", fps=fps, caption="planararm play")
    model = PlayModel(policy, scene, arm=arm, dt=1 / fps)
    run(model, Controller(model, layout), renderer, frames)


def run(model: PlayModel, controller: Controller, renderer: PygameRenderer, frames: int | None = None) -> None:
    """Show a model in a window until the person quits.

    Args:
        model: The model.
        controller: What turns the window's events into calls of the model.
        renderer: The window; closed at the end, whatever happens.
        frames: Stop after so many frames; None: never.
    """
    layout, shown = controller.layout, 0
    # The first step may compile kernels, which no window should wait for.
    model.step()
    try:
        while controller.running and (frames is None or shown < frames):
            picture = overlay(model, layout, help_shown=controller.help_shown)
            renderer.draw(snapshot(model), view=layout.view(model.scene), overlay=picture)
            if frames is None and not renderer.is_on_screen:
                raise InvalidInputError("The window needs a display, and there is none; planararm render needs none.")
            for event in renderer.events():
                controller.handle(event)
            model.step()
            shown += 1
    finally:
        renderer.close()
