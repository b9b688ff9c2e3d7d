"""The proposal network and its frame around it: awkward inputs, settings, devices, weights that do not belong."""

from __future__ import annotations

import json
import sys
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch

from planararm import (
    InvalidInputError,
    MissingExtraError,
    Obstacles,
    PlanarArm,
    Scene,
    UnknownNameError,
    WeightsError,
    make_arm,
)
from planararm.learning.proposals_torch import ProposalTrainee
from planararm.policies import proposer as proposer_module
from planararm.policies.device import find_device
from planararm.policies.pretrained import save_pretrained
from planararm.policies.problem import Problem, make_problem
from planararm.policies.proposal_torch import ProposalNetwork, network_for, target_features, unit
from planararm.policies.proposer import Proposer
from planararm.scene.generator import sample_scenes

TINY = {"width": 16, "depth": 2, "disc_width": 8, "correction_width": 8, "num_proposals": 4}
ARM = make_arm("unit3")
COUNT, SLOTS = 6, 4


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def network() -> ProposalNetwork:
    torch.manual_seed(0)
    made = network_for(ARM, num_corrections=2, **TINY)
    # A correction that has learned something: at first it does nothing.
    torch.nn.init.normal_(made.correction_out.weight)
    return made


def inputs(seed: int = 0) -> dict[str, torch.Tensor]:
    rng = torch.Generator().manual_seed(seed)
    angle = 6 * torch.rand(COUNT, 3, generator=rng)
    return {
        "distance": torch.rand(COUNT, generator=rng),
        "discs": torch.rand(COUNT, SLOTS, 3, generator=rng) - 0.3,
        "mask": torch.rand(COUNT, SLOTS, generator=rng) < 0.7,
        "present": torch.stack([torch.cos(angle), torch.sin(angle)], dim=-1),
    }


def same(first: Any, second: Any) -> None:
    torch.testing.assert_close(first.directions, second.directions, atol=2e-5, rtol=0)
    torch.testing.assert_close(first.logits, second.logits, atol=2e-5, rtol=0)


class TestNetwork:
    def test_discs_are_a_set_and_absent_ones_nothing(self, network: ProposalNetwork):
        given = inputs()
        answered = network(**given)
        order = torch.tensor([2, 0, 3, 1])
        same(answered, network(**{**given, "discs": given["discs"][:, order], "mask": given["mask"][:, order]}))
        nonsense = torch.full_like(given["discs"], 1e6)
        same(answered, network(**{**given, "discs": torch.where(given["mask"][..., None], given["discs"], nonsense)}))
        padded = {
            "discs": torch.cat([given["discs"], given["discs"]], dim=1),
            "mask": torch.cat([given["mask"], torch.zeros_like(given["mask"])], dim=1),
        }
        same(answered, network(**{**given, **padded}))
        moved = network(**{**given, "discs": given["discs"] + given["mask"][..., None] * 0.2})
        assert (moved.logits != answered.logits).any()

    def test_no_disc_is_another_scene_than_one(self, network: ProposalNetwork):
        given = inputs()
        empty = {**given, "discs": torch.zeros(COUNT, 1, 3), "mask": torch.zeros(COUNT, 1, dtype=torch.bool)}
        same(network(**empty), network(**{**given, "mask": torch.zeros_like(given["mask"])}))
        there = network(**{**empty, "mask": torch.ones(COUNT, 1, dtype=torch.bool)})
        assert (there.logits - network(**empty).logits).abs().max() > 1e-4

    def test_only_the_last_proposal_looks_at_where_the_arm_is(self, network: ProposalNetwork):
        first, second = network(**inputs(0)), network(**{**inputs(0), "present": inputs(1)["present"]})
        torch.testing.assert_close(first.directions[:, :-1], second.directions[:, :-1], atol=1e-6, rtol=0)
        assert (first.directions[:, -1] - second.directions[:, -1]).abs().max() > 0.1

    def test_the_last_one_stays_where_the_arm_is_on_the_target(self, network: ProposalNetwork):
        straight = torch.tensor([1.0, 0.0]).expand(COUNT, 3, 2)
        answered = network(**{**inputs(), "distance": torch.ones(COUNT), "present": straight})
        torch.testing.assert_close(answered.directions[:, -1], straight, atol=1e-4, rtol=0)

    def test_a_correction_is_small_where_little_is_wrong(self, network: ProposalNetwork):
        given = inputs()
        stages = network(**given).stages
        assert len(stages) == 3
        for before, after in pairwise(stages):
            miss = network._miss(before, given["distance"])[1]
            change = (after - before).flatten(-2).norm(dim=-1, keepdim=True)
            assert (change / miss).max() < 30

    @pytest.mark.parametrize("distance", [0.0, 1e-30, 0.5, 1.0, 1.0 + 1e-7, 40.0])
    def test_awkward_targets_give_unit_vectors_and_finite_gradients(self, network: ProposalNetwork, distance: float):
        given = {**inputs(), "distance": torch.full((COUNT,), distance)}
        # The target at a disc's centre, a disc around the base, an arm folded onto its base.
        given["discs"][0, 0] = torch.tensor([distance, 0.0, 0.3])
        given["discs"][1, 0] = torch.tensor([0.0, 0.0, 0.2])
        given["mask"][:2, 0] = True
        given["present"][2] = torch.tensor([[1.0, 0.0], [-0.5, 0.75**0.5], [-0.5, -(0.75**0.5)]])
        answered = network(**given)
        for directions in answered.stages:
            torch.testing.assert_close(directions.norm(dim=-1), torch.ones(COUNT, 5, 3), atol=1e-3, rtol=0)
        (answered.logits.sum() + answered.directions.square().sum() + answered.directions.sum()).backward()
        assert all(torch.isfinite(value.grad).all() for value in network.parameters())

    def test_a_first_joint_that_does_not_turn_needs_the_bearing(self):
        bound = network_for(make_arm("duka"), **TINY)
        assert not bound.first_joint_turns
        with pytest.raises(InvalidInputError, match="bearing must be given: the arm's first joint does not turn fully"):
            bound(**inputs())
        first, second = (bound(**inputs(), bearing=torch.full((COUNT,), angle)) for angle in (0.3, 0.3 + 2 * np.pi))
        same(first, second)
        assert (bound(**inputs(), bearing=torch.zeros(COUNT)).logits - first.logits).abs().max() > 1e-4

    def test_a_first_joint_that_turns_does_not_look_at_it(self, network: ProposalNetwork):
        same(network(**inputs()), network(**inputs(), bearing=torch.rand(COUNT)))

    def test_features_of_the_distance(self):
        d = torch.tensor([-1.0, 0.0, 0.6, 1.0, 2.0], dtype=torch.float64)
        expected = [[0, 0, 1, np.pi / 2, 1]] * 2 + [[0.6, 0.36, 0.8, np.arccos(0.6), 0.4]] + [[1, 1, 0, 0, 0]] * 2
        np.testing.assert_allclose(target_features(d), expected, atol=1e-12)

    def test_a_vector_of_length_zero(self):
        x = torch.zeros(2, requires_grad=True)
        y = unit(x)
        y.sum().backward()
        assert (y == 0).all()
        assert torch.isfinite(x.grad).all()


class TestSettings:
    def test_round_trip_through_json(self):
        network = ProposalNetwork(
            np.array([0.2, 0.8]), num_proposals=np.int64(3), num_corrections=np.int64(0), width=16
        )
        again = ProposalNetwork(**json.loads(json.dumps(network.settings)))
        assert again.settings == network.settings
        again.load_state_dict(network.state_dict())
        given = {**inputs(), "present": inputs()["present"][:, :2]}
        assert torch.equal(network(**given).logits, again(**given).logits)
        assert len(network(**given).stages) == 1

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"link_lengths": [0.6, 0.6]}, r"link_lengths must be fractions of the reach that sum to one, got"),
            ({"link_lengths": [-0.5, 1.5]}, "sum to one"),
            ({"link_lengths": []}, "sum to one"),
            ({"link_lengths": 1.0}, "sum to one"),
            ({"link_lengths": [[0.5, 0.5]]}, "sum to one"),
            ({"link_lengths": "half"}, "link_lengths must be numbers, got 'half'"),
            ({"link_lengths": [np.nan, 1.0]}, "link_lengths must be finite"),
            ({"num_proposals": 0}, r"num_proposals must be a whole number in \[1, 100\], got 0"),
            ({"num_corrections": -1}, r"num_corrections must be a whole number in \[0, 100\], got -1"),
            ({"width": 7}, r"width must be a whole number in \[8, 4096\], got 7"),
            ({"depth": 1.5}, r"depth must be a whole number in \[0, 100\], got 1.5"),
            ({"disc_width": True}, r"disc_width must be a whole number in \[4, 4096\], got True"),
            ({"correction_width": 3}, r"correction_width must be a whole number in \[4, 4096\], got 3"),
        ],
    )
    def test_errors(self, options: dict[str, Any], message: str):
        with pytest.raises(InvalidInputError, match=message):
            ProposalNetwork(**{"link_lengths": [0.5, 0.5], **options})


@pytest.fixture
def proposer() -> Proposer:
    trainee = ProposalTrainee("unit3", steps=1, batch_size=4, network=TINY)
    return Proposer(*trainee.export())


def problem(count: int = 23, seed: int = 0) -> Problem:
    rng = np.random.default_rng(seed)
    scene = sample_scenes(rng, count, ARM, (0, 4))
    return make_problem(rng.uniform(-2.5, 2.5, (count, 2)), rng.uniform(-3, 3, (count, 3)), scene)


class TestProposer:
    def test_more_rows_than_fit_at_once(self, proposer: Proposer, monkeypatch: pytest.MonkeyPatch):
        whole = proposer(problem(), 0.3)
        monkeypatch.setattr(proposer_module, "CHUNK", 7)
        for one, other in zip(whole, proposer(problem(), 0.3), strict=True):
            np.testing.assert_array_equal(one, other)

    def test_order(self, proposer: Proposer):
        asked, tolerance = problem(300), 0.8
        offer = proposer(asked, tolerance)
        held = (offer.error <= tolerance) & (offer.clearance >= asked.safety_margin)
        assert 0.02 < held.mean() < 0.98
        for row in range(300):
            ordered = offer.order[row]
            num = int(held[row].sum())
            assert sorted(ordered) == list(range(5))
            assert held[row, ordered[:num]].all()
            assert (np.diff(offer.travel[row, ordered[:num]]) >= 0).all()
            assert (np.diff(offer.logits[row, ordered[num:]]) <= 0).all()

    @pytest.mark.parametrize("most", [1, 3, 5, 99])
    def test_only_some(self, proposer: Proposer, most: int):
        everything, some = proposer(problem(), 0.3), proposer(problem(), 0.3, most)
        num = min(most, 5)
        assert some.q.shape == (23, num, 3)
        expected = -np.sort(-everything.logits, axis=1)[:, :num]
        np.testing.assert_allclose(-np.sort(-some.logits, axis=1), expected, atol=1e-6)

    def test_no_rows(self, proposer: Proposer):
        nobody = make_problem(np.zeros((0, 2)), np.zeros((0, 3)), Scene(ARM, Obstacles.none()))
        assert proposer(nobody, 0.1).q.shape == (0, 5, 3)

    @pytest.mark.parametrize(
        ("limits", "message"),
        [
            ([[-7, 7], [-4, 4], [-4, 4]], None),
            ([[-np.pi, np.pi], [-4, 4], [-4, 4]], None),
            ([[-3, 3], [-4, 4], [-4, 4]], "or wider ones"),
            ([[-7, 7], [-4, 4], [-2, 4]], "or wider ones"),
            ([[-7, 7], [-4, 3], [-4, 4]], "or wider ones"),
        ],
    )
    def test_limits_of_the_arm(self, proposer: Proposer, limits: list[list[float]], message: str | None):
        arm = PlanarArm([2.0, 2.0, 2.0], limits)
        reason = proposer.supports(arm)
        assert reason is None if message is None else message in reason
        asked = make_problem([[1.0, -2.0]], [[0.1, 0.2, 0.3]], Scene(arm, Obstacles.none()))
        assert (arm.limit_violation(proposer(asked, 0.1).q) == 0).all()

    def test_round_trip(self, proposer: Proposer, tmp_path):
        folder = proposer.save_pretrained(tmp_path / "weights")
        state = torch.random.get_rng_state()
        again = Proposer.from_pretrained(folder, policy="torch-mlp")
        assert torch.equal(torch.random.get_rng_state(), state)
        np.testing.assert_array_equal(again(problem(), 0.1).q, proposer(problem(), 0.1).q)

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"network": None}, "describes no proposal network"),
            ({"network": {"link_lengths": [1 / 3] * 3, "wide": 3}}, "describes no proposal network.*wide"),
            ({"network": {"link_lengths": [1 / 3] * 3, "width": -3}}, "describes no proposal network: width must be"),
            ({"arm": {"link_lengths": [1, 1, 1]}}, "describes no proposal network: 'joint_limits'"),
            ({"arm": [1, 1, 1]}, "describes no proposal network"),
            (
                {"arm": {"link_lengths": [1, 1], "joint_limits": [[-4, 4]] * 2, "link_radius": 0.01}},
                r"an arm of links \[0.5, 0.5\] of its reach, but a network for links \[0.33",
            ),
            (
                {"arm": {"link_lengths": [1, 1, 2], "joint_limits": [[-4, 4]] * 3, "link_radius": 0.01}},
                r"an arm of links \[0.25, 0.25, 0.5\] of its reach, but a network",
            ),
            ({"network": {"link_lengths": [1 / 3] * 3}}, "must have shape"),
        ],
    )
    def test_configs_that_do_not_fit(self, proposer: Proposer, tmp_path, change: dict[str, Any], message: str):
        save_pretrained(tmp_path, proposer.tensors, {**proposer.config, **change})
        with pytest.raises(WeightsError, match=message):
            Proposer.from_pretrained(tmp_path, policy="torch-mlp")

    def test_devices(self):
        assert find_device("auto") in ("cpu", "cuda")
        assert find_device("cpu:0") == "cpu:0"
        for name in ("gpu", "CPU", "cpu:x", "", None, 0):
            with pytest.raises(UnknownNameError, match=r"Unknown device .*Known: auto, cpu, cuda"):
                find_device(name)
        with pytest.raises(UnknownNameError, match="Did you mean 'cuda'"):
            find_device("cude")

    def test_without_torch(self, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setitem(sys.modules, "torch", None)
        assert find_device("auto") == find_device("cpu") == "cpu"
        with pytest.raises(MissingExtraError, match=r"device 'cuda' needs .* pip install \"planararm\[torch\]\""):
            find_device("cuda")
