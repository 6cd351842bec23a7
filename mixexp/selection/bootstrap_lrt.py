"""A likelihood-ratio test of the number of experts, by the parametric bootstrap."""

from __future__ import annotations

from typing import Any

import numpy as np
from joblib import delayed
from sklearn.base import clone

from ..em.workers import in_order
from ..inference import TestResult


def bootstrap_lrt(
    estimator: Any,
    X: Any,
    y: Any,
    sample_weight: Any = None,
    *,
    n_boot: int = 99,
    random_state: int = 0,
    n_jobs: int | None = None,
    **inputs: Any,
) -> TestResult:
    """Test of K against K + 1 experts, K those of the estimator.

    Under K experts the parameters of one more are not identified, and twice the difference of the
    log-likelihoods has no chi-squared law. Here its law is that over samples drawn from the fit
    with K experts, each fitted with K and K + 1.

    Parameters
    ----------
    estimator : MoERegressor or MoEClassifier
        Its settings; it need not be fitted. Without penalties.
    X, y, sample_weight
        The rows.
    n_boot : int, default=99
        Samples; the smallest p-value is 1 / (n_boot + 1).
    random_state : int
    n_jobs : int or None
        Processes.
    **inputs
        ``offset``, ``exposure``, ``trials``, and ``groups`` of rows that share one expert.

    Returns
    -------
    TestResult
        ``detail`` has the bootstrap statistics and both log-likelihoods.

    Raises
    ------
    ValueError
        If there are fewer than nine samples.

    References
    ----------
    McLachlan (1987), "On bootstrapping the likelihood ratio test statistic for the number of
    components in a normal mixture", Applied Statistics 36, 318-324.
    """
    if n_boot < 9:
        raise ValueError(f"n_boot must be at least 9; got {n_boot!r}.")
    gate = getattr(estimator, "gate", None)
    if getattr(gate, "known", False):
        raise ValueError(
            f"bootstrap_lrt has no {type(gate).__name__}: with known classes a mixture of K "
            "experts is no special case of one of K + 1. Compare them in a SelectionStudy(...)."
        )
    null, statistic, logliks = _statistic(estimator, X, y, sample_weight, inputs)
    seeds = np.random.SeedSequence(random_state).spawn(n_boot)
    task = delayed(_replicate)
    tasks = (task(null, estimator, X, sample_weight, inputs, seed) for seed in seeds)
    values = np.array(in_order(tasks, n_jobs, n_boot))
    pvalue = (1 + np.count_nonzero(values >= statistic)) / (n_boot + 1)
    return TestResult(
        f"Bootstrap test of {null.n_experts_} against {null.n_experts_ + 1} experts",
        statistic,
        float(pvalue),
        np.nan,
        "parametric bootstrap",
        {"statistics": values, "logliks": logliks},
    )


def _statistic(estimator, X, y, sample_weight, inputs):
    """The fit with K experts, twice the gain of one more, and both log-likelihoods."""
    null = clone(estimator).fit(X, y, sample_weight, **inputs)
    larger = clone(estimator).set_params(n_experts=null.n_experts_ + 1)
    full = larger.fit(X, y, sample_weight, **inputs)
    gain = max(2 * (full.loglik_ - null.loglik_), 0.0)
    return null, gain, (null.loglik_, full.loglik_)


def _replicate(null, estimator, X, sample_weight, inputs, seed):
    import warnings

    y = null.sample(X, np.random.default_rng(seed), **inputs)
    with warnings.catch_warnings():
        # a sample of K experts often has no good fit of K + 1: that is what is being asked
        warnings.simplefilter("ignore")
        return _statistic(estimator, X, y, sample_weight, inputs)[1]
