"""Windows and what happens in them, without a display; nothing is loaded before the first frame."""

from __future__ import annotations

import os
import subprocess
import sys
from time import perf_counter

import gymnasium as gym
import numpy as np
import pytest

from planararm.rendering import pygame_renderer
from planararm.rendering.inputs import InputEvent
from planararm.rendering.pygame_renderer import PygameRenderer
from planararm.rendering.shapes import Snapshot
from planararm.scene import make_scene

TRY_A_WINDOW = """
import numpy as np
from planararm.errors import InvalidInputError
from planararm.scene import make_scene
from planararm.rendering.shapes import Snapshot
from planararm.rendering.pygame_renderer import PygameRenderer
renderer = PygameRenderer(mode="human")
try:
    renderer.draw(Snapshot(make_scene("empty"), np.zeros(3)))
    print("seen:", renderer.is_on_screen)
except InvalidInputError as error:
    print(error)
"""


def example() -> Snapshot:
    return Snapshot(make_scene("pillars"), np.array([0.4, 0.6, -0.5]), [1.0, -1.0])


def run(program: str, **environment: str) -> str:
    clean = {k: v for k, v in os.environ.items() if k not in ("SDL_VIDEODRIVER", "DISPLAY", "WAYLAND_DISPLAY")}
    done = subprocess.run(
        [sys.executable, "-c", program], env={**clean, **environment}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


class TestWindows:
    def test_a_window_opens_with_the_first_frame_and_reports_events(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
        import pygame

        renderer = PygameRenderer((200, 200), "human", fps=None)
        assert renderer.events() == []
        assert renderer.draw(example()) is None
        renderer.events()
        pygame.event.post(pygame.event.Event(pygame.KEYDOWN, key=pygame.K_TAB, mod=0))
        pygame.event.post(pygame.event.Event(pygame.MOUSEMOTION, pos=(10, 20), rel=(0, 0), buttons=(0, 0, 0)))
        pygame.event.post(pygame.event.Event(pygame.MOUSEBUTTONDOWN, pos=(10, 20), button=3))
        pygame.event.post(pygame.event.Event(pygame.QUIT))
        events = renderer.events()
        assert [event.kind for event in events] == ["key", "move", "press", "quit"]
        assert events[0].key == "tab"
        assert events[2].pixel == (10, 20)
        assert events[2].button == 3
        renderer.close()
        assert renderer.events() == []
        renderer.close()
        assert renderer.draw(example()) is None
        assert renderer.is_on_screen
        pygame.quit()
        assert renderer.draw(example()) is None
        renderer.close()
        assert not renderer.is_on_screen

    def test_events_nobody_listens_to_are_dropped(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
        import pygame

        renderer = PygameRenderer((50, 50), "human", fps=None)
        renderer.draw(example())
        renderer.events()
        pygame.event.post(pygame.event.Event(pygame.MOUSEBUTTONUP, pos=(1, 2), button=1))
        pygame.event.post(pygame.event.Event(pygame.USEREVENT))
        pygame.event.post(pygame.event.Event(pygame.KEYDOWN, key=pygame.K_a, mod=pygame.KMOD_LSHIFT))
        expected = [InputEvent("release", (1, 2), 1), InputEvent("key", key="a", shift=True)]
        assert renderer.events() == expected
        assert renderer.events() == []
        renderer.close()

    def test_a_window_keeps_to_its_rate(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
        renderer = PygameRenderer((50, 50), "human", fps=20)
        renderer.draw(example())
        start = perf_counter()
        for _ in range(4):
            renderer.draw(example())
        # The clock counts in whole milliseconds.
        assert perf_counter() - start > 0.19
        renderer.close()

    def test_human_mode_draws_in_reset_and_step(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
        drawn: list[Snapshot] = []

        def draw(self: PygameRenderer, snapshot: Snapshot) -> None:
            drawn.append(snapshot)

        monkeypatch.setattr(pygame_renderer.PygameRenderer, "draw", draw)
        env = gym.make("planararm/Track-v0", render_mode="human")
        env.reset(seed=0)
        env.step(env.action_space.sample())
        assert env.render() is None
        assert len(drawn) == 2
        assert len(drawn[0].path) == 201
        env.close()

    def test_human_mode_without_a_display_says_so(self) -> None:
        assert "needs a display, and there is none" in run(TRY_A_WINDOW, SDL_VIDEODRIVER="x11")

    def test_nobody_sees_a_window_that_sdl_opens_off_the_screen(self) -> None:
        # Left to itself, SDL may have a driver of last resort.
        assert run(TRY_A_WINDOW).startswith(("seen: False", 'mode="human" needs a display, and there is none'))

    def test_arrays_need_no_display_and_pygame_waits_for_the_first_frame(self) -> None:
        program = (
            "import sys, gymnasium as gym, planararm\n"
            "env = gym.make('planararm/Reach-v0', render_mode='rgb_array')\n"
            "env.reset(seed=0)\n"
            "env.step(env.action_space.sample())\n"
            "print('pygame' in sys.modules)\n"
            "print(env.render().shape, 'pygame' in sys.modules)\n"
        )
        assert run(program).split("\n")[:2] == ["False", "(640, 640, 3) True"]
