"""`GLoMERegressor`: Gaussian-gated localised experts, fitted forward or as inverse regression."""

from __future__ import annotations

import numpy as np
from scipy import sparse
from sklearn.utils.validation import check_array, check_is_fitted

from .._validation import check_n_experts, check_weight
from ..em.rows import Rows, columns_with_density
from ..experts import MultivariateGaussianExpert
from ..gates import GaussianGate
from ._inverse import forward_model, inverse_means, law_of
from .regressor import MoERegressor

_FROM_INVERSE = (
    "objective_path_",
    "status_",
    "certificate_",
    "n_iter_",
    "expert_sizes_",
    "regular_",
    "starts_",
)


class GLoMERegressor(MoERegressor):
    """Gaussian-gated localised mixture of Gaussian experts: a joint model of x and y.

    p(x, y) = sum_k pi_k N(x; c_k, Gamma_k) N(y; A_k x + b_k, Sigma_k), so that p(y | x) is a
    mixture of experts whose gate localises them in x. All M-steps are closed.

    Parameters
    ----------
    n_experts : int, default=2
    degree : int, default=1
        Degree of the experts' polynomial means; 1 for the inverse parametrisation.
    gate_covariance : {"full", "diagonal", "spherical"}, default="full"
        Structure of Gamma_k, the covariances of x in the classes. For the inverse
        parametrisation, of y in the classes.
    tied_gate_covariance : bool, default=False
    covariance : {"full", "diagonal", "spherical"} or None
        Structure of Sigma_k, the residual covariances of y given x; None is "full". For the
        inverse parametrisation, of x given y; None is "diagonal".
    tied_covariance : bool, default=False
    parametrisation : {"forward", "inverse"}, default="forward"
        "inverse" fits x | y, whose parameters stay few when columns are many, and converts it
        exactly into y | x (GLLiM). The covariance of x in a class is then Sigma_k plus a part of
        the rank of y.
    start : "default", MultiStart, fitted GLoMERegressor, or array
        As for `MoERegressor`.
    solver, warm_start, n_jobs, random_state
        As for `MoERegressor`.

    Attributes
    ----------
    inverse_model_ : MoERegressor
        The fitted regression of x on y, for the inverse parametrisation only.
    covariances_ : ndarray of shape (K, m, m)
        Residual covariances of y given x.
    gate_weights_, gate_means_ : ndarrays of shape (K,) and (K, p)
    gate_covariances_ : ndarray of shape (K, p, p)
        Of x in the classes; where they are low rank plus diagonal, ``gate_scales_`` (K, p) and
        ``gate_loadings_`` (K, p, m) stand for it.
    loglik_ : float
        Log-likelihood of (x, y); ``fit_summary_.conditional_loglik`` is that of y given x.

    The other attributes are those of `MoERegressor`.

    References
    ----------
    Nguyen, Nguyen, Chamroukhi and Forbes (2022), "A non-asymptotic approach for model selection
    via penalization in high-dimensional mixture of experts models", Electron. J. Stat. 16;
    Deleforge, Forbes and Horaud (2015), "High-dimensional regression with Gaussian mixtures and
    partially-latent response variables", Statistics and Computing 25.

    Examples
    --------
    >>> from mixexp import GLoMERegressor
    >>> from mixexp.datasets import load_ethanol
    >>> X, y = load_ethanol(return_X_y=True)
    >>> model = GLoMERegressor(n_experts=2).fit(X[:, [1]], y)
    >>> model.n_free_
    11
    """

    gate_features = None
    expert_features = None
    engine = "auto"
    takes_device = False

    def __init__(
        self,
        n_experts=2,
        *,
        degree=1,
        gate_covariance="full",
        tied_gate_covariance=False,
        covariance=None,
        tied_covariance=False,
        parametrisation="forward",
        start="default",
        solver=None,
        warm_start=False,
        n_jobs=None,
        random_state=None,
    ):
        self.n_experts = n_experts
        self.degree = degree
        self.gate_covariance = gate_covariance
        self.tied_gate_covariance = tied_gate_covariance
        self.covariance = covariance
        self.tied_covariance = tied_covariance
        self.parametrisation = parametrisation
        self.start = start
        self.solver = solver
        self.warm_start = warm_start
        self.n_jobs = n_jobs
        self.random_state = random_state

    @property
    def gate(self):
        """The gate that is fitted."""
        return GaussianGate(self.gate_covariance, self.tied_gate_covariance)

    @property
    def expert(self):
        """The family that is fitted."""
        default = "diagonal" if self._inverse else "full"
        covariance = default if self.covariance is None else self.covariance
        return MultivariateGaussianExpert(covariance, self.tied_covariance, degree=self.degree)

    @property
    def _inverse(self) -> bool:
        return self.parametrisation == "inverse"

    def _fit(self, X, y, sample_weight, **inputs):
        if self.parametrisation not in ("forward", "inverse"):
            raise ValueError(
                f"parametrisation must be 'forward' or 'inverse'; got {self.parametrisation!r}."
            )
        if not self._inverse:
            return super()._fit(X, y, sample_weight, **inputs)
        return self._fit_inverse("fit", X, y, sample_weight, inputs)

    def _partial_fit(self, X, y, sample_weight, **inputs):
        if not self._inverse:
            return super()._partial_fit(X, y, sample_weight, **inputs)
        return self._fit_inverse("partial_fit", X, y, sample_weight, inputs)

    # --- the inverse parametrisation --------------------------------------------------------

    def _fit_inverse(self, method, X, y, sample_weight, inputs):
        """Fit or update x | y, and read it forward."""
        if self.degree != 1:
            raise ValueError(f"parametrisation='inverse' needs degree=1; got {self.degree!r}.")
        given = [name for name, value in inputs.items() if value is not None]
        if given:
            raise ValueError(f"parametrisation='inverse' takes no {given[0]}=.")
        again = method == "partial_fit" and hasattr(self, "inverse_model_")
        if again:
            rows = self._rows(X, y)
            X, target, columns = rows.X, rows.y, self._model_.gate_columns
        else:
            X, target = self._check_data(X, y, self.expert)
            if sparse.issparse(X):
                raise TypeError("parametrisation='inverse' needs dense X; got a sparse matrix.")
            weight = check_weight(sample_weight, X)
            positive = len(target) if weight is None else int(np.count_nonzero(weight))
            check_n_experts(self.n_experts, positive)
            columns = columns_with_density(Rows(X, target, weight), np.arange(X.shape[1]), False)
        inner = self.inverse_model_ if again else self._inner()
        getattr(inner, method)(target, X[:, columns].astype(np.float64), sample_weight)
        if len(inner._model_.gate_columns) < target.shape[1]:
            raise ValueError(
                "parametrisation='inverse' models the responses, and some have no density: they "
                "are constant or linear combinations of others. Drop them from y."
            )
        if not again:
            self._constants = np.asarray(X[0], dtype=np.float64)
        self._read_forward(inner, columns, X, target, sample_weight)
        return self

    def _inner(self):
        """The regression of x on y, unfitted."""
        start = self.start
        if isinstance(start, GLoMERegressor):
            start = getattr(start, "inverse_model_", start)
        if self.warm_start and hasattr(self, "inverse_model_"):
            start = self.inverse_model_
        return MoERegressor(
            self.n_experts,
            gate=self.gate,
            expert=self.expert,
            start=start,
            solver=self.solver,
            n_jobs=self.n_jobs,
            random_state=self.random_state,
        )

    def _read_forward(self, inner, columns, X, target, sample_weight):
        self.inverse_model_ = inner
        law = law_of(inner._model_, inner._user_params(), np.arange(target.shape[1]))
        self._model_, self._params_ = forward_model(law, columns, X.shape[1])
        self._gate_columns = self._expert_columns = columns
        for name in _FROM_INVERSE:
            setattr(self, name, getattr(inner, name))
        rows = Rows(X, target)
        log_prob = self._map(rows, lambda part: self._model_.log_prob(self._params_, part))
        weight = np.ones(len(X)) if sample_weight is None else check_weight(sample_weight, X)
        summary = inner.fit_summary_
        known = summary.conditional_loglik is not None  # an online fit keeps no rows
        conditional = float(weight @ log_prob) if known else None
        self.fit_summary_ = summary._replace(conditional_loglik=conditional)
        self._set_derived()

    # --- predictions of x -------------------------------------------------------------------

    def predict_inverse(self, y):
        """(n, p) E[x | y] under the joint model.

        Parameters
        ----------
        y : array-like of shape (n,) or (n, m)

        Raises
        ------
        ValueError
            For polynomial means, which have no closed inverse, and where the gate left out
            columns that vary.
        """
        check_is_fitted(self)
        y = check_array(y, ensure_2d=False, dtype=np.float64, input_name="y")
        y = self._target(y, len(y))
        columns = self._model_.gate_columns
        if self._inverse:
            out = np.tile(self._constants, (len(y), 1))
            out[:, columns] = self.inverse_model_.predict(y).reshape(len(y), -1)
            return out
        if self.degree != 1 or len(columns) < self.n_features_in_:
            raise ValueError(
                "predict_inverse needs degree=1 and a gate that models every column of X; drop "
                "columns that are constant or linear combinations of others."
            )
        return inverse_means(law_of(self._model_, self._user_params(), columns), y)

    def _extra(self):
        if not self._inverse:
            return {}
        from ._saving import to_tree

        return {"inverse": to_tree(self.inverse_model_), "constants": self._constants}

    def _restore(self, extra):
        from ._saving import from_tree

        if self._inverse:
            self.inverse_model_ = from_tree(extra["inverse"])
            self._constants = extra["constants"]

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = not self._inverse
        return tags
