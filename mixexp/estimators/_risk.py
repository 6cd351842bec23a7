"""Densities, highest-density regions and expectations beyond a threshold, for `MoERegressor`."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.utils.validation import _num_samples, check_array

from ..em import predictive, regions, tails
from ..em.rows import blocks

TAILS = ("upper", "lower")


class RiskMixin:
    """What an estimator of numbers says of the shape and the tails of its predictive law."""

    _model_: Any
    _params_: Any
    _n_outputs: int
    _rows: Any
    _map: Any
    _one: Any
    _predictive: Any
    _fitted_expert: Any

    def predict_density(self, X, grid, *, offset=None, exposure=None, trials=None):
        """Density (or probability) of the predictive law at a common grid of targets.

        Parameters
        ----------
        X : array-like of shape (n, p)
        grid : array-like of shape (G,)
            Values of y.

        Returns
        -------
        (n, G), or (n, m, G) of each response on its own. `log_prob` gives one value per row.
        """
        grid = check_array(grid, ensure_2d=False, dtype=np.float64, input_name="grid").ravel()
        expert = self._fitted_expert()
        inputs = {"offset": offset, "exposure": exposure, "trials": trials}

        def densities(parts, rows):
            wide = np.broadcast_to(grid, (rows.n, len(grid)))
            ones = (parts.response(j) for j in range(parts.mean.shape[2]))
            return np.stack(
                [predictive.on_grid(predictive.density, one, expert, wide) for one in ones], axis=1
            )

        step = max(1, 2_000_000 // max(len(grid), 1))
        return self._predictive(X, densities, inputs, step)

    def predict_hdr(self, X, level=0.9, *, offset=None, exposure=None, trials=None):
        """Highest-density regions: the smallest sets with the given predictive probability.

        A mixture's region may consist of several intervals.

        Parameters
        ----------
        X : array-like of shape (n, p)
        level : float in (0, 1), or array-like of shape (n,), default=0.9

        Returns
        -------
        list of n arrays of shape (m_i, 2)
            Ends of the intervals of each row, from left to right. For counts both ends belong to
            the region, which holds the level at least. With several responses every entry is a
            list of such arrays, one for each response on its own.

        References
        ----------
        Hyndman (1996), "Computing and graphing highest density regions", The American Statistician
        50, 120-126.
        """
        expert = self._fitted_expert()
        levels = np.asarray(level, dtype=np.float64)
        if not np.all((levels > 0) & (levels < 1)):
            raise ValueError(f"level must lie strictly between 0 and 1; got {level!r}.")
        rows = self._rows(X, offset=offset, exposure=exposure, trials=trials)
        if levels.shape not in ((), (rows.n,)):
            raise ValueError(f"level has shape {levels.shape}; give one number, or {rows.n}.")
        levels = np.broadcast_to(levels, rows.n)
        found: list[list[np.ndarray]] = []
        for block in blocks(rows.n):
            parts = predictive.components(self._model_, self._params_, rows.take(block))
            each = [
                regions.highest_density(parts.response(j), expert, levels[block])
                for j in range(parts.mean.shape[2])
            ]
            found += [list(own) for own in zip(*each, strict=True)]
        return found if self._n_outputs else [own[0] for own in found]

    def hdr_level(self, X, y, *, offset=None, exposure=None, trials=None):
        """Level of the largest highest-density region that y lies outside of.

        P(f(Y | x) > f(y | x)): zero at the mode, near one for a strange target. For continuous
        targets it is uniform where the model holds.

        Returns
        -------
        (n,) or (n, m)
        """
        expert = self._fitted_expert()
        rows = self._rows(X, y, offset=offset, exposure=exposure, trials=trials)

        def levels(part):
            parts = predictive.components(self._model_, self._params_, part)
            each = (
                regions.content(parts.response(j), expert, part.y[:, j])
                for j in range(part.y.shape[1])
            )
            return np.stack(list(each), axis=1)

        return self._one(self._map(rows, levels))

    def expected_shortfall(
        self, X, q=0.95, tail="upper", *, offset=None, exposure=None, trials=None
    ):
        """Mean of y beyond a predictive quantile: expected shortfall, or tail value at risk.

        The mean of the largest share 1 - q of y, or with ``tail="lower"`` of the smallest share q.
        An atom at the quantile counts with the share that the tail lacks (Rockafellar and
        Uryasev, 2002, "Conditional value-at-risk for general loss distributions", Journal of
        Banking and Finance 26, 1443-1471).

        Parameters
        ----------
        X : array-like of shape (n, p)
        q : float in (0, 1), default=0.95
        tail : {"upper", "lower"}, default="upper"

        Returns
        -------
        (n,) or (n, m)
        """
        if not 0 < q < 1:
            raise ValueError(f"q must lie strictly between 0 and 1; got {q!r}.")
        if tail not in TAILS:
            raise ValueError(f"tail must be 'upper' or 'lower'; got {tail!r}.")
        expert = self._fitted_expert()
        inputs = {"offset": offset, "exposure": exposure, "trials": trials}
        return self._predictive(
            X, lambda parts, rows: tails.shortfall(parts, expert, q, tail), inputs
        )

    def limited_expectation(self, X, limit, *, offset=None, exposure=None, trials=None):
        """E[min(Y, limit) | x]: what is paid of a loss up to a limit.

        Parameters
        ----------
        X : array-like of shape (n, p)
        limit : float, or array-like of shape (n,) or (n, m)

        Returns
        -------
        (n,) or (n, m)
        """
        inputs = {"offset": offset, "exposure": exposure, "trials": trials}
        return self._beyond(tails.limited, X, limit, "limit", inputs)

    def stop_loss(self, X, retention, *, offset=None, exposure=None, trials=None):
        """E[(Y - retention)+ | x]: the net premium of the part of a loss above a retention.

        Parameters
        ----------
        X : array-like of shape (n, p)
        retention : float, or array-like of shape (n,) or (n, m)

        Returns
        -------
        (n,) or (n, m)
        """
        inputs = {"offset": offset, "exposure": exposure, "trials": trials}
        return self._beyond(tails.excess, X, retention, "retention", inputs)

    def _beyond(self, function, X, threshold, name, inputs):
        """``function`` at thresholds, which travel with the rows as their targets."""
        expert = self._fitted_expert()
        n, m = _num_samples(X), len(self._model_.scaling.y_scale)
        given = np.asarray(threshold, dtype=np.float64)
        if given.ndim == 0:
            given = np.full((n, m), given)
        if given.shape not in ((n, m), (n,) if m == 1 else (n, m)):
            raise ValueError(
                f"{name} has shape {given.shape}; give one number, or {n} rows of {m} response(s)."
            )
        if not np.isfinite(given).all():
            raise ValueError(f"{name} must be finite; got {given[~np.isfinite(given)][0]}.")
        rows = self._rows(X, given, **inputs)

        def values(part):
            parts = predictive.components(self._model_, self._params_, part)
            return function(parts, expert, part.y)

        return self._one(self._map(rows, values))
