"""Gates: log pi_k(x), its statistics and its M-step."""

from .base import Gate
from .softmax import ConstantGate, SoftmaxGate, SoftmaxParams, SoftmaxStatistics

# isort: split
# the first gate of the registry is the default
from .activation import ActivationGate, ActivationGateParams
from .gaussian import GaussianGate, GaussianGateParams, GaussianGateStatistics
from .hierarchical import HierarchicalGate
from .kmeans import KMeansGate, KMeansPartition
from .known import CallableGate, FixedGate, KnownGate, KnownGateParams, KnownGateStatistics
from .laplace import LaplaceGate, LaplaceGateParams
from .low_rank import LowRankGate, LowRankParams
from .scores import ScoreGate, ScoreGateParams, ScoreGateStatistics
from .sigmoid import SigmoidGate, SigmoidParams
from .top_k import TopKGate
from .transform import ColumnTransform
from .tree_arrays import HierarchicalParams, HierarchicalStatistics
from .tree_reading import GateNode

__all__ = [
    "ActivationGate",
    "ActivationGateParams",
    "CallableGate",
    "ColumnTransform",
    "ConstantGate",
    "FixedGate",
    "Gate",
    "GaussianGate",
    "GaussianGateParams",
    "GaussianGateStatistics",
    "GateNode",
    "HierarchicalGate",
    "HierarchicalParams",
    "HierarchicalStatistics",
    "KMeansGate",
    "KMeansPartition",
    "KnownGate",
    "KnownGateParams",
    "KnownGateStatistics",
    "LaplaceGate",
    "LaplaceGateParams",
    "LowRankGate",
    "LowRankParams",
    "ScoreGate",
    "ScoreGateParams",
    "ScoreGateStatistics",
    "SigmoidGate",
    "SigmoidParams",
    "SoftmaxGate",
    "SoftmaxParams",
    "SoftmaxStatistics",
    "TopKGate",
]
