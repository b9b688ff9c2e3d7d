"""Which policies can be trained, and by what; nothing is imported before it is asked for."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from ..errors import MissingExtraError, UnknownNameError
from .run import Trainee


class Recipe(NamedTuple):
    """How a policy is trained.

    Attributes:
        target: ``"module:function"`` with the arguments of :func:`make_trainee` after the policy.
        steps: Of a whole run.
        validate_every: Steps between validations.
        arm: Name of the arm, if the user names none.
        scenes: Kind of training scenes, if the user names none.
        extra: The extra of planararm that it needs, if any.
    """

    target: str
    steps: int
    validate_every: int
    arm: str = "unit3"
    scenes: str = "mixed"
    extra: str | None = None


RECIPES: dict[str, Recipe] = {
    "numpy-mlp": Recipe("planararm.learning.duka:make_trainee", 1253, 10, arm="duka", scenes="free"),
    "projected-mlp": Recipe("planararm.learning.projected_torch:make_trainee", 2000, 250, extra="torch"),
    "torch-mlp": Recipe("planararm.learning.proposals_torch:make_trainee", 10_000, 250, extra="torch"),
}
"""Recipes by the policy's name."""


def find_recipe(policy: str) -> Recipe:
    """A recipe by the policy's name.

    Raises:
        UnknownNameError: There is none.
    """
    if policy not in RECIPES:
        raise UnknownNameError("policy to train", policy, RECIPES)
    return RECIPES[policy]


def make_trainee(
    policy: str,
    arm: str | None = None,
    scenes: str | None = None,
    seed: int = 0,
    steps: int | None = None,
    device: str = "cpu",
    init: str | Path | None = None,
) -> Trainee:
    """What :func:`planararm.learning.run.train` trains, for a policy.

    Args:
        policy: Name in :data:`RECIPES`.
        arm: Name of an arm; None: the recipe's.
        scenes: Name in :data:`planararm.learning.scenes.MIXES`; None: the recipe's.
        seed: Of weights and data.
        steps: Of the whole run; None: the recipe's.
        device: ``"cpu"``, ``"cuda"`` or ``"auto"``: CUDA where there is one.
        init: A bundled name or a folder with weights to begin with; None: the recipe's own start.

    Raises:
        UnknownNameError: No such policy, arm, scenes or device.
        MissingExtraError: The extra that it needs is not installed.
        InvalidInputError: A number is out of range, or no CUDA here.
        WeightsError: ``init`` cannot be used.
    """
    recipe = find_recipe(policy)
    module, _, function = recipe.target.partition(":")
    try:
        make: Callable[..., Trainee] = getattr(importlib.import_module(module), function)
    except ModuleNotFoundError as cause:
        # A missing module of planararm itself is not for want of the extra.
        if recipe.extra is None or (cause.name or "").startswith("planararm"):
            raise
        raise MissingExtraError(f"training {policy!r}", recipe.extra) from cause
    return make(arm or recipe.arm, scenes or recipe.scenes, seed, steps or recipe.steps, device, init)
