"""The marginal likelihood of any rows at the estimates of a fit with random effects."""

from __future__ import annotations

from typing import Any

import numpy as np

from .._validation import seed_of
from ..em.mixed.build import assembled
from ..em.mixed.marginal import APPROXIMATIONS, row_constants, settled
from ..em.mixed.montecarlo import MonteCarloLogLikelihood, monte_carlo
from ..em.mixed.posterior import View
from ..em.mixed.prediction import Fitted
from ..em.mixed.quadrature import check_quadrature
from ..em.threads import single_threaded_blas
from ._factors import codes_of

LEAST_DRAWS = 100


class MarginalLikelihoods:
    """Methods of `MixedEffectsMoERegressor` that integrate the effects of whole groups out."""

    _fitted: Fitted
    _factors: Any
    _new_rows: Any
    approximation: Any

    def marginal_log_likelihood(
        self, X, y, groups, *, approximation=None, offset=None, exposure=None, trials=None
    ) -> float:
        """Approximate log-likelihood of whole groups of rows, with their effects integrated out.

        At the estimates of the fit. The labels only say which rows share their effects: whether the
        fit has met them makes no difference. On the rows of the fit and with its own approximation
        it is ``loglik_``; on groups that were held out it compares models.

        Parameters
        ----------
        X : array-like of shape (n, p)
        y : array-like of shape (n,)
        groups : as of `fit`
            Every factor with random effects, with a label in every row.
        approximation : {"laplace", "variational", "quadrature"} or None
            None is that of the fit. With the estimates held, "variational" is a lower bound of the
            log-likelihood, and so of the limit of "quadrature".
        offset, exposure, trials : array-like (n,) or None

        Returns
        -------
        float

        Raises
        ------
        ValueError
            If a factor or a label is missing, or "quadrature" meets several factors.
        """
        kind = self.approximation if approximation is None else approximation
        if kind not in APPROXIMATIONS:
            raise ValueError(f"approximation must be one of {list(APPROXIMATIONS)}; got {kind!r}.")
        inputs = {"offset": offset, "exposure": exposure, "trials": trials}
        view, constant = self._at_estimates(X, y, groups, inputs)
        if kind == "quadrature":
            check_quadrature(len(view.problem.shapes))
        with single_threaded_blas():
            return settled(view, kind).value + constant

    def monte_carlo_log_likelihood(
        self,
        X,
        y,
        groups,
        *,
        n_draws=1000,
        random_state=None,
        offset=None,
        exposure=None,
        trials=None,
    ) -> MonteCarloLogLikelihood:
        """Monte Carlo estimate of the log-likelihood of whole groups, with its standard error.

        It checks the approximations, whose errors are unknown, on the same rows: `loglik_` minus
        the estimate, in standard errors. Draws are from normal laws at the modes of the effects and
        from their prior, weighted; for one Gaussian expert the estimate is exact. The fewer effects
        hang together the better: of crossed factors with hundreds of them see
        ``effective_draws``.

        Parameters
        ----------
        X, y, groups
            As of `marginal_log_likelihood`.
        n_draws : int, default=1000
            At least 100. The standard error falls with their square root.
        random_state : int, RandomState or None
            Seed of the draws; None is 0.
        offset, exposure, trials : array-like (n,) or None

        Returns
        -------
        MonteCarloLogLikelihood
            ``value``, ``std_err`` and ``effective_draws``.

        Raises
        ------
        ValueError
            If a factor or a label is missing, or n_draws is no integer of at least 100.

        References
        ----------
        Owen and Zhou (2000), "Safe and effective importance sampling", Journal of the American
        Statistical Association 95, 135-143.
        """
        if not isinstance(n_draws, int | np.integer) or n_draws < LEAST_DRAWS:
            raise ValueError(f"n_draws must be an integer >= {LEAST_DRAWS}; got {n_draws!r}.")
        inputs = {"offset": offset, "exposure": exposure, "trials": trials}
        view, constant = self._at_estimates(X, y, groups, inputs)
        rng = np.random.default_rng(seed_of(random_state))
        with single_threaded_blas():
            found = monte_carlo(view, int(n_draws), rng)
        return found._replace(value=found.value + constant)

    def _at_estimates(self, X, y, groups, inputs) -> tuple[View, float]:
        """The rows and their groups at the estimates, and the rows' own part of the likelihood."""
        if groups is None:
            raise ValueError("groups= is needed: the effects are integrated out group by group.")
        rows, _ = self._new_rows(X, None, y, **inputs)
        given, fitted = self._factors(groups, rows.n), self._fitted
        pairs, roots = [], {}
        for factor, root in zip(fitted.factors, fitted.params.roots, strict=True):
            name = factor.effects.name
            if name not in given:
                raise ValueError(
                    f"groups lacks the factor {name!r}, whose effects are to be integrated out; "
                    f"give it a label in every row."
                )
            codes, labels = codes_of(given[name])
            pairs.append((factor.effects._replace(labels=labels), codes))
            roots[name] = root
        problem, effects, _ = assembled(fitted.row_family, fitted.model, rows, pairs)
        params = fitted.params._replace(roots=tuple(roots[one.name] for one in effects))
        constant = row_constants(fitted.model.expert, rows.y[:, 0], rows.trials)
        units = rows.n * float(np.log(fitted.model.scaling.y_scale[0]))
        return View.of(problem, params), constant - units
