"""`AggregatedMoERegressor` and `AggregatedMoEClassifier`: local fits and their aggregation."""

from __future__ import annotations

import time
import warnings
from contextlib import suppress
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin, clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.validation import check_is_fitted

from .._component import GATES, resolve
from .._validation import seed_of
from ..estimators import MoEClassifier, MoERegressor
from ..estimators._settings import resolve_expert
from ..sources.aligned import is_dask
from .aggregate import METHODS, PLANS, aggregate
from .local import family_of_result
from .origin import WEIGHTINGS
from .partitions import deal, deal_cluster, fit_parts, keep, statistics_of, support_rows
from .pooled import pooled_inference
from .refine import STEPS, NoNewtonStepError, add, stepped, with_likelihood
from .support import default_size

USABLE = ("CONVERGED", "SEPARATED", "EPOCHS")  # ends of local fits that call for no warning


class _Aggregated(BaseEstimator):
    """What both estimators share."""

    estimator_: Any
    _default: Any

    def __init__(
        self,
        estimator=None,
        n_partitions=4,
        *,
        n_experts=None,
        method="reduction",
        plan="pointwise",
        weighting="sizes",
        support="rows",
        support_size=None,
        robust=False,
        refine_rounds=0,
        refine_step="newton",
        n_jobs=None,
        random_state=None,
    ):
        self.estimator = estimator
        self.n_partitions = n_partitions
        self.n_experts = n_experts
        self.method = method
        self.plan = plan
        self.weighting = weighting
        self.support = support
        self.support_size = support_size
        self.robust = robust
        self.refine_rounds = refine_rounds
        self.refine_step = refine_step
        self.n_jobs = n_jobs
        self.random_state = random_state

    def fit(self, X, y, sample_weight=None, *, partitions=None):
        """Fit every partition alone, combine the fits, and refine them if asked.

        Parameters
        ----------
        X : array-like, data frame, scipy sparse, or Dask collection of shape (n, p)
            The partitions of Dask collections are taken as they are, and fitted on their workers;
            empty ones are left out.
        y : array-like of shape (n,)
        sample_weight : array-like (n,) or None
            A weight of 2 equals the row twice.
        partitions : array-like (n,) or None
            Labels: rows with one label are one partition. None deals rows in memory at random into
            ``n_partitions`` parts of equal size.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If a setting or the input is unusable, or the local fits cannot be combined.
        """
        self._check_settings()
        template = self._default() if self.estimator is None else clone(self.estimator)
        self.times_ = {"local": np.empty(0), "aggregate": 0.0, "refine": 0.0}
        self.local_fits_: list = []
        if self.method == "global":
            given = {} if sample_weight is None else {"sample_weight": sample_weight}
            began = time.perf_counter()
            self.estimator_ = template.fit(X, y, **given)
            self.times_["local"] = np.array([time.perf_counter() - began])
            return self
        family_of_result(resolve(template.gate, GATES, "gate"), resolve_expert(template.expert))
        parts = self._dealt(X, y, sample_weight, partitions, template.start)
        drawn = isinstance(self.support, str) and self.support == "moments"
        moments = drawn or self.weighting == "covariates"
        done, parts = fit_parts(template, parts, moments, self.n_jobs)
        self.local_fits_ = [one.value for one in done]
        self.times_["local"] = np.array([one.elapsed for one in done])
        self.times_["local_cpu"] = np.array([one.cpu for one in done])
        self._warn()
        began = time.perf_counter()
        self.estimator_ = self._aggregate(template, parts)
        self.times_["aggregate"] = time.perf_counter() - began
        began = time.perf_counter()
        for _ in range(self.refine_rounds):
            self.estimator_ = self._refined(self.estimator_, parts)
        self.times_["refine"] = time.perf_counter() - began
        return self

    def _dealt(self, X, y, weight, labels, start):
        if not is_dask(X):
            return deal(X, y, weight, labels, self.n_partitions, start, self.random_state)
        if labels is not None:
            raise ValueError(
                "partitions= is for rows in memory: Dask collections have partitions of their own. "
                "Repartition them (X.rechunk, X.repartition), and leave it out."
            )
        return deal_cluster(X, y, weight)

    def _check_settings(self):
        if not isinstance(self.estimator, self._default | None):
            name = self._default.__name__
            raise ValueError(f"estimator must be a {name} or None; got {self.estimator!r}.")
        methods = (*METHODS, "global")
        if self.method not in methods:
            raise ValueError(f"method must be one of {methods}; got {self.method!r}.")
        if self.plan not in PLANS:
            raise ValueError(f"plan must be one of {PLANS}; got {self.plan!r}.")
        if self.weighting not in WEIGHTINGS:
            raise ValueError(f"weighting must be one of {WEIGHTINGS}; got {self.weighting!r}.")
        if self.refine_step not in STEPS[:2]:
            raise ValueError(f"refine_step must be one of {STEPS[:2]}; got {self.refine_step!r}.")
        rounds = self.refine_rounds
        whole = isinstance(rounds, int | np.integer) and not isinstance(rounds, bool)
        if not whole or rounds < 0:
            raise ValueError(f"refine_rounds must be an integer of at least 0; got {rounds!r}.")
        if isinstance(self.support, str) and self.support not in ("rows", "moments"):
            raise ValueError(
                f"support must be 'rows', 'moments' or an array of rows; got {self.support!r}."
            )

    def _warn(self):
        ended = [fit.status for fit in self.local_fits_]
        bad = sorted({name for name in ended if name not in USABLE})
        if bad:
            count = sum(name in bad for name in ended)
            warnings.warn(
                f"{count} of {len(ended)} local fits ended as {', '.join(bad)}. "
                "Use fewer partitions or experts, raise EM(max_passes=...), or robust=True.",
                ConvergenceWarning,
                stacklevel=3,
            )

    def _aggregate(self, template, parts):
        first, seed = self.local_fits_[0], seed_of(self.random_state)
        K = first.n_experts if self.n_experts is None else self.n_experts
        size = self.support_size
        if size is None and isinstance(self.support, str):
            size = default_size(int(K), len(first.gate_columns))
        if not isinstance(self.support, str):
            support = self.support
        elif self.support == "moments":
            support = size
        else:
            rows = np.array([fit.n_rows for fit in self.local_fits_])
            support = support_rows(parts, rows / rows.sum(), size, seed)
        return aggregate(
            self.local_fits_,
            self.n_experts,
            support=support,
            method=self.method,
            plan=self.plan,
            weighting=self.weighting,
            robust=self.robust,
            estimator=template.set_params(start="default"),
            random_state=seed,
        )

    def _refined(self, model, parts):
        """The best of a Newton step and a step of EM, by the likelihood of all rows."""
        newton = self.refine_step == "newton"
        parts = keep(parts, model.aggregation_.kept)
        sums = statistics_of(model, parts, newton, self.n_jobs)
        total = add(sums, model)
        candidates = [stepped(model, total, "em")]
        if newton:
            with suppress(NoNewtonStepError):  # then the step of EM is what there is
                candidates.append(stepped(model, total, "newton"))
        # one more message: log-likelihoods of the candidates, two numbers from each partition
        totals = [add(statistics_of(one, parts, False, self.n_jobs), one) for one in candidates]
        here = with_likelihood(model, total)
        seen = [with_likelihood(*pair) for pair in zip(candidates, totals, strict=True)]
        return max([here, *seen], key=lambda one: one.loglik_)

    # --- the result -------------------------------------------------------------------------

    def _fitted(self):
        check_is_fitted(self)
        return self.estimator_

    @property
    def aggregation_(self):
        """How the fits were combined: `Aggregation`."""
        return self._fitted().aggregation_

    @property
    def n_features_in_(self):
        """Number of columns of the fit."""
        return self._fitted().n_features_in_

    @property
    def feature_names_in_(self):
        """Names of the columns, where X had them."""
        return self._fitted().feature_names_in_

    def __sklearn_is_fitted__(self):
        return hasattr(self, "estimator_")

    def predict(self, X):
        """(n,) predictions, as of `MoERegressor` and `MoEClassifier`."""
        return self._fitted().predict(X)

    def predict_experts(self, X):
        """Means, or class probabilities, of the single experts."""
        return self._fitted().predict_experts(X)

    def gate_proba(self, X):
        """(n, K) gate probabilities."""
        return self._fitted().gate_proba(X)

    def predict_component(self, X):
        """(n,) index of the most probable expert given x alone."""
        return self._fitted().predict_component(X)

    def responsibilities(self, X, y):
        """(n, K) posterior probabilities of the experts given x and y."""
        return self._fitted().responsibilities(X, y)

    def log_prob(self, X, y):
        """(n,) log density (or probability) of y given x."""
        return self._fitted().log_prob(X, y)

    def sample(self, X, rng=None):
        """(n,) draws of y given x."""
        return self._fitted().sample(X, rng)

    def summary(self) -> str:
        """Readable table of the combined model."""
        return self._fitted().summary()

    def save(self, path) -> None:
        """Write the combined model; `mixexp.load` returns it as a plain estimator."""
        self._fitted().save(path)

    def inference(self, covariance="observed", *, reference=0):
        """Standard errors from information added up over the partitions.

        Needs ``refine_rounds`` of at least 1; see `pooled_inference`.
        """
        return pooled_inference(self._fitted(), covariance, reference=reference)


class AggregatedMoERegressor(RegressorMixin, _Aggregated):
    """Mixture of regression experts from partitions that are fitted alone.

    Every partition is fitted by its own clone of ``estimator``; their parameters are combined to
    one mixture of experts (see `aggregate`), which ``refine_rounds`` exact passes over the
    partitions improve.

    Parameters
    ----------
    estimator : MoERegressor or None
        Fitted to every partition; its gate must be softmax, its experts Gaussian.
    n_partitions : int, default=4
        Where `fit` is given no ``partitions``.
    n_experts : int or None
        Of the combined model; None: as many as the estimator has.
    method : {"reduction", "aligned", "average", "middle", "global"}, default="reduction"
        As in `aggregate`; "global" fits all rows together, for comparison.
    plan : {"pointwise", "whole"}, default="pointwise"
    weighting : {"sizes", "covariates"}, default="sizes"
        As in `aggregate`.
    support : {"rows", "moments"} or (S, p) array, default="rows"
        Covariates on which divergences are averaged: rows of the partitions, drawn at random;
        rows drawn from normal laws with the partitions' means and covariances, so that no row
        leaves one; or rows given.
    support_size : int or None
        How many are drawn; None: max(2000, 10 (K - 1) (p + 1)).
    robust : bool, default=False
        Leave out partitions whose fit agrees with no others.
    refine_rounds : int, default=0
        Exact passes over the partitions after the aggregation.
    refine_step : {"newton", "em"}, default="newton"
        "newton" tries a Newton step besides the step of EM and keeps the better; its pass also
        returns the information, of which `inference` makes standard errors. "em" costs a pass of
        EM only.
    n_jobs : int or None
        Processes for the partitions.
    random_state : int, RandomState or None
        Seed of the deal, the support and the clusters; None is 0.

    Attributes
    ----------
    estimator_ : MoERegressor
        The combined model, with all methods of a fitted one.
    local_fits_ : list of LocalFit
    aggregation_ : Aggregation
    times_ : dict
        Seconds: "local" (M,) elapsed and "local_cpu" (M,), "aggregate", "refine". On M machines a
        fit would take the longest of the first and the others.

    References
    ----------
    Chamroukhi and Pham (2023), "Distributed learning of mixtures of experts", arXiv:2312.09877.

    Examples
    --------
    >>> from mixexp import MoERegressor
    >>> from mixexp.datasets import make_moe_regression
    >>> from mixexp.distributed import AggregatedMoERegressor
    >>> X, y = make_moe_regression(3000, n_experts=2, random_state=0)
    >>> model = AggregatedMoERegressor(MoERegressor(2), n_partitions=3, refine_rounds=1).fit(X, y)
    >>> model.predict(X).shape
    (3000,)
    """

    _default = MoERegressor

    def score(self, X, y=None, sample_weight=None):
        """R^2 of `predict`, also of a dataset or Dask collections; see `MoERegressor.score`."""
        return self._fitted().score(X, y, sample_weight)

    def predict_std(self, X):
        """(n,) predictive standard deviations."""
        return self._fitted().predict_std(X)

    def predict_quantile(self, X, q):
        """Predictive quantiles; see `MoERegressor.predict_quantile`."""
        return self._fitted().predict_quantile(X, q)

    def predict_interval(self, X, level=0.9):
        """Equal-tailed predictive intervals."""
        return self._fitted().predict_interval(X, level)


class AggregatedMoEClassifier(ClassifierMixin, _Aggregated):
    """Mixture of softmax regressions from partitions that are fitted alone.

    Parameters
    ----------
    estimator : MoEClassifier or None
        Fitted to every partition; its gate must be softmax, its experts multinomial.
    n_partitions, n_experts, method, plan, weighting, support, support_size, robust
        As for `AggregatedMoERegressor`.
    refine_rounds, refine_step, n_jobs, random_state
        As for `AggregatedMoERegressor`.

    Attributes
    ----------
    classes_ : ndarray
        All classes of the partitions; a partition need not have seen all of them.
    estimator_, local_fits_, aggregation_, times_
        As for `AggregatedMoERegressor`.
    """

    _default = MoEClassifier

    def score(self, X, y=None, sample_weight=None):
        """Accuracy of `predict`, also of a dataset or Dask collections."""
        return self._fitted().score(X, y, sample_weight)

    @property
    def classes_(self):
        return self._fitted().classes_

    def predict_proba(self, X):
        """(n, C) class probabilities."""
        return self._fitted().predict_proba(X)

    def predict_log_proba(self, X):
        """(n, C) log class probabilities."""
        return self._fitted().predict_log_proba(X)
