"""`MixedEffectsMoERegressor`: experts and gate with random effects of groups."""

from __future__ import annotations

import warnings

import numpy as np
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.validation import check_is_fitted

from .._component import EXPERTS, resolve
from .._validation import check_columns, check_n_experts, check_X_y, row_inputs, seed_of
from ..em.mixed import outer
from ..em.mixed.build import Grouping, Setting, build, starts
from ..em.mixed.families import FAMILIES
from ..em.mixed.marginal import APPROXIMATIONS, row_constants
from ..em.mixed.prediction import Fitted, FittedEffects
from ..em.mixed.quadrature import check_quadrature
from ..em.mixed.reported import Reported, report
from ..em.model import MoEModel
from ..em.rows import Rows, standardisation
from ..em.start import MultiStart
from ..em.status import Status
from ..experts import Target
from ..gates import SoftmaxGate
from ._base import WARNED
from ._factors import nest, numbered, read_factors, terms_of
from ._mixed_likelihood import MarginalLikelihoods
from ._mixed_predictions import GroupedPredictions
from ._mixed_report import (
    coefficient_frame,
    component_frame,
    effect_frames,
    summary_text,
)


class MixedEffectsMoERegressor(
    GroupedPredictions, MarginalLikelihoods, RegressorMixin, BaseEstimator
):
    """Mixture of experts for grouped rows: random intercepts and slopes in experts and gate.

    Given the random effects b of the groups that a row belongs to,

        p(y | x, b) = sum_k pi_k(x, b) f_k(y | x, b),

    where the logits of the gate and the experts' predictors are linear in x, plus random effects of
    the row's groups: intercepts, or slopes of columns. The effects are normal with mean zero;
    factors may be crossed or nested. The marginal likelihood, of all rows without the effects, has
    no closed form: it is approximated and maximised over coefficients, dispersions and covariances
    together.

    Parameters
    ----------
    n_experts : int, default=2
        One expert is a generalised linear mixed model.
    family : {"gaussian", "poisson", "binomial", "gamma"}, default="gaussian"
        Of the experts, on its default link: identity, log, logit, log.
    expert_random, gate_random : sequence of terms, dict of factor -> sequence of terms, or None
        What varies between groups: "1" is the intercept, other terms are columns (names or
        positions) whose slopes vary. A dict says it factor by factor. None: nothing.
    approximation : {"laplace", "variational", "quadrature"}, default="laplace"
        "laplace" expands log p(y, b) to the second order around its maximum; exact for one Gaussian
        expert. "variational" is a lower bound of the marginal log-likelihood, the best one with a
        normal law of the effects that is independent of the rows' experts. "quadrature" integrates
        group by group on nodes that follow the posterior: for one factor, exact to the eye where a
        group has one or two effects, to some hundredths with up to four, and slower.
    covariance : {"full", "diagonal"}, default="full"
        Whether the effects of one expert, or those of the gate, are correlated with one another.
        Effects of different experts, and those of experts and gate, are independent.
    shared : bool, default=False
        True: a group moves all experts by the same effects.
    nested : bool, default=False
        True: a group of a factor is one within its group of the factor before it, so that labels
        may be used again there. Labels that are unique need no such setting.
    gate_features, expert_features : None, slice, or sequence of names, positions or a mask
        Columns with fixed effects; None means all. Random slopes usually belong to them too.
    start : "default" or MultiStart
        The search for a fit without random effects, from which the fit begins.
    max_iter : int, default=300
        Iterations of the outer optimisation.
    random_state : int, RandomState or None
        Seed of the search for starts; None is 0.

    Attributes
    ----------
    coef_ : ndarray of shape (K, p)
        Experts' slopes, over ``expert_feature_names_``.
    intercept_ : ndarray of shape (K,)
    dispersion_ : ndarray of shape (K,) or None
        Standard deviations given the effects (Gaussian) or shapes (gamma).
    gate_coef_, gate_intercept_ : ndarrays of shapes (K, p_gate) and (K,)
        Logits against the last expert, whose own are zero.
    coefficients_ : pandas.DataFrame
        All of these with standard errors, z and normal intervals.
    variance_components_ : pandas.DataFrame
        Standard deviations and correlations of the random effects, with standard errors from the
        observed information, and intervals on the scale of the logarithm (Fisher's z for
        correlations). A standard deviation of zero is on the boundary and has none.
    random_effects_ : dict of factor -> pandas.DataFrame
        Posterior modes (Laplace) or means (variational), one row per group.
    random_effects_std_ : dict of factor -> pandas.DataFrame
        Their posterior standard deviations, at the estimated parameters.
    loglik_ : float
        The approximate marginal log-likelihood, all constants included; a lower bound for
        ``approximation="variational"``.
    n_free_ : int
        Coefficients, dispersions, and entries of the covariances.
    n_groups_ : dict of factor -> int
    n_bounded_ : int
        Directions in the effects of all groups in which Laplace's log-determinant is replaced by
        its tangent, since the experts of the rows are too uncertain there. Where there are some,
        ``loglik_`` is a little other than the textbook's. Zero for other approximations.
    status_ : Status
    converged_ : bool
    certificate_ : float
        Largest absolute derivative of the marginal log-likelihood, per row, standardised.
    starts_ : ndarray
        The values that the starts reached.

    Notes
    -----
    Laplace's approximation is better the more rows a group has. Where groups are small, standard
    deviations of effects in the gate come out too small by some per cent; a fit with
    ``approximation="quadrature"``, or `monte_carlo_log_likelihood`, tells how far the likelihood is
    off. Predictions take the estimates as known.

    References
    ----------
    Fung and Tseung (2022), "Mixture of experts models for multilevel data: modelling framework and
    approximation theory", arXiv:2209.15207. Tseung, Chan, Fung and Badescu (2023), "Effective
    experience rating for large insurance portfolios via surrogate modelling" and arXiv:2209.15212.
    Tierney and Kadane (1986), Journal of the American Statistical Association 81, 82-86. Opper and
    Archambeau (2009), Neural Computation 21, 786-792.

    Examples
    --------
    >>> import numpy as np
    >>> from mixexp import MixedEffectsMoERegressor
    >>> rng = np.random.default_rng(0)
    >>> school = np.repeat(np.arange(20), 10)
    >>> x = rng.normal(size=200)
    >>> y = 1 + x + rng.normal(size=20)[school] + rng.normal(size=200)
    >>> model = MixedEffectsMoERegressor(n_experts=1).fit(x[:, None], y, groups=school)
    >>> model.n_groups_
    {'group': 20}
    """

    _fitted: Fitted
    _reported: Reported
    _n_rows: int

    def __init__(
        self,
        n_experts=2,
        *,
        family="gaussian",
        expert_random=("1",),
        gate_random=("1",),
        approximation="laplace",
        covariance="full",
        shared=False,
        nested=False,
        gate_features=None,
        expert_features=None,
        start="default",
        max_iter=300,
        random_state=None,
    ):
        self.n_experts = n_experts
        self.family = family
        self.expert_random = expert_random
        self.gate_random = gate_random
        self.approximation = approximation
        self.covariance = covariance
        self.shared = shared
        self.nested = nested
        self.gate_features = gate_features
        self.expert_features = expert_features
        self.start = start
        self.max_iter = max_iter
        self.random_state = random_state

    # --- fitting ----------------------------------------------------------------------------

    def fit(self, X, y, groups=None, *, offset=None, exposure=None, trials=None):
        """Fit by maximising the approximate marginal likelihood.

        Parameters
        ----------
        X : array-like or data frame of shape (n, p)
        y : array-like of shape (n,)
        groups : array-like (n,) or (n, L), data frame, or dict of name -> (n,) labels
            The group of every row in one or several factors.
        offset, exposure, trials : array-like (n,) or None
            Row-wise inputs of the families that take them, as of `MoERegressor.fit`.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If groups are not given, lack labels or are one group, if a random term is no column, or
            if the target lies outside the family's support.
        """
        search = self._check_settings()
        setting = self._setting(X, y, groups, offset=offset, exposure=exposure, trials=trials)
        problem, effects, _ = build(setting)
        if self.approximation == "quadrature":
            check_quadrature(len(effects))
        seed = seed_of(self.random_state)
        given = starts(
            setting, problem, effects, search=search, seed=seed, approximation=self.approximation
        )
        found = outer.fit(problem, given, self.approximation, int(self.max_iter))
        self._store(setting, problem, effects, found)
        if self.status_ in WARNED:
            warnings.warn(self._advice(), ConvergenceWarning, stacklevel=2)
        return self

    def _advice(self) -> str:
        text = str(self.status_)
        if self.status_ is Status.STALLED and self.approximation == "laplace":
            text += (
                " Laplace's approximation has no derivative where two modes of a group's effects "
                "meet; approximation='quadrature' (one factor) or 'variational' has one."
            )
        return text

    def _check_settings(self) -> MultiStart:
        choices = {
            "family": (self.family, tuple(FAMILIES)),
            "approximation": (self.approximation, APPROXIMATIONS),
            "covariance": (self.covariance, ("full", "diagonal")),
        }
        for name, (value, known) in choices.items():
            if value not in known:
                raise ValueError(f"{name} must be one of {list(known)}; got {value!r}.")
        if not (isinstance(self.max_iter, int | np.integer) and self.max_iter >= 1):
            raise ValueError(f"max_iter must be an integer >= 1; got {self.max_iter!r}.")
        if isinstance(self.start, MultiStart):
            return self.start
        if self.start != "default":
            raise ValueError(f"start must be 'default' or MultiStart(...); got {self.start!r}.")
        return MultiStart()

    def _setting(self, X, y, groups, **inputs) -> Setting:
        if groups is None:
            raise ValueError(
                "groups= is needed: one label per row, or several factors. For rows without groups "
                "use MoERegressor."
            )
        X, y = check_X_y(self, X, y, multi_output=False, numeric=True)
        if not isinstance(X, np.ndarray):
            raise TypeError("MixedEffectsMoERegressor needs dense X; use X.toarray().")
        X = X.astype(np.float64)
        n, p = X.shape
        expert = resolve(FAMILIES[self.family].expert, EXPERTS, "family")
        offset, trials = row_inputs(expert, n, **inputs)
        rows = Rows(X, np.asarray(y, dtype=np.float64).reshape(n, 1), None, offset, trials)
        expert.check_target(rows.y, rows.trials)
        K = check_n_experts(self.n_experts, n)
        groupings = self._groupings(groups, n, K, expert)
        given = getattr(self, "feature_names_in_", None)
        columns = (
            check_columns(self.gate_features, given, p, "gate_features"),
            check_columns(self.expert_features, given, p, "expert_features"),
        )
        scaling = standardisation(rows, expert.scales_target)
        self._check_slopes(groupings, scaling)
        expert = expert.for_target(Target(rows.y), n)
        gate = SoftmaxGate().for_rows(n)
        model = MoEModel(gate, expert, K, *columns, scaling)
        names = tuple(map(str, self._names()))
        full = self.covariance == "full"
        return Setting(
            FAMILIES[self.family], model, rows, groupings, names, full, bool(self.shared)
        )

    def _groupings(self, groups, n, K, expert) -> tuple[Grouping, ...]:
        factors = read_factors(groups, n)
        factors = nest(factors) if self.nested else factors
        names, p = getattr(self, "feature_names_in_", None), self.n_features_in_
        own = terms_of(self.expert_random, factors, names, p, "expert_random")
        gate = terms_of(self.gate_random, factors, names, p, "gate_random")
        if not any(own) and (K == 1 or not any(gate)):
            raise ValueError(
                "Nothing is random: expert_random and gate_random name no term"
                + (" that one expert has" if any(gate) else "")
                + ". Give terms such as ('1',), or use MoERegressor."
            )
        out = []
        for factor, expert_terms, gate_terms in zip(factors, own, gate, strict=True):
            codes, labels = numbered(factor)
            if expert.has_dispersion and expert_terms and len(labels) == n:
                raise ValueError(
                    f"groups: every row is a group of its own in factor {factor.name!r}, so its "
                    "random effects cannot be told from the experts' dispersion. Use coarser ones."
                )
            out.append(Grouping(factor.name, codes, labels, expert_terms, gate_terms))
        return tuple(out)

    def _check_slopes(self, groupings, scaling):
        used = {t for one in groupings for t in (*one.expert_terms, *one.gate_terms) if t >= 0}
        constant = [self._names()[t] for t in sorted(used) if np.isinf(scaling.x_scale[t])]
        if constant:
            raise ValueError(
                f"Random slopes of constant columns {constant!r} cannot be estimated; use '1' for "
                "a random intercept."
            )

    def _names(self):
        given = getattr(self, "feature_names_in_", None)
        return [f"x{j}" for j in range(self.n_features_in_)] if given is None else list(given)

    def _store(self, setting, problem, effects, found):
        params = problem.unpack(found.vector)
        zero = outer.is_log_sd(problem) & (found.vector < outer.ZERO)
        if zero.any():
            params = problem.unpack(np.where(zero, -np.inf, found.vector))
        laws = zip(effects, found.law.means, found.law.covariances, strict=True)
        factors = tuple(FittedEffects(*law) for law in laws)
        self._fitted = Fitted(self.family, setting.model, params, factors, found.law.joint)
        self._reported = report(problem, found, self._fitted, self._names())
        rows = setting.rows
        constant = row_constants(setting.model.expert, rows.y[:, 0], rows.trials)
        units = rows.n * np.log(setting.model.scaling.y_scale[0])
        self.loglik_ = float(found.loglik + constant - units)
        self._factor_names = [one.name for one in setting.groupings]
        self.status_, self.certificate_ = found.status, found.certificate
        self.n_free_ = int((~outer.of_constant_columns(problem)).sum())
        self.n_bounded_ = found.law.bounded
        self.starts_ = found.starts
        self._n_rows = rows.n
        self._set_derived()

    def _set_derived(self):
        """Attributes that follow from the others: what a loaded file need not hold."""
        fitted, reported, K = self._fitted, self._reported, self._fitted.model.K
        names = np.array(self._names(), dtype=object)
        self.n_experts_ = K
        self.gate_feature_names_ = names[fitted.model.gate_columns]
        self.expert_feature_names_ = names[fitted.model.expert_columns]
        qg, q = len(self.gate_feature_names_) + 1, len(self.expert_feature_names_) + 1
        values = reported.coefficients
        gate = np.vstack([values[: (K - 1) * qg].reshape(K - 1, qg), np.zeros((1, qg))])
        expert = values[(K - 1) * qg :][: K * q].reshape(K, q)
        self.gate_intercept_, self.gate_coef_ = gate[:, 0], gate[:, 1:]
        self.intercept_, self.coef_ = expert[:, 0], expert[:, 1:]
        self.dispersion_ = values[-K:] if fitted.row_family.has_dispersion else None
        self.coefficients_ = coefficient_frame(reported)
        own = {one.effects.name: one.effects.labels for one in fitted.factors}
        order = [name for name in self._factor_names if name in own]
        self.n_groups_ = {name: len(own[name]) for name in order}
        self.variance_components_ = component_frame(reported, order)
        self.random_effects_, self.random_effects_std_ = effect_frames(fitted, order)
        self.converged_ = self.status_.converged

    # --- reports ----------------------------------------------------------------------------

    def summary(self) -> str:
        """Readable table of the fit: coefficients and random effects, with standard errors."""
        check_is_fitted(self)
        return summary_text(self)

    def __str__(self):
        return summary_text(self) if hasattr(self, "_fitted") else repr(self)

    def save(self, path) -> None:
        """Write the fitted model to a versioned file without pickles; see `mixexp.load`."""
        from ._mixed_saving import save

        check_is_fitted(self)
        save(self, path)

    def __sklearn_is_fitted__(self):
        return hasattr(self, "_fitted")
