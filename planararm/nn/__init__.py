"""Neural networks in plain NumPy: layers, losses, optimisers, training, diagnostics.

Made to be read: every formula of forward and backward pass is in the docstring of the function that computes it.
"""

from .diagnostics import check_gradients as check_gradients
from .diagnostics import layer_gradient_norms as layer_gradient_norms
from .ensembles import DirectionalMean as DirectionalMean
from .ensembles import Ensemble as Ensemble
from .ensembles import angles_of as angles_of
from .ensembles import directional_mean as directional_mean
from .initialisers import INITIALISERS as INITIALISERS
from .layers import ACTIVATIONS as ACTIVATIONS
from .layers import Layer as Layer
from .layers import Linear as Linear
from .layers import ReLU as ReLU
from .layers import Sigmoid as Sigmoid
from .layers import SiLU as SiLU
from .layers import Tanh as Tanh
from .layers import sigmoid as sigmoid
from .levenberg_marquardt import LevenbergMarquardt as LevenbergMarquardt
from .levenberg_marquardt import LMResult as LMResult
from .levenberg_marquardt import levenberg_marquardt as levenberg_marquardt
from .levenberg_marquardt import normal_equations as normal_equations
from .losses import binary_cross_entropy_with_logits as binary_cross_entropy_with_logits
from .losses import mean_squared_error as mean_squared_error
from .losses import softmax as softmax
from .losses import softmax_cross_entropy as softmax_cross_entropy
from .network import Network as Network
from .network import Residual as Residual
from .network import mlp as mlp
from .optimisers import Adam as Adam
from .optimisers import GradientDescent as GradientDescent
from .prediction import Classification as Classification
from .prediction import predict as predict
from .schedules import constant as constant
from .schedules import cosine as cosine
from .schedules import one_cycle as one_cycle
from .schedules import step_decay as step_decay
from .training import History as History
from .training import fit as fit
from .training import train_step as train_step
from .validation import cross_validate as cross_validate
from .validation import k_fold_indices as k_fold_indices
from .validation import learning_curve as learning_curve
from .validation import split as split
