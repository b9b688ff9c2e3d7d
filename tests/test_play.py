"""The interactive window: its state without a window, what events do, what is shown, and the whole loop."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from planararm.collision import clearance
from planararm.errors import FileFormatError, InvalidInputError, InvalidSceneError, PolicyError, UnknownNameError
from planararm.obstacles import Obstacles
from planararm.play import edits, play
from planararm.play.chart import strip_chart
from planararm.play.controller import KEYS_HELP, Controller
from planararm.play.layout import Layout
from planararm.play.loop import run
from planararm.play.model import PlayModel
from planararm.play.records import HISTORY_SECONDS, Sample
from planararm.play.scenes import free_start
from planararm.play.view import MAX_ROWS, overlay, snapshot, wrapped
from planararm.policies import available_policies
from planararm.policies.registry import _ENTRIES, Entry
from planararm.rendering.inputs import InputEvent
from planararm.rendering.pygame_renderer import PygameRenderer
from planararm.rendering.shapes import Box, Label, Polyline, scene_view
from planararm.scene import Scene, available_scenes, make_scene, save_scene

FAR = [-2.0, -1.0]
"""A place that is free of arm and discs in the scenes ``empty`` and ``single``."""


def raising(target_position, q, scene):
    raise RuntimeError("the weights are gone")


def not_a_number(target_position, q, scene):
    return q * np.nan


def quitting(target_position, q, scene):
    sys.exit("enough")


def in_place(target_position, q, scene):
    target_position += 5.0
    q += 5.0
    return q


def centers(model: PlayModel) -> np.ndarray:
    return np.asarray(model.scene.obstacles.positions())


def steps(model: PlayModel, count: int) -> None:
    for _ in range(count):
        model.step()


# ---- the model


def test_everything_but_the_loop_is_imported_without_pygame():
    code = (
        "import sys, planararm.play, planararm.play.model, planararm.play.controller, planararm.play.view\n"
        "planararm.play.model.PlayModel().step()\n"
        "assert 'pygame' not in sys.modules and 'matplotlib' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_arm_reaches_the_target():
    model = PlayModel(scene="empty")
    assert model.status == "ready"
    model.set_target([1.0, 1.5])
    steps(model, 60)
    assert model.tracking_error < 1e-9
    assert model.status == "solved"
    assert np.allclose(model.scene.arm.end_effector(model.q), [1.0, 1.5])
    assert model.clearance == np.inf
    model.set_target([9.0, 0.0])
    steps(model, 1)
    assert model.status == "out of reach"


def test_history_is_the_error_of_each_step_and_bounded():
    model = PlayModel("hold", "empty", dt=0.1)
    model.set_target(model.target + [0.3, 0.4])
    steps(model, 130)
    assert len(model.records.history) == HISTORY_SECONDS / 0.1 == model.records.fill
    number = available_policies().index("hold")
    for sample in model.records.history:
        assert sample == (pytest.approx(0.5 / 3), number, False)
    assert np.allclose(model.records.trail, model.scene.arm.end_effector(model.q))
    assert 0 < model.records.solve_time < 1
    assert model.status == "holds still"


@pytest.mark.parametrize("bad", [[np.nan, 0.0], [1.0], [[1.0, 2.0]], "here", None])
def test_a_target_that_is_none_is_refused(bad):
    with pytest.raises(InvalidInputError, match="position"):
        PlayModel(scene="empty").set_target(bad)


@pytest.mark.parametrize("dt", [0.0, -1.0, np.nan, np.inf])
def test_time_must_pass(dt):
    with pytest.raises(InvalidInputError, match="dt must be > 0"):
        PlayModel(dt=dt)


@pytest.mark.parametrize("policy", ["closed-form", "damped-least-squares", "jacobian-transpose"])
def test_the_arm_never_touches_a_disc_while_the_target_sweeps_through_them(policy):
    model = PlayModel(policy, "clutter")
    arm, discs = model.scene.arm, model.scene.obstacles
    contacts = 0
    for i in range(200):
        model.set_target(centers(model)[(i // 25) % 8] * (0.5 + 0.02 * (i % 25)))
        before = model.q
        model.step()
        between = before + np.linspace(0, 1, 21)[:, None] * (model.q - before)
        assert clearance(between, arm, discs).min() > 0
        contacts += model.contact
    assert contacts > 0
    assert contacts == sum(sample.contact for sample in model.records.history)


def test_shuttling_discs_move_as_the_scene_says():
    model = PlayModel("hold", "shuttle")
    begin = model.scene.obstacles
    steps(model, 45)
    assert np.allclose(centers(model), begin.positions(45 * model.dt))
    assert not np.allclose(centers(model), begin.positions())


def test_a_moving_disc_that_hits_the_arm_is_told_and_the_game_goes_on():
    arm = make_scene("empty").arm
    q = free_start(make_scene("empty"))
    tip = arm.end_effector(q)
    sideways = np.array([-(tip - arm.base)[1], (tip - arm.base)[0]]) / np.linalg.norm(tip)
    start = arm.forward_kinematics(q)[-2] + 1.0 * sideways
    discs = Obstacles([start], [0.1], [[*(-2.0 * sideways), 1.0, 0.0]])
    model = PlayModel("hold", Scene(arm, discs))
    told = set()
    for _ in range(90):
        model.step()
        told.add(model.message)
    assert "A moving disc has run into the arm." in told
    assert model.scene_name == "your scene"
    assert len(model.records.history) == 90


def test_pause():
    model = PlayModel("closed-form", "shuttle")
    model.set_target([1.0, 1.0])
    model.toggle_pause()
    before, places = model.q, centers(model)
    steps(model, 5)
    assert np.array_equal(model.q, before)
    assert np.array_equal(centers(model), places)
    assert not model.records.history
    assert model.status == "paused"
    model.toggle_pause()
    steps(model, 5)
    assert not np.array_equal(model.q, before)


def test_messages_go_away():
    model = PlayModel("hold", "empty", dt=0.5)
    model.tell("Look!", alert=True)
    steps(model, 7)
    assert (model.message, model.alert) == ("Look!", True)
    steps(model, 1)
    assert (model.message, model.alert) == ("", False)


# ---- editing


def test_add_and_remove():
    model = PlayModel("hold", "single")
    assert model.add_disc(FAR)
    assert np.array_equal(centers(model)[-1], FAR)
    assert model.disc_at(FAR) == 1
    assert model.clearance == clearance(model.q, model.scene.arm, model.scene.obstacles)
    assert model.remove_disc(FAR)
    assert model.scene.obstacles == make_scene("single").obstacles
    assert not model.remove_disc(FAR)
    assert model.message == "There is no disc here."


def test_add_among_shuttling_discs_adds_one_that_stands_still():
    model = PlayModel("hold", "shuttle")
    place = np.array([-2.0, -2.0])
    assert model.add_disc(place)
    steps(model, 10)
    assert np.array_equal(centers(model)[-1], place)
    assert model.remove_disc(place)
    assert model.scene.obstacles.shuttle.shape == (3, 4)


def test_refused_edits_change_nothing_and_say_why():
    model = PlayModel("hold", "single")
    joints = model.scene.arm.forward_kinematics(model.q)
    before = model.scene
    for place, message in (
        (joints[1:3].mean(axis=0), "No room here: the arm is in the way."),
        (model.scene.arm.base, "No disc over the base: the arm could not move at all."),
        ([2.5, -2.5], "No disc outside the workspace, the shaded circle: the arm cannot get there."),
    ):
        assert not model.add_disc(place)
        assert (model.message, model.alert) == (message, True)
        assert model.scene is before


def test_there_are_only_so_many_discs():
    model = PlayModel("hold", make_scene("ring", num=edits.MAX_DISCS, radius=0.01))
    assert not model.add_disc([-0.5, -0.5])
    assert model.message == f"There are {edits.MAX_DISCS} discs already; remove one first."


def test_drag_keeps_the_grip_and_drop_lets_go():
    model = PlayModel("hold", "single")
    place = centers(model)[0]
    assert not model.grab_disc(FAR)
    assert not model.drag_disc(FAR)
    grip = np.array([0.1, -0.05])
    assert model.grab_disc(place + grip)
    assert model.drag_disc(np.array(FAR) + grip)
    assert np.allclose(centers(model)[0], FAR)
    model.drop_disc()
    assert not model.drag_disc(place)
    assert np.allclose(centers(model)[0], FAR)


def test_a_dragged_disc_stops_at_the_arm_instead_of_passing_through():
    model = PlayModel("hold", "empty")
    joints = model.scene.arm.forward_kinematics(model.q)
    along = joints[2] - joints[1]
    sideways = np.array([-along[1], along[0]]) / np.linalg.norm(along)
    middle = joints[1:3].mean(axis=0)
    assert model.add_disc(middle + 0.5 * sideways)
    model.grab_disc(middle + 0.5 * sideways)
    assert model.drag_disc(middle - 0.5 * sideways)
    assert (centers(model)[0] - middle) @ sideways > 0
    assert model.clearance == pytest.approx(model.scene.safety_margin, abs=1e-6)
    assert model.drag_disc(middle + 0.4 * sideways)
    assert np.allclose(centers(model)[0], middle + 0.4 * sideways)


def test_refused_drags_leave_the_disc_where_it_was():
    model = PlayModel("hold", "single")
    place = centers(model)[0]
    model.grab_disc(place)
    assert not model.drag_disc([3.5, 0.0])
    assert "outside the workspace" in model.message
    assert np.array_equal(centers(model)[0], place)
    shuttling = PlayModel("hold", Scene(model.scene.arm, Obstacles([[-2.0, -1.0]], [0.2], [[0.0, 2.0, 0.1, 0.0]])))
    shuttling.grab_disc(FAR)
    assert not shuttling.drag_disc([0.0, -1.0])
    assert "base" in shuttling.message
    assert np.array_equal(centers(shuttling)[0], FAR)


def test_a_shuttling_disc_waits_in_the_hand_and_goes_on_after_it():
    model = PlayModel("hold", "shuttle")
    steps(model, 10)
    i = int(np.argmax(np.linalg.norm(centers(model) - model.scene.arm.end_effector(model.q), axis=-1)))
    place = centers(model)[i]
    assert model.grab_disc(place)
    steps(model, 10)
    assert np.allclose(centers(model)[i], place)
    assert model.drag_disc(place * 0.98)
    model.drop_disc()
    steps(model, 10)
    speed = make_scene("shuttle").obstacles.shuttle[i, 2]
    assert np.linalg.norm(centers(model)[i] - place * 0.98) == pytest.approx(10 * model.dt * speed)


def test_resize_within_limits_and_room():
    model = PlayModel("hold", "single")
    place = centers(model)[0]
    radius = model.scene.obstacles.radii[0]
    assert model.resize_disc(place, 1.1)
    assert model.scene.obstacles.radii[0] == pytest.approx(1.1 * radius)
    assert not model.resize_disc(FAR, 1.1)
    while model.scene.obstacles.radii[0] > edits.SMALLEST_RADIUS * 3:
        assert model.resize_disc(place, 0.5)
    joints = model.scene.arm.forward_kinematics(model.q)
    along = (joints[1] - joints[0]) / np.linalg.norm(joints[1] - joints[0])
    near = joints[:2].mean(axis=0) + 0.25 * np.array([along[1], -along[0]])
    assert model.add_disc(near)
    assert not model.resize_disc(near, 2.0)
    assert "the arm is in the way" in model.message


def test_masked_discs_are_left_out():
    discs = Obstacles([[1.0, -1.0], [-2.0, -1.0]], [0.2, 0.2], [[0.1, 0, 0.1, 0]] * 2, [False, True])
    model = PlayModel("hold", Scene(make_scene("empty").arm, discs))
    assert np.array_equal(centers(model), [FAR])
    assert model.remove_disc(FAR)
    assert model.scene.obstacles.num_obstacles == 0


# ---- policies


def test_switching_policies():
    model = PlayModel(scene="single")
    names = available_policies()
    assert model.solvers.names == names
    for name in [*names[names.index("closed-form") + 1 :], names[0]]:
        model.next_policy()
        assert model.policy_name == name
        steps(model, 2)
        # Made for another arm: it says so.
        expected = "preset 'duka'" if name == "numpy-mlp" else None
        assert model.answer.problem is None if expected is None else expected in model.answer.problem
    model.next_policy(-1)
    assert model.policy_name == names[-1]
    model.select_policy(0)
    model.select_policy("hold")
    assert model.policy_name == "hold"
    model.select_policy(98)
    assert model.policy_name == "hold"
    assert model.message == f"There is no policy 99, there are {len(names)}."
    with pytest.raises(UnknownNameError, match="Did you mean 'hold'"):
        model.select_policy("hodl")
    assert {sample.policy for sample in model.records.history} == set(range(len(names)))


@pytest.mark.parametrize(
    ("policy", "message"),
    [
        (raising, "raising raised RuntimeError: the weights are gone"),
        (quitting, "quitting: SystemExit: enough"),
        (not_a_number, "not_a_number must return finite joint angles"),
    ],
)
def test_a_failing_policy_holds_and_is_told(policy, message):
    model = PlayModel(policy, "single")
    assert model.policy_name == policy.__name__
    model.set_target([1.0, 1.0])
    before = model.q
    steps(model, 3)
    assert np.array_equal(model.q, before)
    assert model.status == "failed, arm holds"
    assert model.alert
    assert model.message.startswith(message)
    assert len(model.records.history) == 3
    assert model.records.solve_time is None
    model.select_policy("closed-form")
    steps(model, 3)
    assert not np.array_equal(model.q, before)


def test_a_policy_that_does_not_support_the_arm_holds():
    model = PlayModel("closed-form", "single", arm="unit5")
    before = model.q
    model.set_target([1.0, 1.0])
    model.step()
    assert np.array_equal(model.q, before)
    assert model.message.startswith("closed-form answers exist for 1 to 3 joints, this arm has 5")
    model.select_policy("damped-least-squares")
    model.step()
    assert model.answer.problem is None
    assert model.scene.arm.num_joints == 5


def test_a_policy_that_cannot_be_made_is_told_once_made_never_again(monkeypatch, tmp_path):
    (tmp_path / "needs_what_is_not_there.py").write_text("import a_module_that_nobody_has")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(_ENTRIES, "a-missing-one", Entry("needs_what_is_not_there:Policy", "torch"))
    model = PlayModel(scene="single")
    model.select_policy("a-missing-one")
    assert 'pip install "planararm[torch]"' in model.message
    (tmp_path / "needs_what_is_not_there.py").unlink()
    before = model.q
    model.set_target([1.0, 1.0])
    steps(model, 3)
    assert 'pip install "planararm[torch]"' in model.message
    assert np.array_equal(model.q, before)
    assert model.status == "failed, arm holds"


def test_a_policy_whose_reset_raises_is_told():
    model = PlayModel(scene="single")
    policy = model.solvers._made["closed-form"]
    policy.reset = lambda mask=None: 1 / 0
    model.select_policy("closed-form")
    assert model.message == "closed-form: ZeroDivisionError: division by zero"
    assert model.solvers.ask("hold", model.target, model.q, model.scene).problem == "not prepared."
    with pytest.raises(UnknownNameError, match="policy 'hodl'"):
        model.solvers.prepare("hodl")


def test_a_policy_that_works_in_place_moves_neither_arm_nor_target():
    model = PlayModel(in_place, "empty")
    target, q = model.target.copy(), model.q.copy()
    model.solvers.ask("in_place", model.target, model.q, model.scene)
    assert np.array_equal(model.target, target)
    assert np.array_equal(model.q, q)


def test_what_one_begins_with_must_be_right():
    with pytest.raises(UnknownNameError, match="Did you mean 'hold'"):
        PlayModel("hodl")
    with pytest.raises(PolicyError, match="is no policy"):
        PlayModel(3)
    with pytest.raises(UnknownNameError, match="Did you mean 'clutter'"):
        PlayModel(scene="cluter")
    with pytest.raises(FileFormatError):
        PlayModel(scene="nowhere.toml")
    with pytest.raises(InvalidSceneError, match="index it first"):
        PlayModel(scene=Scene.stack([make_scene("single")] * 2))


def test_an_object_named_like_a_bundled_policy_is_told_from_it():
    def hold(target_position, q, scene):
        return q

    model = PlayModel(hold)
    hold.__name__ = "hold"
    assert PlayModel(hold).policy_name == model.policy_name == "hold (yours)"
    assert model.solvers.names == ["hold (yours)", *available_policies()]


# ---- scenes


def test_all_scenes_can_be_played():
    model = PlayModel("hold", available_scenes()[0])
    for name in [*available_scenes()[1:], available_scenes()[0]]:
        model.next_scene()
        assert model.scene_name == name
        model.step()
        assert model.clearance >= model.scene.safety_margin
        assert model.scene.arm.limit_violation(model.q) == 0
        assert np.array_equal(model.target, model.scene.arm.end_effector(model.q))
    model.next_scene(-1)
    assert model.scene_name == available_scenes()[-1]


def test_random_is_another_scene_each_time():
    model = PlayModel("hold", "random")
    first = model.scene.obstacles
    assert first.num_obstacles == 5
    for _ in available_scenes():
        model.next_scene()
    assert model.scene_name == "random"
    assert model.scene.obstacles != first


def test_a_scene_from_a_file_comes_first(tmp_path):
    save_scene(make_scene("wall"), tmp_path / "mine.toml")
    model = PlayModel("hold", str(tmp_path / "mine.toml"))
    assert model.scenes.names == ["mine.toml", *available_scenes()]
    assert model.scene.obstacles == make_scene("wall").obstacles


def test_a_scene_that_leaves_no_room_is_passed_over():
    arm = {"link_lengths": [1.0], "joint_limits": [[1.5, 1.6]]}
    model = PlayModel("hold", "empty", arm=arm)
    names = available_scenes()
    while model.scene_name != names[names.index("single") - 1]:
        model.next_scene()
    message = model.message
    model.next_scene()
    assert model.scene_name not in ("single", "wall")
    assert message == ""
    assert "was passed over: No free configuration found" in model.message
    model.step()
    assert model.answer.problem is None


def test_reset_takes_everything_back():
    model = PlayModel("damped-least-squares", "shuttle")
    scene, q, target = model.scene, model.q, model.target
    model.add_disc([-2.0, -2.0])
    model.set_target([1.0, 1.0])
    steps(model, 20)
    model.reset()
    assert model.scene.obstacles == scene.obstacles
    assert np.array_equal(model.q, q)
    assert np.array_equal(model.target, target)
    assert not model.records.history
    assert not model.records.trail
    assert model.policy_name == "damped-least-squares"


# ---- the controller


def pixel_of(layout: Layout, model: PlayModel, point) -> tuple[float, float]:
    x, y = layout.view(model.scene).to_pixels(point)
    return float(x), float(y)


def desk(**options) -> tuple[PlayModel, Layout, Controller]:
    model, layout = PlayModel(**{"policy": "hold", "scene": "single", **options}), Layout()
    return model, layout, Controller(model, layout)


def test_layout_shows_the_workspace_in_its_part():
    model, layout, _ = desk()
    width, height = layout.world_size
    assert pixel_of(layout, model, model.scene.arm.base) == pytest.approx((width / 2, height / 2))
    reach = model.scene.arm.reach
    assert layout.view(model.scene).scale == scene_view(model.scene, layout.world_size).scale
    for angle in np.linspace(0, 6, 7):
        assert layout.shows_world(pixel_of(layout, model, reach * np.array([np.cos(angle), np.sin(angle)])))
    assert not layout.shows_world((width + 1, 10))
    assert not layout.shows_world((10, height + 1))


def test_the_target_follows_the_mouse_in_the_workspace_only():
    model, layout, controller = desk()
    controller.handle(InputEvent("move", pixel_of(layout, model, [1.0, -0.5])))
    assert np.allclose(model.target, [1.0, -0.5])
    controller.handle(InputEvent("move", (layout.size[0] - 5, 50)))
    assert np.allclose(model.target, [1.0, -0.5])
    controller.handle(InputEvent("key", key="t"))
    controller.handle(InputEvent("move", pixel_of(layout, model, [0.0, 1.0])))
    assert np.allclose(model.target, [1.0, -0.5])
    controller.handle(InputEvent("key", key="t"))
    controller.handle(InputEvent("move", pixel_of(layout, model, [0.0, 1.0])))
    assert np.allclose(model.target, [0.0, 1.0])


def test_left_button_drags_and_the_target_stays_meanwhile():
    model, layout, controller = desk()
    target = model.target
    controller.handle(InputEvent("press", pixel_of(layout, model, centers(model)[0]), 1))
    controller.handle(InputEvent("move", pixel_of(layout, model, FAR)))
    assert np.allclose(centers(model)[0], FAR)
    assert np.array_equal(model.target, target)
    controller.handle(InputEvent("release", pixel_of(layout, model, FAR), 3))
    assert model.held == 0
    controller.handle(InputEvent("release", pixel_of(layout, model, FAR), 1))
    controller.handle(InputEvent("move", pixel_of(layout, model, [0.5, 0.5])))
    assert np.allclose(centers(model)[0], FAR)
    assert np.allclose(model.target, [0.5, 0.5])


def test_right_button_wheel_and_keys_edit():
    model, layout, controller = desk()
    there = pixel_of(layout, model, FAR)
    controller.handle(InputEvent("press", there, 3))
    assert model.scene.obstacles.num_obstacles == 2
    radius = model.scene.obstacles.radii[1]
    controller.handle(InputEvent("press", there, 4))
    assert model.scene.obstacles.radii[1] == pytest.approx(1.1 * radius)
    controller.handle(InputEvent("press", there, 5))
    assert model.scene.obstacles.radii[1] == pytest.approx(radius)
    controller.handle(InputEvent("press", there, 3))
    assert model.scene.obstacles.num_obstacles == 1
    for add, remove in (("a", "delete"), ("a", "backspace")):
        controller.handle(InputEvent("move", there))
        controller.handle(InputEvent("key", key=add))
        assert model.disc_at(FAR) == 1
        controller.handle(InputEvent("key", key=remove))
        assert model.disc_at(FAR) is None
    outside = (layout.size[0] - 5.0, 50.0)
    for button in (1, 2, 3, 4):
        controller.handle(InputEvent("press", outside, button))
    controller.handle(InputEvent("key", key="a"))
    assert model.scene.obstacles.num_obstacles == 1
    assert model.message == "Point at a place in the workspace first."


def test_keys():
    model, _, controller = desk()
    names = available_policies()
    for key, shift, expected in (("1", False, 0), ("tab", False, 1), ("tab", True, 0), ("[3]", False, 2)):
        controller.handle(InputEvent("key", key=key, shift=shift))
        assert model.policy_name == names[expected]
    controller.handle(InputEvent("key", key="n"))
    assert model.scene_name == available_scenes()[available_scenes().index("single") + 1]
    controller.handle(InputEvent("key", key="n", shift=True))
    assert model.scene_name == "single"
    model.set_target([1.0, 1.0])
    controller.handle(InputEvent("key", key="r"))
    assert not np.array_equal(model.target, [1.0, 1.0])
    controller.handle(InputEvent("key", key="space"))
    assert model.paused
    controller.handle(InputEvent("key", key="h"))
    assert controller.help_shown
    controller.handle(InputEvent("key", key="f7"))
    assert controller.running
    controller.handle(InputEvent("key", key="escape"))
    assert not controller.running


def test_closing_the_window_quits():
    _, _, controller = desk()
    controller.handle(InputEvent("quit"))
    assert not controller.running


# ---- the view


def texts(shapes) -> list[str]:
    return [shape.text for shape in shapes if isinstance(shape, Label)]


def test_the_panel_tells_everything():
    model, layout, _ = desk(policy="closed-form")
    model.set_target([-1.0, 1.0])
    steps(model, 1)
    shapes = overlay(model, layout)
    shown = texts(shapes)
    for text in ("single", "joints: 3    discs: 1", "closed-form", "solved", *available_policies()[:MAX_ROWS]):
        assert text in shown
    assert any(text.startswith(f"{model.tracking_error:.3f} m") for text in shown)
    assert f"{model.clearance:.3f} m" in shown
    assert any(text.endswith(" ms") for text in shown)
    (dashed,) = [shape for shape in shapes if shape.role == "answer"]
    joints = model.scene.arm.forward_kinematics(model.answer.q)
    down = dashed.points * [1, -1] + [0, layout.size[1]]
    assert np.allclose(layout.view(model.scene).to_world(down), joints)
    model.add_disc(model.scene.arm.base)
    assert model.message in texts(overlay(model, layout))
    picture = snapshot(model)
    assert np.array_equal(picture.target_position, model.target)
    assert np.array_equal(picture.trail, model.records.trail)


def test_help_lists_all_keys():
    model, layout, _ = desk(scene="empty")
    assert "no discs" in texts(overlay(model, layout))
    assert "Mouse and keys" not in texts(overlay(model, layout))
    shown = texts(overlay(model, layout, help_shown=True))
    for keys, effect in KEYS_HELP:
        assert keys in shown
        assert effect in shown


def test_long_lists_of_policies_are_shown_around_the_chosen_one(monkeypatch):
    for i in range(20):
        monkeypatch.setitem(_ENTRIES, f"zz-{i:02}", _ENTRIES["hold"])
    model, layout, _ = desk()
    model.select_policy("zz-15")
    shown = texts(overlay(model, layout))
    assert "zz-15" in shown
    assert "closed-form" not in shown


def test_chart_is_logarithmic_coloured_by_policy_and_marks_contacts():
    history = [Sample(0.01, 0, False)] * 10 + [Sample(1.0, 1, True)] * 5 + [Sample(0.0, 1, False)] * 5
    shapes = strip_chart((0, 0), (300, 200), history, 100, 10.0)
    (frame,) = [shape for shape in shapes if shape.role == "chart"]
    first, second = [shape for shape in shapes if shape.role == "error"]
    assert first.color != second.color
    middle = (frame.lower[1] + frame.upper[1]) / 2
    assert np.allclose(first.points[:, 1], middle)
    assert np.array_equal(first.points[-1], second.points[0])
    assert second.points[-1, 0] == frame.upper[0]
    assert second.points[1, 1] == frame.upper[1] - 2
    assert second.points[-1, 1] == frame.lower[1] + 2
    (mark,) = [shape for shape in shapes if isinstance(shape, Box) and shape.role == "contact"]
    assert mark.lower[0] < second.points[1, 0] < mark.upper[0] < second.points[-2, 0]
    assert not [shape for shape in strip_chart((0, 0), (300, 200), [], 100, 10.0) if shape.role == "error"]
    labels = [shape for shape in shapes if isinstance(shape, Label)]
    assert {"100 %", "1 %", "0.01 %", "10 s ago", "now"} <= set(texts(labels))
    assert all(np.isfinite(shape.points).all() for shape in shapes if isinstance(shape, Polyline))


def test_wrapped_text_fits_and_says_that_there_is_more():
    lines = wrapped("word " * 200, 300, 20, 3)
    assert len(lines) == 3
    assert lines[-1].endswith("...")


def test_labels_of_the_window_do_not_overlap():
    import pygame

    model, layout, _ = desk(policy="cyclic-coordinate-descent", scene="narrow-passage")
    steps(model, 3)
    model.tell("A message of many words, far too long for the window. " * 20)
    pygame.font.init()
    boxes = []
    for label in (shape for shape in overlay(model, layout) if isinstance(shape, Label) and shape.text):
        width, (x, y) = pygame.font.Font(None, round(label.height)).size(label.text)[0], label.position
        left = x - width if label.align == "right" else x
        boxes.append((left, y - 0.7 * label.height, left + width, y, label.text))
    for i, (left, bottom, right, top, text) in enumerate(boxes):
        assert left >= 0, text
        assert right <= layout.size[0] + 1, text
        for other in boxes[i + 1 :]:
            apart = right <= other[0] or other[2] <= left or top <= other[1] or other[3] <= bottom
            assert apart, (text, other[4])


# ---- the loop, with pygame


class ScriptedWindow(PygameRenderer):
    """Posts pygame events after chosen frames, as if a person had caused them."""

    def __init__(self, layout: Layout, script) -> None:
        super().__init__(layout.size, mode="human", fps=None)
        self.script, self.frames, self.closed = script, 0, False

    def events(self):
        import pygame

        self.frames += 1
        for kind, values in self.script.get(self.frames, ()):
            pygame.event.post(pygame.event.Event(getattr(pygame, kind), values))
        return super().events()

    def close(self) -> None:
        self.closed = True
        super().close()


@pytest.fixture
def no_display(monkeypatch):
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")


@pytest.mark.usefixtures("no_display")
def test_the_whole_window_with_posted_events():
    import pygame

    model, layout, controller = desk(policy="closed-form")
    disc, there, goal = (tuple(map(round, pixel_of(layout, model, p))) for p in (centers(model)[0], FAR, [1.5, -1.0]))
    motion = {"rel": (0, 0), "buttons": (0, 0, 0), "touch": False}
    script = {
        2: [("MOUSEBUTTONDOWN", {"pos": disc, "button": 1}), ("MOUSEMOTION", {"pos": there, **motion})],
        3: [("MOUSEBUTTONUP", {"pos": there, "button": 1})],
        4: [("MOUSEMOTION", {"pos": goal, **motion})],
        50: [("KEYDOWN", {"key": pygame.K_h, "mod": 0}), ("KEYDOWN", {"key": pygame.K_3, "mod": 0})],
        52: [("KEYDOWN", {"key": pygame.K_TAB, "mod": pygame.KMOD_LSHIFT})],
        55: [("QUIT", {})],
    }
    window = ScriptedWindow(layout, script)
    run(model, controller, window, frames=500)
    assert window.frames == 55
    assert window.closed
    assert np.allclose(centers(model)[0], FAR, atol=0.01)
    assert np.allclose(model.target, [1.5, -1.0], atol=0.01)
    assert model.tracking_error < 1e-6
    assert controller.help_shown
    assert model.policy_name == available_policies()[1]


@pytest.mark.usefixtures("no_display")
def test_the_window_closes_when_something_goes_wrong():
    model, layout, controller = desk()
    window = ScriptedWindow(layout, {})
    controller.handle = lambda event: None
    window.script = {2: [("NOTHING", {})]}
    with pytest.raises(AttributeError, match="NOTHING"):
        run(model, controller, window)
    assert window.closed


@pytest.mark.usefixtures("no_display")
def test_play_runs_for_so_many_frames():
    play("jacobian-transpose", "shuttle", frames=3, fps=200)


@pytest.mark.parametrize("frames", [0, -1, 2.5, True, "3"])
def test_play_refuses_other_frames(frames):
    with pytest.raises(InvalidInputError, match="frames must be a whole number >= 1"):
        play(frames=frames)


@pytest.mark.parametrize("fps", [0, -3, np.nan])
def test_play_refuses_other_fps(fps):
    with pytest.raises(InvalidInputError, match="fps must be > 0"):
        play(fps=fps)


def test_no_display_is_told(monkeypatch):
    monkeypatch.setenv("SDL_VIDEODRIVER", "x11")
    monkeypatch.delenv("DISPLAY", raising=False)
    with pytest.raises(InvalidInputError, match="needs a display, and there is none"):
        play(frames=1)
