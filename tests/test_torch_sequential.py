from __future__ import annotations

import numpy as np
import pytest
import torch

from planararm import clearance, make_arm
from planararm.errors import InvalidInputError, UnknownNameError
from planararm.projection.sequential import project
from planararm.projection.torch_sequential import SequentialProjection
from planararm.scene.generator import sample_scenes


def problem(count: int = 24) -> tuple:
    rng = np.random.default_rng(3)
    arm = make_arm("unit3")
    scene = sample_scenes(rng, count, arm, num_obstacles=4)
    return scene, rng.uniform(-2.0, 2.0, (count, 3)), rng


@pytest.mark.parametrize("mode", ["exact", "gauss-newton"])
@pytest.mark.parametrize("with_target", [False, True])
def test_values_and_gradients_are_those_of_project(mode: str, with_target: bool) -> None:
    scene, q_ref, rng = problem()
    target = np.asarray(scene.arm.end_effector(project(q_ref, scene).q)) if with_target else None
    tensors = [torch.tensor(part, requires_grad=True) for part in (q_ref, target) if part is not None]
    q, answer = SequentialProjection(mode=mode, return_projection=True)(tensors[0], scene, *tensors[1:])
    expected = project(q_ref, scene, target_position=target)
    np.testing.assert_array_equal(q.detach().numpy(), expected.q)
    np.testing.assert_array_equal(answer.status, expected.status)
    weight = rng.normal(size=q_ref.shape)
    (q * torch.tensor(weight)).sum().backward()
    for tensor, gradient in zip(tensors, expected.vjp(weight, mode=mode), strict=False):
        np.testing.assert_array_equal(tensor.grad.numpy(), gradient)


def test_float32_shared_proposals_and_training_step() -> None:
    scene, _, _ = problem(8)
    proposal = torch.tensor([0.4, -0.9, 0.7], dtype=torch.float32, requires_grad=True)
    layer = SequentialProjection(num_restarts=2)
    q = layer(proposal, scene)
    assert q.dtype == torch.float32
    assert q.shape == (8, 3)
    q.sum().backward()
    single = project(np.array([0.4, -0.9, 0.7], dtype=np.float32), scene, num_restarts=2)
    np.testing.assert_allclose(proposal.grad.numpy(), single.vjp(np.ones((8, 3)))[0], rtol=1e-6)
    assert (clearance(single.q, scene.arm, scene.obstacles)[single.safe] >= scene.safety_margin).all()


def test_bad_input() -> None:
    scene, q_ref, _ = problem(2)
    with pytest.raises(UnknownNameError, match=r"Unknown mode 'exakt'. Did you mean 'exact'\?"):
        SequentialProjection(mode="exakt")
    with pytest.raises(InvalidInputError, match="q_ref must be a floating-point torch tensor, got ndarray"):
        SequentialProjection()(q_ref, scene)
    with pytest.raises(InvalidInputError, match="q_ref must be finite, got nan"):
        SequentialProjection()(torch.tensor(q_ref) * float("nan"), scene)
