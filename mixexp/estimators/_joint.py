"""What estimators offer where the gate models x: the density of (x, y) and draws of it."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.utils.validation import check_is_fitted


class JointMixin:
    """Methods of a joint model p(x, y) = sum_k pi_k N(x; c_k, Gamma_k) f_k(y | x)."""

    _model_: Any
    _params_: Any
    n_features_in_: int
    _rows: Any
    _map: Any
    _names: Any
    _user_params: Any
    sample: Any

    def joint_log_prob(self, X, y, *, offset=None, exposure=None, trials=None):
        """(n,) log density of (x, y) under a gate that models x; on the gate's columns of X.

        Raises
        ------
        ValueError
            If the gate does not model x.
        """
        rows = self._rows(X, y, offset=offset, exposure=exposure, trials=trials)
        self._check_joint("joint_log_prob")
        return self._map(rows, lambda part: self._model_.log_likelihood(self._params_, part))

    def sample_joint(self, n, rng=None):
        """n draws (X, y) of a model whose gate models x.

        Parameters
        ----------
        n : int
        rng : numpy Generator, int or None

        Returns
        -------
        X (n, p), y
        """
        check_is_fitted(self)
        self._check_joint("sample_joint")
        model, rng = self._model_, np.random.default_rng(rng)
        if len(model.gate_columns) < self.n_features_in_:
            missing = np.delete(self._names(), model.gate_columns).tolist()
            raise ValueError(f"sample_joint: the gate does not model the columns {missing!r}.")
        user = self._user_params()
        X, _ = model.gate.sample(user.gate, n, rng)
        X = X[:, np.argsort(model.gate_columns)]
        return X, self.sample(X, rng)

    def _check_joint(self, what):
        if not self._model_.gate.joint:
            raise ValueError(
                f"{what} needs a gate that models x, such as gate='gaussian'; the gate is "
                f"{type(self._model_.gate).__name__}. log_prob is the density of y given x."
            )
