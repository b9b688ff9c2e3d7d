"""Policies: from target positions (and where the arm is) to joint angles.

The public names are loaded on first use.
"""

if __name__ == "policies":
    raise ImportError("import planararm.policies")

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .agent import AgentPolicy as AgentPolicy
    from .ccd import CyclicCoordinateDescent as CyclicCoordinateDescent
    from .closed_form import ClosedForm as ClosedForm
    from .conformance import Check as Check
    from .conformance import ConformanceReport as ConformanceReport
    from .conformance import check_policy as check_policy
    from .convex import ConvexIK as ConvexIK
    from .function import FunctionPolicy as FunctionPolicy
    from .hold import Hold as Hold
    from .jacobian import DampedLeastSquares as DampedLeastSquares
    from .jacobian import JacobianTranspose as JacobianTranspose
    from .jacobian import PseudoInverse as PseudoInverse
    from .numpy_mlp import NumpyMLP as NumpyMLP
    from .projected import Projected as Projected
    from .projected import ProjectedDampedLeastSquares as ProjectedDampedLeastSquares
    from .projected_mlp import ProjectedMLP as ProjectedMLP
    from .protocol import IKPolicy as IKPolicy
    from .protocol import IKSolution as IKSolution
    from .protocol import Reason as Reason
    from .registry import available_policies as available_policies
    from .registry import make_policy as make_policy
    from .registry import register_policy as register_policy
    from .torch_mlp import TorchMLP as TorchMLP

_WHERE = {
    "AgentPolicy": "agent",
    "Check": "conformance",
    "ClosedForm": "closed_form",
    "ConformanceReport": "conformance",
    "ConvexIK": "convex",
    "CyclicCoordinateDescent": "ccd",
    "DampedLeastSquares": "jacobian",
    "FunctionPolicy": "function",
    "Hold": "hold",
    "IKPolicy": "protocol",
    "IKSolution": "protocol",
    "JacobianTranspose": "jacobian",
    "NumpyMLP": "numpy_mlp",
    "Projected": "projected",
    "ProjectedDampedLeastSquares": "projected",
    "ProjectedMLP": "projected_mlp",
    "PseudoInverse": "jacobian",
    "Reason": "protocol",
    "TorchMLP": "torch_mlp",
    "available_policies": "registry",
    "check_policy": "conformance",
    "make_policy": "registry",
    "register_policy": "registry",
}


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f".{_WHERE[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_WHERE})
