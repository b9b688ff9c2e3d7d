"""The example that trains through two solvers of the same programs."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import planararm.projection
from planararm.learning.projected_torch import ProjectedTrainee

PATH = Path(__file__).resolve().parent.parent / "examples" / "projection_in_the_loop.py"
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")

SPEC = importlib.util.spec_from_file_location("projection_in_the_loop", PATH)
assert SPEC is not None
assert SPEC.loader is not None
example = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(example)


def test_our_layer_and_the_reference_train_the_same_network():
    ours, theirs = (example.train(projection, 6, 12) for projection in ("qp", "cvxpy"))
    np.testing.assert_allclose(ours.losses, theirs.losses, rtol=1e-4)
    np.testing.assert_allclose(ours.answers, theirs.answers, atol=1e-7)
    # Two solvers, not one twice: in float64 they differ, and the proposals give them something to do.
    assert (ours.answers != theirs.answers).mean() > 0.5
    assert (ours.moved > example.MOVED).mean() > 0.05
    assert len(ours.answers) == len(theirs.answers) == 6


def test_the_projection_has_a_say_in_the_loss_and_in_its_gradient():
    def parameters(weight: float) -> tuple[float, torch.Tensor]:
        trainee = ProjectedTrainee(
            "unit3", "hard", 0, 10, batch_size=16, network=example.SIZES, projection="qp", projected_weight=weight
        )
        loss = trainee.step()["loss"]
        for _ in range(3):
            trainee.step()
        return loss, torch.cat([value.detach().flatten() for value in trainee.network.parameters()])

    (without, bare), (with_it, guided) = parameters(0.0), parameters(1.0)
    assert with_it > without
    assert (bare - guided).abs().max() > 1e-4


def test_main_prints_a_table(capsys: pytest.CaptureFixture[str]):
    assert example.main(["--steps", "3", "--batch", "4"]) == 0
    assert "largest relative difference" in capsys.readouterr().out


def test_without_the_reference_it_says_what_is_missing(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.delitem(sys.modules, "planararm.projection.cvxpy_layer", raising=False)
    monkeypatch.delattr(planararm.projection, "cvxpy_layer", raising=False)
    monkeypatch.setitem(sys.modules, "cvxpylayers", None)
    monkeypatch.setitem(sys.modules, "cvxpylayers.torch.cvxpylayer", None)
    assert example.main(["--steps", "1", "--batch", "2"]) == 2
    assert "convex" in capsys.readouterr().err
