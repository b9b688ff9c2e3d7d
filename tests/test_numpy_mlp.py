"""The network of Duka's paper: its derivatives through the arm, its training, the policy."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from planararm import (
    InvalidInputError,
    Obstacles,
    Reason,
    Scene,
    UnknownNameError,
    WeightsError,
    check_policy,
    make_arm,
    make_policy,
)
from planararm.kinematics import end_effector
from planararm.learning import duka
from planararm.policies.numpy_mlp import NumpyMLP, new_pose_network, tensors_of
from planararm.policies.pretrained import save_pretrained

ARM = make_arm("duka")
FREE = Scene(ARM, Obstacles.none())


@pytest.fixture(scope="module")
def policy() -> NumpyMLP:
    return NumpyMLP()


def small_network(seed: int = 0):
    return new_pose_network(np.random.default_rng(seed), duka.input_range(), num_hidden=5)


class TestResiduals:
    @pytest.mark.parametrize("kind", ["joint", "position", "pose"])
    def test_jacobian_is_that_of_central_differences(self, kind: str):
        net, data = small_network(), duka.draw_poses(3, 7)
        # Beyond the limits too, where the penalty has a slope.
        net.network.parameters["2.bias"] += 0.9
        made = (
            duka.JointResiduals(net, data)
            if kind == "joint"
            else duka.TaskResiduals(net, data, duka.ORIENTATION_WEIGHT[kind], 0.3)
        )
        problem = duka.Problem(net, made)
        theta = net.network.get_vector()
        square, gradient, matrix = problem.equations(theta)
        assert square == pytest.approx(problem.square(theta), rel=1e-12)

        def residuals(vector):
            net.network.set_vector(vector)
            return made(net.network.forward(problem.inputs), slice(None)).ravel()

        step = 1e-6
        numeric = np.stack(
            [(residuals(theta + step * e) - residuals(theta - step * e)) / (2 * step) for e in np.eye(len(theta))],
            axis=1,
        )
        np.testing.assert_allclose(gradient, numeric.T @ residuals(theta), atol=1e-7 * max(1, abs(gradient).max()))
        np.testing.assert_allclose(matrix, numeric.T @ numeric, atol=1e-6 * max(1, abs(matrix).max()))

    def test_gradient_is_that_of_autograd_through_the_kinematics(self):
        net, data = small_network(1), duka.draw_poses(4, 9)
        theta = net.network.get_vector()
        made = duka.TaskResiduals(net, data, 0.25, 0.0)
        _, gradient, _ = duka.Problem(net, made).equations(theta)
        weights = {name: torch.tensor(value, requires_grad=True) for name, value in net.network.parameters.items()}
        x = torch.tensor(net.scaled(data.pose))
        hidden = torch.tanh(x @ weights["0.weight"].T + weights["0.bias"])
        output = hidden @ weights["2.weight"].T + weights["2.bias"]
        q = torch.tensor(net.joint_limits.mean(axis=1)) + torch.tensor(net.angle_scale) * output
        pose = torch.tensor(data.pose)
        miss = end_effector(q, torch.tensor(ARM.link_lengths)) / ARM.reach - pose[:, :2]
        loss = (miss**2).sum() + ((0.25 * (q.sum(-1) - pose[:, 2])) ** 2).sum()
        loss.backward()
        reference = np.concatenate([value.grad.numpy().ravel() for value in weights.values()])
        np.testing.assert_allclose(2 * gradient, reference, rtol=1e-9, atol=1e-12)


class TestTraining:
    def test_lowers_the_error_and_repeats_itself(self):
        results = []
        for _ in range(2):
            net = new_pose_network(np.random.default_rng(0), duka.input_range(), num_hidden=10)
            search = duka.make_search("joint", net, 0)
            for _ in range(5):
                search.step()
            results.append(search.result)
        assert results[0].train_error[-1] < 0.2 * results[0].train_error[0]
        np.testing.assert_array_equal(results[0].theta, results[1].theta)

    def test_the_task_loss_brings_the_end_effector_nearer(self):
        net = new_pose_network(np.random.default_rng(0), duka.input_range(), num_hidden=10)
        fresh = duka.draw_poses(77, 300)

        def miss() -> float:
            return float(
                np.linalg.norm(ARM.end_effector(net(fresh.pose)) / ARM.reach - fresh.pose[:, :2], axis=1).mean()
            )

        first = duka.make_search("joint", net, 0)
        for _ in range(15):
            first.step()
        net.network.set_vector(first.result.theta)
        before = miss()
        second = duka.make_search("position", net, 0)
        for _ in range(25):
            second.step()
        net.network.set_vector(second.result.theta)
        assert miss() < 0.5 * before

    def test_poses_are_within_the_limits(self):
        data = duka.draw_poses(0, 200)
        assert (ARM.limit_violation(data.q) == 0).all()
        np.testing.assert_allclose(data.pose[:, :2] * ARM.reach, ARM.end_effector(data.q))


class TestPolicy:
    def test_keeps_the_contract(self, policy: NumpyMLP):
        discs = Obstacles([[3.0, 3.0], [-2.0, 3.5]], [0.5, 0.4])
        for scene in (FREE, Scene(ARM, discs)):
            assert check_policy(policy, scene).passed

    def test_position(self, policy: NumpyMLP):
        data = duka.draw_poses(123, 400)
        target = data.pose[:, :2] * ARM.reach
        solution = policy.solve(target, data.q, FREE)
        assert np.median(solution.info["error"]) < 2e-3 * ARM.reach
        assert (ARM.limit_violation(solution.q) == 0).all()
        assert solution.solved.mean() > 0.9

    def test_pose_whatever_the_turn(self, policy: NumpyMLP):
        data = duka.draw_poses(124, 400)
        target = data.pose[:, :2] * ARM.reach
        wrapped = np.mod(data.pose[:, 2] + np.pi, 2 * np.pi) - np.pi
        solution = policy.solve(target, data.q, FREE, target_orientation=wrapped)
        turn = np.abs(np.mod(solution.q.sum(1) - wrapped + np.pi, 2 * np.pi) - np.pi)
        assert np.median(solution.info["error"]) < 1e-2 * ARM.reach
        assert np.median(turn) < 0.02

    def test_a_disc_is_evaded_where_another_heading_serves(self, policy: NumpyMLP):
        target = np.array([2.5, 2.5])
        answer = policy.solve(target, np.array([1.0, -1.0, 0.0]), FREE).q
        middle = ARM.forward_kinematics(answer)[1:3].mean(axis=0)
        scene = Scene(ARM, Obstacles([middle], [0.05]))
        again = policy.solve(target, np.array([1.0, -1.0, 0.0]), scene)
        assert again.reason == Reason.SOLVED

    def test_round_trip(self, policy: NumpyMLP, tmp_path):
        again = NumpyMLP.from_pretrained(policy.save_pretrained(tmp_path / "w"), num_headings=7)
        assert again.num_headings == 7
        for kind, net in policy.networks.items():
            np.testing.assert_array_equal(net.network.get_vector(), again.networks[kind].network.get_vector())

    def test_other_arms(self, policy: NumpyMLP):
        assert policy.supports(FREE) is None
        for name, match in (("unit2", "for 3 links"), ("unit3", "joint limits")):
            scene = Scene(make_arm(name), Obstacles.none())
            assert match in policy.supports(scene)
            with pytest.raises(UnknownNameError, match="numpy-mlp"):
                policy.solve([1.0, 0.5], np.zeros(scene.arm.num_joints), scene)

    def test_errors(self, tmp_path):
        with pytest.raises(UnknownNameError, match=r"Unknown network 'positions'.*Did you mean 'position'"):
            make_policy("numpy-mlp", network="positions")
        with pytest.raises(InvalidInputError, match="num_headings"):
            NumpyMLP(num_headings=0)
        nets = {kind: small_network() for kind in ("joint", "pose")}
        config = duka.weights_of({"joint": small_network()})[1]
        save_pretrained(tmp_path / "w", tensors_of(nets), config)
        with pytest.raises(WeightsError, match=r"missing.*position"):
            NumpyMLP(tmp_path / "w")
        save_pretrained(tmp_path / "w", tensors_of(nets), {"policy": "numpy-mlp"})
        with pytest.raises(WeightsError, match="describes no numpy-mlp"):
            NumpyMLP(tmp_path / "w")
