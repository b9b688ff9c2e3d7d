"""torch-mlp on a trained network: what it answers, claims and says of itself."""

from __future__ import annotations

import gymnasium as gym
import numpy as np
import pytest
import torch

from planararm import (
    InvalidInputError,
    Obstacles,
    PlanarArm,
    PolicyError,
    Reason,
    Scene,
    check_policy,
    make_arm,
    make_policy,
    signed_distance,
)
from planararm.policies.problem import make_problem
from planararm.policies.torch_mlp import TorchMLP
from planararm.scene.generator import sample_scenes

BUNDLED = TorchMLP().proposers.bundled()


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def policy() -> TorchMLP:
    return TorchMLP()


def trained_arm(name: str) -> PlanarArm:
    return TorchMLP(name).proposers.only().arm


def drawn(arm: PlanarArm, count: int, seed: int = 0, **dials):
    rng = np.random.default_rng([77, seed])
    scene = sample_scenes(rng, count, arm, **({"num_obstacles": (0, 4)} | dials))
    distance, angle = arm.reach * np.sqrt(rng.uniform(0, 1, count)), rng.uniform(-np.pi, np.pi, count)
    target = arm.base + distance[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=-1)
    return target, rng.uniform(arm.joint_limits[:, 0], arm.joint_limits[:, 1], (count, arm.num_joints)), scene


def error(q, target, scene):
    return np.linalg.norm(scene.arm.end_effector(q) - target, axis=-1)


@pytest.mark.parametrize("name", BUNDLED)
def test_every_bundled_network_keeps_the_contract_without_discs(name: str):
    report = check_policy(TorchMLP(name), Scene(trained_arm(name), Obstacles.none()))
    assert report.passed, str(report)


@pytest.mark.parametrize("name", BUNDLED)
@pytest.mark.parametrize("select", ["measured", "confident"])
def test_every_bundled_network_is_of_use(name: str, select: str):
    target, q, scene = drawn(trained_arm(name), 300, num_obstacles=2)
    solution = TorchMLP(name, select=select).solve(target, q, scene)
    assert np.median(error(solution.q, target, scene)) < 0.01 * scene.arm.reach
    assert (scene.arm.limit_violation(solution.q) == 0).all()
    assert solution.solved.mean() > 0.5


def test_networks_are_found_by_the_arm():
    for name in BUNDLED:
        arm = trained_arm(name)
        assert TorchMLP().proposers.find_bundled(arm) == name
        larger = PlanarArm(3 * arm.link_lengths, arm.joint_limits, base=[1.0, 1.0])
        assert TorchMLP().proposers.find_bundled(larger) == name


def test_info_and_reasons_are_measured(policy: TorchMLP):
    target, q, scene = drawn(make_arm("unit3"), 400, num_obstacles=(1, 5))
    target[:20] *= 2.0
    solution = policy.solve(target, q, scene)
    miss, clearance = error(solution.q, target, scene), signed_distance(solution.q, scene.arm, scene.obstacles)
    np.testing.assert_allclose(solution.info["error"], miss, atol=1e-12)
    np.testing.assert_allclose(solution.info["clearance"], clearance.min(axis=(1, 2)), atol=1e-12)
    met, free = miss <= 3e-3, solution.info["clearance"] >= scene.safety_margin
    outside = np.linalg.norm(target, axis=1) > 3.003
    expected = np.where(met, np.where(free, Reason.SOLVED, Reason.BLOCKED), Reason.NOT_CONVERGED)
    np.testing.assert_array_equal(solution.reason, np.where(outside, Reason.OUT_OF_REACH, expected))
    assert {int(reason) for reason in solution.reason} >= {Reason.SOLVED, Reason.OUT_OF_REACH}


def test_a_looser_tolerance_claims_more(policy: TorchMLP):
    target, q, scene = drawn(make_arm("unit3"), 300)
    counts = [TorchMLP(tolerance=tolerance).solve(target, q, scene).solved.sum() for tolerance in (1e-6, 1e-4, 0.1)]
    assert counts[0] < counts[1] < counts[2]


def test_the_confident_answer_is_the_networks_own_choice():
    policy = TorchMLP(select="confident")
    target, q, scene = drawn(make_arm("unit3"), 100)
    solution = policy.solve(target, q, scene)
    offer = policy.proposers.require(scene.arm)(make_problem(target, q, scene), 3e-3)
    logits = offer.logits[:, :-1]
    np.testing.assert_allclose(solution.info["confidence"], 1 / (1 + np.exp(-logits.max(axis=1))), rtol=1e-9)
    chosen = np.take_along_axis(offer.q, logits.argmax(axis=1)[:, None, None], axis=1)[:, 0]
    np.testing.assert_array_equal(solution.q, chosen)


def test_confidence_tells_good_from_bad():
    target, q, scene = drawn(make_arm("unit3"), 2000, num_obstacles=6)
    solution = TorchMLP(select="confident").solve(target, q, scene)
    confidence, solved = solution.info["confidence"], solution.solved
    assert confidence[solved].mean() > confidence[~solved].mean() + 0.1


def test_turning_the_world_turns_the_answer():
    policy = TorchMLP(select="confident")
    target, q, scene = drawn(make_arm("unit3"), 60)
    first = policy.solve(target, q, scene)
    for angle in (0.7, np.pi, -2.5):
        turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
        discs = Obstacles(scene.obstacles.centers @ turn, scene.obstacles.radii, mask=scene.obstacles.mask)
        second = policy.solve(target @ turn, q, Scene(scene.arm, discs))
        away = second.q - first.q - [angle, 0.0, 0.0]
        np.testing.assert_allclose(np.cos(away), 1.0, atol=1e-6)


def test_narrower_limits_of_the_first_joint_are_kept(policy: TorchMLP):
    arm = PlanarArm([1.0, 1.0, 1.0], [[-np.pi, np.pi], [-np.pi, np.pi], [-np.pi, np.pi]])
    target, q, scene = drawn(arm, 300, num_obstacles=0)
    solution = policy.solve(target, q, scene)
    assert (arm.limit_violation(solution.q) == 0).all()
    assert solution.solved.mean() > 0.8


def test_shuttling_discs_are_taken_where_they_are_at_time_0(policy: TorchMLP):
    arm = make_arm("unit3")
    moving = Obstacles([[1.0, 1.0]], [0.3], shuttle=[[1.0, 0.0, 0.5, 0.5]])
    target, q = [[1.5, 0.3], [-0.5, 1.2]], np.zeros((2, 3))
    first = policy.solve(target, q, Scene(arm, moving))
    second = policy.solve(target, q, Scene(arm, Obstacles([[1.5, 1.0]], [0.3])))
    np.testing.assert_array_equal(first.q, second.q)


@pytest.mark.parametrize("mode", ["position", "delta"])
def test_in_environments(mode: str):
    for name in ("planararm/Reach-v0", "planararm/Track-v0"):
        envs = gym.make_vec(name, num_envs=3, control_mode=mode, num_obstacles=0)
        policy = TorchMLP().bind(envs)
        observation, _ = envs.reset(seed=3)
        for _ in range(60):
            observation, _, _, _, info = envs.step(policy.predict(observation)[0])
        assert np.median(info["tracking_error"]) < 0.03
        envs.close()
    env = gym.make("planararm/Reach-v0", control_mode=mode)
    policy = TorchMLP().bind(env)
    observation, _ = env.reset(seed=0)
    assert env.action_space.contains(policy.predict(observation)[0])
    env.close()


def test_environments_of_arms_without_weights():
    env = gym.make("planararm/Reach-v0", arm="unit2")
    with pytest.raises(PolicyError, match=r"TorchMLP cannot be used in this environment: no bundled weights fit"):
        TorchMLP().bind(env)
    env.close()


def test_errors(policy: TorchMLP):
    scene = Scene(make_arm("unit3"), Obstacles.none())
    with pytest.raises(InvalidInputError, match="must be None: the network is trained for positions only"):
        policy.solve([1.0, 1.0], np.zeros(3), scene, target_orientation=0.0)
    with pytest.raises(InvalidInputError, match="target_position must be finite"):
        policy.solve([np.nan, 1.0], np.zeros(3), scene)
    with pytest.raises(InvalidInputError, match=r"q must have shape \(\*batch, 3\), got \(2,\)"):
        policy.solve([1.0, 1.0], np.zeros(2), scene)
    for tolerance in (0.0, -1.0, 2.0, "1e-3"):
        with pytest.raises(InvalidInputError, match="tolerance must be a number in"):
            make_policy("torch-mlp", tolerance=tolerance)
