"""Fitted attributes on the user's scale, and the names under which they are shown."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..em.params import MoEParams
from ..em.status import Status
from ..em.summary import FitSummary


class ReadingMixin:
    """What estimators derive from model, parameters and summary."""

    n_features_in_: int
    fit_summary_: FitSummary
    status_: Status
    _model_: Any
    _params_: MoEParams
    _n_outputs: int

    def _set_derived(self):
        """Attributes that follow from the others: what a loaded file need not hold."""
        self.n_experts_ = self._model_.K
        self.loglik_ = self.fit_summary_.loglik
        self.n_free_ = self.fit_summary_.n_free
        self.n_units_ = self.fit_summary_.n_units
        self.converged_ = self.status_.converged
        self._set_coefficients()

    def _set_coefficients(self):
        """Coefficients on the user's scale."""
        model, user = self._model_, self._user_params()
        names = self._names()
        self.gate_feature_names_ = names[model.gate_columns]
        self.expert_feature_names_ = names[model.expert_columns]
        shown = model.gate.display(user.gate, self.gate_feature_names_)
        for name, value in (shown | model.expert.display(user.expert)).items():
            setattr(self, name, value)
        own = model.expert.main_coef(user.expert)
        coef, intercept = own[..., 1:], own[..., 0]
        dispersion = getattr(user.expert, "dispersion", None)
        if not model.expert.classifies:
            coef, intercept = self._squeeze(coef, 1), self._squeeze(intercept, 1)
            dispersion = self._squeeze(dispersion, 1) if model.expert.has_dispersion else None
        self.coef_, self.intercept_, self.dispersion_ = coef, intercept, dispersion

    def _gate_table(self):
        """Title, row names and values of the gate on the user's scale."""
        gate = self._user_params().gate
        return self._model_.gate.table(gate, list(map(str, self.gate_feature_names_)))

    def _user_params(self):
        return self._model_.in_user_units(self._params_)

    def _expert_labels(self) -> list[str]:
        """What the experts are called where they are shown."""
        return [f"expert {k}" for k in range(self._model_.K)]

    def _squeeze(self, array, axis):
        """Drop the axis of responses where y was one-dimensional."""
        return array if self._n_outputs else np.squeeze(array, axis=axis)

    def _names(self):
        given = getattr(self, "feature_names_in_", None)
        if given is None:
            given = [f"x{j}" for j in range(self.n_features_in_)]
        return np.array([*given, *getattr(self, "_monomials", ())], dtype=object)
