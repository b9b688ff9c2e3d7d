"""Reset, transition, reward and termination over a batch; the single and the vector environment share them."""

from .advance import Transition as Transition
from .advance import advance as advance
from .batch import Dynamics as Dynamics
from .batch import State as State
from .task import Task as Task
from .task import check_in_workspace as check_in_workspace
from .task import check_observable as check_observable
from .task import compute_reward as compute_reward
