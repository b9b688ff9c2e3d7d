"""Pictures: the shapes as numbers, the pixels at known places, windows without a display."""

from __future__ import annotations

import sys
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from planararm.errors import InvalidInputError, MissingExtraError, UnknownNameError
from planararm.obstacles import Obstacles
from planararm.rendering.palette import PALETTE, clearance_color
from planararm.rendering.pygame_renderer import PygameRenderer
from planararm.rendering.shapes import Box, Capsule, Cross, Disc, Label, Polyline, Snapshot, scene_shapes, scene_view
from planararm.scene import Scene, make_scene
from planararm.scene.generator import sample_scenes

Q = np.array([0.4, 0.6, -0.5])


def example(**changes: Any) -> Snapshot:
    return Snapshot(**{"scene": make_scene("pillars"), "q": Q, "target_position": [1.0, -1.0], **changes})


def of(snapshot: Snapshot, kind: type, role: str) -> list[Any]:
    return [shape for shape in scene_shapes(snapshot) if isinstance(shape, kind) and shape.role == role]


class TestShapes:
    def test_links_are_capsules_between_the_joints(self) -> None:
        snapshot = example()
        arm = snapshot.scene.arm
        joints = arm.forward_kinematics(Q)
        links = of(snapshot, Capsule, "link")
        assert np.allclose([link.start for link in links], joints[:-1])
        assert np.allclose([link.end for link in links], joints[1:])
        assert {link.radius for link in links} == {arm.link_radius}

    def test_discs_stand_where_they_are_at_the_time(self) -> None:
        scene = make_scene("shuttle")
        for time in (0.0, 1.3):
            discs = of(Snapshot(scene, np.full(3, 0.1), time=time), Disc, "obstacle")
            assert np.allclose([disc.center for disc in discs], scene.obstacles.positions(time))
            assert np.allclose([disc.radius for disc in discs], scene.obstacles.radii)

    def test_masked_discs_are_not_drawn(self) -> None:
        arm = make_scene("empty").arm
        discs = Obstacles([[2.0, 0.0], [0.0, 2.0]], [0.2, 0.2], mask=[False, True])
        drawn = of(Snapshot(Scene(arm, discs), Q), Disc, "obstacle")
        assert [disc.center for disc in drawn] == [(0.0, 2.0)]

    def test_what_is_not_there_is_not_drawn(self) -> None:
        bare = Snapshot(make_scene("empty"), Q)
        assert not of(bare, Cross, "target")
        assert not of(bare, Polyline, "path")
        assert not of(bare, Polyline, "trail")
        assert not of(bare, Capsule, "ghost")
        assert not of(bare, Label, "text")

    def test_target_path_trail_ghosts_and_text(self) -> None:
        path, trail = np.array([[0.0, 1.0], [1.0, 1.0], [1.0, 2.0]]), np.linspace([0, 0], [1, 2], 50)
        snapshot = example(path=path, trail=trail, ghosts=[Q + 0.3, Q - 0.3], text=("one", "two"))
        assert of(snapshot, Cross, "target")[0].center == (1.0, -1.0)
        assert np.array_equal(of(snapshot, Polyline, "path")[0].points, path)
        pieces = of(snapshot, Polyline, "trail")
        assert np.array_equal(pieces[0].points[0], trail[0])
        assert np.array_equal(pieces[-1].points[-1], trail[-1])
        assert len(of(snapshot, Capsule, "ghost")) == 6
        assert all(ghost.alpha < 1 for ghost in of(snapshot, Capsule, "ghost"))
        labels = of(snapshot, Label, "text")
        assert [label.text for label in labels] == ["one", "two"]
        assert labels[0].position[1] > labels[1].position[1]

    def test_ghosts_are_whole_arms(self) -> None:
        ghosts = [Q + 0.3, Q - 0.3]
        snapshot = example(ghosts=ghosts)
        joints = snapshot.scene.arm.forward_kinematics(np.array(ghosts))
        drawn = of(snapshot, Capsule, "ghost")
        assert np.allclose([ghost.start for ghost in drawn], joints[:, :-1].reshape(-1, 2))
        assert np.allclose([ghost.end for ghost in drawn], joints[:, 1:].reshape(-1, 2))

    def test_a_trail_of_any_length_is_drawn_whole(self) -> None:
        for count in (2, 3, 25, 400):
            trail = np.random.default_rng(count).uniform(-2, 2, (count, 2))
            pieces = of(example(trail=trail), Polyline, "trail")
            joined = np.concatenate([pieces[0].points, *(piece.points[1:] for piece in pieces[1:])])
            assert np.array_equal(joined, trail)
        for count in (0, 1):
            assert of(example(trail=np.zeros((count, 2)), path=np.zeros((count, 2))), Polyline, "trail") == []

    def test_each_link_has_the_colour_of_its_own_distance(self) -> None:
        arm = make_scene("empty").arm
        joints = arm.forward_kinematics(Q)
        discs = Obstacles([joints[2:].mean(axis=0)], [0.1])
        snapshot = Snapshot(Scene(arm, discs), Q)
        colors = [link.color for link in of(snapshot, Capsule, "link")]
        assert colors[0] == PALETTE["link"]
        assert colors[2] == PALETTE["link_danger"]
        one = [link.color for link in of(example(clearance=0.0), Capsule, "link")]
        assert one == [PALETTE["link_danger"]] * 3

    def test_the_distance_is_that_at_the_time(self) -> None:
        scene = make_scene("shuttle")
        for time in (0.0, 4.0):
            frozen = Snapshot(Scene(scene.arm, scene.obstacles.frozen_at(time)), Q)
            assert np.array_equal(Snapshot(scene, Q, time=time).clearance, frozen.clearance)

    def test_shuttles_have_dashed_tracks_and_parked_ones_none(self) -> None:
        arm = make_scene("empty").arm
        discs = Obstacles([[2.0, 0.0], [0.0, 2.0]], [0.2, 0.2], [[0.5, 0.5, 0.1, 0.0], [0.5, 0.5, 0.0, 1.0]])
        tracks = of(Snapshot(Scene(arm, discs), Q), Polyline, "shuttle")
        assert [track.points.tolist() for track in tracks] == [[[2.0, 0.0], [2.5, 0.5]]]
        assert tracks[0].dash > 0

    def test_only_an_arm_that_cannot_fold_has_a_hole_in_its_workspace(self) -> None:
        assert not of(example(), Disc, "workspace_hole")
        scene = make_scene("empty", arm={"link_lengths": [2.0, 0.5]})
        (hole,) = of(Snapshot(scene, [0.0, 0.0]), Disc, "workspace_hole")
        assert hole.radius == 1.5

    @pytest.mark.parametrize("aspect", [0.5, 1.0, 2.0])
    def test_text_starts_in_the_corner_of_any_format(self, aspect: float) -> None:
        snapshot = example(text="one line")
        size = (round(400 * max(aspect, 1)), round(400 * max(1 / aspect, 1)))
        (label,) = [shape for shape in scene_shapes(snapshot, aspect) if isinstance(shape, Label)]
        assert label.text == "one line"
        x, y = scene_view(snapshot.scene, size).to_pixels(label.position)
        assert 0 < x < 20
        assert 0 < y < 20

    def test_the_view_holds_the_workspace_and_inverts(self) -> None:
        scene = make_scene("pillars")
        view = scene_view(scene, (400, 300))
        points = np.random.default_rng(0).uniform(-3, 3, (20, 2))
        assert np.allclose(view.to_world(view.to_pixels(points)), points)
        top = view.to_pixels(scene.arm.base + [0.0, scene.arm.reach])
        assert 0 <= top[1] < 150
        assert np.allclose(view.to_pixels(scene.arm.base), (200, 150))

    def test_links_turn_red_towards_the_margin(self) -> None:
        colors = [clearance_color(c, 1e-3, 0.2) for c in np.linspace(1e-3, 0.3, 60)]
        assert clearance_color(-1.0, 1e-3, 0.2) == clearance_color(1e-3, 1e-3, 0.2) == PALETTE["link_danger"]
        assert colors[-1] == clearance_color(np.inf, 1e-3, 0.2) == PALETTE["link"]
        steps = np.abs(np.diff(np.array(colors, dtype=int), axis=0)).max()
        assert steps < 40
        blues = [blue for _, _, blue in colors]
        assert blues == sorted(blues)
        half_way = clearance_color(1e-3 + 0.1, 1e-3, 0.2)
        assert half_way == PALETTE["link_caution"]

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"q": [0.0, np.nan, 0.0]}, "q must be finite"),
            ({"q": [0.0, 0.0]}, r"q must have shape"),
            ({"q": np.zeros((2, 3))}, r"q must have shape \(3,\), got \(2, 3\)"),
            ({"target_position": [1.0]}, "target_position must have shape"),
            ({"target_position": [1.0, np.inf]}, "target_position must be finite, got inf"),
            ({"path": [[1.0, np.nan]]}, "path must be finite, got nan"),
            ({"trail": [[1.0, 2.0, 3.0]]}, r"trail must have shape \(\*batch, 2\), got \(1, 3\)"),
            ({"ghosts": [[0.0, 1.0]]}, r"ghosts must have shape \(\*batch, 3\), got \(1, 2\)"),
            ({"ghosts": Q}, r"ghosts must have shape \(k, 3\), got \(3,\)"),
            ({"clearance": np.nan}, "clearance must be one number or 3, without NaN, got nan"),
            ({"path": [1.0, 2.0]}, r"path must have shape \(k, 2\)"),
            ({"clearance": [1.0, 2.0]}, "clearance must be one number or 3"),
            ({"scene": "pillars"}, "A snapshot needs a Scene, got str"),
        ],
    )
    def test_bad_snapshot(self, changes: dict[str, Any], message: str) -> None:
        with pytest.raises(InvalidInputError, match=message):
            example(**changes)

    def test_a_batch_is_refused(self) -> None:
        batch = sample_scenes(np.random.default_rng(0), 2)
        with pytest.raises(InvalidInputError, match=r"shows one scene, got a batch \(2,\); index it first"):
            Snapshot(batch, Q)


class TestPixels:
    def test_colours_at_known_places(self) -> None:
        snapshot = example(clearance=np.inf)
        view = scene_view(snapshot.scene, (500, 500))
        frame = PygameRenderer((500, 500)).draw(snapshot)
        assert frame is not None

        def assert_color(point: Any, role: str) -> None:
            x, y = np.round(view.to_pixels(point)).astype(int)
            # Averaging down rounds by a few levels.
            assert np.abs(frame[y, x].astype(int) - PALETTE[role]).max() <= 3

        joints = snapshot.scene.arm.forward_kinematics(Q)
        assert_color(np.asarray(snapshot.scene.obstacles.centers)[0], "obstacle")
        assert_color(joints[:2].mean(axis=0), "link")
        assert_color(view.to_world([2.0, 2.0]), "background")
        assert_color(joints[-1], "joint_edge")
        assert_color(joints[0], "joint")
        assert_color(snapshot.target_position, "target")
        assert_color([0.0, -2.0], "workspace")

    def test_a_target_stands_out_on_a_disc(self) -> None:
        scene = Scene(make_scene("empty").arm, Obstacles([[1.5, 1.5]], [0.5]))
        frame = PygameRenderer((400, 400)).draw(Snapshot(scene, Q, [1.5, 1.5]))
        assert frame is not None
        x, y = np.round(scene_view(scene, (400, 400)).to_pixels([1.5, 1.5])).astype(int)
        around = frame[y - 12 : y + 13, x - 12 : x + 13].reshape(-1, 3).astype(int)
        for role in ("target", "background"):
            assert (np.abs(around - PALETTE[role]).max(axis=-1) < 30).sum() > 20

    def test_text_is_legible_on_a_disc(self) -> None:
        scene = Scene(make_scene("empty").arm, Obstacles([[-3.0, 3.0]], [1.5]))
        renderer = PygameRenderer((400, 400))
        bare, lettered = (renderer.draw(Snapshot(scene, Q, text=text)) for text in ((), ("error 0.01 m",)))
        assert bare is not None
        assert lettered is not None
        changed = lettered[(bare != lettered).any(axis=-1)].astype(int).sum(axis=-1)
        assert changed.min() < 250
        assert changed.max() > 600

    def test_text_of_any_characters_is_drawn(self) -> None:
        renderer = PygameRenderer((80, 80))
        texts = ("", "zero\0byte", "\N{GREEK SMALL LETTER THETA} \N{PILE OF POO}")
        assert renderer.draw(example(text=texts)) is not None

    def test_overlay_is_in_pixels_from_the_bottom_left(self) -> None:
        frame = PygameRenderer((60, 40)).draw(example(), overlay=[Box((0, 0), (10, 10), (255, 0, 0), "box")])
        assert frame is not None
        red = (np.abs(frame.astype(int) - (255, 0, 0)) <= 3).all(axis=-1)
        assert red[30:, :10].all()
        assert red.sum() == 100

    def test_overlaps_of_translucent_shapes_do_not_show(self) -> None:
        overlay = [Disc((x, 20), 12, (0, 0, 255), "blue", alpha=0.5) for x in (20, 30)]
        frame = PygameRenderer((60, 40)).draw(example(), overlay=overlay)
        alone = PygameRenderer((60, 40)).draw(example(), overlay=overlay[:1])
        assert frame is not None
        assert alone is not None
        assert np.array_equal(frame[20, 24], alone[20, 24])

    def test_frames_are_new_and_the_same(self) -> None:
        renderer = PygameRenderer((120, 90))
        first, second = renderer.draw(example()), renderer.draw(example())
        assert first is not None
        assert second is not None
        assert first.shape == (90, 120, 3)
        assert first.dtype == np.uint8
        assert first is not second
        assert np.array_equal(first, second)
        first[:] = 0
        assert np.array_equal(renderer.draw(example()), second)

    def test_closing_is_legal_twice_and_drawing_goes_on(self) -> None:
        renderer = PygameRenderer((60, 60))
        before = renderer.draw(example())
        renderer.close()
        renderer.close()
        assert np.array_equal(renderer.draw(example()), before)

    def test_drawing_goes_on_after_others_have_shut_pygame_down(self) -> None:
        import pygame

        renderer = PygameRenderer((60, 60))
        before = renderer.draw(example(text=("kept",)))
        pygame.quit()
        assert np.array_equal(renderer.draw(example(text=("kept",))), before)
        assert renderer.draw(example(text=("new",))) is not None

    @pytest.mark.parametrize("name", ["planararm/Reach-v0", "planararm/Track-v0"])
    def test_environments_give_frames(self, name: str) -> None:
        env = gym.make(name, render_mode="rgb_array", num_obstacles=3, dials={"shuttling": 1.0})
        env.reset(seed=0)
        first = env.render()
        for _ in range(5):
            env.step(env.action_space.sample())
        second = env.render()
        assert isinstance(first, np.ndarray)
        assert first.shape == (640, 640, 3)
        assert not np.array_equal(first, second)
        env.close()
        env.close()

    @pytest.mark.parametrize("size", [(0, 10), (10, 5000), (10.5, 10), 10, "10x10"])
    def test_bad_size(self, size: Any) -> None:
        with pytest.raises(InvalidInputError, match="size must be two whole numbers from 1 to 4096"):
            PygameRenderer(size)

    def test_bad_mode_and_fps(self) -> None:
        with pytest.raises(UnknownNameError, match=r"Unknown render mode 'rgb'.*Known: human, rgb_array"):
            PygameRenderer(mode="rgb")
        with pytest.raises(UnknownNameError, match=r"Unknown render mode 'humen'. Did you mean 'human'\?"):
            PygameRenderer(mode="humen")
        for fps in (0, -5, float("nan")):
            with pytest.raises(InvalidInputError, match=f"fps must be > 0 or None, got {fps}"):
                PygameRenderer(fps=fps)

    def test_missing_pygame_names_the_extra(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "pygame", None)
        with pytest.raises(MissingExtraError, match=r'pip install "planararm\[render\]"'):
            PygameRenderer().draw(example())
