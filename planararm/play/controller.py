"""What mouse and keys do to the model."""

from __future__ import annotations

from collections.abc import Callable

from ..rendering.inputs import InputEvent
from .layout import Layout
from .model import PlayModel

LEFT, RIGHT, WHEEL_UP, WHEEL_DOWN = 1, 3, 4, 5
GROWTH = 1.1
"""Factor of a disc's radius per notch of the wheel."""

KEYS_HELP: tuple[tuple[str, str], ...] = (
    ("move mouse", "the target follows"),
    ("drag a disc", "moves it"),
    ("wheel on a disc", "changes its size"),
    ("right click, A", "adds a disc"),
    ("right click on a disc, Del", "removes it"),
    ("T", "leaves the target here, or takes it along"),
    ("Tab, 1-9", "next policy, policy of that number"),
    ("N", "next scene (Shift: previous)"),
    ("R", "begins the scene anew"),
    ("Space", "lets time stand still"),
    ("H", "shows or hides this help"),
    ("Esc", "quits"),
)
"""Everything that can be done, for the help box."""


class Controller:
    """Turns events of the window into calls of the model.

    Args:
        model: The model.
        layout: Where things are in the window.

    Attributes:
        running: False once the person has quit.
        help_shown: Whether the help box is shown.
        following: Whether the target follows the mouse.
    """

    def __init__(self, model: PlayModel, layout: Layout) -> None:
        self.model, self.layout = model, layout
        self.running, self.help_shown, self.following = True, False, True
        self._pixel: tuple[float, float] | None = None
        self._keys: dict[str, Callable[[InputEvent], None]] = {
            "escape": lambda event: self._quit(),
            "tab": lambda event: model.next_policy(-1 if event.shift else 1),
            "n": lambda event: model.next_scene(-1 if event.shift else 1),
            "r": lambda event: model.reset(),
            "space": lambda event: model.toggle_pause(),
            "h": lambda event: self._toggle_help(),
            "t": lambda event: self._toggle_following(),
            "a": lambda event: self._at_mouse(model.add_disc),
            "delete": lambda event: self._at_mouse(model.remove_disc),
            "backspace": lambda event: self._at_mouse(model.remove_disc),
        }

    def handle(self, event: InputEvent) -> None:
        """Do what one event asks for; events that mean nothing are ignored."""
        if event.kind == "quit":
            self._quit()
        elif event.kind == "key":
            self._key(event)
        else:
            self._mouse(event)

    def _key(self, event: InputEvent) -> None:
        # Keys of the number pad are called "[1]".
        name = event.key.strip("[]")
        if len(name) == 1 and name in "123456789":
            self.model.select_policy(int(name) - 1)
        elif name in self._keys:
            self._keys[name](event)

    def _mouse(self, event: InputEvent) -> None:
        inside = self.layout.shows_world(event.pixel)
        self._pixel = event.pixel if inside else None
        point = self.layout.view(self.model.scene).to_world(event.pixel)
        model = self.model
        if event.kind == "move":
            if model.held is not None:
                model.drag_disc(point)
            elif inside and self.following:
                model.set_target(point)
        elif event.kind == "release":
            if event.button == LEFT:
                model.drop_disc()
        elif inside and event.button == LEFT:
            model.grab_disc(point)
        elif inside and event.button == RIGHT:
            if model.disc_at(point) is None:
                model.add_disc(point)
            else:
                model.remove_disc(point)
        elif inside and event.button in (WHEEL_UP, WHEEL_DOWN):
            model.resize_disc(point, GROWTH if event.button == WHEEL_UP else 1 / GROWTH)

    def _at_mouse(self, act: Callable[..., bool]) -> None:
        if self._pixel is None:
            self.model.tell("Point at a place in the workspace first.")
        else:
            act(self.layout.view(self.model.scene).to_world(self._pixel))

    def _quit(self) -> None:
        self.running = False

    def _toggle_help(self) -> None:
        self.help_shown = not self.help_shown

    def _toggle_following(self) -> None:
        self.following = not self.following
        self.model.tell("The target follows the mouse." if self.following else "The target stays; T takes it along.")
