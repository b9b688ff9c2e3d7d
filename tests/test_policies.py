"""Bundled policies: what they find, what they claim, and how they say no."""

import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planararm.arm import PlanarArm, make_arm
from planararm.collision import clearance
from planararm.errors import InvalidInputError, PolicyError
from planararm.interface import EnvInterface
from planararm.kinematics import jacobian, wrap_angle
from planararm.obstacles import Obstacles
from planararm.policies import (
    ClosedForm,
    CyclicCoordinateDescent,
    DampedLeastSquares,
    FunctionPolicy,
    Hold,
    JacobianTranspose,
    PseudoInverse,
    Reason,
)
from planararm.policies.ccd import best_within
from planararm.policies.iterative import gradient, make_chain
from planararm.policies.jacobian import gram, pull_back
from planararm.policies.problem import make_problem
from planararm.scene import Scene
from planararm.scene.generator import sample_scene, sample_scenes

ITERATIVE = [DampedLeastSquares, PseudoInverse, JacobianTranspose, CyclicCoordinateDescent]


def free_space(arm="unit3"):
    return Scene(make_arm(arm), Obstacles.none())


def reachable_task(arm, num, seed=0):
    """Targets that a configuration within the limits reaches, and starts."""
    low, high = arm.joint_limits.T
    goals, starts = low + np.random.default_rng(seed).random((2, num, arm.num_joints)) * (high - low)
    return arm.end_effector(goals), starts


def assert_true_claims(solution, targets, scene, tolerance):
    arm, claimed = scene.arm, solution.solved
    missed = np.linalg.norm(arm.end_effector(solution.q) - targets, axis=-1) / arm.reach
    assert (missed[claimed] <= tolerance).all()
    assert (clearance(solution.q, arm, scene.obstacles)[claimed] >= scene.safety_margin).all()
    assert (arm.limit_violation(solution.q) == 0.0).all()
    np.testing.assert_array_equal(claimed, solution.reason == Reason.SOLVED)


class TestConvergence:
    # At least this share of reachable targets, from anywhere, to 1e-4 of the reach; ten restarts.
    @pytest.mark.parametrize(
        ("policy", "shares"),
        [
            (DampedLeastSquares, {"unit2": 0.99, "unit3": 0.99, "duka": 0.99, "snake10": 0.99}),
            (PseudoInverse, {"unit2": 0.99, "unit3": 0.99, "duka": 0.97, "snake10": 0.99}),
            (JacobianTranspose, {"unit2": 0.85, "unit3": 0.92, "duka": 0.92, "snake10": 0.95}),
            (CyclicCoordinateDescent, {"unit2": 0.85, "unit3": 0.97, "duka": 0.95, "snake10": 0.97}),
        ],
    )
    def test_with_restarts(self, policy, shares):
        for name, share in shares.items():
            scene = free_space(name)
            targets, starts = reachable_task(scene.arm, 200)
            solution = policy(num_restarts=10).solve(targets, starts, scene)
            assert_true_claims(solution, targets, scene, 1e-4)
            near = np.linalg.norm(scene.arm.end_effector(solution.q) - targets, axis=-1) <= 1e-4 * scene.arm.reach
            assert near.mean() >= share, (name, near.mean())

    @pytest.mark.parametrize("policy", ITERATIVE)
    def test_a_small_step_away_is_found_nearby(self, policy):
        scene = free_space()
        arm, rng = scene.arm, np.random.default_rng(1)
        q = rng.uniform(0.4, 2.0, (100, 3))
        goal = q + rng.uniform(-0.05, 0.05, q.shape)
        solution = policy().solve(arm.end_effector(goal), q, scene)
        assert solution.solved.all()
        assert np.abs(solution.q - q).max() < 0.5

    @pytest.mark.parametrize("policy", ITERATIVE)
    def test_leaves_the_straight_arm(self, policy):
        # At q = 0 a target on the arm's line has gradient zero.
        scene = free_space()
        targets = np.array([[1.5, 0.0], [-0.5, 0.0], [0.0, 0.0]])
        solution = policy(max_iterations=2000).solve(targets, np.zeros((3, 3)), scene)
        assert solution.solved[:2].all()
        assert (solution.info["error"][2] < 0.5) or not solution.solved[2]

    def test_damped_least_squares_converges_quadratically(self):
        scene = free_space()
        targets, q = scene.arm.end_effector(np.array([0.5, 0.8, 0.7])), np.array([0.4, 0.9, 0.5])
        iterations = DampedLeastSquares(tolerance=1e-12).solve(targets, q, scene).info["iterations"]
        assert iterations <= 7

    @pytest.mark.parametrize("policy", ITERATIVE)
    def test_restarts_serve_only_rows_that_are_not_solved(self, policy):
        scene = free_space()
        targets, starts = reachable_task(scene.arm, 50)
        plain, again = (
            policy().solve(targets, starts, scene),
            policy(num_restarts=5).solve(targets, starts, scene),
        )
        np.testing.assert_array_equal(plain.q[plain.solved], again.q[plain.solved])
        assert again.solved.sum() >= plain.solved.sum()
        assert (again.info["error"] <= plain.info["error"] + 1e-15).all()


class TestOutOfReach:
    @pytest.mark.parametrize("policy", [ClosedForm, *ITERATIVE])
    def test_stretches_towards_it(self, policy):
        scene = free_space()
        angle = np.linspace(-2.5, 2.5, 9)
        direction = np.stack([np.cos(angle), np.sin(angle)], axis=-1)
        start = np.stack([angle + 0.3, np.full(9, -0.2), np.full(9, 0.2)], axis=-1)
        solution = policy().solve(6.0 * direction, start, scene)
        assert (solution.reason == Reason.OUT_OF_REACH).all()
        assert not solution.solved.any()
        np.testing.assert_allclose(scene.arm.end_effector(solution.q), 3.0 * direction, atol=0.05)

    @pytest.mark.parametrize("policy", [ClosedForm, *ITERATIVE])
    def test_inside_the_hole(self, policy):
        scene = Scene(PlanarArm([2.0, 0.5]), Obstacles.none())
        solution = policy().solve([0.5, 0.0], [0.1, 0.3], scene)
        assert solution.reason == Reason.OUT_OF_REACH
        assert np.hypot(*scene.arm.end_effector(solution.q)) == pytest.approx(1.5, abs=0.01)


class TestBlocked:
    # A disc around the target: every exact answer touches it.
    SCENE = Scene(make_arm("unit3"), Obstacles([[1.5, 1.0]], [0.3]))

    @pytest.mark.parametrize("policy", [ClosedForm, *ITERATIVE])
    def test_is_not_claimed(self, policy):
        solution = policy().solve([1.5, 1.0], [1.9, -0.8, -0.8], self.SCENE)
        assert solution.reason == Reason.BLOCKED
        assert not solution.solved

    def test_closed_form_stays_where_it_is(self):
        q = np.array([1.9, -0.8, -0.8])
        np.testing.assert_array_equal(ClosedForm().solve([1.5, 1.0], q, self.SCENE).q, q)

    @pytest.mark.parametrize("policy", [ClosedForm, *ITERATIVE])
    @pytest.mark.parametrize("seed", range(3))
    def test_claims_in_clutter_are_true(self, policy, seed):
        scene = sample_scene(np.random.default_rng(seed), "unit3", 5)
        targets, starts = reachable_task(scene.arm, 60, seed)
        solution = policy().solve(targets, starts, scene)
        assert_true_claims(solution, targets, scene, 1e-4)
        assert solution.solved.any()

    def test_restarts_look_for_a_free_answer(self):
        scene = sample_scene(np.random.default_rng(4), "unit3", 5)
        targets, starts = reachable_task(scene.arm, 100, 4)
        alone = DampedLeastSquares().solve(targets, starts, scene)
        again = DampedLeastSquares(num_restarts=20).solve(targets, starts, scene)
        assert (again.solved >= alone.solved).all()
        assert again.solved.mean() > alone.solved.mean() + 0.1
        assert_true_claims(again, targets, scene, 1e-4)


class TestClosedForm:
    @pytest.mark.parametrize("arm", ["unit2", "unit3", "duka"])
    def test_hits_exactly(self, arm):
        scene = free_space(arm)
        targets, starts = reachable_task(scene.arm, 300)
        solution = ClosedForm().solve(targets, starts, scene)
        assert solution.solved.all()
        np.testing.assert_allclose(scene.arm.end_effector(solution.q), targets, atol=1e-9)

    def test_nothing_nearer_is_free(self):
        # Brute force: no sample of the self-motion curve is free and changes its largest joint less.
        from planararm.inverse import closed_form

        scene = sample_scene(np.random.default_rng(0), "unit3", 4)
        targets, starts = reachable_task(scene.arm, 40)
        solution = ClosedForm().solve(targets, starts, scene)
        change = np.abs(solution.q - starts).max(axis=-1)
        branches, valid = closed_form(targets, scene.arm, num_branches=512)
        free = clearance(branches, scene.arm, scene.obstacles) >= scene.safety_margin
        others = np.where(valid & free, np.abs(branches - starts[:, None]).max(axis=-1), np.inf).min(axis=-1)
        assert (change[solution.solved] <= others[solution.solved] + 1e-9).all()
        assert np.isinf(others[~solution.solved]).all()
        assert solution.solved.mean() > 0.7

    @pytest.mark.parametrize("num_obstacles", [0, 4])
    def test_with_orientation(self, num_obstacles):
        scene = sample_scene(np.random.default_rng(1), "unit3", num_obstacles)
        low, high = scene.arm.joint_limits.T
        rng = np.random.default_rng(2)
        goals = low + rng.random((100, 3)) * (high - low)
        targets, headings = scene.arm.end_effector(goals), goals.sum(axis=-1)
        starts = goals + 0.05 * rng.standard_normal(goals.shape)
        solution = ClosedForm().solve(targets, starts, scene, target_orientation=headings)
        good = solution.solved
        reached = scene.arm.end_effector(solution.q)
        np.testing.assert_allclose(reached[good], targets[good], atol=1e-9)
        np.testing.assert_allclose(wrap_angle(solution.q.sum(axis=-1) - headings)[good], 0.0, atol=1e-9)
        assert_true_claims(solution, targets, scene, 1e-9)
        free = clearance(goals, scene.arm, scene.obstacles) >= scene.safety_margin
        assert good[free].all()
        # Where the goal itself is free, the answer is at least as near as it.
        change = np.abs(solution.q - scene.arm.clip(starts)).max(axis=-1)
        assert (change[free] <= np.abs(goals - scene.arm.clip(starts)).max(axis=-1)[free] + 1e-9).all()

    def test_orientation_out_of_reach(self):
        solution = ClosedForm().solve([2.9, 0.0], [0.1, 0.1, 0.1], free_space(), target_orientation=np.pi / 2)
        assert solution.reason == Reason.OUT_OF_REACH

    def test_orientation_blocked(self):
        solution = ClosedForm().solve([1.5, 1.0], [1.9, -0.8, -0.8], TestBlocked.SCENE, target_orientation=0.3)
        assert solution.reason == Reason.BLOCKED
        np.testing.assert_array_equal(solution.q, [1.9, -0.8, -0.8])

    def test_orientation_takes_three_joints(self):
        with pytest.raises(InvalidInputError, match="three joints can hold an orientation, this arm has 2"):
            ClosedForm().solve([1.0, 0.5], [0.1, 0.1], free_space("unit2"), target_orientation=0.0)

    def test_says_which_arms_it_knows(self):
        assert ClosedForm().supports(free_space("unit3")) is None
        scene = free_space("unit5")
        assert "for 1 to 3 joints, this arm has 5; try 'damped-least-squares'" in ClosedForm().supports(scene)
        with pytest.raises(InvalidInputError, match="this arm has 5"):
            ClosedForm().solve([1.0, 0.5], np.zeros(5), scene)
        with pytest.raises(PolicyError, match="ClosedForm cannot be used in this environment: closed-form answers"):
            ClosedForm().bind(EnvInterface(scene.arm))

    def test_goes_no_further_than_is_free(self):
        # Stretched out along +x the arm would touch the disc.
        scene = Scene(make_arm("unit3"), Obstacles([[2.0, 0.0]], [0.3]))
        q = np.array([1.5, 0.2, 0.1])
        solution = ClosedForm().solve([5.0, 0.0], q, scene)
        assert solution.reason == Reason.OUT_OF_REACH
        np.testing.assert_array_equal(solution.q, q)


class TestPieces:
    @given(st.integers(1, 8), st.integers(0, 2**32 - 1))
    def test_chain_is_the_jacobian(self, n, seed):
        rng = np.random.default_rng(seed)
        arm = PlanarArm(rng.uniform(0.1, 2.0, n), base=rng.normal(size=2))
        q, target = rng.uniform(-3, 3, (5, n)), rng.normal(size=(5, 2))
        away = target - arm.base
        chain = make_chain(np.ascontiguousarray(q.T), away[:, 0] + 1j * away[:, 1], arm)
        columns, error = jacobian(q, arm.link_lengths), target - arm.end_effector(q)
        np.testing.assert_allclose(
            np.stack([-chain.levers.imag, chain.levers.real]).transpose(2, 0, 1), columns, atol=1e-12
        )
        np.testing.assert_allclose(np.stack([chain.error.real, chain.error.imag], axis=-1), error, atol=1e-12)
        slope = (columns.swapaxes(-1, -2) @ error[..., None])[..., 0]
        np.testing.assert_allclose(gradient(chain).T, slope, atol=1e-12)
        np.testing.assert_allclose(pull_back(chain.levers, error[:, 0], error[:, 1]).T, slope, atol=1e-12)
        xx, xy, yy = gram(chain.levers)
        product = columns @ columns.swapaxes(-1, -2)
        np.testing.assert_allclose(np.stack([xx, xy, xy, yy], axis=-1).reshape(5, 2, 2), product, atol=1e-12)

    @given(st.integers(2, 6), st.integers(0, 2**32 - 1))
    def test_steps_are_the_textbook_ones(self, n, seed):
        rng = np.random.default_rng(seed)
        arm = PlanarArm(rng.uniform(0.5, 1.0, n))
        q = rng.uniform(-2, 2, n)
        # Near enough that no step is limited.
        away = arm.end_effector(q) + 1e-3 * rng.normal(size=2)
        chain = make_chain(q[:, None], np.array([away[0] + 1j * away[1]]), arm)
        columns, error = jacobian(q, arm.link_lengths), away - arm.end_effector(q)
        damp = 0.1**2 * arm.reach * np.linalg.norm(error) / 0.5
        damped = columns.T @ np.linalg.solve(columns @ columns.T + damp * np.eye(2), error)
        slope = columns.T @ error
        motion = columns @ slope
        steps = [
            (DampedLeastSquares(), damped),
            (PseudoInverse(), 0.5 * np.linalg.pinv(columns) @ error),
            (JacobianTranspose(), 0.5 * (error @ motion) / (motion @ motion) * slope),
        ]
        for policy, expected in steps:
            if np.abs(expected).max() < 0.4:
                step = policy.step(chain, np.array([away[0] + 1j * away[1]]), np.array([0.5]), arm)[:, 0] - q
                np.testing.assert_allclose(step, expected, atol=1e-9)

    def test_pseudo_inverse_of_rank_one(self):
        # Stretched out: J J^T has rank one, and numpy's pinv cuts the same direction off.
        arm = make_arm("unit3")
        target = np.array([2.9 + 0.05j])
        chain = make_chain(np.zeros((3, 1)), target, arm)
        columns, error = jacobian(np.zeros(3), arm.link_lengths), np.array([-0.1, 0.05])
        step = PseudoInverse().step(chain, target, np.ones(1), arm)[:, 0]
        np.testing.assert_allclose(step, np.linalg.pinv(columns) @ error, atol=1e-12)

    @given(st.floats(-20, 20), st.floats(-7, 7), st.floats(0, 9))
    def test_best_within_is_the_nearest_direction(self, angle, low, width):
        high = low + width
        best = float(best_within(np.array(angle), low, high))
        assert low <= best <= high
        grid = np.linspace(low, high, 500)
        assert np.cos(best - angle) >= np.cos(grid - angle).max() - 1e-12

    @settings(max_examples=20)
    @given(st.integers(0, 2**32 - 1))
    def test_a_sweep_never_goes_away(self, seed):
        rng = np.random.default_rng(seed)
        arm = make_arm("duka")
        q = np.ascontiguousarray(rng.uniform(*arm.joint_limits.T, (20, 3)).T)
        target = rng.normal(size=20) * 3 + 3j * rng.normal(size=20)
        before = make_chain(q, target, arm)
        swept = CyclicCoordinateDescent().step(before, target, np.ones(20), arm)
        assert (make_chain(swept, target, arm).distance <= before.distance + 1e-12).all()
        assert (arm.limit_violation(swept.T) == 0).all()


class TestOptions:
    @pytest.mark.parametrize(
        ("policy", "options", "message"),
        [
            (
                DampedLeastSquares,
                {"max_iterations": 0},
                r"max_iterations must be a whole number in \[1, 1000000\], got 0",
            ),
            (
                DampedLeastSquares,
                {"max_iterations": 2.5},
                r"max_iterations must be a whole number .* got 2.5",
            ),
            (DampedLeastSquares, {"tolerance": 0.0}, r"tolerance must be a number in \(0.0, 1.0\], got 0.0"),
            (DampedLeastSquares, {"tolerance": "fine"}, r"tolerance must be a number .* got 'fine'"),
            (DampedLeastSquares, {"damping": -1}, r"damping must be a number in \(0.0, 100.0\], got -1"),
            (DampedLeastSquares, {"damping": float("nan")}, r"damping must be a number .* got nan"),
            (PseudoInverse, {"gain": 2.0}, r"gain must be a number in \(0.0, 1.0\], got 2.0"),
            (JacobianTranspose, {"gain": True}, r"gain must be a number .* got True"),
            (
                CyclicCoordinateDescent,
                {"num_restarts": -1},
                r"num_restarts must be a whole number in \[0, 10000\], got -1",
            ),
            (CyclicCoordinateDescent, {"seed": None}, r"seed must be a whole number .* got None"),
        ],
    )
    def test_out_of_range(self, policy, options, message):
        with pytest.raises(InvalidInputError, match=message):
            policy(**options)

    def test_the_seed_draws_the_starts(self):
        scene = free_space()
        targets, starts = reachable_task(scene.arm, 50)
        answers = [DampedLeastSquares(num_restarts=3, seed=seed).solve(targets, starts, scene).q for seed in (1, 1, 2)]
        np.testing.assert_array_equal(answers[0], answers[1])
        assert (answers[0] != answers[2]).any()

    def test_max_iterations_is_kept(self):
        scene = free_space()
        targets, starts = reachable_task(scene.arm, 50)
        assert JacobianTranspose(max_iterations=5).solve(targets, starts, scene).info["iterations"].max() == 5


class TestArguments:
    @pytest.mark.parametrize("policy", [Hold, ClosedForm, *ITERATIVE])
    @pytest.mark.parametrize(
        ("target", "q", "message"),
        [
            ([1.0, np.nan], np.zeros(3), "target_position must be finite, got nan"),
            ([1.0, 2.0, 3.0], np.zeros(3), r"target_position must have shape \(\*batch, 2\), got \(3,\)"),
            ("here", np.zeros(3), "target_position must be numbers, got 'here'"),
            ([1.0, 1.0], np.zeros(2), r"q must have shape \(\*batch, 3\), got \(2,\)"),
            ([1.0, 1.0], [0.0, np.inf, 0.0], "q must be finite, got inf"),
            (np.zeros((4, 2)), np.zeros((3, 3)), r"do not broadcast: target_position \(4,\), q \(3,\)"),
        ],
    )
    def test_bad_ones(self, policy, target, q, message):
        with pytest.raises(InvalidInputError, match=message):
            policy().solve(target, q, free_space())

    @pytest.mark.parametrize("policy", [Hold, ClosedForm, *ITERATIVE])
    def test_no_scene(self, policy):
        with pytest.raises(InvalidInputError, match="scene must be a Scene, got str"):
            policy().solve([1.0, 1.0], np.zeros(3), "cluttered")

    def test_scenes_that_do_not_match_the_rows(self):
        scenes = sample_scenes(np.random.default_rng(0), 3, "unit3", 2)
        with pytest.raises(InvalidInputError, match=r"batch shape must be \(\) or \(2, 3\) .* got \(3,\)"):
            Hold().solve(np.zeros((2, 3, 2)), np.zeros(3), scenes)

    @pytest.mark.parametrize("policy", ITERATIVE)
    def test_orientation_is_refused(self, policy):
        with pytest.raises(InvalidInputError, match=f"{policy.__name__} solves for positions only; 'closed-form'"):
            policy().solve([1.0, 1.0], np.zeros(3), free_space(), target_orientation=0.0)

    def test_bad_orientation(self):
        with pytest.raises(InvalidInputError, match="target_orientation must be finite"):
            ClosedForm().solve([1.0, 1.0], np.zeros(3), free_space(), target_orientation=np.nan)

    @pytest.mark.parametrize("policy", [Hold, ClosedForm, *ITERATIVE])
    def test_empty_batch(self, policy):
        scene = Scene(make_arm("unit3"), Obstacles([[1.5, 1.0]], [0.3]))
        solution = policy().solve(np.zeros((0, 2)), np.zeros((0, 3)), scene)
        assert solution.q.shape == (0, 3)
        assert solution.solved.shape == (0,)

    @pytest.mark.parametrize("policy", [Hold, ClosedForm, *ITERATIVE])
    def test_fixed_joint(self, policy):
        arm = PlanarArm([1.0, 1.0, 1.0], [[-3, 3], [0.5, 0.5], [-3, 3]])
        targets, starts = reachable_task(arm, 20)
        solution = policy().solve(targets, starts, Scene(arm, Obstacles.none()))
        np.testing.assert_array_equal(solution.q[:, 1], 0.5)


class TestBatches:
    @pytest.mark.parametrize("policy", [ClosedForm, *ITERATIVE])
    def test_one_scene_per_row(self, policy):
        scenes = sample_scenes(np.random.default_rng(3), 12, "unit3", (1, 4))
        targets, starts = reachable_task(scenes.arm, 12)
        options = {} if policy is ClosedForm else {"num_restarts": 2}
        whole = policy(**options).solve(targets, starts, scenes)
        folded = policy(**options).solve(
            targets.reshape(3, 4, 2),
            starts.reshape(3, 4, 3),
            Scene(
                scenes.arm,
                Obstacles(
                    *(
                        part.reshape(3, 4, *part.shape[1:])
                        for part in (scenes.obstacles.centers, scenes.obstacles.radii)
                    ),
                    None,
                    scenes.obstacles.mask.reshape(3, 4, -1),
                ),
            ),
        )
        np.testing.assert_array_equal(folded.q.reshape(12, 3), whole.q)
        for i in range(12):
            alone = policy(**options).solve(targets[i], starts[i], scenes[i])
            np.testing.assert_allclose(alone.q, whole.q[i], atol=1e-9)
            assert alone.reason == whole.reason[i]

    def test_rows_broadcast(self):
        solution = DampedLeastSquares().solve([1.0, 1.0], np.random.default_rng(0).normal(size=(2, 5, 3)), free_space())
        assert solution.q.shape == (2, 5, 3)
        assert solution.info["iterations"].shape == (2, 5)

    def test_shuttling_discs_are_where_they_are_now(self):
        here = Obstacles([[1.5, 1.0]], [0.3], [[3.0, 0.0, 1.0, 0.0]])
        away = Obstacles([[1.5, 1.0]], [0.3], [[3.0, 0.0, 1.0, 1.0]])
        for obstacles, reason in ((here, Reason.BLOCKED), (away, Reason.SOLVED)):
            solution = ClosedForm().solve([1.5, 1.0], [1.9, -0.8, -0.8], Scene(make_arm("unit3"), obstacles))
            assert solution.reason == reason


class TestHold:
    def test_holds(self):
        solution = Hold().solve(np.zeros((4, 2)), np.full((4, 3), 9.0), free_space())
        np.testing.assert_array_equal(solution.q, free_space().arm.clip(np.full((4, 3), 9.0)))
        assert (solution.reason == Reason.HELD).all()
        assert not solution.solved.any()


class TestProblem:
    def test_reasons_look_at_the_orientation(self):
        scene = free_space()
        q = np.array([[0.3, 0.4, 0.5]])
        target = scene.arm.end_effector(q)
        right = make_problem(target, q, scene, [1.2 + 2 * np.pi])
        wrong = make_problem(target, q, scene, [1.0])
        assert right.reasons(q, 1e-6).tolist() == [Reason.SOLVED]
        assert wrong.reasons(q, 1e-6).tolist() == [Reason.NOT_CONVERGED]

    def test_reasons_look_at_the_limits(self):
        scene = free_space("duka")
        q = np.array([[-0.3, -0.4, 0.5]])
        assert make_problem(scene.arm.end_effector(q), q, scene).reasons(q, 1e-3).tolist() == [Reason.NOT_CONVERGED]


def follow_circle(target_position, q, scene):
    return DampedLeastSquares().solve(target_position, q, scene).q


class TestFunctionPolicy:
    @pytest.mark.parametrize("vectorized", [False, True])
    def test_works_like_what_it_wraps(self, vectorized):
        scenes = sample_scenes(np.random.default_rng(0), 6, "unit3", 3)
        targets, starts = reachable_task(scenes.arm, 6)
        solution = FunctionPolicy(follow_circle, vectorized).solve(targets, starts, scenes)
        expected = DampedLeastSquares().solve(targets, starts, scenes)
        np.testing.assert_allclose(solution.q, expected.q, atol=1e-9)
        np.testing.assert_array_equal(solution.solved, expected.solved)

    def test_gets_its_own_scene(self):
        scenes = sample_scenes(np.random.default_rng(0), 4, "unit3", 3)
        seen = []

        def f(target_position, q, scene):
            seen.append((target_position.shape, q.shape, scene.batch_shape, scene.obstacles.centers[0, 0]))
            return q

        FunctionPolicy(f).solve(np.ones((4, 2)), np.zeros((4, 3)), scenes)
        assert [entry[:3] for entry in seen] == [((2,), (3,), ())] * 4
        assert [entry[3] for entry in seen] == scenes.obstacles.centers[:, 0, 0].tolist()

    def test_may_work_in_place(self):
        def f(target_position, q, scene):
            q += 0.1
            return q

        starts = np.zeros((2, 3))
        solution = FunctionPolicy(f).solve(np.ones((2, 2)), starts, free_space())
        np.testing.assert_array_equal(solution.q, 0.1)
        np.testing.assert_array_equal(starts, 0.0)

    def test_takes_lists_and_passes_on_what_is_outside_the_limits(self):
        solution = FunctionPolicy(lambda t, q, s: [10, 0, 0]).solve([1.0, 1.0], np.zeros(3), free_space())
        assert solution.q.dtype == np.float64
        assert solution.q.tolist() == [10.0, 0.0, 0.0]
        assert not solution.solved

    @pytest.mark.parametrize(
        ("answer", "message"),
        [
            (
                None,
                r"f returned None, it must return joint angles \[rad\] of shape \(3,\); is a return missing",
            ),
            (np.zeros(2), r"f must return joint angles of shape \(3,\), got shape \(2,\)"),
            (np.zeros((1, 3)), r"shape \(3,\), got shape \(1, 3\)"),
            ([0.0, np.nan, 0.0], r"f must return finite joint angles, got \[0.0, nan, 0.0\]"),
            ("q", r"f must return real numbers \[rad\] of shape \(3,\), got str"),
            (np.zeros(3, complex), "f must return real numbers .* got ndarray of complex128"),
            (
                [[1.0], [1.0, 2.0]],
                r"f must return joint angles \[rad\] of shape \(3,\), got \[\[1.0\], \[1.0, 2.0\]\]",
            ),
            (Hold(), "f must return real numbers .* got Hold of object"),
        ],
    )
    @pytest.mark.parametrize("vectorized", [False, True])
    def test_wrong_answers(self, answer, message, vectorized):
        def f(target_position, q, scene):
            return answer

        with pytest.raises(PolicyError, match=message):
            FunctionPolicy(f, vectorized).solve([1.0, 1.0], np.zeros(3), free_space())

    def test_names_the_row(self):
        def f(target_position, q, scene):
            return np.where(target_position[:, :1] > 0, np.nan, q)

        with pytest.raises(PolicyError, match=r"got \[nan, nan, nan\] in row \(1,\)"):
            FunctionPolicy(f, vectorized=True).solve([[-1.0, 0], [1.0, 0]], np.zeros((2, 3)), free_space())

    def test_that_raises(self):
        def f(target_position, q, scene):
            return q[7]

        with pytest.raises(PolicyError, match="f raised IndexError: index 7 is out of bounds") as caught:
            FunctionPolicy(f).solve([1.0, 1.0], np.zeros(3), free_space())
        assert isinstance(caught.value.__cause__, IndexError)

    def test_wrong_number_of_arguments(self):
        def f(target_position, q):
            return q

        with pytest.raises(PolicyError, match=r"three arguments .* its signature is f\(target_position, q\)"):
            FunctionPolicy(f)

    def test_no_function(self):
        with pytest.raises(PolicyError, match=r"needs a function f.* got 3"):
            FunctionPolicy(3)

    def test_orientation_is_refused(self):
        with pytest.raises(InvalidInputError, match="a function policy is not given orientations"):
            FunctionPolicy(follow_circle).solve([1.0, 1.0], np.zeros(3), free_space(), target_orientation=0.0)

    def test_pickles(self):
        copy = pickle.loads(pickle.dumps(FunctionPolicy(follow_circle)))
        assert repr(copy) == "FunctionPolicy(follow_circle)"
