"""The Gymnasium environments."""

if __name__ == "envs":
    raise ImportError("import planararm.envs")

from .arm_env import ArmEnv as ArmEnv
from .vector_env import ArmVectorEnv as ArmVectorEnv
