"""Commands made safe: certified by others, near the best there is, exact where nothing has to change."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planararm import Obstacles, Scene, certify_motion, clearance, clearance_gradient, filter_command, make_arm
from planararm.collision import signed_distance
from planararm.dynamics import advance
from planararm.errors import InvalidInputError, UnknownNameError
from planararm.projection.command_filter import FilterStatus
from planararm.scene.generator import sample_scenes

DURATION = 0.05
ROUNDINGS = ("exact", "position", "delta")
MOVING = {"shuttling": 1.0, "max_speed": 1.0}


def standing(seed, count, arm="unit3", least=1e-3, most=0.1, **dials):
    """Scenes, and configurations that stand at a clearance in [least, most] there."""
    rng = np.random.default_rng(seed)
    scene = sample_scenes(rng, 16 * count, make_arm(arm), num_obstacles=(1, 5), **dials)
    low, high = scene.arm.joint_limits.T
    q = rng.uniform(low, high, (16 * count, scene.arm.num_joints))
    room = clearance(q, scene.arm, scene.obstacles.frozen_at(0.0))
    chosen = np.flatnonzero((room >= least) & (room <= most))[:count]
    assert chosen.size > count // 4
    return scene[chosen], q[chosen], rng


def most_step(scene):
    return scene.arm.joint_velocity_limits * DURATION


def wanted_step(q, command, scene):
    """What an arm does with a command where there is no disc: clipped, then scaled by one factor."""
    step = np.clip(command, *scene.arm.joint_limits.T) - q
    worst = np.maximum(1.0, (np.abs(step) / most_step(scene)).max(axis=-1, keepdims=True))
    return step / worst


def along(q_start, q_end, scene, poses=100):
    """Distances of all pairs at evenly spaced poses, discs moving meanwhile: ``(N, poses, n, m)``."""
    discs = scene.obstacles
    share = np.linspace(0.0, 1.0, poses)[:, None]
    now, later = discs.positions(0.0)[:, None], discs.positions(DURATION)[:, None]
    centers = now + share[..., None] * (later - now)
    spread = Obstacles(
        centers, np.broadcast_to(discs.radii[:, None], centers.shape[:-1]), None,
        np.broadcast_to(discs.mask[:, None], centers.shape[:-1]),
    )  # fmt: skip
    q = (1.0 - share) * q_start[:, None] + share * q_end[:, None]
    return signed_distance(q, scene.arm, spread)


def commands(kind, q, scene, rng):
    reach = most_step(scene)
    if kind == "random":
        return q + rng.uniform(-2.0, 2.0, q.shape) * reach
    if kind == "far":
        return q + rng.uniform(-100.0, 100.0, q.shape)
    _, gradient = clearance_gradient(q, scene.arm, scene.obstacles.frozen_at(0.0))
    return q - reach * np.sign(gradient)


class TestSafe:
    @pytest.mark.parametrize("kind", ["random", "far", "deeper"])
    @pytest.mark.parametrize("rounding", ROUNDINGS)
    @pytest.mark.parametrize("arm", ["unit2", "unit3", "unit5", "duka"])
    def test_certified_by_others_and_within_the_limits(self, arm, rounding, kind):
        scene, q, rng = standing(0, 200, arm)
        _, info = filter_command(q, commands(kind, q, scene, rng), scene, duration=DURATION, rounding=rounding)
        assert (info.status != FilterStatus.UNCERTIFIED).all()
        assert info.intervened.any()
        margin = scene.safety_margin / 2
        certificate = certify_motion(q, info.q_end, scene.arm, scene.obstacles, margin=margin - 1e-9)
        assert (certificate.status == 1).all()
        assert along(q, info.q_end, scene).min() >= margin - 1e-9
        assert (scene.arm.limit_violation(info.q_end) <= 0).all()
        assert (np.abs(info.q_end - q) <= most_step(scene) * (1 + 1e-12)).all()

    @pytest.mark.parametrize("rounding", ROUNDINGS)
    def test_what_an_environment_does_with_the_action_ends_where_it_says(self, rounding):
        scene, q, rng = standing(1, 300)
        command = q + rng.uniform(-1.0, 1.0, q.shape) * most_step(scene)
        safe, info = filter_command(q, command, scene, duration=DURATION, rounding=rounding)
        changed = info.intervened
        assert changed.sum() > 20
        given = safe
        if rounding != "exact":
            np.testing.assert_array_equal(info.action[changed].astype(np.float32), info.action[changed])
            given = info.action if rounding == "position" else q + np.clip(info.action, -1, 1) * most_step(scene)
        done = advance(q, given, scene, dt=DURATION)
        assert not done.collision.any()
        assert (done.fraction == 1.0).all()
        np.testing.assert_allclose(done.q, info.q_end, rtol=0, atol=1e-14)

    @settings(max_examples=150)
    @given(
        seed=st.integers(0, 2**32), arm=st.sampled_from(["unit2", "unit3", "unit5"]), discs=st.integers(0, 6),
        margin=st.sampled_from([0.0, 1e-3, 0.02]), rounding=st.sampled_from(ROUNDINGS), speed=st.floats(0.01, 3.0),
    )  # fmt: skip
    def test_random_scenes(self, seed, arm, discs, margin, rounding, speed):
        rng = np.random.default_rng(seed)
        scene = sample_scenes(rng, 8, make_arm(arm), num_obstacles=discs, safety_margin=margin)
        q = rng.uniform(*scene.arm.joint_limits.T, (8, scene.arm.num_joints))
        # (In delta control a step is scaled before the limits clip it: with commands within them it is all one.)
        command = scene.arm.clip(q + speed * rng.normal(size=q.shape))
        safe, info = filter_command(q, command, scene, duration=DURATION, rounding=rounding)
        room = along(q, info.q_end, scene)
        least = np.minimum(max(margin / 2, 2e-6), room[:, :1]) - 1e-9
        certified = info.status != FilterStatus.UNCERTIFIED
        assert (room >= least)[certified].all()
        assert certified[(room[:, 0] >= 1e-3).all(axis=(1, 2))].all()
        assert (scene.arm.limit_violation(info.q_end) <= 0).all()
        distance = np.linalg.norm(info.q_end - q - wanted_step(q, command, scene), axis=-1)
        np.testing.assert_allclose(info.distance, distance, atol=1e-12 if rounding == "exact" else 2e-6)
        np.testing.assert_array_equal(safe[~info.intervened], command[~info.intervened])

    @pytest.mark.parametrize("rounding", ROUNDINGS)
    def test_moving_discs(self, rounding):
        scene, q, rng = standing(2, 300, least=0.02, most=0.3, **MOVING)
        assert not scene.obstacles.is_static
        _, info = filter_command(q, commands("random", q, scene, rng), scene, duration=DURATION, rounding=rounding)
        certified = info.status != FilterStatus.UNCERTIFIED
        assert certified.mean() > 0.95
        assert info.intervened.any()
        assert along(q, info.q_end, scene)[certified].min() >= scene.safety_margin / 2 - 1e-9

    def test_the_clock_of_moving_discs(self):
        scene, q, _ = standing(3, 50, least=0.02, most=0.3, **MOVING)
        later = Scene(scene.arm, scene.obstacles.after(0.7), scene.safety_margin)
        command = q + 0.2
        first = filter_command(q, command, scene, duration=DURATION, time=0.7)
        again = filter_command(q, command, later, duration=DURATION)
        np.testing.assert_allclose(first[0], again[0], atol=1e-9)
        assert not np.array_equal(first[0], filter_command(q, command, scene, duration=DURATION)[0])


class TestContact:
    @pytest.mark.parametrize("rounding", ROUNDINGS)
    @pytest.mark.parametrize("arm", ["unit2", "unit3", "unit5"])
    def test_never_deeper_and_out(self, arm, rounding):
        scene, q, rng = standing(4, 200, arm, least=-0.3, most=0.0)
        for _ in range(15):
            command = commands("random", q, scene, rng)
            _, info = filter_command(q, command, scene, duration=DURATION, rounding=rounding)
            certified = info.status != FilterStatus.UNCERTIFIED
            room = along(q, info.q_end, scene)
            least = np.minimum(room[:, :1], scene.safety_margin / 2) - 1e-9
            assert (room >= least)[certified].all()
            q = info.q_end
        assert (clearance(q, scene.arm, scene.obstacles) > 0).mean() > 0.8

    def test_a_moving_disc_that_cannot_be_evaded(self):
        arm = make_arm({"link_lengths": [1.0], "joint_velocity_limits": [0.1]})
        discs = Obstacles([[0.9, 0.3]], [0.2], [[0.0, -0.6, 10.0, 0.0]])
        _, info = filter_command([0.0], [0.0], Scene(arm, discs), duration=DURATION)
        assert info.status == FilterStatus.UNCERTIFIED
        assert info.intervened


class TestNear:
    def test_against_all_steps_of_a_fine_grid(self):
        """Two links: the nearest certified step of 81 x 81 is hardly nearer than the one executed."""
        scene, q, rng = standing(5, 150, "unit2", least=6e-4, most=0.05)
        reach = most_step(scene)
        axis = np.linspace(-1.0, 1.0, 81)
        grid = np.stack(np.meshgrid(axis, axis, indexing="ij"), axis=-1).reshape(-1, 2) * reach
        excess = []
        for kind in ("random", "deeper"):
            command = commands(kind, q, scene, rng)
            _, info = filter_command(q, command, scene, duration=DURATION)
            wanted = wanted_step(q, command, scene)
            for i in np.flatnonzero(info.intervened):
                steps = grid[scene.arm.limit_violation(q[i] + grid) <= 0]
                discs = scene.obstacles[i].compact()
                free = certify_motion(q[i], q[i] + steps, scene.arm, discs, margin=scene.safety_margin / 2).status == 1
                nearest = np.linalg.norm(steps[free] - wanted[i], axis=-1).min(initial=np.linalg.norm(wanted[i]))
                excess.append((info.distance[i] - nearest) / np.linalg.norm(reach))
        assert len(excess) > 50
        assert np.median(excess) < 0.01
        assert np.percentile(excess, 95) < 0.03

    def test_it_comes_as_near_as_it_may(self):
        """One link turns towards a disc beside it, and stops before it."""
        arm = make_arm({"link_lengths": [1.0]})
        scene = Scene(arm, Obstacles([[0.5, 0.1]], [0.05]))
        _, info = filter_command([0.0], [0.1], scene, duration=DURATION)
        assert info.status in (FilterStatus.PROJECTED, FilterStatus.SHORTENED)
        assert 5e-4 - 1e-9 <= clearance(info.q_end, arm, scene.obstacles) <= 1e-3 + 1e-6

    def test_pairs_that_hold_it_back_are_named(self):
        scene, q, rng = standing(6, 200)
        _, info = filter_command(q, commands("deeper", q, scene, rng), scene, duration=DURATION)
        n, m = scene.arm.num_joints, scene.obstacles.num_obstacles
        assert info.active_constraints.shape == (len(q), n, m)
        assert not info.active_constraints[~info.intervened].any()
        assert info.active_constraints[info.status == FilterStatus.PROJECTED].any(axis=(1, 2)).mean() > 0.9
        empty = ~np.broadcast_to(scene.obstacles.mask[:, None], (len(q), n, m))
        assert not info.active_constraints[empty].any()
        far = signed_distance(q, scene.arm, scene.obstacles) > 2.0 * n * most_step(scene).sum()
        assert not info.active_constraints[far].any()


class TestExact:
    @pytest.mark.parametrize("rounding", ROUNDINGS)
    def test_what_is_safe_passes_to_the_bit(self, rounding):
        scene, q, rng = standing(7, 300)
        command = scene.arm.clip(commands("random", q, scene, rng))
        if rounding == "position":
            command = scene.arm.clip(command.astype(np.float32).astype(float))
        safe, info = filter_command(q, command, scene, duration=DURATION, rounding=rounding)
        wanted = wanted_step(q, command, scene)
        keeps = certify_motion(q, q + wanted, scene.arm, scene.obstacles, margin=scene.safety_margin / 2).status == 1
        np.testing.assert_array_equal(info.intervened, ~keeps)
        np.testing.assert_array_equal(safe[keeps], command[keeps])
        assert (info.status[keeps] == FilterStatus.PASSED).all()
        assert (info.distance[keeps] == 0.0).all()
        tolerance = 1e-15 if rounding == "exact" else 1e-6
        np.testing.assert_allclose(info.q_end[keeps], (q + wanted)[keeps], rtol=0, atol=tolerance)

    @pytest.mark.parametrize("rounding", ROUNDINGS)
    def test_batch_is_loop(self, rounding):
        scene, q, rng = standing(8, 100)
        command = commands("deeper", q, scene, rng)
        whole = filter_command(q, command, scene, duration=DURATION, rounding=rounding)
        for i in range(len(q)):
            one = filter_command(q[i], command[i], scene[i], duration=DURATION, rounding=rounding)
            np.testing.assert_array_equal(one[0], whole[0][i])
            for part, parts in zip(one[1], whole[1], strict=True):
                np.testing.assert_array_equal(part, parts[i])

    def test_axes_broadcast_and_inputs_stay(self):
        scene, q, _ = standing(9, 6)
        one = scene[0]
        q = np.broadcast_to(q[0], (2, 3, 3))
        command = np.linspace(-1.0, 1.0, 9).reshape(3, 3)
        before = command.copy()
        safe, info = filter_command(q, command, one, duration=DURATION)
        assert safe.shape == info.q_end.shape == info.action.shape == (2, 3, 3)
        assert info.status.shape == info.distance.shape == (2, 3)
        np.testing.assert_array_equal(safe[0], safe[1])
        np.testing.assert_array_equal(command, before)
        none, info = filter_command(np.zeros((0, 3)), np.zeros((0, 3)), one, duration=DURATION)
        assert none.shape == (0, 3)
        assert info.status.shape == (0,)

    def test_without_discs_everything_passes(self):
        scene = Scene(make_arm("unit3"), Obstacles.none())
        safe, info = filter_command(np.zeros(3), [9.0, -9.0, 0.5], scene, duration=DURATION)
        np.testing.assert_array_equal(safe, [9.0, -9.0, 0.5])
        assert not info.intervened
        assert info.active_constraints.shape == (3, 0)
        # Clipped to 2 pi, -pi and 0.5, then scaled by one factor to a tenth of a radian.
        np.testing.assert_allclose(info.q_end, np.array([2 * np.pi, -np.pi, 0.5]) * 0.1 / (2 * np.pi), atol=1e-15)

    def test_margin_and_largest_step(self):
        scene, q, rng = standing(10, 200, least=0.03)
        command = commands("deeper", q, scene, rng)
        for margin, limit in itertools.product((0.0, 0.02), (0.02, 0.3)):
            _, info = filter_command(
                q, command, scene, duration=DURATION, motion_margin=margin, max_step=np.full(3, limit)
            )
            assert (np.abs(info.q_end - q) <= limit * (1 + 1e-12)).all()
            assert along(q, info.q_end, scene).min() >= max(margin, 2e-6) - 1e-9


class TestBadInput:
    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"q": [0.0, np.nan, 0.0]}, r"q must be finite, got nan among its numbers"),
            ({"q_command": [0.0, np.inf, 0.0]}, r"q_command must be finite, got inf among its numbers"),
            ({"q_command": [0.0, 0.0]}, r"q_command must have shape \(\*batch, 3\), got \(2,\)"),
            ({"q": "straight"}, r"q must be numbers, got 'straight'"),
            ({"q": [0.0, 4.0, 0.0]}, r"q must be within the joint limits; at \(1,\) it is 4, outside \[-3\.14159, 3"),
            ({"duration": 0.0}, r"duration must be > 0 and finite, got 0\.0"),
            ({"duration": np.nan}, r"duration must be > 0 and finite, got nan"),
            ({"time": np.inf}, r"time must be finite, got inf"),
            ({"max_step": [0.1, 0.1]}, r"max_step must have shape \(\*batch, 3\), got \(2,\)"),
            ({"max_step": [0.1, 0.0, 0.1]}, r"max_step must have shape \(3,\) and be > 0, got \[0\.1, 0\.0, 0\.1\]"),
            ({"motion_margin": -1e-3}, r"motion_margin must be finite and >= 0, got -0\.001"),
            ({"q": np.zeros((2, 3)), "q_command": np.zeros((3, 3))}, r"Batch shapes do not broadcast: q \(2,\)"),
        ],
    )
    def test_messages(self, arguments, message):
        scene = Scene(make_arm("unit3"), Obstacles([[1.5, 1.0]], [0.2]))
        with pytest.raises(InvalidInputError, match=message):
            filter_command(
                **{"q": np.zeros(3), "q_command": np.zeros(3), "scene": scene, "duration": DURATION, **arguments}
            )

    def test_unknown_rounding(self):
        scene = Scene(make_arm("unit3"), Obstacles.none())
        with pytest.raises(UnknownNameError, match=r"rounding 'positon'\. Did you mean 'position'"):
            filter_command(np.zeros(3), np.zeros(3), scene, duration=DURATION, rounding="positon")
