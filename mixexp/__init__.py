"""mixexp: statistical mixtures of experts."""

from __future__ import annotations

import importlib

__version__ = "0.1.0"

_PUBLIC = {
    "MoERegressor": "mixexp.estimators",
    "MoEClassifier": "mixexp.estimators",
    "ArrayDataset": "mixexp.sources",
    "BlockDataset": "mixexp.sources",
    "FileDataset": "mixexp.sources",
    "GLoMERegressor": "mixexp.estimators",
    "BLoMERegressor": "mixexp.estimators",
    "MixedEffectsMoERegressor": "mixexp.estimators",
    "ConformalMoERegressor": "mixexp.estimators",
    "ContextualMoERegressor": "mixexp.estimators",
    "AggregatedMoERegressor": "mixexp.distributed",
    "AggregatedMoEClassifier": "mixexp.distributed",
    "LocalFit": "mixexp.distributed",
    "aggregate": "mixexp.distributed",
    "combine_possibilities": "mixexp.estimators",
    "possibility_certain": "mixexp.estimators",
    "possibility_from_labels": "mixexp.estimators",
    "possibility_from_tags": "mixexp.estimators",
    "possibility_trapezoid": "mixexp.estimators",
    "to_probability": "mixexp.estimators",
    "conformalize": "mixexp.estimators",
    "load": "mixexp.formula.saving",
    "moe": "mixexp.formula",
    "FormulaMoE": "mixexp.formula",
    "SoftmaxGate": "mixexp.gates",
    "ConstantGate": "mixexp.gates",
    "GaussianGate": "mixexp.gates",
    "HierarchicalGate": "mixexp.gates",
    "TopKGate": "mixexp.gates",
    "FixedGate": "mixexp.gates",
    "CallableGate": "mixexp.gates",
    "SigmoidGate": "mixexp.gates",
    "KMeansGate": "mixexp.gates",
    "LaplaceGate": "mixexp.gates",
    "ActivationGate": "mixexp.gates",
    "GaussianExpert": "mixexp.experts",
    "PoissonExpert": "mixexp.experts",
    "BinomialExpert": "mixexp.experts",
    "GammaExpert": "mixexp.experts",
    "MultinomialExpert": "mixexp.experts",
    "OrdinalExpert": "mixexp.experts",
    "StudentExpert": "mixexp.experts",
    "AsymmetricLaplaceExpert": "mixexp.experts",
    "ExpectileExpert": "mixexp.experts",
    "LaplaceExpert": "mixexp.experts",
    "BetaExpert": "mixexp.experts",
    "HeteroscedasticGaussianExpert": "mixexp.experts",
    "HeteroscedasticGammaExpert": "mixexp.experts",
    "intervals": "mixexp.estimators",
    "HurdleNegativeBinomialExpert": "mixexp.experts",
    "HurdlePoissonExpert": "mixexp.experts",
    "InverseGaussianExpert": "mixexp.experts",
    "LognormalExpert": "mixexp.experts",
    "NegativeBinomialExpert": "mixexp.experts",
    "SkewNormalExpert": "mixexp.experts",
    "SkewTExpert": "mixexp.experts",
    "WeibullExpert": "mixexp.experts",
    "ZeroInflatedNegativeBinomialExpert": "mixexp.experts",
    "ZeroInflatedPoissonExpert": "mixexp.experts",
    "MultivariateGaussianExpert": "mixexp.experts",
    "L1": "mixexp.penalties",
    "L2": "mixexp.penalties",
    "ElasticNet": "mixexp.penalties",
    "AdaptiveL1": "mixexp.penalties",
    "MCP": "mixexp.penalties",
    "SCAD": "mixexp.penalties",
    "GroupLasso": "mixexp.penalties",
    "Penalty": "mixexp.penalties",
    "EM": "mixexp.em.driver",
    "GPU": "mixexp.em.device",
    "OnlineEM": "mixexp.em.online_em",
    "MultiStart": "mixexp.em.start",
    "Status": "mixexp.em.status",
    "SelectionStudy": "mixexp.selection",
    "NotRegularError": "mixexp.inference",
    "likelihood_ratio_test": "mixexp.inference",
    "vuong_test": "mixexp.inference",
    "MixingMeasure": "mixexp.inference",
    "voronoi_loss": "mixexp.inference",
    "rate_study": "mixexp.theory",
    "optimal_order": "mixexp.theory",
    "select_order_and_degree": "mixexp.theory",
    "MoEPath": "mixexp.selection.path",
    "StabilitySelection": "mixexp.selection.path",
    "LassoMoERegressorCV": "mixexp.selection.path",
    "LassoMoEClassifierCV": "mixexp.selection.path",
}

__all__ = ["__version__", *_PUBLIC]


def __getattr__(name):
    """Import public names on first use, so that ``import mixexp`` stays light."""
    if name in _PUBLIC:
        value = getattr(importlib.import_module(_PUBLIC[name]), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'mixexp' has no attribute {name!r}")


def __dir__():
    return sorted([*globals(), *_PUBLIC])
