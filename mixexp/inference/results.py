"""`InferenceResult`: estimates with standard errors and tests, in statsmodels' vocabulary."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from .constraints import linear_constraints
from .covariances import NotRegularError
from .problem import Problem, maximise, null_space
from .profile import profile_interval
from .tables import coefficient_table, summary_of

STEP = 1e-5


@dataclass(frozen=True)
class TestResult:
    """A test of a hypothesis.

    Attributes
    ----------
    name : str
    statistic, pvalue : float
    df : float
        Degrees of freedom of the reference law.
    distribution : str
    detail : dict
        What else was computed on the way.
    """

    name: str
    statistic: float
    pvalue: float
    df: float
    distribution: str = "chi2"
    detail: dict = field(default_factory=dict)

    __test__ = False  # pytest shall not collect it

    def __str__(self):
        return (
            f"{self.name}: statistic {self.statistic:.4g}, p-value {self.pvalue:.4g} "
            f"({self.distribution}, {self.df:g} degrees of freedom)"
        )


@dataclass(frozen=True)
class InferenceResult:
    """Estimates of gate and experts with their covariance.

    Parameters are on the user's scale: logits of the gate relative to a reference expert, slopes
    and intercepts of the experts, and logs of standard deviations, shapes and the like.

    Attributes
    ----------
    covariance_type : str
    loglik : float
    n_obs : float
        What the weights declare: their sum (frequency), or the number of rows.
    notes : list of str
        What a reader must know before using the numbers.
    held : list of str
        Parameters that were held at their estimate; they have no standard error.
    replicates : DataFrame or None
        Bootstrap estimates, one row each.
    """

    problem: Problem
    covariance: np.ndarray
    covariance_type: str
    loglik: float
    n_obs: float
    notes: list
    held: list
    replicates: pd.DataFrame | None = None
    effects: Callable | None = None

    # --- estimates --------------------------------------------------------------------------

    @property
    def names(self) -> list:
        return list(self.problem.coordinates.names)

    @property
    def params(self) -> pd.Series:
        """Estimates by name."""
        return pd.Series(self.problem.coordinates.value, index=self.names, name="coef")

    @property
    def bse(self) -> pd.Series:
        """Standard errors; NaN for the parameters in ``held``."""
        variance = np.diag(self.covariance).copy()
        variance[[name in self.held for name in self.names]] = np.nan
        return pd.Series(np.sqrt(variance), index=self.names, name="std err")

    @property
    def tvalues(self) -> pd.Series:
        """Estimates over standard errors; their law is normal for large samples."""
        return (self.params / self.bse).rename("z")

    @property
    def pvalues(self) -> pd.Series:
        """Two-sided p-values of zero, from the normal law."""
        return pd.Series(2 * stats.norm.sf(np.abs(self.tvalues)), self.names, name="P>|z|")

    @property
    def aic(self) -> float:
        return -2 * self.loglik + 2 * len(self.names)

    @property
    def bic(self) -> float:
        return -2 * self.loglik + np.log(self.n_obs) * len(self.names)

    def cov_params(self) -> pd.DataFrame:
        """Covariance of the estimates."""
        return pd.DataFrame(self.covariance, self.names, self.names)

    def conf_int(self, alpha: float = 0.05, method: str = "wald") -> pd.DataFrame:
        """Confidence intervals of level 1 - alpha.

        Parameters
        ----------
        alpha : float
        method : {"wald", "percentile", "basic", "profile"}
            Normal intervals; quantiles of the bootstrap, as they are or mirrored at the estimate
            (Davison and Hinkley, 1997, sections 5.2 and 5.3); or profile likelihood.

        Returns
        -------
        DataFrame with the columns "lower" and "upper".
        """
        _check_alpha(alpha)
        if method == "wald":
            half = stats.norm.ppf(1 - alpha / 2) * self.bse
            ends = np.column_stack([self.params - half, self.params + half])
        elif method in ("percentile", "basic"):
            if self.replicates is None:
                raise ValueError(f"method={method!r} needs inference(covariance='bootstrap').")
            ends = self.replicates.quantile([alpha / 2, 1 - alpha / 2]).to_numpy().T
            if method == "basic":
                ends = 2 * self.params.to_numpy()[:, None] - ends[:, ::-1]
        elif method == "profile":
            ends = np.array([self.profile(name, alpha) for name in self.names])
        else:
            raise ValueError(
                f"method must be 'wald', 'percentile', 'basic' or 'profile'; got {method!r}."
            )
        return pd.DataFrame(ends, self.names, ["lower", "upper"])

    def profile(self, name: str, alpha: float = 0.05) -> tuple[float, float]:
        """Profile-likelihood interval of one parameter; an end may be infinite."""
        _check_alpha(alpha)
        if name not in self.names:
            raise ValueError(f"No parameter is named {name!r}; they are {self.names!r}.")
        self._check_smooth()
        return profile_interval(self.problem, self.names.index(name), alpha, self.bse[name])

    # --- hypotheses -------------------------------------------------------------------------

    def wald_test(self, hypothesis) -> TestResult:
        """Wald test of linear constraints, by the covariance of this result.

        Parameters
        ----------
        hypothesis : str, sequence of str, dict, array or (array, values)
            "`expert 0: x` = `expert 1: x`", {"gate 1 vs 0: x": 0.0}, or a matrix R of R b = q.
        """
        R, q = linear_constraints(hypothesis, self.names)
        off = R @ self.params.to_numpy() - q
        statistic = float(off @ np.linalg.pinv(R @ self.covariance @ R.T) @ off)
        return _chi2("Wald test", statistic, np.linalg.matrix_rank(R))

    def t_test(self, hypothesis) -> pd.DataFrame:
        """Estimate, standard error, z, p-value and interval of single linear combinations."""
        R, q = linear_constraints(hypothesis, self.names)
        estimate = R @ self.params.to_numpy() - q
        spread = np.sqrt(np.einsum("ra,ab,rb->r", R, self.covariance, R))
        return coefficient_table([f"c{i}" for i in range(len(R))], estimate, spread)

    def lr_test(self, hypothesis) -> TestResult:
        """Likelihood-ratio test of linear constraints; the model is fitted under them."""
        R, fitted = self._restricted(hypothesis)
        here = self.problem.loglik(self.problem.coordinates.value)
        statistic = max(2 * (here - fitted.local.loglik), 0.0)
        estimate = pd.Series(fitted.value, self.names)
        detail = {"restricted": estimate, "loglik": fitted.local.loglik}
        return _chi2("Likelihood-ratio test", statistic, np.linalg.matrix_rank(R), detail)

    def score_test(self, hypothesis) -> TestResult:
        """Score (Lagrange multiplier) test of linear constraints.

        The information is the sum of the outer products of scores: the observed one may be
        indefinite away from the maximum.
        """
        R, fitted = self._restricted(hypothesis)
        local = fitted.local
        statistic = float(local.score @ np.linalg.pinv(local.outer) @ local.score)
        estimate = pd.Series(fitted.value, self.names)
        return _chi2("Score test", statistic, np.linalg.matrix_rank(R), {"restricted": estimate})

    def constrained(self, hypothesis) -> pd.Series:
        """Maximum-likelihood estimates under linear constraints, or with some values fixed."""
        return pd.Series(self._restricted(hypothesis)[1].value, self.names)

    def _restricted(self, hypothesis):
        R, q = linear_constraints(hypothesis, self.names)
        value = self.problem.coordinates.value
        start = value - np.linalg.pinv(R) @ (R @ value - q)
        if not np.allclose(R @ start, q, atol=1e-8 * (1 + np.abs(q))):
            raise ValueError("The constraints contradict one another.")
        self._check_affine()
        self._check_smooth()
        fitted = maximise(self.problem, start, null_space(R))
        if not fitted.converged:
            raise ValueError(
                "The fit under the constraints did not converge; the likelihood may have no "
                "maximum there."
            )
        return R, fitted

    def _check_smooth(self):
        kinked = self.problem.model.kinked
        if kinked is not None:
            raise NotRegularError(
                f"{kinked.title} is not twice differentiable in its parameters: no Newton step "
                "leads to a fit under constraints. Use Wald tests, with the bootstrap's covariance."
            )

    def _check_affine(self):
        if not self.problem.coordinates.affine:
            name = type(self.problem.model.gate).__name__
            raise ValueError(
                f"Constraints and profiles need parameters that enter linearly; {name} reports "
                "others. Use Wald tests or the bootstrap."
            )

    # --- functions of the parameters --------------------------------------------------------

    def delta(self, function, alpha: float = 0.05) -> pd.DataFrame:
        """Any function of the parameters with standard errors by the delta method.

        Parameters
        ----------
        function : callable
            From a Series of parameters by name to a number, an array or a Series.
        alpha : float

        Returns
        -------
        DataFrame of estimate, standard error, z, p-value and interval.
        """
        _check_alpha(alpha)
        try:
            at = function(self.params)
        except KeyError as error:
            raise ValueError(
                f"No parameter is named {error.args[0]!r}; the function is given a Series with the "
                f"names {self.names!r}."
            ) from error
        names = list(at.index) if isinstance(at, pd.Series) else None

        def values(vector):
            return np.ravel(np.asarray(function(pd.Series(vector, self.names)), dtype=float))

        estimate, spread = self._propagated(values)
        names = [f"f{i}" for i in range(len(estimate))] if names is None else names
        return coefficient_table(names, estimate, spread, alpha)

    def _propagated(self, values):
        """Values of a function and their standard errors."""
        here, slopes = self.problem.coordinates.value, []
        for j, at in enumerate(here):
            h = STEP * (1 + abs(at))
            step = np.zeros(len(here))
            step[j] = h
            slopes.append((values(here + step) - values(here - step)) / (2 * h))
        J = np.array(slopes)
        return values(here), np.sqrt(np.einsum("ar,ab,br->r", J, self.covariance, J))

    def odds_ratios(self, alpha: float = 0.05) -> pd.DataFrame:
        """exp of the gate's coefficients: factors on the odds of an expert against the reference.

        Returns
        -------
        DataFrame with "odds ratio", "lower", "upper" and "P>|z|".
        """
        own = [name for name in self.names if name.startswith("gate ")]
        if not own:
            raise ValueError("Odds ratios need a softmax gate and at least two experts.")
        table = np.exp(self.conf_int(alpha).loc[own])
        table.insert(0, "odds ratio", np.exp(self.params[own]))
        table["P>|z|"] = self.pvalues[own]
        return table

    def margins(self, what="mean", *, features=None, at="overall", q=0.5, expert=0, alpha=0.05):
        """Partial effects of the columns on predictions, with standard errors.

        Parameters
        ----------
        what : {"mean", "quantile", "gate"}
            The predictive mean; a predictive quantile; or the probability of an expert.
        features : None or sequence of int or str
            Columns; default all.
        at : {"overall", "mean"} or array of one row
            Average of the rows' effects, the effect at the columns' means, or at a row.
        q : float
            Probability of the quantile.
        expert : int
            The expert whose gate probability is meant.
        alpha : float

        Returns
        -------
        DataFrame by column: effect, standard error, z, p-value and interval. Of a column of zeros
        and ones the effect is the difference between one and zero, else a derivative.
        """
        if self.effects is None:
            raise ValueError(
                "margins needs the result of a fitted estimator's inference(X, y) in memory."
            )
        _check_alpha(alpha)
        names, values = self.effects(what, features, at, q, expert)
        estimate, spread = self._propagated(lambda v: values(self.problem.params_at(v)))
        return coefficient_table(names, estimate, spread, alpha)

    def summary(self, alpha: float = 0.05) -> Any:
        """Summary table; ``as_text()``, ``as_html()`` and ``as_latex()`` write it."""
        _check_alpha(alpha)
        return summary_of(self, alpha)

    def __str__(self):
        return self.summary().as_text()

    def _repr_html_(self):
        return self.summary().as_html()


def _chi2(name, statistic, df, detail=None) -> TestResult:
    return TestResult(
        name, statistic, float(stats.chi2.sf(statistic, df)), float(df), detail=detail or {}
    )


def _check_alpha(alpha):
    if not 0 < alpha < 1:
        raise ValueError(f"alpha must lie strictly between 0 and 1; got {alpha!r}.")
