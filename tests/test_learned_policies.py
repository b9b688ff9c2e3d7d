"""torch-mlp and projected-mlp: their contract, what they claim, which arms they take, how they follow."""

from __future__ import annotations

import gymnasium as gym
import numpy as np
import pytest
import torch

from planararm import (
    InvalidInputError,
    Obstacles,
    PlanarArm,
    Reason,
    Scene,
    UnknownNameError,
    WeightsError,
    check_policy,
    end_effector,
    make_arm,
    make_policy,
    make_scene,
    signed_distance,
)
from planararm.policies.problem import make_problem
from planararm.policies.projected_mlp import ProjectedMLP
from planararm.policies.torch_mlp import TorchMLP
from planararm.projection.sequential import Source
from planararm.scene.generator import sample_scenes

ARMS = ("unit3", "unit5", "snake10")


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def torch_mlp() -> TorchMLP:
    return TorchMLP()


@pytest.fixture(scope="module")
def projected_mlp() -> ProjectedMLP:
    return ProjectedMLP()


def drawn(arm: PlanarArm, count: int, seed: int = 0, **dials):
    rng = np.random.default_rng([909, seed])
    scene = sample_scenes(rng, count, arm, **({"num_obstacles": (0, 6)} | dials))
    distance, angle = arm.reach * np.sqrt(rng.uniform(0, 1.2, count)), rng.uniform(-np.pi, np.pi, count)
    target = arm.base + distance[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=-1)
    return target, rng.uniform(arm.joint_limits[:, 0], arm.joint_limits[:, 1], (count, arm.num_joints)), scene


def measured(q, target, scene):
    """Error as a fraction of the reach, and clearance; for scenes of one batch axis."""
    arm = scene.arm
    error = np.linalg.norm(end_effector(q, arm.link_lengths, arm.base) - target, axis=-1) / arm.reach
    if scene.obstacles.num_obstacles == 0:
        return error, np.full(len(q), np.inf)
    return error, signed_distance(q, arm, scene.obstacles).min(axis=(-2, -1))


class TestContract:
    @pytest.mark.parametrize("arm", ARMS)
    @pytest.mark.parametrize("name", ["torch-mlp", "projected-mlp"])
    def test_check_policy(self, name: str, arm: str):
        built = make_arm(arm)
        discs = Obstacles([built.base + [0.5 * built.reach, 0.1 * built.reach]], [0.12 * built.reach])
        report = check_policy(make_policy(name), Scene(built, discs))
        assert report.passed, str(report)

    @pytest.mark.parametrize("name", ["torch-mlp", "projected-mlp"])
    def test_forms_of_arguments(self, name: str):
        policy, scene = make_policy(name), make_scene("single")
        one = policy.solve([1.5, 1.0], [0.1, 0.2, 0.3], scene)
        assert one.q.shape == (3,)
        many = policy.solve(np.tile([1.5, 1.0], (2, 4, 1)), np.tile([0.1, 0.2, 0.3], (2, 4, 1)), scene)
        np.testing.assert_allclose(many.q, np.broadcast_to(one.q, (2, 4, 3)), atol=1e-5)
        assert policy.solve(np.zeros((0, 2)), np.zeros((0, 3)), scene).q.shape == (0, 3)
        moving = Scene(scene.arm, Obstacles([[1.0, 1.0]], [0.2], shuttle=[[0.5, 0.0, 0.3, 0.0]]))
        assert np.isfinite(policy.solve([1.5, -1.0], [0.1, 0.2, 0.3], moving).q).all()
        with pytest.raises(InvalidInputError, match="target_orientation must be None"):
            policy.solve([1.5, 1.0], [0.1, 0.2, 0.3], scene, target_orientation=0.3)


class TestTorchMLP:
    def test_free_space(self, torch_mlp: TorchMLP):
        target, q, scene = drawn(make_arm("unit3"), 1000, num_obstacles=0)
        within = np.linalg.norm(target, axis=1) <= 3.0
        error, _ = measured(torch_mlp.solve(target, q, scene).q, target, scene)
        assert np.quantile(error[within], 0.95) < 1e-3

    def test_claims_are_true(self, torch_mlp: TorchMLP):
        target, q, scene = drawn(make_arm("unit3"), 500)
        solution = torch_mlp.solve(target, q, scene)
        error, clearance = measured(solution.q, target, scene)
        np.testing.assert_array_equal(solution.solved, (error <= 1e-3) & (clearance >= scene.safety_margin))
        np.testing.assert_allclose(solution.info["error"], error * 3, atol=1e-12)
        assert ((solution.info["confidence"] >= 0) & (solution.info["confidence"] <= 1)).all()

    def test_the_most_confident_alone(self, torch_mlp: TorchMLP):
        target, q, scene = drawn(make_arm("unit3"), 500)
        confident = TorchMLP(select="confident").solve(target, q, scene)
        assert confident.solved.sum() <= torch_mlp.solve(target, q, scene).solved.sum()
        # It does not depend on where the arm is, but for whole turns of the first joint.
        again = TorchMLP(select="confident").solve(target, np.zeros_like(q), scene)
        np.testing.assert_allclose(np.cos(confident.q - again.q), 1.0, atol=1e-9)

    def test_of_those_that_hold_the_nearest(self, torch_mlp: TorchMLP):
        target, q, scene = drawn(make_arm("unit3"), 300)
        problem = make_problem(target, q, scene)
        offer = torch_mlp.proposers.require(scene.arm)(problem, 3e-3)
        held = (offer.error <= 3e-3) & (offer.clearance >= scene.safety_margin)
        nearest = np.where(held, offer.travel, np.inf).argmin(axis=1)
        some = held.any(axis=1)
        np.testing.assert_array_equal(offer.order[some, 0], nearest[some])


class TestProjectedMLP:
    @pytest.mark.parametrize(
        ("arm", "count", "least"), [("unit3", 600, 0.999), ("unit5", 300, 0.97), ("snake10", 200, 0.97)]
    )
    def test_every_claim_is_exact_and_nothing_is_unsafe(self, projected_mlp, arm: str, count: int, least: float):
        target, q, scene = drawn(make_arm(arm), count, num_obstacles=(0, 4))
        solution = projected_mlp.solve(target, q, scene)
        error, clearance = measured(solution.q, target, scene)
        good = (error <= 1e-6) & (clearance >= scene.safety_margin)
        np.testing.assert_array_equal(solution.solved, good)
        assert (clearance >= scene.safety_margin)[solution.info["source"] < Source.HELD].all()
        if arm == "unit3":
            from planararm import reachability

            reachable = reachability(target, scene).verdict == 1
            assert good[reachable].mean() >= least
            assert (clearance >= scene.safety_margin)[reachable].all()

    def test_beyond_the_reach_the_arm_points_there(self, projected_mlp: ProjectedMLP):
        scene = Scene(make_arm("unit3"), Obstacles.none())
        target = np.array([[4.0, 1.0], [-3.5, 0.2], [0.0, -9.0]])
        solution = projected_mlp.solve(target, np.zeros((3, 3)), scene)
        assert (solution.reason == Reason.OUT_OF_REACH).all()
        best = 3 * target / np.linalg.norm(target, axis=1, keepdims=True)
        np.testing.assert_allclose(scene.arm.end_effector(solution.q), best, atol=1e-3)

    def test_a_covered_target_is_approached_to_the_disc_s_edge(self, projected_mlp: ProjectedMLP):
        scene = Scene(make_arm("unit3"), Obstacles([[1.5, 0.5]], [0.3]))
        solution = projected_mlp.solve([1.6, 0.6], np.zeros(3), scene)
        assert solution.reason == Reason.NOT_CONVERGED
        gap = np.linalg.norm(scene.arm.end_effector(solution.q) - [1.5, 0.5]) - 0.3 - scene.arm.link_radius
        assert gap == pytest.approx(scene.safety_margin, abs=1e-5)

    def test_the_search_behind_the_proposals(self):
        target, q, scene = drawn(make_arm("unit3"), 400, num_obstacles=6, narrow_passages=2)
        once = ProjectedMLP(num_tries=1, num_restarts=0).solve(target, q, scene).solved
        more = ProjectedMLP(num_tries=5, num_restarts=16).solve(target, q, scene).solved
        assert (more >= once).all()

    def test_near_its_target_the_arm_hardly_moves(self, projected_mlp: ProjectedMLP):
        arm = make_arm("unit3")
        q = np.random.default_rng(0).uniform(-2, 2, (50, 3))
        target = arm.end_effector(q) + 1e-3
        solution = projected_mlp.solve(target, q, Scene(arm, Obstacles.none()))
        assert np.median(np.abs(solution.q - q).max(axis=1)) < 2e-3


class TestArms:
    @pytest.mark.parametrize("name", ["torch-mlp", "projected-mlp"])
    def test_scaled_moved_and_thicker(self, name: str):
        arm = PlanarArm([0.5, 0.5, 0.5], link_radius=0.03, base=[2.0, -1.0])
        scene = Scene(arm, Obstacles([[2.4, -0.5]], [0.15]))
        target = arm.base + np.array([[0.8, 0.1], [-0.9, 0.6]])
        solution = make_policy(name).solve(target, np.zeros((2, 3)), scene)
        assert solution.solved.all()

    @pytest.mark.parametrize("name", ["torch-mlp", "projected-mlp"])
    def test_which_are_refused_and_why(self, name: str):
        policy = make_policy(name)
        assert policy.supports(make_scene("single")) is None
        for arm in (PlanarArm([1.0, 0.5, 0.5]), make_arm("unit2"), make_arm("duka")):
            scene = Scene(arm, Obstacles.none())
            assert "no bundled weights fit this arm" in policy.supports(scene)
            with pytest.raises(InvalidInputError, match=f"{name}: no bundled weights fit this arm"):
                policy.solve([0.5, 0.5], np.zeros(arm.num_joints), scene)
        named = make_policy(name, weights=f"{name}-unit3")
        for arm, match in (
            (make_arm("unit5"), "for 3 links, the arm has 5"),
            (PlanarArm([1.0, 0.5, 0.5]), "in the proportions"),
            (make_arm("duka"), "for the joint limits"),
        ):
            assert match in named.supports(Scene(arm, Obstacles.none()))


class TestWeights:
    @pytest.mark.parametrize("kind", [TorchMLP, ProjectedMLP])
    def test_round_trip(self, kind, tmp_path):
        policy = kind(f"{'torch' if kind is TorchMLP else 'projected'}-mlp-unit3")
        again = kind.from_pretrained(policy.save_pretrained(tmp_path / "w"), tolerance=1e-4)
        target, q, scene = drawn(make_arm("unit3"), 50)
        np.testing.assert_allclose(
            again.solve(target, q, scene).q, kind(policy.proposers.only().config["policy"] + "-unit3", tolerance=1e-4)
            .solve(target, q, scene).q, atol=1e-9,
        )  # fmt: skip

    def test_errors(self, tmp_path):
        with pytest.raises(WeightsError, match="holds weights of 'torch-mlp', not of 'projected-mlp'"):
            ProjectedMLP("torch-mlp-unit3")
        with pytest.raises(InvalidInputError, match="several bundled weights; name one"):
            TorchMLP().save_pretrained(tmp_path)
        with pytest.raises(UnknownNameError, match=r"Unknown selection 'measure'.*Did you mean 'measured'"):
            TorchMLP(select="measure")
        with pytest.raises(UnknownNameError, match=r"Unknown device 'gpu'"):
            TorchMLP(device="gpu")
        if not torch.cuda.is_available():
            with pytest.raises(InvalidInputError, match="finds no CUDA here"):
                ProjectedMLP(device="cuda")
        with pytest.raises(InvalidInputError, match="num_tries"):
            ProjectedMLP(num_tries=0)


class TestAim:
    def test_unchanged_where_there_is_room(self):
        target, q, scene = drawn(make_arm("unit3"), 300)
        problem = make_problem(target, q, scene)
        distance = np.linalg.norm(target, axis=1)
        gap = np.linalg.norm(scene.obstacles.centers - target[:, None], axis=-1) - scene.obstacles.radii
        gap = np.where(scene.obstacles.mask, gap, np.inf).min(axis=1) - scene.arm.link_radius - scene.safety_margin
        room = (gap >= 0) & (distance <= 3.0)
        np.testing.assert_array_equal(problem.aim[room], target[room])
        moved = problem.aim[~room]
        assert (np.linalg.norm(moved, axis=1) <= 3.0).all()
        assert (np.linalg.norm(moved - target[~room], axis=1) > 0).all()

    def test_overlapping_discs_and_a_disc_s_centre(self):
        arm = make_arm("unit3")
        discs = Obstacles([[1.5, 0.0], [1.8, 0.0]], [0.3, 0.3])
        problem = make_problem([[1.5, 0.0], [1.6, 0.1]], np.zeros((2, 3)), Scene(arm, discs))
        gap = np.linalg.norm(problem.aim[:, None] - discs.centers, axis=-1) - 0.3 - arm.link_radius
        assert (gap >= 1e-3 - 1e-12).all()

    def test_measure_agrees_with_the_distances(self):
        target, q, scene = drawn(make_arm("unit5"), 40)
        problem = make_problem(target, q, scene)
        several = np.random.default_rng(0).uniform(-3, 3, (40, 4, 5))
        found = problem.measure(several)
        for k in range(4):
            error, clearance = measured(several[:, k], target, scene)
            np.testing.assert_allclose(found.error[:, k], error * 5, atol=1e-12)
            np.testing.assert_allclose(found.clearance[:, k], clearance, atol=1e-12)
        np.testing.assert_allclose(found.travel, np.abs(several - q[:, None]).max(axis=-1))


class TestInEnvironments:
    @pytest.mark.parametrize(("arm", "least"), [("unit3", 0.8), ("unit5", 0.8)])
    def test_follows_without_contact(self, projected_mlp: ProjectedMLP, arm: str, least: float):
        envs = gym.make_vec(
            "planararm/Track-v0", num_envs=24, vectorization_mode="vector_entry_point", arm=arm, num_obstacles=3
        )
        observation, _ = envs.reset(seed=11)
        policy = projected_mlp.bind(envs)
        errors = []
        for _ in range(60):
            observation, _, _, _, info = envs.step(policy.predict(observation)[0])
            assert not info["collision"].any()
            errors.append(info["tracking_error"])
        rmse = np.sqrt(np.mean(np.square(errors), axis=0)) / make_arm(arm).reach
        assert (rmse <= 1e-4).mean() >= least
        envs.close()

    @pytest.mark.parametrize("control_mode", ["position", "delta"])
    def test_a_single_environment_reaches_its_target(self, projected_mlp: ProjectedMLP, control_mode: str):
        env = gym.make("planararm/Reach-v0", num_obstacles=0, control_mode=control_mode)
        observation, info = env.reset(seed=4)
        policy = projected_mlp.bind(env)
        for _ in range(100):
            observation, _, _, _, info = env.step(policy.predict(observation)[0])
        assert info["tracking_error"] < 1e-5
        env.close()

    def test_among_discs_most_targets_are_reached_and_nothing_is_touched(self, projected_mlp: ProjectedMLP):
        envs = gym.make_vec("planararm/Reach-v0", num_envs=40, vectorization_mode="vector_entry_point", num_obstacles=3)
        observation, _ = envs.reset(seed=1)
        policy = projected_mlp.bind(envs)
        for _ in range(90):
            observation, _, _, _, info = envs.step(policy.predict(observation)[0])
            assert not info["collision"].any()
        assert (info["tracking_error"] < 1e-3).mean() > 0.65
        envs.close()

    def test_the_preview_is_used(self):
        taken = {}
        for preview in (1, 21):
            envs = gym.make_vec(
                "planararm/Track-v0", num_envs=16, vectorization_mode="vector_entry_point", num_obstacles=4,
                num_preview=preview,
            )  # fmt: skip
            observation, _ = envs.reset(seed=5)
            policy, actions = ProjectedMLP().bind(envs), []
            for _ in range(30):
                actions.append(policy.predict(observation)[0])
                observation = envs.step(actions[-1])[0]
            taken[preview] = np.array(actions)
            envs.close()
        assert (taken[1] != taken[21]).any()
