"""The proposal network, what it is trained on, its loss, and its training, through the projection too."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch

from planararm import (
    InvalidInputError,
    Obstacles,
    PlanarArm,
    Scene,
    UnknownNameError,
    WeightsError,
    make_arm,
    signed_distance,
)
from planararm.learning import projected_torch, proposals_torch
from planararm.learning.projected_torch import ProjectedTrainee
from planararm.learning.proposal_loss_torch import Judge, Judged, ProposalLoss
from planararm.learning.proposals_torch import ProposalTrainee, Seen, turned
from planararm.learning.scenes import MIXES, Batch, draw_batch
from planararm.policies.pretrained import save_pretrained
from planararm.policies.proposal_torch import ProposalNetwork, network_for

SIZES = {"width": 16, "depth": 1, "disc_width": 8, "correction_width": 8, "num_proposals": 3}
ARM = make_arm("unit3")

CVXPYLAYERS_WARNS = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept:DeprecationWarning")


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def small_validation(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(proposals_torch, "VALIDATION_SIZE", 64)


def trainee(kind=ProposalTrainee, steps: int = 20, **options):
    return kind("unit3", "clutter", 3, steps, batch_size=16, network=SIZES, **options)


def inputs(count: int = 5, seed: int = 0, arm: PlanarArm = ARM) -> dict[str, torch.Tensor]:
    seen = Seen(draw_batch(seed, count, arm, "clutter"), arm, torch.device("cpu"))
    angle = torch.rand(count, arm.num_joints, generator=torch.Generator().manual_seed(seed)) * 6
    return {**seen, "present": torch.stack([torch.cos(angle), torch.sin(angle)], dim=-1)}


class TestScenes:
    def test_a_pure_function_of_the_seed(self):
        first, second, other = (draw_batch(seed, 40, ARM) for seed in ([1, 2], [1, 2], [1, 3]))
        np.testing.assert_array_equal(first.target_position, second.target_position)
        np.testing.assert_array_equal(first.scene.obstacles.centers, second.scene.obstacles.centers)
        assert (first.target_position != other.target_position).all()

    @pytest.mark.parametrize("mix", list(MIXES))
    def test_targets_are_in_the_annulus_and_mostly_uncovered(self, mix: str):
        batch = draw_batch(5, 2000, ARM, mix)
        distance = np.linalg.norm(batch.target_position, axis=1)
        assert (distance <= ARM.reach).all()
        assert (distance > 0.95 * ARM.reach).mean() == pytest.approx(0.1 + 0.9 * (1 - 0.95**2), abs=0.03)
        discs = batch.scene.obstacles
        if discs.num_obstacles:
            gap = np.linalg.norm(discs.centers - batch.target_position[:, None], axis=-1) - discs.radii
            assert (np.where(discs.mask, gap, 1) < ARM.link_radius).any(axis=1).mean() < 0.01

    def test_shares_of_the_parts(self):
        counts = np.asarray(draw_batch(6, 1000, ARM, "mixed").scene.obstacles.mask).sum(axis=1)
        assert (counts[:100] == 0).all()
        assert counts[800:].min() >= 4

    def test_unknown_mix(self):
        with pytest.raises(UnknownNameError, match=r"Unknown kind of training scenes 'cluter'.*Did you mean 'clutter'"):
            draw_batch(0, 4, ARM, "cluter")


class TestNetwork:
    def test_discs_are_a_set(self):
        network, given = network_for(ARM, **SIZES), inputs()
        order = torch.randperm(given["discs"].shape[1])
        shuffled = {**given, "discs": given["discs"][:, order], "mask": given["mask"][:, order]}
        torch.testing.assert_close(network(**given).directions, network(**shuffled).directions, atol=1e-5, rtol=0)

    def test_masked_discs_do_not_matter(self):
        network, given = network_for(ARM, **SIZES), inputs()
        changed = torch.where(given["mask"][..., None], given["discs"], torch.full_like(given["discs"], 0.3))
        torch.testing.assert_close(network(**given).logits, network(**{**given, "discs": changed}).logits)

    def test_batch_is_loop(self):
        network, given = network_for(ARM, **SIZES), inputs()
        together = network(**given)
        for i in range(5):
            alone = network(**{name: value[i : i + 1] for name, value in given.items()})
            torch.testing.assert_close(alone.directions[0], together.directions[i], atol=1e-5, rtol=0)

    @pytest.mark.parametrize("distance", [0.0, 1e-9, 1.0, 1.7])
    def test_unit_vectors_everywhere(self, distance: float):
        network, given = network_for(ARM, **SIZES), inputs()
        given["distance"] = torch.full_like(given["distance"], distance)
        answered = network(**given)
        for directions in answered.stages:
            torch.testing.assert_close(directions.norm(dim=-1), torch.ones(5, 4, 3), atol=1e-3, rtol=0)
        assert torch.isfinite(answered.logits).all()

    def test_only_the_most_confident(self):
        network, given = network_for(ARM, **SIZES), inputs()
        everything, two = network(**given), network(**given, most=2)
        logits, order = everything.logits.topk(2, dim=1)
        torch.testing.assert_close(two.logits, logits)
        torch.testing.assert_close(two.directions, everything.directions[torch.arange(5)[:, None], order])

    def test_settings_describe_it(self):
        network = network_for(ARM, **SIZES)
        again = ProposalNetwork(**network.settings)
        assert {k: v.shape for k, v in again.state_dict().items()} == {
            k: v.shape for k, v in network.state_dict().items()
        }

    def test_errors(self):
        with pytest.raises(InvalidInputError, match="sum to one"):
            ProposalNetwork([1.0, 1.0])
        with pytest.raises(InvalidInputError, match="num_proposals"):
            ProposalNetwork([0.5, 0.5], num_proposals=0)
        bound = network_for(make_arm("duka"), **SIZES)
        given = inputs(arm=make_arm("duka"))
        with pytest.raises(InvalidInputError, match="bearing must be given"):
            bound(given["distance"], given["discs"], given["mask"], given["present"])
        assert torch.isfinite(bound(**given).logits).all()


class TestLoss:
    @pytest.mark.parametrize("name", ["unit3", "duka"])
    def test_the_judge_measures_what_we_measure(self, name: str):
        arm = make_arm(name)
        rng, batch = np.random.default_rng(0), draw_batch(1, 50, arm, "clutter")
        q = rng.uniform(-np.pi, np.pi, (50, 3))
        seen = Seen(batch, arm, torch.device("cpu"))
        heading = torch.tensor(np.cumsum(q, axis=1)) - seen["bearing"].double()[:, None]
        directions = torch.stack([torch.cos(heading), torch.sin(heading)], dim=-1)[:, None].float()
        judged = Judge(arm)(directions, **seen)
        miss = np.linalg.norm(arm.end_effector(q) - batch.target_position, axis=1) / arm.reach
        np.testing.assert_allclose(judged.miss[:, 0], miss, atol=1e-5)
        distance = np.minimum(signed_distance(q, arm, batch.scene.obstacles) / arm.reach, 9.0)
        np.testing.assert_allclose(judged.signed_distance[:, 0], distance, atol=1e-5)
        outside = arm.limit_violation(q) > 1e-3
        if name == "duka":
            assert outside.any()
            np.testing.assert_array_equal((judged.limit_violation[:, 0] > 1e-7).numpy(), outside)
        else:
            assert (judged.limit_violation == 0).all()

    def test_gradients(self):
        batch = draw_batch(2, 4, ARM, "hard")
        seen = {
            name: value.double() if value.is_floating_point() else value
            for name, value in Seen(batch, ARM, torch.device("cpu")).items()
        }
        judge, loss = Judge(ARM), ProposalLoss(margin=0.05)
        judge.lengths = judge.lengths.double()
        angle = torch.rand(4, 3, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 6
        angle.requires_grad_()

        def cost(angle: torch.Tensor) -> torch.Tensor:
            return loss.cost(judge(torch.stack([torch.cos(angle), torch.sin(angle)], dim=-1), **seen))

        assert torch.autograd.gradcheck(cost, angle)

    def test_the_judge_of_narrow_limits_in_the_middle_of_nowhere(self):
        limits = np.array([[1.0, 2.0], [-3.0, -2.5], [2.0, 6.0], [-9.0, 9.0], [0.3, 0.3]])
        arm = PlanarArm([0.2, 1.0, 0.4, 0.7, 0.1], limits, link_radius=0.05, base=[3.0, -2.0])
        rng, batch = np.random.default_rng(4), draw_batch(2, 400, arm, "mixed")
        seen = Seen(batch, arm, torch.device("cpu"))
        q = rng.uniform(limits[:, 0], limits[:, 1], (400, 5))
        q[200:] += rng.choice([0.0, 0.4, -0.4], (200, 5)) * rng.choice([0, 1], (200, 1))
        heading = torch.tensor(np.cumsum(q, axis=1)) - seen["bearing"].double()[:, None]
        judged = Judge(arm)(torch.stack([torch.cos(heading), torch.sin(heading)], dim=-1)[:, None].float(), **seen)
        middle, half = limits.mean(axis=1), np.minimum(np.diff(limits, axis=1)[:, 0] / 2, np.pi)
        beyond = np.maximum(np.where(half < np.pi, np.cos(half), -2.0) - np.cos(q - middle), 0.0).sum(axis=1)
        np.testing.assert_allclose(judged.limit_violation[:, 0], beyond, atol=2e-6)
        assert (beyond[:200] < 1e-12).all()
        outside = arm.limit_violation(q) > 0
        # A joint that a whole turn brings back is not outside: 0.4 rad beyond either of these ends leads nowhere else.
        assert (beyond[outside & (np.abs(q[:, 3]) <= 9.0)] > 1e-4).all()
        scale = arm.reach
        np.testing.assert_allclose(
            judged.clearance[:, 0],
            np.minimum(signed_distance(q, arm, batch.scene.obstacles).min(axis=(1, 2)) / scale, 9.0),
            atol=1e-5,
        )

    def test_the_loss_of_a_stage_by_hand(self):
        loss = ProposalLoss(temperature=0.5, plain_share=0.2, nearness=0.3)
        cost = torch.tensor([[0.1, 0.6, 0.4], [0.2, 0.2, 0.0]])
        directions, present = torch.zeros(2, 3, 1, 2), torch.zeros(2, 1, 2)
        directions[0, -1, 0, 0] = 2.0
        weight = 1 / (1 + math.exp(-1.0))
        best = (weight * 0.1 + (1 - weight) * 0.6 + 0.2) / 2
        expected = best + 0.2 * (0.1 + 0.6 + 0.2 + 0.2) / 4 + 0.5 * (0.2 + 0.3 * 4 / 2)
        assert float(loss.of_stage(cost, directions, present)) == pytest.approx(expected, rel=1e-6)

    def test_cost_and_confidences_by_hand(self):
        judged = Judged(
            torch.tensor([[1e-4, 1e-4, 1e-4, 0.1]]),
            torch.tensor([0.5, -0.02, 0.5, 0.5]).reshape(1, 4, 1, 1),
            torch.tensor([[0.0, 0.0, 0.3, 0.0]]),
        )
        loss = ProposalLoss(margin=0.01, clearance_weight=2.0, confidence_weight=1.0)
        np.testing.assert_allclose(loss.cost(judged), [[1e-4, 1e-4 + 0.06, 0.3001, 0.1]], rtol=1e-5)
        sure, blind = torch.tensor([[9.0, -9.0, -9.0, -9.0]]), torch.tensor([[9.0, 9.0, -9.0, -9.0]])
        assert float(loss.of_confidences(sure, judged, 1e-3)) == pytest.approx(math.log1p(math.exp(-9)), rel=1e-2)
        assert float(loss.of_confidences(blind, judged, 1e-3)) > 2
        # A network that is not to look at discs is not told that it touched one.
        free = ProposalLoss(clearance_weight=0.0, confidence_weight=1.0)
        assert float(free.of_confidences(blind, judged, 1e-3)) == pytest.approx(math.log1p(math.exp(-9)), rel=1e-2)

    def test_without_the_penalty_discs_are_not_seen(self):
        given = inputs()
        present = given.pop("present")[:, None]
        judged = Judge(ARM)(present, **given)
        torch.testing.assert_close(ProposalLoss(clearance_weight=0.0).cost(judged), judged.miss)

    def test_turned(self):
        angle = torch.tensor([0.0, math.pi / 2, -1.0])
        found = turned(torch.tensor([[1.0, 0.0]] * 3), angle)
        torch.testing.assert_close(found, torch.stack([torch.cos(angle), torch.sin(angle)], dim=-1))


class TestTraining:
    def test_lowers_the_loss_and_repeats_itself(self):
        runs = []
        for _ in range(2):
            run = trainee(steps=60)
            runs.append(([run.step()["loss"] for _ in range(60)], run.weights()))
        assert np.mean(runs[0][0][-10:]) < 0.7 * np.mean(runs[0][0][:5])
        assert runs[0][0] == runs[1][0]
        for name, value in runs[0][1].items():
            np.testing.assert_array_equal(value, runs[1][1][name])

    def test_learning_rate_goes_up_and_down(self):
        run, seen = trainee(steps=100), []
        for run.step_count in range(101):
            seen.append(run.learning_rate_factor())
        peak = int(np.argmax(seen))
        assert seen[peak] == pytest.approx(1.0, abs=0.01)
        assert peak == pytest.approx(5, abs=1)
        assert seen[0] == seen[100] == pytest.approx(1e-3)

    def test_validation_names_its_rates(self):
        rates = trainee().validate()
        assert {"score", "any", "first", "onward", "p50", "p95"} == set(rates)
        assert rates["any"] <= rates["score"] <= 1

    def test_validation_scenes_are_not_trained_on(self):
        validated = {tuple(p) for p in draw_batch(proposals_torch.VALIDATION_SEED, 512, ARM, "clutter").target_position}
        trained = {tuple(p) for p in draw_batch([3, 0], 512, ARM, "clutter").target_position}
        assert not validated & trained

    @pytest.mark.parametrize("kind", [ProposalTrainee, ProjectedTrainee])
    @pytest.mark.parametrize("done", [3, 4])
    def test_goes_on_from_its_state_with_the_same_bits(self, kind: type[ProposalTrainee], done: int, small_validation):
        whole, first, second = (trainee(kind, steps=9) for _ in range(3))
        for _ in range(done):
            whole.step()
            first.step()
        first.validate()
        arrays, numbers = first.state()
        kept = {name: value.copy() for name, value in arrays.items()}
        first.step()
        for name, value in arrays.items():
            np.testing.assert_array_equal(value, kept[name], err_msg="the state is no copy")
        second.load_state(arrays, json.loads(json.dumps(numbers)))
        assert second.step_count == done
        for _ in range(9 - done):
            assert whole.step() == second.step()
        for name, value in whole.weights().items():
            np.testing.assert_array_equal(value, second.weights()[name])

    def test_state_of_another_network(self):
        arrays, numbers = trainee().state()
        other = ProposalTrainee("unit3", "clutter", 3, 20, batch_size=16, network={**SIZES, "width": 24})
        with pytest.raises(WeightsError, match="must have shape"):
            other.load_state(arrays, numbers)

    @pytest.mark.parametrize("scenes", list(MIXES))
    @pytest.mark.parametrize("arm", ["unit2", "duka", "unit5"])
    def test_every_mix_and_arm(self, arm: str, scenes: str):
        run = ProposalTrainee(arm, scenes, 0, 4, batch_size=8, network=SIZES)
        assert all(math.isfinite(run.step()["loss"]) for _ in range(4))

    def test_training_leaves_torch_s_generator_alone(self):
        before = torch.random.get_rng_state()
        trainee().step()
        assert torch.equal(before, torch.random.get_rng_state())

    def test_confidences_become_stricter(self):
        run = trainee(steps=10)
        seen = []
        for run.step_count in range(11):
            seen.append(run.tolerance())
        assert seen[0] == pytest.approx(1e-2)
        assert seen[-1] == pytest.approx(1e-3)
        assert (np.diff(seen) <= 0).all()

    def test_begins_with_trained_weights(self, tmp_path):
        folder = tmp_path / "begun"
        begun = trainee()
        begun.step()
        save_pretrained(folder, *begun.export())
        going = proposals_torch.make_trainee("unit3", "clutter", 1, 5, init=folder)
        assert going.network.settings == begun.network.settings
        for name, value in begun.weights().items():
            np.testing.assert_array_equal(going.weights()[name], value)
        # Arms of the same proportions have the same network.
        proposals_torch.make_trainee(PlanarArm([2.0, 2.0, 2.0]), "clutter", 1, 5, init=folder)
        with pytest.raises(WeightsError, match=r"begun' is nothing to begin with: .* for 3 links, the arm has 5"):
            proposals_torch.make_trainee("unit5", "clutter", 1, 5, init=folder)
        onward = projected_torch.make_trainee("unit3", "clutter", 1, 5, init=folder, num_projected=1)
        assert (onward.policy, onward.num_projected) == ("projected-mlp", 1)
        assert onward.network.settings == begun.network.settings
        save_pretrained(tmp_path / "on", *onward.export())
        again = projected_torch.make_trainee("unit3", "clutter", 1, 5, init=tmp_path / "on")
        np.testing.assert_array_equal(again.weights()["heads.weight"], begun.weights()["heads.weight"])
        with pytest.raises(WeightsError, match="is nothing to begin with"):
            projected_torch.make_trainee("unit5", "clutter", 1, 5, init=folder)
        with pytest.raises(WeightsError, match="holds weights of 'projected-mlp', not of 'torch-mlp'"):
            proposals_torch.make_trainee("unit3", "clutter", 1, 5, init=tmp_path / "on")

    def test_unknown_scenes(self):
        with pytest.raises(UnknownNameError, match="Unknown kind of training scenes 'jungle'"):
            ProposalTrainee("unit3", "jungle")


class TestThroughTheProjection:
    @CVXPYLAYERS_WARNS
    @pytest.mark.parametrize("projection", ["sequential", "qp", "cvxpy"])
    def test_a_step(self, projection: str):
        if projection == "cvxpy":
            pytest.importorskip("cvxpylayers")
        options = {"batch_size": 4, "num_projected": 1} if projection == "cvxpy" else {"batch_size": 16}
        run = ProjectedTrainee("unit3", "clutter", 3, 20, network=SIZES, projection=projection, **options)
        before = run.weights()
        assert math.isfinite(run.step()["loss"])
        assert any((before[name] != value).any() for name, value in run.weights().items())

    def test_gradient_against_finite_differences(self):
        run = trainee(ProjectedTrainee, vertex_weight=0.3)
        scene = Scene(ARM, Obstacles([[1.4, 0.1]], [0.4]))
        target = np.array([[1.5, 1.2], [2.4, 1.3], [0.5, -1.0]])
        seen = Seen(
            Batch(target, Scene(ARM, Obstacles(np.tile([[1.4, 0.1]], (3, 1, 1)), np.full((3, 1), 0.4)))),
            ARM,
            torch.device("cpu"),
        )
        # Into the disc, through it, and clear of it.
        q = torch.tensor([[[0.1, 0.1, 0.3]], [[-0.3, 0.9, 0.2]], [[-1.5, -0.4, 0.5]]], dtype=torch.float64)
        assert (signed_distance(q[0, 0].numpy(), ARM, scene.obstacles) < 0).any()
        q.requires_grad_()
        run.projected_loss(q, seen).backward()
        step = 1e-5
        for index in np.ndindex(3, 1, 3):
            shifted = []
            for sign in (1, -1):
                moved = q.detach().clone()
                moved[index] += sign * step
                shifted.append(_loss64(run, moved, seen))
            assert q.grad[index] == pytest.approx((shifted[0] - shifted[1]) / (2 * step), abs=2e-5)

    @CVXPYLAYERS_WARNS
    def test_our_kernel_and_cvxpylayers_agree(self):
        pytest.importorskip("cvxpylayers")
        seen = Seen(draw_batch(8, 4, ARM, "hard"), ARM, torch.device("cpu"))
        start = np.random.default_rng(1).uniform(-2, 2, (4, 1, 3))
        found = []
        for projection in ("qp", "cvxpy"):
            q = torch.tensor(start, requires_grad=True)
            loss = trainee(ProjectedTrainee, projection=projection).projected_loss(q, seen)
            loss.backward()
            found.append((float(loss.detach()), q.grad.numpy()))
        assert found[0][0] == pytest.approx(found[1][0], abs=1e-6)
        np.testing.assert_allclose(found[0][1], found[1][1], atol=1e-5)

    def test_a_free_proposal_costs_its_distance_only(self):
        run = trainee(ProjectedTrainee, vertex_weight=100.0)
        batch = draw_batch(9, 12, ARM, "free")
        seen = Seen(batch, ARM, torch.device("cpu"))
        q = np.random.default_rng(2).uniform(-3, 3, (12, 2, 3))
        miss = np.linalg.norm(ARM.end_effector(q) - batch.target_position[:, None], axis=-1) / ARM.reach
        assert float(run.projected_loss(torch.tensor(q), seen)) == pytest.approx(miss.mean(), rel=1e-6)

    def test_what_cannot_be_freed_costs_nothing(self):
        angle = np.linspace(0, 2 * np.pi, 24, endpoint=False)
        ring = Obstacles(0.5 * np.stack([np.cos(angle), np.sin(angle)], axis=-1)[None], np.full((1, 24), 0.15))
        batch = Batch(np.array([[1.5, 1.0]]), Scene(ARM, ring))
        q = torch.tensor([[[0.1, 0.2, 0.3]]], dtype=torch.float64, requires_grad=True)
        loss = trainee(ProjectedTrainee).projected_loss(q, Seen(batch, ARM, torch.device("cpu")))
        assert float(loss.detach()) == 0
        loss.backward()
        assert (q.grad == 0).all()

    def test_errors(self):
        with pytest.raises(UnknownNameError, match=r"Unknown projection 'qpp'.*Did you mean 'qp'"):
            trainee(ProjectedTrainee, projection="qpp")
        with pytest.raises(InvalidInputError, match="none is bundled for this arm of 4 links"):
            projected_torch.find_start(PlanarArm([1.0, 0.5, 0.5, 0.2]))


def _loss64(run: ProjectedTrainee, q: torch.Tensor, seen: Seen) -> float:
    """The projected loss in float64, from its definition."""
    from planararm import project

    total = 0.0
    for i in range(len(q)):
        proposal = q[i, 0].numpy()
        scene = seen.batch.scene[i]
        found = project(proposal, scene, num_restarts=0).q
        miss = np.linalg.norm(ARM.end_effector(found) - seen.batch.target_position[i]) / ARM.reach
        total += miss + run.vertex_weight * ((proposal - found) ** 2).sum()
    return total / len(q)
