"""Saving and loading fitted estimators: arrays and plain values, no pickles, nothing executed."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import clone

from .. import experts, gates
from .._component import EXPERTS, GATES, PENALTIES
from .._persistence import (
    PersistenceError,
    component_from_tree,
    component_to_tree,
    labels_from_array,
    labels_to_array,
    namedtuple_to_tree,
    save_tree,
)
from ..em.device import GPU
from ..em.driver import EM
from ..em.model import MoEModel
from ..em.online import OnlineState
from ..em.online_em import OnlineEM
from ..em.params import MoEParams, Statistics
from ..em.rows import Scaling
from ..em.start import MultiStart
from ..em.status import Status
from ..em.summary import FitSummary
from ..experts.degree import monomial_names
from ..inference.information import Information

KIND = "estimator"
_PLAIN = ("n_features_in_", "n_iter_", "certificate_", "regular_", "_n_outputs")
_ARRAYS = ("objective_path_", "expert_sizes_")


def known_classes() -> dict[str, type]:
    """Every class that a file may name: registered parts, parameters and estimators."""
    from .blome import BLoMERegressor
    from .classifier import MoEClassifier
    from .contextual import ContextualMoERegressor
    from .glome import GLoMERegressor
    from .regressor import MoERegressor

    own: tuple[type, ...] = (
        MoEClassifier,
        MoERegressor,
        GLoMERegressor,
        BLoMERegressor,
        ContextualMoERegressor,
        EM,
        GPU,
        OnlineEM,
        MultiStart,
        MoEParams,
        Scaling,
        FitSummary,
        Information,
        gates.SoftmaxParams,
        gates.GaussianGateParams,
        gates.HierarchicalParams,
        gates.HierarchicalStatistics,
        gates.SigmoidParams,
        gates.LaplaceGateParams,
        gates.ActivationGateParams,
        gates.ScoreGateStatistics,
        gates.ColumnTransform,
        gates.FixedGate,
        gates.CallableGate,
        gates.KMeansPartition,
        gates.KnownGateParams,
        gates.KnownGateStatistics,
        gates.LowRankGate,
        gates.LowRankParams,
        experts.GLMParams,
        experts.DistributionalParams,
        experts.DistributionalStatistics,
        experts.IntervalExpert,
        experts.ExpertList,
        experts.MemberStatistics,
        experts.PoissonLaw,
        experts.BinomialLaw,
        experts.MultinomialParams,
        experts.MultivariateParams,
        OnlineState,
        Statistics,
        gates.SoftmaxStatistics,
        gates.GaussianGateStatistics,
        experts.GLMStatistics,
        experts.MultinomialStatistics,
        experts.MultivariateStatistics,
    )
    registered = [*GATES.values(), *EXPERTS.values(), *PENALTIES.values()]
    return {cls.__name__: cls for cls in [*own, *registered]}


def save(model, path) -> None:
    """Write a fitted estimator; see `mixexp.load`."""
    from .. import __version__

    save_tree(path, to_tree(model), kind=KIND, version=__version__)


def to_tree(model) -> dict[str, Any]:
    """A fitted estimator as nested dicts of arrays and plain values."""
    inner = model._model_
    # first, since its names are the user's where a setting cannot be stored
    estimator = component_to_tree(_storable(model), known_classes())
    fitted: dict[str, Any] = {name: getattr(model, name) for name in (*_PLAIN, *_ARRAYS)}
    fitted["status_"] = model.status_.name
    if hasattr(model, "engine_"):
        fitted["engine_"] = model.engine_
    fitted["params"] = namedtuple_to_tree(model._params_)
    fitted["scaling"] = namedtuple_to_tree(inner.scaling)
    fitted["summary"] = namedtuple_to_tree(model.fit_summary_)
    fitted["gate_columns"], fitted["expert_columns"] = inner.gate_columns, inner.expert_columns
    fitted["gate"], fitted["expert"] = (
        component_to_tree(inner.gate, known_classes()),
        component_to_tree(inner.expert, known_classes()),
    )
    fitted["starts"] = {name: _column(model.starts_[name]) for name in model.starts_}
    if hasattr(model, "_online_"):
        fitted["online"] = namedtuple_to_tree(model._online_)
    if getattr(model, "pooled_", None) is not None:
        fitted["pooled"] = namedtuple_to_tree(model.pooled_)
    extra = model._extra()
    if inner.prior_likelihood is not None:
        fitted["prior_likelihood"] = inner.prior_likelihood
    if inner.grouped:
        fitted["grouped"] = True
    if extra:
        fitted["extra"] = extra
    if hasattr(model, "feature_names_in_"):
        fitted["feature_names_in_"] = model.feature_names_in_.astype(str)
    if hasattr(model, "classes_"):
        fitted["classes_"] = labels_to_array(model.classes_)
    return {"estimator": estimator, "fitted": fitted}


def from_tree(tree: dict[str, Any]) -> Any:
    """The inverse of `to_tree`."""
    classes = known_classes()
    try:
        model = component_from_tree(tree["estimator"], classes)
        fitted = tree["fitted"]
        for name in (*_PLAIN, *_ARRAYS):
            setattr(model, name, fitted[name])
        scaling = component_from_tree(fitted["scaling"], classes)
        model._params_ = component_from_tree(fitted["params"], classes)
        gate = component_from_tree(fitted["gate"], classes)
        expert = component_from_tree(fitted["expert"], classes)
        model.fit_summary_ = component_from_tree(fitted["summary"], classes)
        if "online" in fitted:
            model._online_ = component_from_tree(fitted["online"], classes)
        if "pooled" in fitted:
            model.pooled_ = component_from_tree(fitted["pooled"], classes)
        model.status_ = Status[fitted["status_"]]
        if "engine_" in fitted:
            model.engine_ = fitted["engine_"]
        model.starts_ = pd.DataFrame({name: list(col) for name, col in fitted["starts"].items()})
    except (KeyError, TypeError, AttributeError) as error:
        raise PersistenceError(
            f"the file lacks or misnames a part of the model ({error}); save it again."
        ) from error
    K = model._params_.gate[0].shape[0]
    columns = fitted["gate_columns"], fitted["expert_columns"]
    n_classes = len(fitted.get("classes_", ()))
    prior = fitted.get("prior_likelihood")
    grouped = bool(fitted.get("grouped", False))
    model._model_ = MoEModel(gate, expert, K, *columns, scaling, n_classes, prior, grouped)
    model._gate_columns, model._expert_columns = fitted["gate_columns"], fitted["expert_columns"]
    for name in ("feature_names_in_", "classes_"):
        if name in fitted:
            setattr(model, name, labels_from_array(fitted[name]))
    if expert.degree > 1:
        own = model._expert_columns[model._expert_columns < model.n_features_in_]
        model._monomials = monomial_names(model._names()[own], expert.degree)
    model._restore(fitted.get("extra", {}))
    model._set_derived()
    return model


def _storable(model):
    """The estimator without parameters that are data: a start from arrays or another fit."""
    plain = clone(model)
    if not isinstance(plain.start, str | MultiStart):
        plain.start = "default"
    if isinstance(plain.random_state, np.random.RandomState | np.random.Generator):
        plain.random_state = None
    if isinstance(getattr(plain.solver, "checkpoint", None), os.PathLike):
        plain.solver.checkpoint = os.fspath(plain.solver.checkpoint)
    return plain


def _column(values: pd.Series):
    return (
        list(values)
        if values.dtype == object or values.dtype.kind not in "fib"
        else values.to_numpy()
    )
