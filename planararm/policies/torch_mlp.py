"""``torch-mlp``: one network for all scenes, several proposals, the best of which is the answer."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self

import numpy as np

from ..errors import UnknownNameError
from ..scene import Scene
from ..validate import real_number
from .problem import make_problem
from .proposer import Offer, ProposerSet
from .protocol import IKPolicy, IKSolution

SELECTIONS = ("measured", "confident")
ORIENTATION = "the network is trained for positions only."


class TorchMLP(IKPolicy):
    """A network that proposes several configurations, trained through the kinematics; no solver behind it.

    One network per arm serves all scenes: discs are given as a set. All proposals are measured (forward kinematics,
    clearance); of those that meet the target and keep the margin, the answer is the one nearest to where the arm is;
    where none does, the most confident. ``info`` has ``confidence`` (of the answer, in [0, 1]), ``error`` [m] and
    ``clearance`` [m].

    Args:
        weights: A bundled name, a folder written by :meth:`save_pretrained` or ``planararm train``, or None: the
            bundled ones that fit the arm.
        select: ``"measured"`` as above, or ``"confident"``: the proposal that the network trusts most, unseen.
        tolerance: Distance to the target that counts as met, fraction of the reach.
        device: ``"cpu"``, ``"cuda"`` or ``"auto"``.

    Raises:
        WeightsError: The weights cannot be used; the message says why.
        UnknownNameError: No such selection or device.
        InvalidInputError: A number is out of range, or no CUDA here.
    """

    def __init__(
        self,
        weights: str | Path | None = None,
        *,
        select: str = "measured",
        tolerance: float = 1e-3,
        device: str = "cpu",
    ) -> None:
        if select not in SELECTIONS:
            raise UnknownNameError("selection", select, SELECTIONS)
        self.select = select
        self.tolerance = real_number("tolerance", tolerance, 0.0, 1.0)
        self.proposers = ProposerSet("torch-mlp", weights, device)
        self.batch_tolerance = self.proposers.batch_tolerance

    @classmethod
    def from_pretrained(cls, name_or_folder: str | Path, **options: Any) -> Self:
        """The policy with these weights; the same as ``TorchMLP(name_or_folder, **options)``."""
        return cls(name_or_folder, **options)

    def save_pretrained(self, folder: str | Path) -> Path:
        """Write the weights and their config, each completely or not at all.

        Raises:
            InvalidInputError: The policy was made without naming weights.
        """
        return self.proposers.only().save_pretrained(folder)

    def supports(self, scene: Scene) -> str | None:
        """None if there are weights for the scene's arm."""
        found = self.proposers.find(scene.arm)
        return found if isinstance(found, str) else None

    def solve(self, target_position: Any, q: Any, scene: Scene, *, target_orientation: Any = None) -> IKSolution:
        """Propose and choose; see :meth:`IKPolicy.solve`."""
        problem = make_problem(target_position, q, scene, target_orientation, orientation=ORIENTATION)
        tolerance = self.tolerance * problem.arm.reach
        offer = self.proposers.require(problem.arm)(problem, tolerance)
        rows = np.arange(problem.num_rows)
        chosen = offer.order[:, 0] if self.select == "measured" else most_confident(offer)
        answer = offer.q[rows, chosen]
        info = {
            "confidence": 1 / (1 + np.exp(-offer.logits[rows, chosen])),
            "error": offer.error[rows, chosen],
            "clearance": offer.clearance[rows, chosen],
        }
        return problem.solution(answer, problem.reasons(answer, tolerance), info)


def most_confident(offer: Offer) -> np.ndarray:
    """``(N,)`` the proposal that the network trusts most, among those that do not depend on where the arm is."""
    return np.asarray(offer.logits[:, :-1].argmax(axis=1))
