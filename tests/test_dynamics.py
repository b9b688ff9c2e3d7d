"""The control step: clipping, scaling, stopping, moving discs; long random runs re-checked densely."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from planararm.arm import PlanarArm, make_arm
from planararm.collision import certify_motion, clearance
from planararm.dynamics import Dynamics, Task, advance, check_in_workspace, compute_reward
from planararm.envs.config import build_task
from planararm.errors import InvalidInputError, InvalidSceneError, UnknownNameError
from planararm.interface import EnvInterface
from planararm.obstacles import Obstacles
from planararm.scene import Scene, sample_scene, sample_scenes
from planararm.scene.generator import draw_key
from planararm.witness import witness_path

DT = 0.05


def free_starts(scene, seed=0):
    """One free configuration per scene of a batch."""
    rng = np.random.default_rng(seed)
    limits, count = scene.arm.joint_limits, len(scene)
    q = rng.uniform(*limits.T, (count, scene.arm.num_joints))
    for _ in range(200):
        bad = clearance(q, scene.arm, scene.obstacles) < scene.safety_margin
        q[bad] = rng.uniform(*limits.T, (int(bad.sum()), scene.arm.num_joints))
    assert not (clearance(q, scene.arm, scene.obstacles) < scene.safety_margin).any()
    return q


def started(count=50, seed=0, **arguments):
    """A batch of episodes that has just been reset."""
    dynamics = Dynamics(build_task(**arguments), count)
    rng = np.random.default_rng(seed)
    keys = np.array([draw_key(rng) for _ in range(count)], dtype=np.uint64)
    dynamics.reset(np.arange(count), keys)
    return dynamics


class TestAdvance:
    def test_reaches_a_near_command_exactly(self):
        scene = Scene(make_arm("unit3"), Obstacles.none())
        q, command = np.array([0.1, 0.2, 0.3]), np.array([0.15, 0.1, 0.33])
        got = advance(q, command, scene)
        np.testing.assert_array_equal(got.q, command)
        np.testing.assert_allclose(got.velocity, (command - q) / DT, atol=1e-12)
        assert (got.collision, got.clearance, got.fraction) == (False, np.inf, 1.0)
        np.testing.assert_array_equal(q, [0.1, 0.2, 0.3])

    @given(st.integers(0, 10**6))
    def test_what_is_executed_is_a_prefix_of_the_command(self, seed):
        rng = np.random.default_rng(seed)
        n = int(rng.integers(1, 6))
        limits = np.sort(rng.uniform(-3, 3, (n, 2)), axis=1)
        arm = PlanarArm(rng.uniform(0.3, 1.0, n), limits, rng.uniform(0.5, 3.0, n))
        scene = Scene(arm, Obstacles.none())
        q, command = rng.uniform(*limits.T), rng.uniform(-4, 4, n)
        got = advance(q, command, scene)
        wanted, done = arm.clip(command) - q, got.q - q
        assert arm.limit_violation(got.q) == 0
        assert (np.abs(got.velocity) <= arm.joint_velocity_limits * (1 + 1e-12)).all()
        factor = min(1.0, (arm.joint_velocity_limits * DT / np.maximum(np.abs(wanted), 1e-300)).min())
        np.testing.assert_allclose(done, factor * wanted, atol=1e-12)

    def test_one_factor_for_all_joints(self):
        arm = PlanarArm([1.0, 1.0], joint_velocity_limits=[2.0, 1.0])
        got = advance([0.0, 0.0], [0.3, -0.2], Scene(arm, Obstacles.none()), dt=0.1)
        np.testing.assert_allclose(got.q, [0.15, -0.1], atol=1e-15)

    def test_stops_just_before_contact(self):
        arm = PlanarArm([1.0], link_radius=0.02)
        scene = Scene(arm, Obstacles([[0.0, 1.2]], [0.3]))
        touching = np.pi / 2 - np.arccos((1 + 1.2**2 - 0.32**2) / 2.4)
        q = np.array([touching - 0.03])
        got = advance(q, q + 0.1, scene)
        assert got.collision
        assert 0 < got.clearance < 1e-5
        assert touching - 1e-5 < got.q[0] < touching
        assert got.fraction == pytest.approx((got.q[0] - q[0]) / 0.1, abs=1e-12)
        np.testing.assert_allclose(got.clearance, clearance(got.q, arm, scene.obstacles), atol=1e-12)
        for _ in range(50):
            got = advance(got.q, got.q + 0.1, scene)
            assert got.collision
            assert got.clearance > 0
        away = advance(got.q, got.q - 0.1, scene)
        assert not away.collision
        assert away.fraction == 1.0

    def test_ignore_passes_through_and_says_so(self):
        scene = Scene(PlanarArm([1.0]), Obstacles([[0.0, 1.0]], [0.1]))
        stopped = advance([1.4], [1.5], scene, on_collision="terminate")
        through = advance([1.4], [1.5], scene, on_collision="ignore")
        assert stopped.collision
        assert through.collision
        assert stopped.q < through.q == 1.5
        assert through.clearance < 0 < stopped.clearance
        assert through.fraction == 1.0

    def test_a_disc_that_runs_into_a_resting_arm(self):
        # The surfaces meet after 0.72 s, in the 15th step.
        discs = Obstacles([[0.5, 1.02]], [0.2], [[0.0, -1.02, 1.0, 0.0]])
        scene, q = Scene(PlanarArm([1.0], link_radius=0.1), discs, 0.0), [0.0]
        flags = [bool(advance(q, q, scene, time=0.05 * k).collision) for k in range(20)]
        assert flags == [False] * 14 + [True] * 6
        assert advance(q, q, scene, time=0.5).clearance == pytest.approx(1.02 - 0.55 - 0.3, abs=1e-12)

    def test_agrees_with_the_certificate(self):
        scene = sample_scenes(np.random.default_rng(0), 400, "unit3", 6)
        q = free_starts(scene)
        command = q + np.random.default_rng(1).uniform(-0.09, 0.09, q.shape)
        got = advance(q, command, scene)
        motion = certify_motion(q, scene.arm.clip(command), scene.arm, scene.obstacles)
        assert got.collision.sum() > 5
        assert not got.collision[motion.status == 1][got.fraction[motion.status == 1] == 1.0].any()
        assert got.collision[motion.status == 0].all()
        # It stops a micrometre short of the contact, and an arm meets discs at steep and at flat angles.
        late = got.fraction - motion.fraction
        assert (late <= 1e-9).all()
        assert np.median(np.abs(late[motion.status == 0])) < 1e-3

    def test_batch_is_loop(self):
        scene = sample_scenes(np.random.default_rng(0), 200, "unit5", (1, 6), shuttling=0.5)
        q = free_starts(scene)
        command = q + np.random.default_rng(1).uniform(-0.5, 0.5, q.shape)
        got = advance(q, command, scene, time=0.7)
        for i in range(200):
            one = advance(q[i], command[i], scene[i], time=0.7)
            for batched, single in zip(got, one, strict=True):
                np.testing.assert_array_equal(batched[i], single)

    def test_axes_broadcast(self):
        scene = sample_scenes(np.random.default_rng(0), 3, "unit2", 1)
        got = advance(np.zeros((4, 1, 2)), [0.01, 0.01], scene)
        assert got.q.shape == (4, 3, 2)
        assert got.collision.shape == got.clearance.shape == got.fraction.shape == (4, 3)
        assert advance(np.zeros((0, 2)), [0.0, 0.0], Scene(scene.arm, Obstacles.none())).q.shape == (0, 2)

    @pytest.mark.parametrize(
        ("arguments", "options", "error", "message"),
        [
            (([0.0], [0.0, 0.0]), {}, InvalidInputError, r"q must have shape \(\*batch, 2\), got \(1,\)"),
            (([0.0, 0.0], [np.nan, 0.0]), {}, InvalidInputError, "q_command must be finite, got nan"),
            (([0.0, 0.0], [0.0, 0.0]), {"dt": 0.0}, InvalidInputError, r"dt must be > 0, got 0\.0"),
            (([0.0, 0.0], [0.0, 0.0]), {"dt": np.nan}, InvalidInputError, "dt must be > 0, got nan"),
            (
                ([0.0, 0.0], [0.0, 0.0]),
                {"on_collision": "stopp"},
                UnknownNameError,
                "Unknown on_collision 'stopp'. Did you mean 'stop'",
            ),
        ],
    )
    def test_bad_input(self, arguments, options, error, message):
        with pytest.raises(error, match=message):
            advance(*arguments, Scene(make_arm("unit2"), Obstacles.none()), **options)

    def test_batches_that_do_not_broadcast(self):
        scene = sample_scenes(np.random.default_rng(0), 3, "unit2", 1)
        with pytest.raises(InvalidInputError, match=r"q \(2,\), q_command \(\), scene \(3,\)"):
            advance(np.zeros((2, 2)), np.zeros(2), scene)


class TestLongRuns:
    """20,000 random steps: 4 arms, 2 control modes, 50 environments, 50 steps each."""

    @pytest.mark.parametrize("control_mode", ["position", "delta"])
    @pytest.mark.parametrize("arm", ["unit2", "unit3", "unit5", "duka"])
    def test_every_executed_motion_is_free(self, arm, control_mode):
        dynamics = started(arm=arm, control_mode=control_mode, num_obstacles=6, dials={"narrow_passages": 2})
        task, state = dynamics.task, dynamics.state
        arm, max_step = task.interface.arm, task.interface.max_step
        discs = Obstacles(state.centers, state.radii, None, state.present)
        points = Obstacles(state.centers[:, None], state.radii[:, None], None, state.present[:, None])
        rng = np.random.default_rng(1)
        low, high = task.interface.action_space.low, task.interface.action_space.high
        collisions = 0
        goal = rng.uniform(low, high, (50, arm.num_joints)).astype(np.float32)
        for step in range(50):
            if step % 10 == 0 or control_mode == "delta":
                goal = rng.uniform(low, high, (50, arm.num_joints)).astype(np.float32)
            before = state.q.copy()
            dynamics.step(goal)
            executed = state.q - before
            motion = before[:, None] + np.linspace(0, 1, 50)[:, None] * executed[:, None]
            assert (clearance(motion, arm, points) > 0).all()
            np.testing.assert_allclose(dynamics.clearance, clearance(state.q, arm, discs), atol=1e-12)
            assert (np.abs(executed) <= max_step * (1 + 1e-12)).all()
            assert (arm.limit_violation(state.q) == 0).all()
            np.testing.assert_allclose(state.joint_velocity, executed / DT, atol=1e-12)
            # The executed motion points along the command: one factor in [0, 1] for all joints.
            command = goal.astype(float) if control_mode == "position" else before + goal.astype(float) * max_step
            wanted = arm.clip(command) - before
            factor = (executed * wanted).sum(-1) / np.maximum((wanted * wanted).sum(-1), 1e-300)
            assert ((factor >= 0) & (factor <= 1 + 1e-12)).all()
            np.testing.assert_allclose(executed, factor[:, None] * wanted, atol=1e-12)
            scaled = np.minimum(1.0, (max_step / np.maximum(np.abs(wanted), 1e-300)).min(axis=-1))
            short = (factor < scaled - 1e-9) & (np.abs(wanted).max(axis=-1) > 1e-9)
            assert not (short & ~dynamics.collided).any()
            collisions += dynamics.collided.sum()
        assert collisions > 50

    def test_never_stuck(self):
        """From where the arm was stopped, the way back is free."""
        dynamics = started(200, arm="unit3", num_obstacles=8)
        state = dynamics.state
        rng = np.random.default_rng(2)
        low, high = dynamics.task.interface.arm.joint_limits.T
        stopped = 0
        scene = Scene(dynamics.task.interface.arm, Obstacles(state.centers, state.radii, None, state.present))
        for step in range(60):
            if step % 20 == 0:
                goal = rng.uniform(low, high, state.q.shape).astype(np.float32)
            before = state.q.copy()
            dynamics.step(goal)
            back = advance(state.q, before, scene)
            # All but the last micrometres, where it had stood at a disc before.
            np.testing.assert_allclose(back.q, before, atol=1e-4)
            stopped += (dynamics.collided & (np.abs(state.q - before).max(axis=-1) > 0.01)).sum()
        assert stopped > 50

    @pytest.mark.parametrize("task", ["reach", "track"])
    def test_moving_discs(self, task):
        dynamics = started(60, task=task, num_obstacles=5, dials={"shuttling": 0.7, "max_speed": 0.3})
        state, arm = dynamics.state, dynamics.task.interface.arm
        discs = Obstacles(state.home.copy(), state.radii.copy(), state.shuttle.copy(), state.present.copy())
        assert state.moving.sum() > 40
        rng = np.random.default_rng(0)
        hits = 0
        for step in range(60):
            drift = discs.positions((step + 1) * DT) - discs.positions(step * DT)
            np.testing.assert_allclose(state.drift[state.present], drift[state.present], atol=1e-12)
            before, start = state.q.copy(), state.centers.copy()
            clear_before = dynamics.clearance.copy()
            dynamics.step(rng.uniform(*arm.joint_limits.T, state.q.shape).astype(np.float32))
            now = discs.positions((step + 1) * DT)
            np.testing.assert_allclose(state.centers[state.present], now[state.present], atol=1e-12)
            here = Obstacles(state.centers, state.radii, None, state.present)
            exact = clearance(state.q, arm, here)
            np.testing.assert_allclose(dynamics.clearance, exact, atol=1e-12)
            # Without a reported contact the discs' straight ways and the motion kept apart.
            for t in np.linspace(0, 1, 11):
                between = Obstacles(start + t * (state.centers - start), state.radii, None, state.present)
                apart = clearance(before + t * (state.q - before), arm, between)
                assert (apart[~dynamics.collided] > 0).all()
            assert dynamics.collided[(clear_before > 0) & (exact <= 0)].all()
            hits += dynamics.collided.sum()
        assert hits > 20

    def test_resting_arms_that_are_run_over(self):
        dynamics = started(100, num_obstacles=6, dials={"shuttling": 1.0, "max_speed": 0.5}, on_collision="terminate")
        state, start = dynamics.state, dynamics.state.q.copy()
        for _ in range(60):
            dynamics.step(state.q.astype(np.float32))
            assert (dynamics.collided == dynamics.terminated).all()
            assert dynamics.collided[dynamics.clearance <= 0].all()
        assert dynamics.collided.any()
        assert np.abs(state.q - start).max() < 1e-5

    def test_cached_distances_never_hide_a_contact(self):
        """Small random walks, where almost every pair is skipped on its cached bound."""
        dynamics = started(100, arm="unit5", control_mode="delta", num_obstacles=8)
        state, arm = dynamics.state, dynamics.task.interface.arm
        discs = Obstacles(state.centers, state.radii, None, state.present)
        rng = np.random.default_rng(0)
        heading = rng.uniform(-1, 1, state.q.shape)
        for _ in range(150):
            heading = np.clip(heading + 0.3 * rng.normal(size=heading.shape), -1, 1)
            dynamics.step((0.3 * heading).astype(np.float32))
            np.testing.assert_allclose(dynamics.clearance, clearance(state.q, arm, discs), atol=1e-12)
            assert (dynamics.clearance > 0).all()


class TestWitness:
    @pytest.mark.parametrize("arm", ["unit2", "unit3", "unit5", "duka"])
    def test_following_the_witness_tracks_its_path(self, arm):
        scene = sample_scene(np.random.default_rng(3), arm, 4)
        witness = witness_path(np.random.default_rng(4), scene, 100)
        q = witness.q_path[0]
        for step in range(100):
            got = advance(q, witness.q_path[step + 1], scene)
            q = got.q
            assert not got.collision
            assert got.fraction == 1.0
            np.testing.assert_allclose(scene.arm.end_effector(q), witness.target_path[step + 1], atol=1e-9)

    def test_as_an_episode(self):
        scene = sample_scene(np.random.default_rng(3), "unit3", 4)
        witness = witness_path(np.random.default_rng(4), scene, 80)
        task = replace(build_task("track", scene=scene, num_steps=80), path=witness.target_path)
        dynamics = Dynamics(task, 1)
        given_bits = dynamics.prepare(0, {"q": witness.q_path[0]})
        dynamics.reset(np.zeros(1, np.int64), np.zeros(1, np.uint64), given_bits)
        for step in range(90):
            last = min(step + 1, 80)
            dynamics.step(witness.q_path[last][None].astype(np.float32))
            np.testing.assert_allclose(dynamics.desired_goal[0], witness.target_path[last], atol=1e-6)
            assert dynamics.measures[0, 0] < 2e-6
            assert dynamics.success[0]
            assert not dynamics.collided[0]


class TestReset:
    @pytest.mark.parametrize("task", ["reach", "track"])
    @pytest.mark.parametrize("arm", ["unit2", "unit3", "unit5", "duka"])
    def test_start_and_targets_are_free_and_reachable(self, task, arm):
        dynamics = started(100, task=task, arm=arm, num_obstacles=(1, 6))
        state, arm = dynamics.state, dynamics.task.interface.arm
        discs = Obstacles(state.centers, state.radii, None, state.present)
        assert (clearance(state.q, arm, discs) >= 1e-3).all()
        assert (arm.limit_violation(state.q) == 0).all()
        assert (dynamics.reachable == 1).all()
        assert (state.steps == 0).all()
        assert (state.joint_velocity == 0).all()
        assert (np.linalg.norm(state.goals - arm.base, axis=-1) <= arm.reach + 1e-9).all()
        counts = state.present.sum(axis=1)
        assert set(counts) == {1, 2, 3, 4, 5, 6}
        if task == "track":
            np.testing.assert_allclose(arm.end_effector(state.q), state.goals[:, 0], atol=1e-12)
            steps = np.linalg.norm(np.diff(state.goals, axis=1), axis=-1)
            fastest = (np.cumsum(arm.link_lengths[::-1]) * arm.joint_velocity_limits * DT).sum()
            assert steps.max() <= fastest
            assert np.median(steps.sum(axis=-1)) > 0.1 * arm.reach

    def test_episodes_differ_and_repeat(self):
        first, again, other = started(20, 5), started(20, 5), started(20, 6)
        np.testing.assert_array_equal(first.observation, again.observation)
        assert (first.observation != other.observation).any(axis=1).all()
        assert len(np.unique(first.observation, axis=0)) == 20

    def test_a_path_with_a_free_start_is_started_on(self):
        task = build_task("track", arm="unit3", scene="empty", path="circle")
        dynamics = Dynamics(task, 30)
        dynamics.reset(np.arange(30), np.arange(30, dtype=np.uint64))
        assert dynamics.measures[0].max() < 1e-5
        assert (dynamics.reachable == -1).all()

    def test_no_room(self):
        around = np.linspace(0, 2 * np.pi, 8, endpoint=False)
        ring = Obstacles(np.stack([np.cos(around), np.sin(around)], axis=-1), np.full(8, 0.45))
        dynamics = Dynamics(build_task(scene=Scene(PlanarArm([1.0]), ring)), 1)
        with pytest.raises(InvalidSceneError, match=r"No configuration with clearance >= 0\.001 m was found"):
            dynamics.reset(np.zeros(1, np.int64), np.zeros(1, np.uint64))


class TestRewardFunction:
    def test_dense_and_sparse(self):
        achieved, desired = np.float32([[0.0, 0.0], [3.0, 4.0]]), np.float32([[0.0, 0.01], [0.0, 0.0]])
        np.testing.assert_allclose(compute_reward(achieved, desired, "dense", 0.1), [-0.01, -5.0], atol=1e-9)
        np.testing.assert_array_equal(compute_reward(achieved, desired, "sparse", 0.1), [0.0, -1.0])
        assert compute_reward(achieved[1], desired[1], "sparse", 5.0) == 0.0


class TestTask:
    @pytest.mark.parametrize(
        ("options", "error", "message"),
        [
            ({"reward": "densely"}, UnknownNameError, "Unknown reward 'densely'. Did you mean 'dense'"),
            ({"on_collision": "stopp"}, UnknownNameError, "Did you mean 'stop'"),
            ({"success_tolerance": 0.0}, InvalidInputError, r"success_tolerance must be > 0, got 0\.0"),
            ({"success_tolerance": np.nan}, InvalidInputError, "success_tolerance must be > 0, got nan"),
            ({"num_obstacles": (2, 9)}, InvalidSceneError, "num_obstacles=9 does not fit into max_obstacles=8"),
            ({"path": np.array([[9.0, 0.0]])}, InvalidInputError, r"path must lie within 6\.0 m of the base"),
        ],
    )
    def test_message(self, options, error, message):
        with pytest.raises(error, match=message):
            Task(EnvInterface(make_arm("unit3")), **options)

    def test_workspace_border(self):
        interface = EnvInterface(PlanarArm([1.0], base=(5.0, 0.0)))
        check_in_workspace("point", [7.0, -2.0], interface)
        with pytest.raises(InvalidInputError, match=r"point must lie within 2\.0 m of the base"):
            check_in_workspace("point", [7.1, 0.0], interface)
