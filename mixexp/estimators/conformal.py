"""Conformal prediction around a mixture of experts: coverage that holds whatever the truth is."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, RegressorMixin, clone
from sklearn.model_selection import train_test_split
from sklearn.utils import _safe_indexing
from sklearn.utils.validation import _num_samples, check_array, check_is_fitted, column_or_1d

from ._conformity import SCORES, inside_support
from .regressor import MoERegressor


class ConformalMoERegressor(RegressorMixin, BaseEstimator):
    """Prediction sets with finite-sample coverage: split conformal prediction.

    Some rows fit the model, the others calibrate it: a conformity score says how strange each of
    their targets is under the model, and a new row's region holds all targets that are no stranger
    than the ceil((n + 1) level)-th smallest of the n scores. If the rows are exchangeable with the
    new one, the region covers its target with at least the probability ``level``, whether or not
    the model is true (Vovk, Gammerman and Shafer, 2005; Lei, G'Sell, Rinaldo, Tibshirani and
    Wasserman, 2018). The coverage is an average over x.

    Parameters
    ----------
    estimator : MoERegressor or None
        The model; None is ``MoERegressor()``.
    conformity : str, default="quantile"
        - ``"absolute"``: the distance from the mean; all intervals are of one width.
        - ``"normalised"``: that distance in predictive standard deviations.
        - ``"quantile"``: the distance beyond the equal-tailed interval of the level (conformalised
          quantile regression; Romano, Patterson and Candes, 2019).
        - ``"distribution"``: the distance of F(y | x) from one half (Chernozhukov, Wuthrich and
          Zhu, 2021).
        - ``"density"``: the level of the smallest highest-density region that holds y (Izbicki,
          Shimizu and Stern, 2022); regions may consist of several intervals.
    level : float in (0, 1), default=0.9
    calibration_size : float or int, default=0.3
        Share or number of the rows that `fit` keeps for the calibration.
    random_state : int, RandomState or None
        Seed of the split; None is 0.

    Attributes
    ----------
    estimator_ : MoERegressor
        The fitted model.
    scores_ : ndarray of shape (n_calibration,)
        Conformity scores of the calibration rows, in increasing order.
    weights_ : ndarray of shape (n_calibration,)
        Their weights.
    threshold_ : float
        The largest score that a region holds.

    References
    ----------
    Vovk, Gammerman and Shafer (2005), "Algorithmic learning in a random world". Lei et al. (2018),
    Journal of the American Statistical Association 113, 1094-1111. Romano, Patterson and Candes
    (2019), NeurIPS 32. Chernozhukov, Wuthrich and Zhu (2021), PNAS 118. Izbicki, Shimizu and Stern
    (2022), Journal of Machine Learning Research 23(87).

    Examples
    --------
    >>> from mixexp import ConformalMoERegressor, MoERegressor
    >>> from mixexp.datasets import load_ethanol
    >>> X, y = load_ethanol(return_X_y=True)
    >>> model = ConformalMoERegressor(MoERegressor(2), level=0.8).fit(X, y)
    >>> model.predict_interval(X).shape
    (88, 2)
    """

    estimator_: Any

    def __init__(
        self,
        estimator=None,
        *,
        conformity="quantile",
        level=0.9,
        calibration_size=0.3,
        random_state=None,
    ):
        self.estimator = estimator
        self.conformity = conformity
        self.level = level
        self.calibration_size = calibration_size
        self.random_state = random_state

    def fit(self, X, y, sample_weight=None, *, offset=None, exposure=None, trials=None):
        """Fit the model to some of the rows and calibrate it with the others.

        Parameters
        ----------
        X : array-like, data frame or scipy sparse of shape (n, p)
        y : array-like of shape (n,)
        sample_weight : array-like (n,) or None
            A weight of 2 equals the row twice, in the fit and in the calibration.
        offset, exposure, trials : array-like (n,) or None
            Row-wise inputs, as of `MoERegressor.fit`.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If too few rows are left for the calibration at the level, or the input is unusable.
        """
        self._check_settings()
        model = MoERegressor() if self.estimator is None else clone(self.estimator)
        inputs = _given(offset=offset, exposure=exposure, trials=trials)
        rows = np.arange(_num_samples(X))
        seed = 0 if self.random_state is None else self.random_state
        fitted, kept = train_test_split(rows, test_size=self.calibration_size, random_state=seed)
        parts = [_rows(X, y, sample_weight, inputs, part) for part in (fitted, kept)]
        self._check_size(parts[1][2], len(kept))
        (X_fit, y_fit, weight, own), calibration = parts
        model.fit(X_fit, y_fit, **({} if weight is None else {"sample_weight": weight}), **own)
        return self._calibrate(model, *calibration)

    def _calibrate(self, model, X, y, weight, inputs):
        check_is_fitted(model)
        model._model_.check_ungrouped("Conformal prediction")
        if model._n_outputs:
            raise ValueError("Conformal prediction needs one response; y of the fit had several.")
        y = column_or_1d(check_array(y, ensure_2d=False, dtype=np.float64, input_name="y"))
        weight = np.ones(len(y)) if weight is None else np.asarray(weight, dtype=np.float64)
        self._check_size(weight, len(y))
        scores = SCORES[self.conformity].scores(model, X, y, self.level, inputs)
        counted = weight > 0
        order = np.argsort(scores[counted], kind="stable")
        self.estimator_ = model
        self.scores_, self.weights_ = scores[counted][order], weight[counted][order]
        self.threshold_ = float(self._thresholds(np.ones(1))[0])
        return self

    def _check_settings(self):
        if self.conformity not in SCORES:
            raise ValueError(
                f"conformity must be one of {sorted(SCORES)}; got {self.conformity!r}."
            )
        if not 0 < self.level < 1:
            raise ValueError(f"level must lie strictly between 0 and 1; got {self.level!r}.")

    def _check_size(self, weight, n):
        """At least level / (1 - level) rows: fewer cannot bound any new target."""
        if weight is not None:
            weight = np.asarray(weight, dtype=np.float64)
            if weight.shape != (n,) or not weight.min() >= 0:
                raise ValueError(f"sample_weight needs {n} non-negative numbers, one per row.")
        total = n if weight is None else weight.sum()
        if total + 1e-9 < self.level / (1 - self.level):
            raise ValueError(
                f"level={self.level} needs at least {np.ceil(self.level / (1 - self.level)):.0f} "
                f"calibration rows; got {total:g}. Keep more rows for the calibration or lower "
                "the level."
            )

    def _thresholds(self, weight):
        """(n,) thresholds of new rows of the given weights."""
        held = np.cumsum(self.weights_)
        needed = self.level * (held[-1] + weight) * (1 - 1e-12)
        place = np.searchsorted(held, needed)
        return np.append(self.scores_, np.inf)[place]

    # --- predictions ------------------------------------------------------------------------

    def predict(self, X, *, offset=None, exposure=None, trials=None):
        """(n,) means of the model."""
        inputs = _given(offset=offset, exposure=exposure, trials=trials)
        return self._fitted().predict(X, **inputs)

    def score(self, X, y, sample_weight=None, *, offset=None, exposure=None, trials=None):
        """Coefficient of determination of `predict`."""
        inputs = _given(offset=offset, exposure=exposure, trials=trials)
        return self._fitted().score(X, y, sample_weight, **inputs)

    def predict_interval(self, X, *, weight=None, offset=None, exposure=None, trials=None):
        """(n, 2) intervals that cover a new target with the level's probability.

        Parameters
        ----------
        X : array-like of shape (n, p)
        weight : array-like (n,) or None
            Under covariate shift: the likelihood ratios of the rows, in the unit of the
            calibration's ``sample_weight``, which are the ratios of its rows (Tibshirani, Barber,
            Candes and Ramdas, 2019, NeurIPS 32). None is 1. A row of large weight may have an
            unbounded interval.

        Raises
        ------
        ValueError
            With ``conformity="density"``, whose regions are no intervals: see `predict_region`.
        """
        if self.conformity == "density":
            raise ValueError(
                "conformity='density' gives regions of several intervals: use predict_region, or "
                "another score."
            )
        inputs = _given(offset=offset, exposure=exposure, trials=trials)
        ends = self._regions(X, weight, inputs)
        return inside_support(ends, self.estimator_._model_.expert, trials)

    def predict_region(self, X, *, weight=None, offset=None, exposure=None, trials=None):
        """List of n arrays of shape (m_i, 2): the intervals of each row's region.

        For counts both ends belong to a region. Parameters are those of `predict_interval`.
        """
        inputs = _given(offset=offset, exposure=exposure, trials=trials)
        expert = self._fitted()._model_.expert
        many = None if trials is None else np.broadcast_to(trials, _num_samples(X))
        found = self._regions(X, weight, inputs)
        return [
            inside_support(np.atleast_2d(own), expert, None if many is None else many[i])
            for i, own in enumerate(found)
        ]

    def _fitted(self):
        check_is_fitted(self)
        return self.estimator_

    def _regions(self, X, weight, inputs):
        model, n = self._fitted(), _num_samples(X)
        if weight is None:
            thresholds = np.full(n, self.threshold_)
        else:
            weight = np.asarray(weight, dtype=np.float64)
            if weight.shape != (n,) or not (weight >= 0).all():
                raise ValueError(f"weight needs {n} non-negative numbers, one per row.")
            thresholds = self._thresholds(weight)
        return SCORES[self.conformity].region(model, X, thresholds, self.level, inputs)

    @property
    def n_features_in_(self):
        """Number of columns of the fit."""
        return self._fitted().n_features_in_

    def __sklearn_is_fitted__(self):
        return hasattr(self, "estimator_")


def conformalize(
    model,
    X,
    y,
    *,
    conformity="quantile",
    level=0.9,
    sample_weight=None,
    offset=None,
    exposure=None,
    trials=None,
):
    """A fitted model with prediction sets calibrated on rows that it has not seen.

    Parameters
    ----------
    model : fitted MoERegressor
    X : array-like of shape (n, p)
        Calibration rows. They must not have been used in the fit.
    y : array-like of shape (n,)
    conformity, level
        See `ConformalMoERegressor`.
    sample_weight : array-like (n,) or None
        A weight of 2 equals the row twice; or likelihood ratios under covariate shift.
    offset, exposure, trials : array-like (n,) or None
        Row-wise inputs of the rows.

    Returns
    -------
    ConformalMoERegressor
        Fitted; its ``estimator_`` is the model.

    Raises
    ------
    ValueError
        If there are fewer rows than level / (1 - level), or the model has several responses.
    """
    found = ConformalMoERegressor(model, conformity=conformity, level=level)
    found._check_settings()
    inputs = _given(offset=offset, exposure=exposure, trials=trials)
    return found._calibrate(model, X, y, sample_weight, inputs)


def _given(**inputs):
    """The row-wise inputs that were given."""
    return {name: values for name, values in inputs.items() if values is not None}


def _rows(X, y, weight, inputs, rows):
    """X, y, weight and inputs at some rows."""
    take = {name: _spread(values, _num_samples(X))[rows] for name, values in inputs.items()}
    weight = None if weight is None else np.asarray(weight)[rows]
    return _safe_indexing(X, rows), _safe_indexing(y, rows), weight, take


def _spread(values, n):
    return np.broadcast_to(values, n) if np.ndim(values) == 0 else np.asarray(values)
