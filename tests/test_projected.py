from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from planararm import FunctionPolicy, Obstacles, Reason, Scene, clearance, make_arm, make_policy, reachability
from planararm.errors import InvalidInputError, PolicyError
from planararm.policies import Projected, ProjectedDampedLeastSquares
from planararm.projection.sequential import Source
from planararm.scene.generator import sample_scenes


def clutter(seed: int, count: int, preset: str = "unit3") -> tuple[Scene, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    arm = make_arm(preset)
    scene = sample_scenes(rng, count, arm, num_obstacles=4)
    return scene, rng.uniform(-0.7, 0.7, (count, 2)) * arm.reach, rng.uniform(-2.0, 2.0, (count, arm.num_joints))


def error(q: np.ndarray, target: np.ndarray, scene: Scene) -> np.ndarray:
    return np.linalg.norm(np.asarray(scene.arm.end_effector(q)) - target, axis=-1)


def test_claims_are_true_and_reachable_targets_are_met() -> None:
    scene, target, q = clutter(0, 300)
    verdict = reachability(target, scene).verdict
    solution = make_policy("projected-dls").solve(target, q, scene)
    free = clearance(solution.q, scene.arm, scene.obstacles) >= scene.safety_margin
    assert free.all()
    assert (scene.arm.limit_violation(solution.q) <= 0).all()
    met = error(solution.q, target, scene) <= 1e-6 * scene.arm.reach
    np.testing.assert_array_equal(solution.solved, met)
    assert not solution.solved[verdict == 0].any()
    assert solution.solved[verdict == 1].mean() >= 0.99
    alone = make_policy("damped-least-squares").solve(target, q, scene)
    assert alone.solved[verdict == 1].mean() < 0.9


@pytest.mark.parametrize("preset", ["unit2", "unit5", "duka"])
def test_other_arms(preset: str) -> None:
    scene, target, q = clutter(1, 60, preset)
    solution = ProjectedDampedLeastSquares().solve(target, q, scene)
    assert (clearance(solution.q, scene.arm, scene.obstacles) >= scene.safety_margin).all()
    assert (scene.arm.limit_violation(solution.q) <= 0).all()


def test_an_unsafe_policy_is_made_safe_and_the_nearest_branch_kept() -> None:
    scene, target, q = clutter(2, 200)
    rng = np.random.default_rng(3)
    wild = 10 * rng.normal(size=q.shape)
    solution = Projected(FunctionPolicy(lambda target, q, scene: wild, vectorized=True), task=False).solve(
        target, q, scene
    )
    assert (clearance(solution.q, scene.arm, scene.obstacles) >= scene.safety_margin).all()
    np.testing.assert_allclose(solution.info["distance"], np.linalg.norm(solution.q - wild, axis=-1))
    proposal = scene.arm.clip(q)
    free = clearance(proposal, scene.arm, scene.obstacles) >= scene.safety_margin
    kept = Projected(FunctionPolicy(lambda target, q, scene: q, vectorized=True), task=False).solve(target, q, scene)
    np.testing.assert_array_equal(kept.q[free], proposal[free])
    assert (kept.info["source"][free] == Source.PROPOSAL).all()


def test_a_proposal_on_the_target_and_free_is_returned_unchanged() -> None:
    scene, target, q = clutter(4, 100)
    exact = make_policy("closed-form").solve(target, q, scene)
    solution = Projected("closed-form").solve(target, q, scene)
    rows = exact.solved
    assert rows.sum() > 50
    np.testing.assert_array_equal(solution.q[rows], exact.q[rows])


def test_out_of_reach_stretches_towards_the_target() -> None:
    arm = make_arm("unit3")
    scene = Scene(arm, Obstacles([[0.0, 2.0]], [0.3]))
    solution = make_policy("projected-dls").solve([[4.0, 0.5]], [[0.3, 0.2, 0.1]], scene)
    assert solution.reason[0] == Reason.OUT_OF_REACH
    assert error(solution.q, np.array([[4.0, 0.5]]), scene)[0] < 1.1


def test_where_nothing_is_free_the_answer_is_not_claimed() -> None:
    angles = np.linspace(0, 2 * np.pi, 12, endpoint=False)
    ring = Obstacles(0.6 * np.stack([np.cos(angles), np.sin(angles)], axis=-1), np.full(12, 0.2))
    scene = Scene(make_arm("unit3"), ring)
    solution = make_policy("projected-dls").solve([1.0, 1.0], [0.1, 0.2, 0.3], scene)
    assert not solution.solved
    assert np.isfinite(solution.q).all()
    assert solution.reason in (Reason.NOT_CONVERGED, Reason.BLOCKED)


@pytest.mark.parametrize("control_mode", ["position", "delta"])
def test_closed_loop_never_touches(control_mode: str) -> None:
    env = gym.make_vec("planararm/Track-v0", num_envs=16, num_obstacles=4, control_mode=control_mode)
    policy = Projected("damped-least-squares").bind(env)
    observation, _ = env.reset(seed=5)
    cost, errors = 0.0, []
    for _ in range(60):
        action, _ = policy.predict(observation)
        observation, _, _, _, info = env.step(action)
        cost += info["cost"].sum()
        errors.append(info["tracking_error"])
    assert cost == 0.0
    assert np.median(errors) < 0.01
    env.close()


def test_predict_of_a_single_environment_and_errors() -> None:
    env = gym.make("planararm/Reach-v0", num_obstacles=3)
    policy = make_policy("projected-dls")
    with pytest.raises(PolicyError, match=r"must be bound to an environment: policy\.bind\(env\)"):
        policy.predict({})
    policy.bind(env)
    observation, _ = env.reset(seed=1)
    for _ in range(100):
        action, _ = policy.predict(observation, episode_start=np.array([False]))
        assert env.action_space.contains(action)
        observation, _, _, _, info = env.step(action)
        assert info["cost"] == 0.0
    assert info["tracking_error"] < 0.05 * env.unwrapped.arm.reach
    with pytest.raises(InvalidInputError, match="target_orientation must be None: the projection moves"):
        policy.solve([1.0, 1.0], [0.1, 0.2, 0.3], env.unwrapped.scene, target_orientation=0.3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tolerance": 0.0}, r"tolerance must be a number in \(0.0, 1.0\], got 0.0"),
        ({"num_restarts": -1}, r"num_restarts must be a whole number in \[0, 10000\], got -1"),
        ({"max_iterations": 0}, r"max_iterations must be a whole number in \[1, 100000\], got 0"),
    ],
)
def test_bad_options(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        Projected("hold", **options)


def test_options_go_to_the_inner_policy_and_its_support_counts() -> None:
    policy = Projected("damped-least-squares", damping=0.3)
    assert policy.policy.damping == 0.3
    five = Scene(make_arm("unit5"), Obstacles.none())
    assert "closed-form answers exist" in (Projected("closed-form").supports(five) or "")


class Several(Projected):
    """Proposals from a table, as a network gives them."""

    def __init__(self, table: np.ndarray, **options: Any) -> None:
        super().__init__("hold", nearest=False, **options)
        self.table = table

    def proposals(self, problem: Any) -> np.ndarray:
        return np.array(self.table)


def test_later_proposals_are_tried_where_the_ones_before_fail() -> None:
    scene, target, q = clutter(6, 200)
    reached = make_policy("projected-dls").solve(target, q, scene)
    rows = np.flatnonzero(reached.solved)
    target, q, scene, good = target[rows], q[rows], scene[rows], reached.q[rows]
    # A proposal that is right is kept to the bit, whichever place it has; one iteration leads nowhere else.
    astray = np.random.default_rng(0).uniform(-2.5, 2.5, good.shape)
    options: dict[str, Any] = {"num_restarts": 0, "max_iterations": 1}
    for place in range(3):
        table = np.stack([astray, astray + 0.1, astray - 0.1], axis=1)
        table[:, place] = good
        solution = Several(table, **options).solve(target, q, scene)
        assert solution.solved.all()
        which = solution.info["proposal"]
        assert (which <= place).all()
        assert (which == place).mean() > 0.5
        np.testing.assert_allclose(solution.q[which == place], good[which == place], atol=1e-6)
        assert (solution.info["source"][which == place] <= Source.PROJECTED).all()


def test_of_proposals_that_all_miss_the_nearest_to_the_target_is_kept() -> None:
    arm = make_arm("unit3")
    scene = Scene(arm, Obstacles([[0.0, 2.0]], [0.3]))
    table = np.random.default_rng(1).uniform(-1.0, 1.0, (1, 6, 3))
    options: dict[str, Any] = {"num_restarts": 0, "max_iterations": 2}
    target = np.array([[-2.0, -1.0]])
    alone = [Several(table[:, [k]], **options).solve(target, np.zeros((1, 3)), scene) for k in range(6)]
    assert not any(one.solved.any() for one in alone)
    misses = [float(one.info["error"][0]) if one.info["source"][0] < Source.HELD else np.inf for one in alone]
    together = Several(table, **options).solve(target, np.zeros((1, 3)), scene)
    assert together.info["error"][0] == pytest.approx(min(misses), abs=1e-9)
    assert together.info["proposal"][0] == int(np.argmin(misses))


def test_a_nearly_right_proposal_is_polished_without_leaving_its_place() -> None:
    scene, target, q = clutter(7, 100)
    exact = make_policy("projected-dls").solve(target, q, scene)
    rows = np.flatnonzero(exact.solved & (exact.info["clearance"] > 0.02))
    start = exact.q[rows] + np.random.default_rng(2).normal(size=(len(rows), 3)) * 1e-3
    start = scene.arm.clip(start)
    solution = Several(start[:, None], num_restarts=0).solve(target[rows], q[rows], scene[rows])
    assert solution.solved.all()
    assert np.abs(solution.q - start).max() < 0.1
    assert np.median(np.abs(solution.q - start).max(axis=1)) < 5e-3
    assert (solution.info["source"] == Source.PROJECTED).all()
    assert (clearance(solution.q, scene.arm, scene[rows].obstacles) >= scene.safety_margin).all()
