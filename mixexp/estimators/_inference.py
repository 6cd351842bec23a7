"""`inference` of estimators: standard errors, tests, and partial effects on predictions."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import sparse
from sklearn.utils.validation import check_is_fitted

from .._validation import check_columns, check_weight, check_weights_of_experts
from ..em import predictive
from ..inference import FittedModel, InferenceResult, infer
from ..sources import Source
from ._groups import check_groups

STEP = 1e-4  # of a column's standard deviation


class InferenceMixin:
    """What is said of the precision of a fit."""

    _model_: Any
    _params_: Any
    status_: Any
    n_features_in_: int
    gate_feature_names_: Any
    expert_feature_names_: Any
    _rows: Any
    _weights: Any
    _with_monomials: Any
    _units: Any
    _expert_labels: Any
    _blocked_rows: Any

    def inference(
        self,
        X=None,
        y=None,
        sample_weight=None,
        *,
        covariance="observed",
        groups=None,
        expert_prior=None,
        weights="frequency",
        reference=0,
        hold=(),
        n_boot=200,
        bootstrap="nonparametric",
        random_state=0,
        n_jobs=None,
        **inputs,
    ) -> InferenceResult:
        """Standard errors, tests and intervals of gate and experts.

        Parameters
        ----------
        X, y, sample_weight
            The rows of the fit; or its dataset alone, for "observed", "opg" and "sandwich" with
            frequency weights.
        covariance : {"observed", "opg", "sandwich", "cluster", "density", "bootstrap"}
            Inverse of the observed information (Louis, 1982); of the sum of outer products of
            scores; the sandwich of both, valid where the law of y given x is mis-specified (White,
            1982); the same with scores summed within ``groups``; for Laplace experts, whose density
            has a kink, the sandwich with the density of the residuals at the planes, from the rows
            within a bandwidth (Powell, 1991); or the spread of refits.
        groups : array-like (n,) or None
            Clusters of rows, for "cluster" and "bootstrap". Of a fit with ``groups=``: its groups,
            which are the units of every covariance.
        expert_prior : array-like (n, K) or None
            That of the fit, whose objective is the likelihood with it.
        weights : {"frequency", "sampling", "precision"}
            What ``sample_weight`` declares: numbers of equal rows, which add up to n; inverse
            probabilities of being sampled, which need a robust covariance; or relative precisions.
        reference : int
            Expert that the gate's coefficients are relative to.
        hold : sequence of str
            Names of parameters to hold at their estimates, such as slopes that are not determined.
        n_boot : int
        bootstrap : {"nonparametric", "parametric", "weighted"}
        random_state : int
        n_jobs : int or None
            Processes of the bootstrap.
        **inputs
            ``offset``, ``exposure`` and ``trials`` of the fit.

        Returns
        -------
        InferenceResult

        Raises
        ------
        NotRegularError
            Where standard errors do not exist: a gate that separates, a scale on its bound, an
            ordinal expert without rows of a class, an information that is singular, a penalty, a
            part that is not smooth. The message names the reason and what remains valid.
        """
        check_is_fitted(self)
        _check_inputs(inputs)
        if isinstance(X, Source):
            given = {"y": y, "sample_weight": sample_weight, "groups": groups, **inputs}
            given["expert_prior"] = expert_prior
            _check_blocks(X, given, covariance, weights)
            fitted = self._fitted_model(self._blocked_rows(X), None)
            return infer(fitted, covariance, reference=reference, hold=hold)
        if X is None:
            raise ValueError(
                "a fitted model does not keep the rows: call inference(X, y) with those of the fit."
            )
        if y is None:
            raise ValueError("inference needs y, the target of the fit, beside X.")
        rows = self._rows(X, y, **inputs)
        weight = self._weights(check_weight(sample_weight, rows.X), y)
        rows = rows._replace(weight=weight, prior=self._prior(expert_prior, rows.n))
        if self._model_.grouped:
            rows = self._of_groups(rows, groups)
            groups = np.arange(rows.n_units) if covariance == "cluster" else None
        elif groups is not None and len(groups) == rows.n:
            groups = check_groups(groups, rows.n).codes
        return infer(
            self._fitted_model(rows, _Effects(self, X, rows)),
            covariance,
            groups=groups,
            weights=weights,
            reference=reference,
            hold=hold,
            n_boot=n_boot,
            bootstrap_kind=bootstrap,
            seed=random_state,
            n_jobs=n_jobs,
        )

    def _fitted_model(self, rows, effects) -> FittedModel:
        names: tuple[list[str], ...] = (
            list(map(str, self.gate_feature_names_)),
            list(map(str, self.expert_feature_names_)),
        )
        if hasattr(self, "contexts_"):
            names += (self._expert_labels(),)
        return FittedModel(self._model_, self._params_, rows, names, self.status_, effects)

    def _prior(self, expert_prior, n):
        """(n, K) what the fit knew of the rows' experts; None where it knew nothing."""
        prior = None
        if expert_prior is not None:
            prior = check_weights_of_experts(expert_prior, n, self._model_.K)
            prior = None if (prior == 1).all() else prior
        if (prior is None) != (self._model_.prior_likelihood is None):
            known = "with" if prior is None else "without"
            raise ValueError(
                f"The model was fitted {known} expert_prior=, which is part of its likelihood: "
                f"give inference the same{'' if prior is None else ', none'}."
            )
        return prior

    def _of_groups(self, rows, groups):
        """The rows of a fit to groups, group after group."""
        if groups is None:
            raise ValueError(
                "The model was fitted with groups=, which are the units of its likelihood: give "
                "inference(..., groups=...) the same labels."
            )
        return self._units(rows, groups)[0]


def _check_blocks(dataset, given, covariance, weights):
    """Refuse what inference on a dataset of blocks has not."""
    beside = [name for name, value in given.items() if value is not None]
    if beside:
        raise ValueError(
            f"{beside[0]}= goes with rows in memory; {type(dataset).__name__} holds what it has."
        )
    if covariance not in ("observed", "opg", "sandwich") or weights != "frequency":
        raise ValueError(
            f"covariance={covariance!r} with weights={weights!r} needs rows in memory. Over a "
            "dataset there are 'observed', 'opg' and 'sandwich' with frequency weights."
        )


def _check_inputs(inputs):
    unknown = sorted(set(inputs) - {"offset", "exposure", "trials"})
    if unknown:
        raise TypeError(
            f"inference has no argument {unknown[0]!r}. Standard errors are chosen by covariance=, "
            "and rows take offset=, exposure= and trials= of the fit."
        )


class _Effects:
    """Partial effects as a function of the parameters; see `InferenceResult.margins`."""

    def __init__(self, estimator, X, rows):
        self.estimator, self.rows = estimator, rows
        own = rows.X[:, : estimator.n_features_in_]
        self.X = own.toarray() if sparse.issparse(own) else np.asarray(own, dtype=float)

    def __call__(self, what, features, at, q, expert):
        """Names of the columns and the function from parameters to their effects."""
        estimator, model = self.estimator, self.estimator._model_
        predict = _prediction(model, what, q, expert)
        names = getattr(estimator, "feature_names_in_", None)
        p = estimator.n_features_in_
        columns = check_columns(features, names, p, "features")
        shown = [f"x{j}" for j in range(p)] if names is None else list(map(str, names))
        X, rows, weight = self._where(at)
        moves = [self._moved(X, j) for j in columns]

        def values(params):
            out = []
            for low, high, distance in moves:
                ends = (predict(params, self._with(rows, moved)) for moved in (high, low))
                out.append(weight @ (next(ends) - next(ends)) / distance)
            return np.array(out)

        return [shown[j] for j in columns], values

    def _where(self, at):
        weight = np.ones(self.rows.n) if self.rows.weight is None else self.rows.weight
        share = weight / weight.sum()
        if isinstance(at, str) and at == "overall":
            return self.X, self.rows, share
        if isinstance(at, str) and at == "mean":
            point = share @ self.X
        elif isinstance(at, str):
            raise ValueError(f"at must be 'overall', 'mean' or one row; got {at!r}.")
        else:
            point = np.asarray(at, dtype=float).ravel()
        if len(point) != self.X.shape[1]:
            raise ValueError(f"at needs {self.X.shape[1]} values; got {len(point)}.")
        return point[None, :], self.rows.take(slice(0, 1)), np.ones(1)

    def _moved(self, X, j):
        """X with column j lower and higher, and the distance."""
        low, high = X.copy(), X.copy()
        if np.isin(self.X[:, j], (0.0, 1.0)).all():
            low[:, j], high[:, j] = 0.0, 1.0
            return low, high, 1.0
        step = STEP * (self.X[:, j].std() or 1.0)
        low[:, j] -= step
        high[:, j] += step
        return low, high, 2 * step

    def _with(self, rows, X):
        return rows._replace(X=self.estimator._with_monomials(X, self.estimator._model_.expert))


def _prediction(model, what, q, expert):
    """Function of parameters and rows to (n,) predictions."""
    if what == "gate":
        if not 0 <= expert < model.K:
            raise ValueError(f"expert must be 0..{model.K - 1}; got {expert!r}.")
        return lambda params, rows: np.exp(model.log_gate(params, rows.X))[:, expert]
    if model.expert.classifies or len(model.scaling.y_scale) > 1:
        raise ValueError("margins of the mean and of quantiles need a single numeric response.")
    if what == "mean":
        return lambda params, rows: predictive.mean(predictive.components(model, params, rows))[
            :, 0
        ]
    if what == "quantile":
        if not 0 < q < 1:
            raise ValueError(f"q must lie strictly between 0 and 1; got {q!r}.")

        def quantiles(params, rows):
            parts = predictive.components(model, params, rows)
            return predictive.quantile(parts, model.expert, q)[:, 0]

        return quantiles
    raise ValueError(f"what must be 'mean', 'quantile' or 'gate'; got {what!r}.")
