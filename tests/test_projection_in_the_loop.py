"""The example that trains through two solvers of the same programs."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch

from planararm.learning.projected_torch import ProjectedTrainee

PATH = Path(__file__).resolve().parent.parent / "examples" / "projection_in_the_loop.py"
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")

SPEC = importlib.util.spec_from_file_location("projection_in_the_loop", PATH)
assert SPEC is not None
assert SPEC.loader is not None
example = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(example)


def test_our_layer_and_the_reference_train_the_same_network():
    ours, _ = example.losses("qp", 6, 12)
    theirs, _ = example.losses("cvxpy", 6, 12)
    np.testing.assert_allclose(ours, theirs, rtol=1e-4)


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
