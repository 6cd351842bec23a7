"""Predictions of a fit with random effects, for groups that it met and for others."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from sklearn.metrics import r2_score
from sklearn.utils.validation import check_array, check_is_fitted

from .._validation import check_X, row_inputs
from ..em.mixed import prediction
from ..em.mixed.prediction import UNSEEN, Fitted, Laws
from ..em.rows import Rows, blocks
from ._base import BLOCK
from ._factors import Factor, look_up, nest, read_factors


class GroupedPredictions:
    """Methods of `MixedEffectsMoERegressor` that read a fit."""

    _fitted: Fitted
    _factor_names: list[str]
    nested: Any

    def _new_rows(self, X, groups, y=None, **inputs) -> tuple[Rows, list[np.ndarray]]:
        check_is_fitted(self)
        X = check_X(self, X)
        if not isinstance(X, np.ndarray):
            raise TypeError("MixedEffectsMoERegressor needs dense X; use X.toarray().")
        n = X.shape[0]
        offset, trials = row_inputs(self._fitted.model.expert, n, **inputs)
        target = np.zeros(n) if y is None else self._target(y, n)
        rows = Rows(X.astype(np.float64), target[:, None], None, offset, trials)
        if y is not None:
            self._fitted.model.expert.check_target(rows.y, rows.trials)
        return rows, self._codes(groups, n)

    @staticmethod
    def _target(y, n):
        y = check_array(y, ensure_2d=False, dtype=np.float64, input_name="y")
        if y.shape != (n,):
            raise ValueError(f"y has shape {y.shape}; X needs one target for each of {n} rows.")
        return y

    def _codes(self, groups, n) -> list[np.ndarray]:
        """Numbers of the rows' groups per factor of the fit, `UNSEEN` where there is none."""
        known = {one.effects.name: one.effects.labels for one in self._fitted.factors}
        if groups is None:
            return [np.full(n, UNSEEN) for _ in known]
        given = self._factors(groups, n)
        return [
            look_up(given[name], labels) if name in given else np.full(n, UNSEEN)
            for name, labels in known.items()
        ]

    def _factors(self, groups, n) -> dict[str, Factor]:
        """The factors of new rows by the names that the fit knows."""
        factors = read_factors(groups, n)
        if len(factors) == len(self._factor_names) and not isinstance(groups, dict | pd.DataFrame):
            factors = [
                factor._replace(name=name)
                for factor, name in zip(factors, self._factor_names, strict=True)
            ]
        strange = [factor.name for factor in factors if factor.name not in self._factor_names]
        if strange:
            raise ValueError(
                f"groups: the fit knows no factor {strange!r}; it has {self._factor_names!r}."
            )
        factors = nest(factors) if self.nested else factors
        return {factor.name: factor for factor in factors}

    def _averaged(self, function, X, groups, integrate, y=None, **inputs):
        """``function(rows, laws)`` of blocks of rows, concatenated."""
        rows, codes = self._new_rows(X, groups, y, **inputs)
        out = []
        for block in blocks(rows.n, BLOCK):
            part = rows.take(block)
            own = [code[block] for code in codes]
            out.append(function(part, prediction.laws(self._fitted, part, own, integrate)))
        return np.concatenate(out)

    def predict(self, X, groups=None, *, integrate=True, offset=None, exposure=None, trials=None):
        """(n,) means of y given x and the groups.

        Parameters
        ----------
        X : array-like of shape (n, p)
        groups : as of `fit`, or None
            Groups that the fit met bring what it learnt of their effects. Other labels, missing
            labels, factors left out and None are groups that nothing is known of: their effects
            have the estimated law, with mean zero.
        integrate : bool, default=True
            Average the prediction over the law of the effects: the posterior of known groups, and
            the estimated one of others. False sets the effects to their posterior modes (means),
            and those of others to zero: the prediction for a typical new group.
        offset, exposure, trials : array-like (n,) or None
        """
        inputs = {"offset": offset, "exposure": exposure, "trials": trials}

        def mean(rows, laws: Laws):
            def at(eta):
                share = prediction.gate(self._fitted, eta)
                return (share * prediction.expert_means(self._fitted, rows, eta)).sum(axis=1)

            return prediction.average(laws, at)

        return self._averaged(mean, X, groups, integrate, **inputs)

    def predict_std(
        self, X, groups=None, *, integrate=True, offset=None, exposure=None, trials=None
    ):
        """(n,) standard deviations of y given x and the groups; parameters as of `predict`."""
        inputs = {"offset": offset, "exposure": exposure, "trials": trials}

        def deviation(rows, laws: Laws):
            def moments(eta):
                share = prediction.gate(self._fitted, eta)
                means = prediction.expert_means(self._fitted, rows, eta)
                square = prediction.spread(self._fitted, rows, means) + means**2
                return np.stack([(share * means).sum(axis=1), (share * square).sum(axis=1)], axis=1)

            first, second = prediction.average(laws, moments).T
            return np.sqrt(np.maximum(second - first**2, 0))

        return self._averaged(deviation, X, groups, integrate, **inputs)

    def predict_experts(
        self, X, groups=None, *, integrate=True, offset=None, exposure=None, trials=None
    ):
        """(n, K) means of the single experts; parameters as of `predict`."""
        inputs = {"offset": offset, "exposure": exposure, "trials": trials}

        def means(rows, laws):
            return prediction.average(
                laws, lambda eta: prediction.expert_means(self._fitted, rows, eta)
            )

        return self._averaged(means, X, groups, integrate, **inputs)

    def gate_proba(self, X, groups=None, *, integrate=True):
        """(n, K) gate probabilities; parameters as of `predict`."""

        def shares(rows, laws):
            return prediction.average(laws, lambda eta: prediction.gate(self._fitted, eta))

        return self._averaged(shares, X, groups, integrate)

    def log_prob(
        self, X, y, groups=None, *, integrate=True, offset=None, exposure=None, trials=None
    ):
        """(n,) log densities of single rows given x and the groups; parameters as of `predict`."""
        inputs = {"offset": offset, "exposure": exposure, "trials": trials}

        def log_density(rows, laws):
            joint = prediction.joint_densities(self._fitted, rows, laws)
            return np.log(np.maximum(joint.sum(axis=1), 1e-300))

        return self._averaged(log_density, X, groups, integrate, y, **inputs)

    def responsibilities(
        self, X, y, groups=None, *, integrate=True, offset=None, exposure=None, trials=None
    ):
        """(n, K) probabilities of the experts given x, y and the groups; as of `predict`."""
        inputs = {"offset": offset, "exposure": exposure, "trials": trials}

        def shares(rows, laws):
            joint = prediction.joint_densities(self._fitted, rows, laws)
            joint = np.maximum(joint, 1e-300)
            return joint / joint.sum(axis=1, keepdims=True)

        return self._averaged(shares, X, groups, integrate, y, **inputs)

    def score(self, X, y, groups=None, sample_weight=None, **inputs):
        """Coefficient of determination of `predict`."""
        return r2_score(y, self.predict(X, groups, **inputs), sample_weight=sample_weight)
