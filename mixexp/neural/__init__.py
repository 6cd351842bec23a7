"""Sparse mixtures of experts on PyTorch: routers, experts, layers, losses and estimators."""

from __future__ import annotations

import importlib

_PUBLIC = {
    "Clock": "routing",
    "RoutingInputs": "routing",
    "Routing": "routing",
    "RoutingStats": "routing",
    "Router": "routing",
    "RouterFlags": "routing",
    "ROUTERS": "routing",
    "MissingRoutingInputError": "routing",
    "NoVisibleExpertError": "routing",
    "TopKRouter": "routing",
    "SwitchRouter": "routing",
    "NoisyTopKRouter": "routing",
    "TopPRouter": "routing",
    "AdaptiveTopKRouter": "routing",
    "ReLURouter": "routing",
    "GumbelRouter": "routing",
    "MaskedRouter": "routing",
    "visible_by_frequency": "routing",
    "PinnedRouter": "routing",
    "BroadcastUncertain": "routing",
    "DistilledRouter": "routing",
    "CapacityLimiter": "routing",
    "RandomRouter": "routing",
    "TokenIdRouter": "routing",
    "ConditionalRouter": "routing",
    "TaskRouter": "routing",
    "CallableRouter": "routing",
    "SparseMixerRouter": "routing",
    "DenseToSparseRouter": "routing",
    "DenseRouter": "routing",
    "DSelectKRouter": "routing",
    "COMETRouter": "routing",
    "SinkhornRouter": "routing",
    "ExpertChoiceRouter": "routing",
    "SoftRouter": "routing",
    "TokenMixingRouter": "routing",
    "ProductKeyRouter": "routing",
    "HierarchicalRouter": "routing",
    "RecurrentRouter": "routing",
    "RouterCell": "routing",
    "ActivationNormRouter": "routing",
    "ExpertBank": "experts",
    "FeedForwardExperts": "experts",
    "GatedExperts": "experts",
    "HeterogeneousExperts": "experts",
    "LoRAExperts": "experts",
    "FactorizedExperts": "experts",
    "NeuronExperts": "experts",
    "IA3Experts": "experts",
    "ZeroExperts": "experts",
    "CopyExperts": "experts",
    "ConstantExperts": "experts",
    "BankList": "experts",
    "ModuleExperts": "experts",
    "MoELayer": "layers",
    "MultiHeadMoE": "layers",
    "PEERLayer": "layers",
    "MoETransformerLM": "layers",
    "FeedForward": "layers",
    "RoutedLayer": "layers",
    "RoutingTrace": "layers",
    "load_balancing_loss": "losses",
    "importance_loss": "losses",
    "load_loss": "losses",
    "router_z_loss": "losses",
    "router_entropy_loss": "losses",
    "selection_entropy_loss": "losses",
    "mutual_information_loss": "losses",
    "parameter_penalty_loss": "losses",
    "supervised_routing_loss": "losses",
    "consistency_loss": "losses",
    "AdaptiveLossCoefficient": "losses",
    "sync_routing_stats": "losses",
    "count_active": "analysis",
    "count_parameters": "analysis",
    "ActiveCost": "analysis",
    "ParameterCount": "analysis",
    "audit_batch_dependence": "security",
    "BatchDependence": "security",
    "LayerDependence": "security",
    "MLPExperts": "experts",
    "PiecewiseLinearEmbedding": "embeddings",
    "PeriodicEmbedding": "embeddings",
    "CategoricalEmbedding": "embeddings",
    "Training": "training",
    "TrainingProgress": "training",
    "NeuralMoERegressor": "estimators",
    "NeuralMoEClassifier": "estimators",
    "MultiTaskMoERegressor": "estimators",
    "MultiTaskMoEClassifier": "estimators",
    "SourceMoERegressor": "estimators",
    "SourceMoEClassifier": "estimators",
    "LocalExpertRegressor": "estimators",
    "LocalExpertClassifier": "estimators",
}

__all__ = [*_PUBLIC]


def __getattr__(name):
    """Import public names on first use; without PyTorch, say what to install."""
    if name not in _PUBLIC:
        raise AttributeError(f"module 'mixexp.neural' has no attribute {name!r}")
    try:
        module = importlib.import_module(f"{__name__}.{_PUBLIC[name]}")
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        raise ModuleNotFoundError(
            f"mixexp.neural.{name} needs PyTorch, which is not installed: "
            "pip install 'mixexp[neural]'.",
            name="torch",
        ) from error
    value = getattr(module, name)
    globals()[name] = value
    return value


def __dir__():
    return sorted([*globals(), *_PUBLIC])
