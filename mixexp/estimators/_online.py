"""`partial_fit`: online steps on mini-batches."""

from __future__ import annotations

from typing import Any

import numpy as np

from .._component import GATES, resolve
from .._validation import check_weight
from ..em.driver import EM
from ..em.online import OnlineState, first_state, online_step
from ..em.online_em import OnlineEM, check_learns_online
from ..em.params import MoEParams
from ..em.regular import is_regular
from ..em.rows import Rows
from ..em.status import Status
from ..em.summary import FitSummary, counts
from ..sources.elsewhere import held_elsewhere
from ._settings import resolve_expert, silent_rows


class OnlineMixin:
    """What estimators do with a batch."""

    online = True  # False for an estimator without `partial_fit`
    expert: Any
    gate: Any
    n_experts: Any
    solver: Any
    fit_summary_: FitSummary
    _model_: Any
    _params_: MoEParams
    _fit: Any
    _rows: Any
    _weights: Any
    _set_derived: Any

    def _partial_fit(self, X, y, sample_weight, **inputs):
        """One online step; the first batch is fitted on its own, from many starts."""
        found = held_elsewhere(X)
        if found is not None:
            raise ValueError(
                f"partial_fit takes one batch of rows in memory; got {found.name}. "
                "For epochs over the blocks of a dataset use fit with solver=OnlineEM(); or give "
                "its blocks one by one: for block in dataset.blocks(): "
                "model.partial_fit(block.X, block.y, sample_weight=block.weight)."
            )
        self._check_online()
        if not hasattr(self, "_online_"):
            self._fit(X, y, sample_weight, **inputs)
            rows = self._batch(X, y, sample_weight, **inputs)
            self._online_ = first_state(self._model_, self._params_, rows)
        else:
            rows = self._batch(X, y, sample_weight, **inputs)
            self._online_ = online_step(self._model_, self._online_, rows)
        self._store_online(self._online_)
        return self

    def _check_solver(self, gate, expert):
        if isinstance(self.solver, OnlineEM):
            self.solver.check(gate, expert, self.n_experts)
        elif self.solver is not None and not isinstance(self.solver, EM):
            raise TypeError(f"solver must be None, EM(...) or OnlineEM(...); got {self.solver!r}.")

    def _check_online(self):
        gate = resolve(self.gate, GATES, "gate")
        check_learns_online(gate, resolve_expert(self.expert), self.n_experts, "partial_fit")

    def _batch(self, X, y, sample_weight, **inputs) -> Rows:
        rows = self._rows(X, y, **inputs)
        weight = self._weights(check_weight(sample_weight, rows.X), y)
        rows = rows._replace(weight=weight)
        rows = rows if self._model_.expert.classifies else silent_rows(rows)
        self._model_.expert.check_target(rows.y, rows.trials)
        return rows

    def _store_online(self, state: OnlineState):
        self._params_ = state.params
        mass = state.statistics.expert.mass * state.weight
        soft, hard = (float(value) * state.weight for value in state.entropy)
        self.fit_summary_ = self.fit_summary_._replace(
            loglik=state.loglik * state.weight,
            n_units=state.weight,
            entropy=soft,
            hard_entropy=hard,
            **counts(self._model_, state.params),
            conditional_loglik=None,  # the batches were not kept
        )
        self.regular_ = bool(is_regular(self._model_, state.params, mass, state.weight))
        # nothing is maximised batch by batch: there is no path and no certificate
        self.objective_path_, self.certificate_ = np.empty(0), np.nan
        self.status_, self.n_iter_, self.expert_sizes_ = Status.ONLINE, state.n_batch, mass
        self._set_derived()


def learns_online(estimator) -> bool:
    """Whether the estimator offers `partial_fit`."""
    return estimator.online
