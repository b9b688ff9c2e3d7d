"""projected-mlp in all kinds of scenes: nothing unsafe, nothing claimed wrongly, checked by geometry of our own."""

from __future__ import annotations

import gymnasium as gym
import numpy as np
import pytest
import torch

from planararm import InvalidInputError, Obstacles, PlanarArm, PolicyError, Reason, Scene, check_policy, make_arm
from planararm import signed_distance as reference_distance
from planararm.policies.problem import make_problem
from planararm.policies.projected_mlp import ONWARD, ProjectedMLP
from planararm.policies.proposer import Proposer
from planararm.projection.sequential import Source
from planararm.scene.generator import sample_scenes

BUNDLED = ProjectedMLP().proposers.bundled()


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def policy() -> ProjectedMLP:
    return ProjectedMLP()


def trained_arm(name: str) -> PlanarArm:
    return Proposer.from_pretrained(name, policy="projected-mlp").arm


def look(q: np.ndarray, scene: Scene) -> tuple[np.ndarray, np.ndarray]:
    """End effectors, and the smallest distance of links to discs; by hand, scenes of one batch axis."""
    arm, discs = scene.arm, scene.obstacles
    heading = np.cumsum(q, axis=-1)
    steps = arm.link_lengths[:, None] * np.stack([np.cos(heading), np.sin(heading)], axis=-1)
    ends = arm.base + np.cumsum(steps, axis=-2)
    starts = ends - steps
    away = discs.centers[:, None] - starts[:, :, None]
    share = np.clip((away * steps[:, :, None]).sum(-1) / (arm.link_lengths**2)[:, None], 0, 1)
    gap = np.linalg.norm(away - share[..., None] * steps[:, :, None], axis=-1) - discs.radii[:, None] - arm.link_radius
    if discs.mask is not None:
        gap = np.where(discs.mask[:, None], gap, np.inf)
    return ends[:, -1], gap.min(axis=(1, 2), initial=np.inf)


def crowd(arm: PlanarArm, count: int, seed: int):
    """Scenes with targets of every kind: anywhere, at discs' centres and edges, beyond the reach, at the base."""
    rng = np.random.default_rng([5, seed])
    scene = sample_scenes(rng, count, arm, (0, 6), narrow_passages=1)
    angle, distance = rng.uniform(-np.pi, np.pi, count), arm.reach * np.sqrt(rng.uniform(0, 1, count))
    distance[::7] = arm.reach * rng.uniform(1.0, 3.0, len(distance[::7]))
    distance[3] = 0.0
    target = arm.base + distance[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=-1)
    inside = scene.obstacles.centers[:, 0] + rng.uniform(-1, 1, (count, 2)) * scene.obstacles.radii[:, :1]
    covered = (np.arange(count) % 5 == 1) & scene.obstacles.mask[:, 0]
    target[covered] = inside[covered]
    target[6] = scene.obstacles.centers[6, 0] if scene.obstacles.mask[6, 0] else target[6]
    low, high = arm.joint_limits.T
    return target, rng.uniform(low - 0.1, high + 0.1, (count, arm.num_joints)), scene


@pytest.mark.parametrize("name", BUNDLED)
def test_every_bundled_network_keeps_the_contract_without_discs(name: str):
    report = check_policy(ProjectedMLP(name), Scene(trained_arm(name), Obstacles.none()))
    assert report.passed, str(report)


@pytest.mark.parametrize(("name", "count"), [(name, 300 if name.endswith("unit3") else 120) for name in BUNDLED])
def test_no_answer_is_unsafe_and_no_claim_false(policy: ProjectedMLP, name: str, count: int):
    target, q, scene = crowd(trained_arm(name), count, len(name))
    solution = policy.solve(target, q, scene)
    tip, gap = look(solution.q, scene)
    error = np.linalg.norm(tip - target, axis=-1)
    arm = scene.arm
    held = solution.info["source"] == Source.HELD
    assert (gap >= scene.safety_margin - 1e-12)[~held].all()
    assert held.mean() < 0.05
    assert (arm.limit_violation(solution.q) == 0).all()
    met = (error <= 1e-6 * arm.reach) & (gap >= scene.safety_margin)
    assert (met | ~solution.solved).all()
    assert solution.solved.mean() > 0.4
    np.testing.assert_allclose(solution.info["error"], error, atol=1e-9)
    np.testing.assert_allclose(solution.info["clearance"][~held], gap[~held], atol=1e-9)
    far = np.linalg.norm(target - arm.base, axis=-1) > arm.reach * (1 + 1e-6)
    assert (solution.reason[far & ~held] == Reason.OUT_OF_REACH).all()
    assert ((solution.info["proposal"] >= 0) & (solution.info["proposal"] < policy.num_tries)).all()
    # The starts of rows that stay where they are are clipped to the limits.
    np.testing.assert_array_equal(solution.q[held], arm.clip(q)[held])


@pytest.mark.parametrize("name", BUNDLED)
def test_beyond_the_reach_the_arm_is_stretched_towards_the_target(policy: ProjectedMLP, name: str):
    arm = trained_arm(name)
    angle, factor = np.linspace(-np.pi, np.pi, 24), np.resize([1.001, 1.5, 30.0], 24)
    direction = np.stack([np.cos(angle), np.sin(angle)], axis=-1)
    solution = policy.solve(
        arm.base + arm.reach * factor[:, None] * direction, np.zeros(arm.num_joints), Scene(arm, Obstacles.none())
    )
    best = arm.base + arm.reach * direction
    assert np.linalg.norm(arm.end_effector(solution.q) - best, axis=-1).max() <= 1e-4 * arm.reach
    assert (solution.reason == Reason.OUT_OF_REACH).all()


def test_one_target_without_a_batch_axis_and_discs_that_rows_share(policy: ProjectedMLP):
    scene = Scene(make_arm("unit3"), Obstacles([[1.0, 0.8], [-1.0, 1.0]], [0.3, 0.2]))
    targets, q = np.array([[2.0, 1.0], [0.4, -2.0], [-1.0, 1.7]]), np.array([0.3, 0.2, 0.1])
    together = policy.solve(targets, q, scene)
    assert together.solved.all()
    for row, target in enumerate(targets):
        alone = policy.solve(target, q, scene)
        assert alone.q.shape == (3,)
        assert alone.solved.shape == alone.reason.shape == alone.info["error"].shape == ()
        np.testing.assert_allclose(alone.q, together.q[row], atol=1e-5)


def test_near_the_target_the_arm_where_it_is_comes_first(policy: ProjectedMLP):
    arm = make_arm("unit3")
    q = np.array([[0.5, 0.6, 0.7], [0.5, 0.6, 0.7]])
    near = arm.end_effector(q[0]) + [0.5 * ONWARD * arm.reach, 0.0]
    far = arm.end_effector(q[0]) + [-3 * ONWARD * arm.reach, 0.0]
    problem = make_problem([near, far], q, Scene(arm, Obstacles.none()))
    tried = policy.proposals(problem)
    assert tried.shape == (2, policy.num_tries, 3)
    np.testing.assert_array_equal(tried[0, 0], q[0])
    assert np.abs(tried[1] - q[1]).max(axis=-1).min() > 1e-3
    one = ProjectedMLP(num_tries=1).proposals(problem)
    np.testing.assert_array_equal(one[0, 0], q[0])
    # What the network says comes behind it.
    assert np.linalg.norm(arm.end_effector(tried[0, 1]) - near) < 0.1 * arm.reach


@pytest.mark.parametrize("num_tries", [1, 2, 7, 50])
def test_any_number_of_tries(num_tries: int):
    target, q, scene = crowd(make_arm("unit3"), 40, 1)
    solution = ProjectedMLP(num_tries=num_tries).solve(target, q, scene)
    assert (look(solution.q, scene)[1] >= scene.safety_margin)[solution.info["source"] < Source.HELD].all()


def test_distance_is_that_from_the_proposal_it_came_from(policy: ProjectedMLP):
    target, q, scene = crowd(make_arm("unit3"), 100, 2)
    solution, problem = policy.solve(target, q, scene), make_problem(target, q, scene)
    proposed = policy.proposals(problem)[np.arange(100), solution.info["proposal"]]
    np.testing.assert_allclose(solution.info["distance"], np.linalg.norm(solution.q - proposed, axis=-1), atol=1e-4)


def test_shuttling_discs_are_taken_where_they_are_at_time_0(policy: ProjectedMLP):
    arm, target = make_arm("unit3"), [[1.5, 0.3], [-0.5, 1.2], [2.0, 1.6]]
    moving = Obstacles([[1.0, 1.0]], [0.3], shuttle=[[1.0, 0.0, 0.5, 0.5]])
    still = Scene(arm, Obstacles([[1.5, 1.0]], [0.3]))
    first, second = (policy.solve(target, np.zeros((3, 3)), scene) for scene in (Scene(arm, moving), still))
    np.testing.assert_array_equal(first.q, second.q)
    assert (reference_distance(first.q, arm, still.obstacles) >= still.safety_margin).all()


@pytest.mark.parametrize("margin", [0.0, 0.05])
def test_the_scenes_own_margin_is_kept(policy: ProjectedMLP, margin: float):
    target, q, scene = crowd(make_arm("unit3"), 80, 3)
    scene = Scene(scene.arm, scene.obstacles, margin)
    solution = policy.solve(target, q, scene)
    assert (look(solution.q, scene)[1] >= margin)[solution.info["source"] < Source.HELD].all()
    assert solution.solved.any()


def test_an_arm_walled_in_stays_or_says_so(policy: ProjectedMLP):
    angle = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    ring = Obstacles(0.5 * np.stack([np.cos(angle), np.sin(angle)], axis=-1), np.full(24, 0.15))
    solution = policy.solve([[1.0, 1.0], [0.1, 0.1]], [[0.1, 0.2, 0.3]] * 2, Scene(make_arm("unit3"), ring))
    assert not solution.solved.any()
    assert np.isfinite(solution.q).all()


class TestAim:
    def test_into_the_annulus_of_an_arm_that_cannot_fold(self):
        arm = PlanarArm([2.0, 0.5, 0.5], base=[1.0, 1.0])
        targets = arm.base + np.array([[0.0, 0.0], [1e-12, 0.0], [0.0, 0.5], [0.3, -0.4], [-9.0, 0.0], [0.0, 1.5]])
        problem = make_problem(targets, np.zeros(3), Scene(arm, Obstacles.none()))
        away = problem.aim - arm.base
        distance = np.linalg.norm(away, axis=1)
        assert (distance >= 1.0).all()
        assert (distance <= 3.0).all()
        np.testing.assert_allclose(
            away / distance[:, None], [[1, 0], [1, 0], [0, 1], [0.6, -0.8], [-1, 0], [0, 1]], atol=1e-9
        )
        np.testing.assert_allclose(distance, [1, 1, 1, 1, 3, 1.5], atol=1e-5)
        np.testing.assert_array_equal(problem.aim[5], targets[5])

    def test_radially_out_of_a_disc_and_absent_discs_do_not_matter(self):
        arm = make_arm("unit3")
        discs = Obstacles([[1.5, 0.0], [-1.5, 0.0]], [0.4, 0.4], mask=[True, False])
        targets = np.array([[1.6, 0.2], [-1.6, 0.2], [1.5, 0.0], [1.5, 0.6]])
        aim = make_problem(targets, np.zeros(3), Scene(arm, discs)).aim
        edge = 0.4 + arm.link_radius + 1e-3
        away = targets[0] - [1.5, 0.0]
        np.testing.assert_allclose(aim[0], [1.5, 0.0] + edge * away / np.linalg.norm(away), atol=1e-5)
        np.testing.assert_array_equal(aim[[1, 3]], targets[[1, 3]])
        np.testing.assert_allclose(aim[2], [1.5 + edge, 0.0], atol=1e-5)

    def test_a_disc_across_the_boundary_of_the_workspace(self, policy: ProjectedMLP):
        arm = make_arm("unit3")
        scene = Scene(arm, Obstacles([[2.9, 0.0]], [0.3]))
        targets = np.array([[2.95, 0.05], [3.3, -0.2], [3.5, 0.0]])
        aim = make_problem(targets, np.zeros(3), scene).aim
        # Of the last one, behind the middle of the disc, either side is as near: no pass finds a way around.
        assert (np.linalg.norm(aim[:2], axis=1) <= arm.reach).all()
        gap = np.linalg.norm(aim - [2.9, 0.0], axis=1) - 0.3 - arm.link_radius
        assert (gap >= scene.safety_margin - 1e-12).all()
        solution = policy.solve(targets, [0.1, 0.2, 0.3], scene)
        assert not solution.solved.any()
        assert (reference_distance(solution.q, arm, scene.obstacles) >= scene.safety_margin).all()

    def test_problems_of_some_rows_aim_as_all_do(self):
        target, q, scene = crowd(make_arm("unit3"), 50, 4)
        problem, rows = make_problem(target, q, scene), np.array([3, 1, 40])
        np.testing.assert_array_equal(problem.take(rows).aim, problem.aim[rows])

    def test_what_the_arm_can_do_at_the_aim_it_does(self, policy: ProjectedMLP):
        target, q, scene = crowd(make_arm("unit3"), 200, 5)
        solution, aim = policy.solve(target, q, scene), make_problem(target, q, scene).aim
        at_the_aim = np.linalg.norm(look(solution.q, scene)[0] - aim, axis=1) <= 1e-5
        assert at_the_aim.mean() > 0.7


class TestInEnvironments:
    @pytest.mark.parametrize("task", ["Reach", "Track"])
    @pytest.mark.parametrize("mode", ["position", "delta"])
    def test_every_motion_is_free_all_the_way(self, task: str, mode: str):
        envs = gym.make_vec(f"planararm/{task}-v0", num_envs=6, control_mode=mode, num_obstacles=(2, 5))
        policy = ProjectedMLP().bind(envs)
        observation, _ = envs.reset(seed=21)
        before = policy.interface.unpack(observation)
        for _ in range(50):
            observation, _, terminated, truncated, info = envs.step(policy.predict(observation)[0])
            assert info["cost"].sum() == 0
            after = policy.interface.unpack(observation)
            going = ~(terminated | truncated)
            for share in np.linspace(0, 1, 9):
                gap = look(before.q + share * (after.q - before.q), before.scene)[1]
                assert (gap[going] > 0).all()
            before = after
        envs.close()

    def test_a_single_environment_and_the_vector_do_the_same(self):
        env = gym.make("planararm/Track-v0", num_obstacles=3)
        policy = ProjectedMLP().bind(env)
        observation, _ = env.reset(seed=8)
        for _ in range(50):
            action = policy.predict(observation)[0]
            assert env.action_space.contains(action)
            several = policy.predict({key: np.stack([value, value]) for key, value in observation.items()})[0]
            np.testing.assert_allclose(several, np.stack([action, action]), atol=1e-5)
            observation, _, _, _, info = env.step(action)
            assert info["cost"] == 0
        env.close()

    def test_unbound_and_without_weights(self):
        with pytest.raises(PolicyError, match=r"ProjectedMLP must be bound to an environment: policy\.bind\(env\)"):
            ProjectedMLP().predict({})
        env = gym.make("planararm/Reach-v0", arm="duka")
        with pytest.raises(
            PolicyError, match=r"ProjectedMLP cannot be used in this environment: no bundled weights fit"
        ):
            ProjectedMLP().bind(env)
        env.close()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_tries": 0}, r"num_tries must be a whole number in \[1, 1000\], got 0"),
        ({"tolerance": 0}, r"tolerance must be a number in \(0.0, 1.0\], got 0"),
        ({"num_restarts": -1}, r"num_restarts must be a whole number in \[0, 10000\], got -1"),
        ({"max_iterations": 0}, r"max_iterations must be a whole number in \[1, 100000\], got 0"),
    ],
)
def test_errors(options, message: str):
    with pytest.raises(InvalidInputError, match=message):
        ProjectedMLP(**options)
