"""Probabilities of the experts and of what was seen, row by row."""

from __future__ import annotations

from typing import Any

import numpy as np

from .._validation import check_prior_alone, check_weights_of_experts
from ..em.params import MoEParams
from ._lazy import lazy, of_experts, single


class PosteriorMixin:
    """What estimators say of rows: which expert they are from, and how probable their target is."""

    n_experts_: int
    _model_: Any
    _params_: MoEParams
    _rows: Any
    _map: Any
    _units: Any

    @lazy(of_experts)
    def gate_proba(self, X):
        """Gate probabilities pi_k(x).

        Parameters
        ----------
        X : array-like or sparse of shape (n, p)

        Returns
        -------
        (n, K) ndarray; rows sum to one.
        """
        rows = self._rows(X)
        model, params = self._model_, self._params_
        return self._map(rows, lambda part: np.exp(model.log_gate(params, part.X)))

    @lazy(single, lambda estimator: np.intp)
    def predict_component(self, X):
        """(n,) index of the most probable expert given x alone."""
        return self.gate_proba(X).argmax(axis=1)

    @lazy(of_experts)
    def responsibilities(
        self,
        X,
        y,
        *,
        offset=None,
        exposure=None,
        trials=None,
        groups=None,
        expert_prior=None,
    ):
        """Posterior probabilities of the experts given x and y.

        Parameters
        ----------
        groups : array-like (n,) or None
            Rows with one label share one expert, and have its probabilities given all of them.
        expert_prior : array-like (n, K) or None
            What is known of the rows' experts, as in `MoERegressor.fit`.

        Returns
        -------
        (n, K) ndarray; rows sum to one.
        """
        rows = self._rows(X, y, offset=offset, exposure=exposure, trials=trials)
        check_prior_alone(expert_prior, groups)
        rows, back = self._units(rows, groups)
        if expert_prior is not None:
            rows = rows._replace(
                prior=check_weights_of_experts(expert_prior, rows.n, self.n_experts_)
            )
        return back(
            self._map(rows, lambda part: self._model_.responsibilities(self._params_, part))
        )

    @lazy(single)
    def log_prob(self, X, y, *, offset=None, exposure=None, trials=None, groups=None):
        """(n,) log density (or probability) of y given x, all constants included.

        Parameters
        ----------
        groups : array-like (n,) or None
            Rows with one label share one expert.

        Returns
        -------
        (n,) ndarray; with groups (G,): of each group's rows together, in the order of
        ``numpy.unique(groups)``.
        """
        rows = self._rows(X, y, offset=offset, exposure=exposure, trials=trials)
        rows, _ = self._units(rows, groups)
        return self._map(rows, lambda part: self._model_.log_prob(self._params_, part))
