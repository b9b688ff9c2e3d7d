"""The nearest configuration that holds the constraints: exact, batched, with derivatives.

Nothing is imported until it is asked for: the layers need torch, the relaxations cvxpy.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .command_filter import FilterInfo as FilterInfo
    from .command_filter import FilterStatus as FilterStatus
    from .command_filter import filter_command as filter_command
    from .constraints import ConstraintRows as ConstraintRows
    from .constraints import constraint_rows as constraint_rows
    from .cvxpy_layer import CvxpyProjection as CvxpyProjection
    from .learned import LearnedPolytope as LearnedPolytope
    from .learned import LearnedQP as LearnedQP
    from .qp import QPGradients as QPGradients
    from .qp import QPSolution as QPSolution
    from .qp import solve_qp as solve_qp
    from .sequential import Projection as Projection
    from .sequential import Source as Source
    from .sequential import project as project
    from .torch_layer import QPProjection as QPProjection
    from .torch_sequential import SequentialProjection as SequentialProjection

_WHERE = {
    "ConstraintRows": "constraints",
    "CvxpyProjection": "cvxpy_layer",
    "FilterInfo": "command_filter",
    "FilterStatus": "command_filter",
    "LearnedPolytope": "learned",
    "LearnedQP": "learned",
    "Projection": "sequential",
    "QPGradients": "qp",
    "QPProjection": "torch_layer",
    "QPSolution": "qp",
    "SequentialProjection": "torch_sequential",
    "Source": "sequential",
    "constraint_rows": "constraints",
    "filter_command": "command_filter",
    "project": "sequential",
    "solve_qp": "qp",
}


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f".{_WHERE[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_WHERE})
