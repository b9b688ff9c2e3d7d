"""The compiled forward pass of the proposal network: what torch computes, the same bits in every batch."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from planararm.arm import make_arm
from planararm.kernels import launch
from planararm.policies import make_policy
from planararm.policies.canonical import CanonicalBatch
from planararm.policies.proposal_forward import ProposalForward
from planararm.policies.proposal_settings import ProposalSettings
from planararm.policies.proposal_torch import ProposalNetwork, TorchForward
from planararm.policies.proposer import Proposer
from planararm.scene import sample_scenes

SHAPES = [
    {},
    {"depth": 0, "num_corrections": 0},
    {"depth": 3, "num_corrections": 2, "num_proposals": 1, "width": 33, "disc_width": 7, "correction_width": 5},
    {"first_joint_turns": False, "width": 9, "disc_width": 18, "correction_width": 21, "num_proposals": 9},
]


def network(seed=0, links=(0.5, 0.3, 0.2), **shape):
    """A network whose every weight matters: correction layers begin as zeros."""
    torch.manual_seed(seed)
    made = ProposalNetwork(links, **shape)
    for part in made.parameters():
        torch.nn.init.normal_(part, std=0.6 / max(1, part.shape[-1]) ** 0.5)
    return made.eval()


def compiled(made):
    tensors = {name: value.numpy() for name, value in made.state_dict().items()}
    return ProposalForward(tensors, ProposalSettings(**made.settings))


def frame(rng, count, num_discs=5, n=3):
    """Targets among discs; of every third target all slots are empty."""
    mask = rng.random((count, num_discs)) < 0.6
    mask[::3] = False
    discs = rng.normal(size=(count, num_discs, 3)).astype(np.float32) * mask[..., None]
    heading = rng.uniform(-np.pi, np.pi, (count, n))
    present = np.stack([np.cos(heading), np.sin(heading)], axis=-1).astype(np.float32)
    distance = rng.uniform(0, 1.2, count).astype(np.float32)
    return CanonicalBatch(distance, rng.uniform(-np.pi, np.pi, count), discs, mask, present)


def by_torch(made, batch, num, dtype):
    parts = (batch.distance, batch.discs, batch.mask, batch.present, batch.bearing.astype(np.float32))
    tensors = [torch.from_numpy(part) for part in parts]
    with torch.inference_mode():
        copy = ProposalNetwork(**made.settings).to(dtype)
        copy.load_state_dict(made.state_dict())
        answered = copy(*(part if part.dtype == torch.bool else part.to(dtype) for part in tensors), most=num)
    return answered.directions.numpy(), answered.logits.numpy()


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("num_discs", [1, 5, 40])
def test_it_is_as_exact_as_torch(shape, num_discs):
    """Both are float32: neither may be much farther from float64 than the other."""
    made = network(**shape)
    batch = frame(np.random.default_rng(num_discs), 67, num_discs)
    num = made.num_proposals + 1
    ours = compiled(made)(batch, num)
    exact, theirs = by_torch(made, batch, num, torch.float64), by_torch(made, batch, num, torch.float32)
    for mine, right, other in zip(ours, exact, theirs, strict=True):
        assert mine.shape == right.shape
        assert mine.dtype == np.float32
        error, allowed = np.abs(mine - right), np.abs(other - right)
        assert error.max() < 4 * allowed.max() + 1e-6
        assert np.median(error) < 2 * np.median(allowed) + 1e-7


@pytest.mark.parametrize("num", [1, 3, 6])
def test_the_most_confident_come_first(num):
    made = network()
    batch = frame(np.random.default_rng(2), 50)
    everything, some = compiled(made)(batch, 7), compiled(made)(batch, num)
    best = np.argsort(-everything[1], axis=1, kind="stable")[:, :num]
    np.testing.assert_array_equal(some[1], np.take_along_axis(everything[1], best, axis=1))
    np.testing.assert_array_equal(some[0], np.take_along_axis(everything[0], best[:, :, None, None], axis=1))


def test_equal_confidences_keep_their_order():
    made = network()
    for layer in (made.confidences, made.onward_out):
        torch.nn.init.zeros_(layer.weight)
        torch.nn.init.zeros_(layer.bias)
    everything, some = (compiled(made)(frame(np.random.default_rng(3), 20), num) for num in (7, 4))
    assert (some[1] == 0).all()
    np.testing.assert_array_equal(some[0], everything[0][:, :4])


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 1000), count=st.integers(1, 150), num_discs=st.integers(1, 9), data=st.data())
def test_a_row_is_the_same_bits_in_every_batch(seed, count, num_discs, data):
    forward = compiled(network(seed % 3, width=43, disc_width=12, correction_width=19))
    batch = frame(np.random.default_rng(seed), count, num_discs)
    together = forward(batch, 7)
    first = data.draw(st.integers(0, count - 1))
    last = data.draw(st.integers(first + 1, count))
    part = forward(CanonicalBatch(*(values[first:last].copy() for values in batch)), 7)
    for whole, of_it in zip(together, part, strict=True):
        np.testing.assert_array_equal(whole[first:last], of_it)


def test_threads_change_nothing(monkeypatch):
    forward, batch = compiled(network()), frame(np.random.default_rng(5), 500)
    answers = []
    for threads in ("1", "3"):
        monkeypatch.setenv("PLANARARM_NUM_THREADS", threads)
        assert launch.num_threads() == int(threads)
        answers.append(forward(batch, 7))
    for one, several in zip(*answers, strict=True):
        np.testing.assert_array_equal(one, several)


def test_empty_slots_do_not_matter():
    forward, batch = compiled(network()), frame(np.random.default_rng(6), 30)
    junk = batch.discs.copy()
    junk[~batch.mask] = 17.0
    wide = CanonicalBatch(
        batch.distance, batch.bearing, np.pad(junk, ((0, 0), (0, 4), (0, 0))), np.pad(batch.mask, ((0, 0), (0, 4))),
        batch.present,
    )  # fmt: skip
    for one, other in zip(forward(batch, 7), forward(wide, 7), strict=True):
        np.testing.assert_array_equal(one, other)


def test_no_rows():
    directions, logits = compiled(network())(frame(np.random.default_rng(7), 0), 2)
    assert directions.shape == (0, 2, 3, 2)
    assert logits.shape == (0, 2)


@pytest.mark.parametrize("name", ["torch-mlp", "projected-mlp"])
@pytest.mark.parametrize("arm", ["unit3", "unit5"])
def test_policies_answer_alone_as_in_a_batch(name, arm):
    """To the last bit; the seam at the base's back and targets out of reach included."""
    rng, policy = np.random.default_rng(8), make_policy(name)
    scene = sample_scenes(rng, 60, arm, (0, 6))
    chain = make_arm(arm)
    q = rng.uniform(-2, 2, (60, chain.num_joints))
    targets = np.asarray(chain.end_effector(rng.uniform(-2, 2, q.shape)))
    targets[:6] *= 3
    targets[6:12, 1] = 1e-12 * rng.normal(size=6)
    together = policy.solve(targets, q, scene)
    for row in range(60):
        np.testing.assert_array_equal(policy.solve(targets[row], q[row], scene[row]).q, together.q[row])


def test_on_another_device_torch_answers_the_same():
    proposer = Proposer.from_pretrained("torch-mlp-unit3", policy="torch-mlp")
    batch = frame(np.random.default_rng(9), 40)
    here = ProposalForward(proposer.tensors, proposer.settings)
    there = TorchForward(proposer.tensors, proposer.settings, "cpu")
    for num in (2, 7):
        for ours, theirs in zip(here(batch, num), there(batch, num), strict=True):
            np.testing.assert_allclose(ours, theirs, atol=1e-3)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_the_shapes_of_the_weights(shape):
    made = network(**shape)
    shapes = {name: tuple(value.shape) for name, value in made.state_dict().items()}
    assert ProposalSettings(**made.settings).shapes() == shapes


def test_networks_run_without_torch():
    code = (
        "import sys, planararm\n"
        "for name in ('torch-mlp', 'projected-mlp'):\n"
        "    scene = planararm.make_scene('pillars')\n"
        "    answer = planararm.make_policy(name).solve([1.2, 1.3], [0.1, 0.2, 0.3], scene)\n"
        "    assert answer.solved, name\n"
        "assert 'torch' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=300)
