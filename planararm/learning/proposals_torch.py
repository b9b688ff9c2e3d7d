"""Training of ``torch-mlp``: proposals judged by where their links are, on scenes drawn on the fly."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..arm import PlanarArm, make_arm
from ..errors import WeightsError
from ..policies.canonical import canonical_batch
from ..policies.device import find_device
from ..policies.proposal_torch import ProposalNetwork, Proposals, network_for
from ..policies.proposer import Proposer
from .proposal_loss_torch import Judge, Judged, ProposalLoss
from .scenes import Batch, draw_batch, find_mix
from .torch_state import load_module, load_optimiser, module_arrays, optimiser_arrays, to_array

NETWORK_SIZES = ("num_proposals", "width", "depth", "disc_width", "correction_width", "num_corrections")
"""What of a network's settings does not follow from the arm."""

BATCH = 512
LEARNING_RATE, MUON_FACTOR = 4e-3, 10.0
WARM_UP = 0.05
"""Share of the steps in which the learning rate rises; then it falls along a cosine."""
LAST = 1e-3
CLIP = 1.0
REACHED = 1e-3
"""Distance to the target that counts as reached, fraction of the reach."""
VALIDATION_SIZE, VALIDATION_SEED = 4096, 7_000_000


class Seen(dict[str, torch.Tensor]):
    """The network's inputs as tensors, by the names of its arguments.

    Attributes:
        batch: What they were made of.
    """

    def __init__(self, batch: Batch, arm: PlanarArm, device: torch.device) -> None:
        self.batch = batch
        frame = canonical_batch(
            batch.target_position,
            np.zeros((len(batch.target_position), arm.num_joints)),
            arm,
            batch.scene.obstacles,
            link_radius=arm.link_radius / arm.reach,
        )
        super().__init__(
            distance=torch.from_numpy(frame.distance).to(device),
            discs=torch.from_numpy(frame.discs).to(device),
            mask=torch.from_numpy(frame.mask).to(device),
            bearing=torch.from_numpy(frame.bearing).to(device, torch.float32),
        )


def turned(directions: torch.Tensor, angle: torch.Tensor) -> torch.Tensor:
    """Unit vectors ``(*batch, 2)`` turned by angles ``(*batch,)`` [rad]."""
    cosine, sine = torch.cos(angle), torch.sin(angle)
    x, y = directions[..., 0], directions[..., 1]
    return torch.stack([cosine * x - sine * y, sine * x + cosine * y], dim=-1)


class ProposalTrainee:
    """One proposal network in training.

    Every batch of scenes is used for two updates. In the first the arm is anywhere; in the second it is near one of
    the proposals of the first, turned by angles of 0.001 to 1 rad, as it will be when a moving target is followed.

    Args:
        arm: Name of an arm or an arm.
        scenes: Name in :data:`planararm.learning.scenes.MIXES`.
        seed: Of the weights and of all scenes.
        steps: Updates of the whole run; the learning rate follows from it.
        device: ``"cpu"``, ``"cuda"``.
        init: Tensors to begin with, by name; None: random ones.
        batch_size: Targets per update.
        learning_rate: Largest learning rate of Adam, which trains the outer layers; Muon (Jordan et al. 2024), which
            trains the hidden ones, has ten times that.
        loss: What is minimised.
        network: Sizes of the network.
    """

    policy = "torch-mlp"

    def __init__(
        self,
        arm: Any = "unit3",
        scenes: str = "mixed",
        seed: int = 0,
        steps: int = 10_000,
        device: str = "cpu",
        init: Mapping[str, np.ndarray] | None = None,
        *,
        batch_size: int = BATCH,
        learning_rate: float = LEARNING_RATE,
        loss: ProposalLoss | None = None,
        network: Mapping[str, Any] | None = None,
    ) -> None:
        find_mix(scenes)
        self.arm, self.scenes, self.seed, self.num_steps = make_arm(arm), scenes, seed, steps
        self.arm_name = arm if isinstance(arm, str) else None
        self.device, self.batch_size, self.step_count = torch.device(device), batch_size, 0
        self.loss, self.judge = loss or ProposalLoss(), Judge(self.arm, self.device)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.network: ProposalNetwork = network_for(self.arm, **(network or {})).to(self.device)
        if init is not None:
            self.network.load_state_dict({name: torch.from_numpy(np.array(value)) for name, value in init.items()})
        self.optimisers = _optimisers(self.network, learning_rate)
        self._peaks = [optimiser.param_groups[0]["lr"] for optimiser in self.optimisers]
        n = self.arm.num_joints
        self._answers = torch.zeros(batch_size, n, 2, device=self.device)

    def learning_rate_factor(self) -> float:
        """Share of the largest learning rate at the present step: one cycle, up along a line, down along a cosine."""
        done = self.step_count / max(1, self.num_steps)
        if done < WARM_UP:
            return max(done / WARM_UP, LAST)
        return LAST + (1 - LAST) * 0.5 * (1 + math.cos(math.pi * (done - WARM_UP) / (1 - WARM_UP)))

    def tolerance(self) -> float:
        """What counts as reached for the confidences: ten times the final tolerance at first."""
        return REACHED * max(1.0, 10.0 * (1 - self.step_count / max(1, self.num_steps)))

    def step(self) -> dict[str, float]:
        """One update.

        Returns:
            ``loss``, and ``lr``: the learning rate as a share of its largest.
        """
        pair, second = divmod(self.step_count, 2)
        rng = np.random.default_rng([self.seed, pair, second])
        seen = Seen(draw_batch([self.seed, pair], self.batch_size, self.arm, self.scenes), self.arm, self.device)
        present = self._present(rng, bool(second))
        factor = self.learning_rate_factor()
        for optimiser, peak in zip(self.optimisers, self._peaks, strict=True):
            optimiser.param_groups[0]["lr"] = peak * factor
        loss, answered = self.loss_of(seen, present)
        for optimiser in self.optimisers:
            optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), CLIP)
        for optimiser in self.optimisers:
            optimiser.step()
        chosen = torch.from_numpy(rng.integers(0, self.network.num_proposals, self.batch_size)).to(self.device)
        self._answers = answered.directions.detach()[torch.arange(self.batch_size), chosen]
        self.step_count += 1
        return {"loss": float(loss.detach()), "lr": factor}

    def loss_of(self, seen: Seen, present: torch.Tensor) -> tuple[torch.Tensor, Proposals]:
        """The loss of one batch, and what was proposed."""
        answered = self.network(present=present, **seen)
        judged = [self.judge(directions, **seen) for directions in answered.stages]
        loss = sum(
            self.loss.of_stage(self.loss.cost(measured), directions, present)
            for measured, directions in zip(judged, answered.stages, strict=True)
        )
        loss = loss + self.loss.of_confidences(answered.logits, judged[-1], self.tolerance())
        return loss, answered

    def _present(self, rng: np.random.Generator, near: bool) -> torch.Tensor:
        """Where the arm is, in the frame of the target: ``(N, n, 2)``."""
        shape = (self.batch_size, self.arm.num_joints)
        if near:
            spread = 10.0 ** rng.uniform(-3.0, 0.0, (shape[0], 1))
            angle = torch.from_numpy(rng.normal(size=shape) * spread).to(self.device, torch.float32)
            return turned(self._answers, angle)
        angle = torch.from_numpy(rng.uniform(-math.pi, math.pi, shape)).to(self.device, torch.float32)
        return torch.stack([torch.cos(angle), torch.sin(angle)], dim=-1)

    def validate(self) -> dict[str, float]:
        """Rates on scenes that are never trained on.

        Returns:
            ``score``: share of the targets that the most confident proposal misses or touches a disc at (lower is
            better); ``any``: share for which no proposal holds; ``first``: the same before the corrections;
            ``onward``: of the continuing proposal, started anywhere; ``p50``, ``p95``: error of the best proposal.
        """
        seen, present = self._validation()
        with torch.no_grad():
            answered = self.network(present=present, **seen)
            judged = self.judge(answered.directions, **seen)
            first = _holds(self.judge(answered.stages[0], **seen), self.arm)
        held = _holds(judged, self.arm)
        sure = answered.logits[:, :-1].argmax(dim=1, keepdim=True)
        p50, p95 = torch.quantile(judged.miss[:, :-1].amin(dim=1), torch.tensor([0.5, 0.95], device=self.device))
        return {
            "score": 1 - float(held.gather(1, sure).float().mean()),
            "any": 1 - float(held[:, :-1].any(dim=1).float().mean()),
            "first": 1 - float(first[:, :-1].any(dim=1).float().mean()),
            "onward": 1 - float(held[:, -1].float().mean()),
            "p50": float(p50),
            "p95": float(p95),
        }

    def _validation(self) -> tuple[Seen, torch.Tensor]:
        batch = draw_batch(VALIDATION_SEED, VALIDATION_SIZE, self.arm, self.scenes)
        rng = np.random.default_rng(VALIDATION_SEED)
        angle = torch.from_numpy(rng.uniform(-math.pi, math.pi, (VALIDATION_SIZE, self.arm.num_joints)))
        angle = angle.to(self.device, torch.float32)
        return Seen(batch, self.arm, self.device), torch.stack([torch.cos(angle), torch.sin(angle)], dim=-1)

    def weights(self) -> dict[str, np.ndarray]:
        """The network's tensors by name."""
        return module_arrays(self.network)

    def state(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """All that the next steps depend on; see :class:`planararm.learning.run.Trainee`."""
        arrays = module_arrays(self.network, "network.")
        for i, optimiser in enumerate(self.optimisers):
            arrays |= optimiser_arrays(optimiser, f"optimiser.{i}.")
        return {**arrays, "answers": to_array(self._answers)}, {"step_count": self.step_count}

    def load_state(self, arrays: Mapping[str, np.ndarray], numbers: Mapping[str, Any]) -> None:
        """Go back to such a state.

        Raises:
            WeightsError: It is of another network.
        """
        load_module(self.network, arrays, "network.")
        for i, optimiser in enumerate(self.optimisers):
            load_optimiser(optimiser, arrays, f"optimiser.{i}.")
        self._answers = torch.from_numpy(np.array(arrays["answers"])).to(self.device)
        self.step_count = int(numbers["step_count"])

    def export(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Weights and config, for :func:`planararm.policies.pretrained.save_pretrained`."""
        described = {
            "link_lengths": self.arm.link_lengths.tolist(),
            "joint_limits": self.arm.joint_limits.tolist(),
            "link_radius": self.arm.link_radius,
        }
        return self.weights(), {"policy": self.policy, "arm": described, "network": self.network.settings}


def make_trainee(
    arm: Any, scenes: str, seed: int, steps: int, device: str = "cpu", init: str | Path | None = None
) -> ProposalTrainee:
    """A network to be trained for ``torch-mlp``.

    Args:
        arm: Name of an arm or an arm.
        scenes: Name in :data:`planararm.learning.scenes.MIXES`.
        seed: Of the weights and of all scenes.
        steps: Updates of the whole run.
        device: ``"cpu"``, ``"cuda"`` or ``"auto"``.
        init: A bundled name or a folder with weights of ``torch-mlp`` to begin with; None: random ones.

    Raises:
        WeightsError: The weights cannot be used, or are for another arm.
    """
    where = find_device(device)
    if init is None:
        return ProposalTrainee(arm, scenes, seed, steps, where)
    start = Proposer.from_pretrained(init, policy="torch-mlp")
    reason = start.supports(make_arm(arm))
    if reason is not None:
        raise WeightsError(f"{str(init)!r} is nothing to begin with: {reason}")
    sizes = {name: getattr(start.settings, name) for name in NETWORK_SIZES}
    return ProposalTrainee(arm, scenes, seed, steps, where, start.tensors, network=sizes)


def _holds(judged: Judged, arm: PlanarArm) -> torch.Tensor:
    free = judged.clearance >= 1e-3 / arm.reach
    return (judged.miss <= REACHED) & free & (judged.limit_violation <= 0)


def _optimisers(network: ProposalNetwork, learning_rate: float) -> list[torch.optim.Optimizer]:
    """Muon for the hidden matrices, Adam for the first and last layers and all biases."""
    outer = ("heads.", "confidences.", "disc_in.", "trunk_in.", "onward_in.", "onward_out.", "correction_out.")
    hidden = [value for name, value in network.named_parameters() if value.ndim == 2 and not name.startswith(outer)]
    chosen = {id(value) for value in hidden}
    others = [value for value in network.parameters() if id(value) not in chosen]
    return [
        torch.optim.Muon(hidden, lr=MUON_FACTOR * learning_rate, weight_decay=0.0, momentum=0.95),
        torch.optim.Adam(others, lr=learning_rate, betas=(0.9, 0.99)),
    ]
