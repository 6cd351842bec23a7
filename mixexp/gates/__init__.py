"""Gates: log pi_k(x), its statistics and its M-step."""

from .base import Gate
from .softmax import ConstantGate, SoftmaxGate, SoftmaxParams, SoftmaxStatistics

__all__ = ["ConstantGate", "Gate", "SoftmaxGate", "SoftmaxParams", "SoftmaxStatistics"]
