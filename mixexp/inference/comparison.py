"""Tests between fitted estimators: nested by likelihood ratio, others by Vuong's statistic."""

from __future__ import annotations

import numpy as np
from scipy import stats
from sklearn.utils.validation import check_is_fitted

from .results import TestResult


def likelihood_ratio_test(restricted, full) -> TestResult:
    """Likelihood-ratio test of two nested fits with the same number of experts.

    Parameters
    ----------
    restricted, full : fitted estimators
        Fitted to the same rows without penalties; the second has all parameters of the first.

    Returns
    -------
    TestResult, chi-squared with the difference of the numbers of parameters.

    Raises
    ------
    ValueError
        If the numbers of experts differ (the statistic then has no chi-squared law: use
        `bootstrap_lrt`), the rows do, or the larger fit has the smaller likelihood.
    """
    for fit in (restricted, full):
        check_is_fitted(fit)
    one, two = restricted.fit_summary_, full.fit_summary_
    if restricted.n_experts_ != full.n_experts_:
        raise ValueError(
            f"The fits have {restricted.n_experts_} and {full.n_experts_} experts: under the "
            "smaller one the larger is not identified, and the statistic is not chi-squared. Use "
            "mixexp.selection.bootstrap_lrt."
        )
    if not np.isclose(one.n_units, two.n_units) or one.joint != two.joint:
        raise ValueError("The fits are not of the same rows and the same likelihood.")
    df = two.n_free - one.n_free
    if df <= 0:
        raise ValueError(
            f"The second fit needs more parameters than the first; got {two.n_free} and "
            f"{one.n_free}."
        )
    statistic = 2 * (two.loglik - one.loglik)
    if statistic < -1e-3:
        raise ValueError(
            f"The larger fit has the smaller log-likelihood ({two.loglik:.4f} below "
            f"{one.loglik:.4f}): it ended in a local optimum, or the fits are not nested. Fit it "
            "with start=restricted or MultiStart(n_starts=2)."
        )
    statistic = max(statistic, 0.0)
    return TestResult(
        "Likelihood-ratio test", statistic, float(stats.chi2.sf(statistic, df)), float(df)
    )


def vuong_test(first, second, X, y, *, correction=None, sample_weight=None, **inputs) -> TestResult:
    """Vuong's test of two fits that are not nested: which one is closer to the truth.

    Parameters
    ----------
    first, second : fitted estimators
        With `log_prob`, of the same rows.
    X, y : the rows of the fits
    correction : {None, "aic", "bic"}
        Penalty on the numbers of parameters, taken from the sum of the log-likelihood ratios.
    sample_weight : array (n,) or None
        Frequency weights.
    **inputs
        Offset, exposure, trials, and groups, whose log densities are then compared.

    Returns
    -------
    TestResult
        The statistic is standard normal where the fits are equally close; positive values favour
        the first. ``pvalue`` is two-sided; ``detail`` has the one-sided ones, and the variance of
        the log ratios, whose vanishing would mean that the fits cannot be told apart.

    References
    ----------
    Vuong (1989), "Likelihood ratio tests for model selection and non-nested hypotheses",
    Econometrica 57, 307-333.
    """
    if correction not in (None, "aic", "bic"):
        raise ValueError(f"correction must be None, 'aic' or 'bic'; got {correction!r}.")
    ratio = first.log_prob(X, y, **inputs) - second.log_prob(X, y, **inputs)
    weight = np.ones(len(ratio)) if sample_weight is None else np.asarray(sample_weight, float)
    if sample_weight is not None and inputs.get("groups") is not None:
        weight = weight[np.unique(inputs["groups"], return_index=True)[1]]
    n = weight.sum()
    mean = weight @ ratio / n
    variance = weight @ (ratio - mean) ** 2 / n
    if variance <= 1e-12:
        raise ValueError(
            "The fits give every unit the same density: they cannot be told apart, and the "
            "statistic has no normal law."
        )
    extra = first.fit_summary_.n_free - second.fit_summary_.n_free
    price = {None: 0.0, "aic": float(extra), "bic": 0.5 * extra * np.log(n)}[correction]
    statistic = float((n * mean - price) / np.sqrt(n * variance))
    detail = {
        "first is better": float(stats.norm.sf(statistic)),
        "second is better": float(stats.norm.cdf(statistic)),
        "variance": float(variance),
    }
    pvalue = float(2 * stats.norm.sf(abs(statistic)))
    return TestResult("Vuong's test", statistic, pvalue, np.inf, "normal", detail)
