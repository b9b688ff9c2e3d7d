"""The Gymnasium environments."""

if __name__ == "envs":
    raise ImportError("import planararm.envs")

from .arm_env import ArmEnv as ArmEnv
from .vector_env import ArmVectorEnv as ArmVectorEnv
from .wrappers import SafetyFilter as SafetyFilter
from .wrappers import VectorSafetyFilter as VectorSafetyFilter
