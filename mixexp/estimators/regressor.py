"""`MoERegressor`: mixtures of Gaussian and other generalised linear experts."""

from __future__ import annotations

import numpy as np
from sklearn.base import RegressorMixin
from sklearn.metrics import r2_score
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_array

from .._component import EXPERTS
from ..em import predictive
from ._base import BLOCK, BaseMoE
from ._lazy import lazy
from ._online import learns_online
from ._risk import RiskMixin
from ._scoring import r2_over, source_given
from ._settings import check_multi_output
from .intervals import Intervals


def _of_responses(estimator, settings):
    """Shape of one value for each response."""
    return (estimator._n_outputs,) if estimator._n_outputs else ()


def _of_means(estimator, settings):
    return (estimator.n_experts_, *_of_responses(estimator, settings))


def _of_quantiles(estimator, settings):
    return (*_of_responses(estimator, settings), *np.shape(settings["q"]))


def _of_ends(estimator, settings):
    return (*_of_responses(estimator, settings), 2)


class MoERegressor(RegressorMixin, RiskMixin, BaseMoE):
    """Mixture of regression experts with a gate, fitted by maximum likelihood.

    p(y | x) = sum_k pi_k(x) f_k(y | x): the gate pi splits the input space softly, and each
    expert f_k is a generalised linear model.

    Parameters
    ----------
    n_experts : int, default=2
    gate : {"softmax", "constant"} or Gate, default="softmax"
    expert : {"gaussian", "poisson", "binomial", "gamma"} or Expert, default="gaussian"
        An instance carries its own settings: ``GaussianExpert(penalty=L2(0.01))``.
    gate_features, expert_features : None, slice, or sequence of names, positions or a mask
        Columns of each half; None means all.
    start : "default", MultiStart, fitted estimator, or array
        Labels (n,) or responsibilities (n, K) begin one run from there. A fitted estimator with
        as many experts does the same; one with fewer experts adds its splits to the search,
        which is its own ``MultiStart`` where it has one.
    solver : EM, OnlineEM or None
        Tolerances, limits, acceleration, checkpoints; or a few epochs over mini-batches.
    engine : {"auto", "memory", "stream", "gpu", "dask"} or GPU, default="auto"
        Where passes over the rows run. "auto" goes by X: a GPU for CuPy arrays, blocks for a
        dataset of them, the workers of a cluster for Dask collections, memory for all others.
    warm_start : bool, default=False
        Begin a further `fit` at the parameters of the last one.
    n_jobs : int or None
        Threads of a pass; the result does not depend on it.
    random_state : int, RandomState or None
        Seed of the random starts; None is 0. Different seeds differ in the starts only.

    Attributes
    ----------
    coef_ : ndarray of shape (K, p) or (K, m, p)
        Experts' slopes on the user's scale, over ``expert_feature_names_``.
    intercept_ : ndarray of shape (K,) or (K, m)
    dispersion_ : ndarray of shape (K,) or (K, m), or None
        Standard deviations (Gaussian) or shapes (gamma).
    gate_coef_ : ndarray of shape (K, p_gate)
        Gate slopes, centred over the experts, over ``gate_feature_names_``.
    gate_intercept_ : ndarray of shape (K,)
    expert_sizes_ : ndarray of shape (K,)
        Sum of the weighted responsibilities of each expert.
    n_experts_ : int
    loglik_ : float
        Weighted log-likelihood, all constants included.
    n_free_ : int
        Free parameters.
    n_units_ : float
        Sum of the weights of the rows or, where these form groups, of the groups.
    fit_summary_ : FitSummary
        What information criteria read.
    status_ : Status
        How the fit ended.
    converged_ : bool
    regular_ : bool
        Whether no expert owes its fit to a handful of rows or to a bound.
    engine_ : str
        Where the passes ran.
    certificate_ : float
        Largest absolute gradient of the objective, per unit weight, standardised.
    n_iter_ : int
        Passes over the rows of the final run.
    objective_path_ : ndarray
        Penalised log-likelihood per unit weight after every pass; it never falls.
    starts_ : pandas.DataFrame
        The distinct optima that the starts met and how often.

    References
    ----------
    Jacobs, Jordan, Nowlan and Hinton (1991), "Adaptive mixtures of local experts", Neural
    Computation 3, 79-87.

    Examples
    --------
    >>> from mixexp import MoERegressor
    >>> from mixexp.datasets import load_ethanol
    >>> X, y = load_ethanol(return_X_y=True)
    >>> model = MoERegressor(n_experts=2).fit(X, y)
    >>> model.predict(X).shape
    (88,)
    """

    takes_device = True

    def fit(
        self,
        X,
        y=None,
        sample_weight=None,
        *,
        offset=None,
        exposure=None,
        trials=None,
        groups=None,
        expert_prior=None,
        prior_likelihood="evidential",
    ):
        """Fit by EM from many starts.

        Parameters
        ----------
        X : array-like, data frame, scipy sparse or Dask collection of shape (n, p), or a dataset
            A `FileDataset`, `ArrayDataset` or `BlockDataset` holds target, weights and row-wise
            inputs as well, and need not fit into memory.
        y : array-like of shape (n,) or (n, m), or `intervals`
            Several responses are independent given x and the expert. `intervals` holds rows that
            are censored or truncated. Beside a Dask X this and what follows may be Dask
            collections.
        sample_weight : array-like (n,) or None
            A weight of 2 equals the row twice.
        offset, exposure, trials : array-like (n,) or None
            Row-wise inputs of the families that take them: an offset is added to the linear
            predictor, an exposure enters as log(exposure), and trials are the binomial totals.
        groups : array-like (n,) or None
            Labels: rows with one label share one expert, p(group) = sum_k pi_k(x) prod_i f_k(y_i
            | x_i), as repeated measures of one subject do. The gate's columns and the weight must
            be the same in all rows of a group; `n_units_` and criteria count groups.
        expert_prior : array-like (n, K) or None
            What is known of the rows' experts: weights omega >= 0, up to a factor in every row.
            Zero excludes an expert; a row of equal weights or of NaN says nothing.
        prior_likelihood : {"evidential", "conditional"}, default="evidential"
            A row's term of the objective: log sum_k omega_k pi_k f_k (Denoeux, 2013, IEEE Trans.
            Knowl. Data Eng. 25, 119-130), where the prior also teaches the gate, and a row of one
            named expert is a labelled row; or log (sum_k omega_k pi_k f_k / sum_k omega_k pi_k),
            where it tells experts apart and leaves the gate alone.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If the input is unusable, or the target lies outside the family's support.
        """
        inputs = {"offset": offset, "exposure": exposure, "trials": trials}
        if groups is not None:
            inputs["groups"] = groups
        if expert_prior is not None:
            inputs |= {"expert_prior": expert_prior, "prior_likelihood": prior_likelihood}
        return self._fit(X, y, sample_weight, **inputs)

    @available_if(learns_online)
    def partial_fit(
        self, X, y=None, sample_weight=None, *, offset=None, exposure=None, trials=None
    ):
        """One step of online EM on a mini-batch.

        The first call fits its batch from many starts and fixes the standardisation, so it
        should hold at least some hundred rows. Batch t then enters the statistics with the step
        t^-0.6 (Cappe and Moulines, 2009). Parameters are those of `fit`.

        Returns
        -------
        self
        """
        inputs = {"offset": offset, "exposure": exposure, "trials": trials}
        return self._partial_fit(X, y, sample_weight, **inputs)

    def _check_expert(self, expert):
        if expert.classifies:
            raise ValueError(
                f"{type(expert).__name__} is for classes: use MoEClassifier, or a regression "
                "family such as expert='gaussian'."
            )

    def _check_data(self, X, y, expert):
        X, y = check_multi_output(self, X, y, expert)
        if isinstance(y, Intervals):
            self._n_outputs = 0
            return X, y.values
        self._n_outputs = 0 if y.ndim == 1 else y.shape[1]
        return X, np.ascontiguousarray(y.reshape(len(y), -1), dtype=np.float64)

    def _target(self, y, n):
        if isinstance(y, Intervals):
            return self._intervals(y, n)
        y = check_array(y, ensure_2d=False, dtype=np.float64, input_name="y")
        m = len(self._model_.scaling.y_scale)
        if y.shape not in ((n, m), (n,) if m == 1 else (n, m)):
            raise ValueError(f"y has shape {y.shape}; the model needs {n} rows of {m} response(s).")
        return y.reshape(n, m)

    def _intervals(self, y, n):
        if len(y) != n:
            raise ValueError(f"y has {len(y)} rows, X has {n}.")
        if not self._model_.expert.takes_intervals:
            raise ValueError("y holds intervals; the model was fitted to plain values.")
        self._model_.expert.check_target(y.values)
        return y.values

    def _predictive(self, X, function, inputs, size=BLOCK):
        """(n, ...) of ``function(components)``, without the axis of responses where y had none."""
        rows = self._rows(X, **inputs)
        model, params = self._model_, self._params_
        values = self._map(
            rows, lambda part: function(predictive.components(model, params, part), part), size
        )
        return self._one(values)

    def _one(self, values):
        return values if self._n_outputs else values[:, 0]

    @lazy(_of_responses)
    def predict(self, X, *, offset=None, exposure=None, trials=None):
        """(n,) or (n, m) conditional means E[y | x]."""
        inputs = {"offset": offset, "exposure": exposure, "trials": trials}
        return self._predictive(X, lambda parts, rows: predictive.mean(parts), inputs)

    def score(self, X, y=None, sample_weight=None, *, offset=None, exposure=None, trials=None):
        """Coefficient of determination of `predict`, with the row-wise inputs of the rows.

        X may be a dataset that holds the target, such as a `FileDataset`, or Dask collections: it
        is then a sum over their blocks.
        """
        inputs = {"offset": offset, "exposure": exposure, "trials": trials}
        source = source_given(X, y, "score", weight=sample_weight, **inputs)
        if source is not None:
            return r2_over(self, source)
        # only what is given: a subclass whose predict takes X alone can then be scored
        given = {name: values for name, values in inputs.items() if values is not None}
        predicted = self.predict(X, **given)
        return r2_score(y, predicted, sample_weight=sample_weight)

    @lazy(_of_means)
    def predict_experts(self, X, *, offset=None, exposure=None, trials=None):
        """(n, K) or (n, K, m) means of the single experts."""
        rows = self._rows(X, offset=offset, exposure=exposure, trials=trials)
        values = self._map(
            rows,
            lambda part: predictive.components(self._model_, self._params_, part).mean,
        )
        return values if self._n_outputs else values[:, :, 0]

    @lazy(_of_responses)
    def predict_std(self, X, *, offset=None, exposure=None, trials=None):
        """(n,) or (n, m) predictive standard deviations."""
        expert = self._fitted_expert()
        inputs = {"offset": offset, "exposure": exposure, "trials": trials}
        return self._predictive(
            X, lambda parts, rows: np.sqrt(predictive.variance(parts, expert)), inputs
        )

    @lazy(_of_quantiles)
    def predict_quantile(self, X, q, *, offset=None, exposure=None, trials=None):
        """Predictive quantiles.

        Parameters
        ----------
        q : float or sequence of floats in (0, 1)

        Returns
        -------
        (n,) or (n, m) for one q; a further last axis for several.
        """
        probabilities = np.atleast_1d(np.asarray(q, dtype=float))
        if not np.all((probabilities > 0) & (probabilities < 1)):
            raise ValueError(f"q must lie strictly between 0 and 1; got {q!r}.")
        expert = self._fitted_expert()
        inputs = {"offset": offset, "exposure": exposure, "trials": trials}

        def all_quantiles(parts, rows):
            each = [predictive.quantile(parts, expert, value) for value in probabilities]
            return np.stack(each, axis=-1)

        values = self._predictive(X, all_quantiles, inputs)
        return values if np.ndim(q) else values[..., 0]

    @lazy(_of_ends)
    def predict_interval(self, X, level=0.9, *, offset=None, exposure=None, trials=None):
        """Equal-tailed predictive intervals: (n, 2), or (n, m, 2) for several responses."""
        if not 0 < level < 1:
            raise ValueError(f"level must lie strictly between 0 and 1; got {level!r}.")
        tail = (1 - level) / 2
        return self.predict_quantile(
            X, [tail, 1 - tail], offset=offset, exposure=exposure, trials=trials
        )

    @lazy(_of_responses)
    def cdf(self, X, y, *, offset=None, exposure=None, trials=None):
        """(n,) or (n, m) predictive distribution function P(Y <= y | x)."""
        return self._cdf(X, y, 0, offset=offset, exposure=exposure, trials=trials)

    @lazy(_of_responses)
    def cdf_left(self, X, y, *, offset=None, exposure=None, trials=None):
        """P(Y < y | x); differs from `cdf` for counts."""
        step = 1 if self._fitted_expert().discrete else 0
        return self._cdf(X, y, step, offset=offset, exposure=exposure, trials=trials)

    def _cdf(self, X, y, step, **inputs):
        expert = self._fitted_expert()
        y = np.asarray(y) if isinstance(y, Intervals) else y  # refused: which of the ends is meant?
        rows = self._rows(X, y, **inputs)

        def values(part):
            parts = predictive.components(self._model_, self._params_, part)
            return predictive.cdf(parts, expert, part.y - step)

        return self._one(self._map(rows, values))

    def sample(self, X, rng=None, *, offset=None, exposure=None, trials=None, groups=None):
        """(n,) or (n, m) draws of y given x.

        Parameters
        ----------
        rng : numpy Generator, int or None
        groups : array-like (n,) or None
            Rows with one label are drawn from one expert.
        """
        rows = self._rows(X, offset=offset, exposure=exposure, trials=trials)
        rows, back = self._units(rows, groups)
        draws, _ = predictive.sample(self._model_, self._params_, rows, np.random.default_rng(rng))
        return self._one(back(draws))

    def _fitted_expert(self):
        from sklearn.utils.validation import check_is_fitted

        check_is_fitted(self)
        return self._model_.expert

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        expert = EXPERTS.get(self.expert) if isinstance(self.expert, str) else self.expert
        tags.target_tags.multi_output = bool(getattr(expert, "multi_output", False))
        return tags
