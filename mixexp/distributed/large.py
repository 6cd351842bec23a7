"""`LargeMixture`: the weighted average of all local densities, on the support.

f^W = sum_m lambda_m f_m has as many experts as all partitions together. It estimates p(y | x), and
is no mixture of K experts; reductions approximate it.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from sklearn.base import clone

from ..em.model import MoEModel
from ..em.params import MoEParams, concatenate
from ..em.rows import Scaling, design
from ..estimators._settings import resolve_expert
from ..gates import SoftmaxGate
from ..kernels.reference import log_softmax
from ..penalties import vanishing_ridge, with_checked_penalty
from ..scaling import moments
from .families import FAMILIES
from .local import LocalFit
from .origin import origins


class LargeMixture(NamedTuple):
    """L experts of M partitions on a common scale, and S rows of the support.

    model : MoEModel of K experts on the support's standardisation; local : list of M `MoEParams`
    on it; owner (L,): the partition of each expert; share (M,): weights lambda; family; X_gate
    (S, qg), X (S, qe): designs; values: of all L experts; weight (S, L) =
    lambda_m(x) pi^m_k(x), where `origins` gives lambda.
    """

    model: MoEModel
    fits: list[LocalFit]
    local: list[MoEParams]
    owner: np.ndarray
    share: np.ndarray
    family: Any
    X_gate: np.ndarray
    X: np.ndarray
    values: Any
    weight: np.ndarray

    @property
    def K(self) -> int:
        return self.model.K

    @property
    def experts(self):
        """Parameters of all L experts."""
        return concatenate([params.expert for params in self.local])

    @property
    def mass(self) -> np.ndarray:
        """(L,) mean weight of each expert on the support; they sum to one."""
        return self.weight.mean(axis=0)

    def thinned(self, most) -> LargeMixture:
        """The same on about so many rows of the support, at equal distances."""
        rows = slice(None, None, max(1, len(self.X) // most))
        return self._replace(
            X_gate=self.X_gate[rows],
            X=self.X[rows],
            values=self.values.rows(rows),
            weight=self.weight[rows],
        )

    def of(self, partition):
        """Positions of a partition's experts."""
        return np.flatnonzero(self.owner == partition)


def large_mixture(fits, model, local, X_gate, X, origin) -> LargeMixture:
    """The mixture of local parameters that are on the model's scale; origin (S, M)."""
    family = FAMILIES[fits[0].family]
    rows = np.array([fit.n_rows for fit in fits])
    share = rows / rows.sum()
    owner = np.repeat(np.arange(len(fits)), [fit.n_experts for fit in fits])
    gates = [np.exp(log_softmax(X_gate @ params.gate.coef.T)) for params in local]
    weighted = [part[:, None] * gate for part, gate in zip(origin.T, gates, strict=True)]
    weight = np.concatenate(weighted, axis=1)
    values = family.values(concatenate([params.expert for params in local]), X)
    return LargeMixture(model, fits, local, owner, share, family, X_gate, X, values, weight)


def on_support(fits, n_experts, support, template, weighting="sizes") -> LargeMixture:
    """All local fits on the support's standardisation.

    Columns are standardised by the support's means and standard deviations, the target by those of
    the large mixture there.

    Parameters
    ----------
    fits : sequence of LocalFit, checked to belong together
    n_experts : int
    support : (S, p) array
    template : MoERegressor or MoEClassifier
        Settings of gate and experts.
    weighting : {"sizes", "covariates"}
    """
    first = fits[0]
    if first.family == "multinomial":
        classes = np.unique(np.concatenate([fit.classes for fit in fits]))
        fits = [fit.with_classes(classes) for fit in fits]
        first = fits[0]
    p, m = support.shape[1], 1 if first.family == "multinomial" else first.coef.shape[1]
    centre, scale = moments(support, None)
    columns = Scaling(centre, scale, np.zeros(m), np.ones(m))
    plain = Scaling.identity(p, m)
    model = _model(fits, n_experts, columns, template)
    local = [model.rescale(fit.params, plain) for fit in fits]
    X_gate = design(support, model.gate_columns, columns)
    X = design(support, model.expert_columns, columns)
    origin = origins(fits, support, weighting)
    mixture = large_mixture(fits, model, local, X_gate, X, origin)
    if first.family == "multinomial":
        return mixture
    scaled = model._replace(scaling=columns._replace(**_target_scale(mixture)))
    local = [scaled.rescale(params, columns) for params in local]
    return large_mixture(fits, scaled, local, X_gate, X, origin)


def _target_scale(mixture):
    """Mean and standard deviation of y under the large mixture."""
    weight, values = mixture.weight[:, :, None], mixture.values
    mean = (weight * values.mean).sum(axis=1).mean(axis=0)
    around = (values.mean - mean) ** 2 + values.variance
    return {"y_centre": mean, "y_scale": np.sqrt((weight * around).sum(axis=1).mean(axis=0))}


def _model(fits, n_experts, scaling, template) -> MoEModel:
    """A model of the template's gate and experts, as fitted to so many rows."""
    first = fits[0]
    names = first.feature_names
    names = np.array([f"x{j}" for j in range(first.n_features)]) if names is None else names
    n = max(int(sum(fit.n_rows for fit in fits)), 1)
    gate = template.gate if not isinstance(template.gate, str) else SoftmaxGate()
    gate = with_checked_penalty(gate, names[first.gate_columns]).for_rows(n)
    expert = with_checked_penalty(resolve_expert(template.expert), names[first.expert_columns])
    n_classes = 0
    if first.family == "multinomial":
        n_classes = len(first.classes)
        if expert.ridge is None:
            expert = clone(expert).set_params(ridge=vanishing_ridge(n))
    return MoEModel(
        gate,
        expert,
        n_experts,
        first.gate_columns,
        first.expert_columns,
        scaling,
        n_classes,
    )
