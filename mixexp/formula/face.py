"""The face of the estimators on data frames."""

from __future__ import annotations

from typing import Any

import pandas as pd
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from mixexp.formula.encoding import Coded, Encoding
from mixexp.formula.frames import as_frame
from mixexp.formula.summary import summary_text


def _has(name: str):
    """Whether the estimator inside has a method."""
    return lambda self: hasattr(getattr(self, "estimator_", self._template()), name)


class FrameFace:
    """Predictions from the rows of data frames, and what a fit says of itself."""

    estimator_: Any
    encoding_: Encoding
    _template: Any

    def _rows(self, data, *, response: bool = False, missing: str = "raise") -> Coded:
        check_is_fitted(self, "estimator_")
        return self.encoding_.rows(as_frame(data), response=response, missing=missing)

    def _given_x(self, method: str, data, *args, **settings):
        coded = self._rows(data)
        return getattr(self.estimator_, method)(coded.X, *args, **settings, **coded.inputs)

    def _given_xy(self, method: str, data):
        coded = self._rows(data, response=True)
        return getattr(self.estimator_, method)(coded.X, coded.y, **coded.inputs)

    def _of_units(self, method: str, data, **settings):
        coded = self._rows(data, response=True)
        return getattr(self.estimator_, method)(coded.X, coded.y, **coded.with_groups, **settings)

    def design(self, data) -> pd.DataFrame:
        """(n, p) columns of experts and gate together, as ``estimator_`` takes them."""
        return self._rows(data).X

    def response(self, data):
        """(n,) or (n, m) response of the rows, transformed as the formula says."""
        return self._rows(data, response=True).y

    def predict(self, data):
        """(n,) or (n, m) means of the response given the row; for classes the most probable."""
        return self._given_x("predict", data)

    def predict_experts(self, data):
        """(n, K, ...) means, or class probabilities, of the single experts."""
        return self._given_x("predict_experts", data)

    @available_if(_has("predict_proba"))
    def predict_proba(self, data):
        """(n, C) class probabilities, in the order of ``classes_``."""
        return self._given_x("predict_proba", data)

    @available_if(_has("predict_log_proba"))
    def predict_log_proba(self, data):
        """(n, C) log class probabilities."""
        return self._given_x("predict_log_proba", data)

    @available_if(_has("predict_std"))
    def predict_std(self, data):
        """(n,) or (n, m) predictive standard deviations."""
        return self._given_x("predict_std", data)

    @available_if(_has("predict_quantile"))
    def predict_quantile(self, data, q):
        """Predictive quantiles: (n,) for one q, a further last axis for several."""
        return self._given_x("predict_quantile", data, q)

    @available_if(_has("predict_interval"))
    def predict_interval(self, data, level=0.9):
        """(n, 2) equal-tailed predictive intervals."""
        return self._given_x("predict_interval", data, level=level)

    def sample(self, data, rng=None):
        """(n,) or (n, m) draws of the response given the row.

        Rows of one group are drawn from one expert where the data have the column of groups.
        """
        check_is_fitted(self, "estimator_")
        frame, name = as_frame(data), self.encoding_.roles.groups
        known = {"groups": frame[name].to_numpy()} if name in frame else {}
        return self._given_x("sample", frame, rng, **known)

    def gate_proba(self, data):
        """(n, K) gate probabilities."""
        return self.estimator_.gate_proba(self._rows(data).X)

    def predict_component(self, data):
        """(n,) most probable expert given the row without its response."""
        return self.gate_proba(data).argmax(axis=1)

    def log_prob(self, data):
        """(n,) log density (or probability) of the response, which the data must hold.

        With ``groups`` one value a group, in the order of the sorted labels.
        """
        return self._of_units("log_prob", data)

    def responsibilities(self, data, *, expert_prior=None):
        """(n, K) probabilities of the experts given the row, or its group, and the response.

        Parameters
        ----------
        expert_prior : array-like (n, K) or None
            What is known of the rows' experts, as in `fit`.
        """
        prior = {} if expert_prior is None else {"expert_prior": expert_prior}
        return self._of_units("responsibilities", data, **prior)

    @available_if(_has("cdf"))
    def cdf(self, data):
        """(n,) or (n, m) predictive distribution function at the response."""
        return self._given_xy("cdf", data)

    # --- reading the fit --------------------------------------------------------------------

    def summary(self) -> str:
        """Readable text: how the fit ended, experts and gate by term."""
        check_is_fitted(self, "estimator_")
        return summary_text(self)

    def __str__(self):
        return summary_text(self) if hasattr(self, "estimator_") else repr(self)

    @property
    def fit_summary_(self):
        """What criteria read."""
        return self.estimator_.fit_summary_

    @property
    def n_free_(self) -> int:
        """Number of free parameters."""
        return self.estimator_.n_free_

    @property
    def loglik_(self) -> float:
        """Weighted log-likelihood of the response as the formula writes it."""
        return self.estimator_.loglik_

    @property
    def n_experts_(self) -> int:
        """Number of experts."""
        return self.estimator_.n_experts_

    @property
    def status_(self):
        """How the fit ended."""
        return self.estimator_.status_

    @property
    def converged_(self) -> bool:
        """Whether it ended at an optimum."""
        return self.estimator_.converged_

    @property
    def dispersion_(self):
        """Standard deviations or shapes of the experts, or None."""
        return self.estimator_.dispersion_

    @property
    def n_units_(self) -> float:
        """Total weight of the rows, or of the groups that share one expert."""
        return self.estimator_.n_units_

    @property
    def expert_sizes_(self):
        """(K,) effective rows, or groups, of the experts."""
        return self.estimator_.expert_sizes_

    @property
    def starts_(self):
        """Table of the optima that the starts met."""
        return self.estimator_.starts_

    @property
    def thresholds_(self):
        """(K, C - 1) thresholds of ordinal experts."""
        return self.estimator_.thresholds_

    @property
    def classes_(self):
        """Classes of the response, where it is one."""
        return self.estimator_.classes_
