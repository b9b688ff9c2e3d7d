"""planararm: inverse kinematics of a planar arm among discs.

Importing it registers the environments and loads nothing heavy: public names are imported on first use.
"""

import importlib
from typing import TYPE_CHECKING, Any

from .registration import register_environments

if TYPE_CHECKING:
    from .arm import PlanarArm, make_arm
    from .collision import (
        MotionCertificate,
        certify_motion,
        clearance,
        clearance_gradient,
        signed_distance,
        witness_points,
    )
    from .envs.wrappers import SafetyFilter, VectorSafetyFilter
    from .errors import (
        FileFormatError,
        InvalidArmError,
        InvalidInputError,
        InvalidSceneError,
        MissingExtraError,
        PlanarArmError,
        PolicyCrashed,
        PolicyError,
        PolicyTimeout,
        UnknownNameError,
        WeightsError,
    )
    from .interface import EnvInterface
    from .inverse import Reachability, closed_form, reachability, self_motion
    from .kinematics import end_effector, forward_kinematics, jacobian, manipulability
    from .obstacles import Obstacles
    from .paths import make_path
    from .policies import (
        FunctionPolicy,
        IKPolicy,
        IKSolution,
        Reason,
        available_policies,
        check_policy,
        make_policy,
        register_policy,
    )
    from .projection.command_filter import FilterInfo, filter_command
    from .projection.qp import QPSolution, solve_qp
    from .projection.sequential import Projection, project
    from .projection.torch_layer import QPProjection
    from .scene import Scene, load_scene, make_scene, sample_scene, save_scene
    from .targets import sample_targets
    from .witness import witness_path

__version__ = "0.1.0"

__all__ = [
    "EnvInterface",
    "FileFormatError",
    "FilterInfo",
    "FunctionPolicy",
    "IKPolicy",
    "IKSolution",
    "InvalidArmError",
    "InvalidInputError",
    "InvalidSceneError",
    "MissingExtraError",
    "MotionCertificate",
    "Obstacles",
    "PlanarArm",
    "PlanarArmError",
    "PolicyCrashed",
    "PolicyError",
    "PolicyTimeout",
    "Projection",
    "QPProjection",
    "QPSolution",
    "Reachability",
    "Reason",
    "SafetyFilter",
    "Scene",
    "UnknownNameError",
    "VectorSafetyFilter",
    "WeightsError",
    "__version__",
    "available_policies",
    "certify_motion",
    "check_policy",
    "clearance",
    "clearance_gradient",
    "closed_form",
    "end_effector",
    "filter_command",
    "forward_kinematics",
    "jacobian",
    "load_scene",
    "make_arm",
    "make_path",
    "make_policy",
    "make_scene",
    "manipulability",
    "project",
    "reachability",
    "register_policy",
    "sample_scene",
    "sample_targets",
    "save_scene",
    "self_motion",
    "signed_distance",
    "solve_qp",
    "witness_path",
    "witness_points",
]

_MODULES = {
    "arm": ("PlanarArm", "make_arm"),
    "collision": (
        "MotionCertificate",
        "certify_motion",
        "clearance",
        "clearance_gradient",
        "signed_distance",
        "witness_points",
    ),
    "errors": (
        "FileFormatError",
        "InvalidArmError",
        "InvalidInputError",
        "InvalidSceneError",
        "MissingExtraError",
        "PlanarArmError",
        "PolicyCrashed",
        "PolicyError",
        "PolicyTimeout",
        "UnknownNameError",
        "WeightsError",
    ),
    "envs.wrappers": ("SafetyFilter", "VectorSafetyFilter"),
    "interface": ("EnvInterface",),
    "inverse": ("Reachability", "closed_form", "reachability", "self_motion"),
    "kinematics": ("end_effector", "forward_kinematics", "jacobian", "manipulability"),
    "obstacles": ("Obstacles",),
    "paths": ("make_path",),
    "policies": (
        "FunctionPolicy",
        "IKPolicy",
        "IKSolution",
        "Reason",
        "available_policies",
        "check_policy",
        "make_policy",
        "register_policy",
    ),
    "projection.command_filter": ("FilterInfo", "filter_command"),
    "projection.qp": ("QPSolution", "solve_qp"),
    "projection.sequential": ("Projection", "project"),
    "projection.torch_layer": ("QPProjection",),
    "scene": ("Scene", "load_scene", "make_scene", "sample_scene", "save_scene"),
    "targets": ("sample_targets",),
    "witness": ("witness_path",),
}
_WHERE = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f".{_WHERE[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_WHERE})


register_environments()
