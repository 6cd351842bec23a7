"""Banks of experts."""

from .bank_list import BankList, ModuleExperts
from .base import ExpertBank
from .cheap import ConstantExperts, CopyExperts, ZeroExperts
from .feed_forward import FeedForwardExperts, GatedExperts, HeterogeneousExperts
from .ia3 import IA3Experts
from .low_rank import FactorizedExperts, LoRAExperts
from .mlp import MLPExperts
from .neurons import NeuronExperts

__all__ = [
    "BankList",
    "ConstantExperts",
    "CopyExperts",
    "ExpertBank",
    "FactorizedExperts",
    "FeedForwardExperts",
    "GatedExperts",
    "HeterogeneousExperts",
    "IA3Experts",
    "LoRAExperts",
    "MLPExperts",
    "ModuleExperts",
    "NeuronExperts",
    "ZeroExperts",
]
