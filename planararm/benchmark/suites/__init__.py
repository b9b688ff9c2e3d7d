"""The bundled suites: generated from seeds, labelled by the ground truth, never stored.

Never train or tune on these tasks: their seeds live in :data:`EVALUATION_SEEDS` and nowhere else. Training
data comes from other seeds, see :func:`make_suite`.
"""

from .groups import free_configurations, free_scenes, ik_group, named_path_group, witness_group
from .names import _BUILDERS as _BUILDERS
from .names import EVALUATION_SEEDS, available_suites, load_suite, make_suite

__all__ = [
    "EVALUATION_SEEDS",
    "available_suites",
    "free_configurations",
    "free_scenes",
    "ik_group",
    "load_suite",
    "make_suite",
    "named_path_group",
    "witness_group",
]
