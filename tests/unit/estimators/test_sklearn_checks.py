"""scikit-learn's own checks, for every estimator, gate and family, with no expected failure.

A family whose support excludes the checks' targets runs them through an estimator that maps any
number into the support and its predictions back.
"""

from __future__ import annotations

import numpy as np
import pytest
from scipy import special

from mixexp import (
    EM,
    BLoMERegressor,
    ContextualMoERegressor,
    GLoMERegressor,
    MoEClassifier,
    MoERegressor,
    MultiStart,
)
from mixexp._component import EXPERTS, GATES
from mixexp.experts import DistributionalExpert
from tests.contracts.cases import TARGETS
from tests.sklearn_checks import OF_THE_MODEL, checks_of

TRIALS = 20
FEW = {"start": MultiStart(n_starts=0.1, max_rounds=1), "solver": EM(max_passes=300)}
# Some checks fit two experts to noise, where a degenerate fit is the honest answer and says so.
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


class MappedTargets(MoERegressor):
    """A regressor of any target: it is mapped into a family's support, in every way in."""

    def _mapped(self, target):
        raise NotImplementedError

    def _check_data(self, X, y, expert):
        X, target = super()._check_data(X, y, expert)
        return X, self._mapped(target)

    def _target(self, y, n):
        return self._mapped(super()._target(y, n))


class PositiveTargets(MappedTargets):
    """Any target y is fitted as exp(y / 4)."""

    def _mapped(self, target):
        return np.exp(np.clip(target, -40, 40) / 4)

    def predict(self, X):
        return 4 * np.log(super().predict(X))


class CountTargets(MappedTargets):
    """Any target y is fitted as exp(2 + y / 2), rounded."""

    def _mapped(self, target):
        return np.round(np.exp(2 + np.clip(target, -10, 10) / 2))

    def predict(self, X):
        return 2 * (np.log(np.maximum(super().predict(X), 1e-8)) - 2)


class ShareTargets(MappedTargets):
    """Any target y is fitted as a share expit(y) of 20 trials, rounded."""

    def _mapped(self, target):
        return np.round(TRIALS * special.expit(target))

    def fit(self, X, y, sample_weight=None):
        return super().fit(X, y, sample_weight, trials=TRIALS)

    def partial_fit(self, X, y, sample_weight=None):
        return super().partial_fit(X, y, sample_weight, trials=TRIALS)

    def predict(self, X):
        share = super().predict(X, trials=TRIALS) / TRIALS
        return special.logit(np.clip(share, 1e-6, 1 - 1e-6))


class UnitTargets(MappedTargets):
    """Any target y is fitted as a share expit(y / 4)."""

    def _mapped(self, target):
        return special.expit(np.clip(target, -40, 40) / 4)

    def predict(self, X):
        return 4 * special.logit(np.clip(super().predict(X), 1e-9, 1 - 1e-9))


WRAPPERS = {
    "gaussian": MoERegressor,
    "poisson": CountTargets,
    "binomial": ShareTargets,
    "gamma": PositiveTargets,
    "multinomial": MoEClassifier,
    "ordinal": MoEClassifier,
    "student": MoERegressor,
    "laplace": MoERegressor,
    "asymmetric_laplace": MoERegressor,
    "expectile": MoERegressor,
    "heteroscedastic_gaussian": MoERegressor,
    "skew_normal": MoERegressor,
    "skew_t": MoERegressor,
    "lognormal": PositiveTargets,
    "heteroscedastic_gamma": PositiveTargets,
    "inverse_gaussian": PositiveTargets,
    "weibull": PositiveTargets,
    "beta": UnitTargets,
    "negative_binomial": CountTargets,
    "zero_inflated_poisson": CountTargets,
    "zero_inflated_negative_binomial": CountTargets,
    "hurdle_poisson": CountTargets,
    "hurdle_negative_binomial": CountTargets,
    "multivariate_gaussian": MoERegressor,
}


PLAIN = ("gaussian", "multinomial")


def plain_estimators():
    return [WRAPPERS[name](expert=name, **FEW) for name in PLAIN]


def estimators():
    """The other families of one predictor, some gates, and the other estimators."""
    own = [
        WRAPPERS[name](expert=name, **FEW)
        for name, cls in EXPERTS.items()
        if name in WRAPPERS and name not in PLAIN and not issubclass(cls, DistributionalExpert)
    ]
    own += [MoERegressor(gate="gaussian", **FEW), MoEClassifier(gate="constant", **FEW)]
    own += [GLoMERegressor(parametrisation=name, **FEW) for name in ("forward", "inverse")]
    return [*own, BLoMERegressor(**FEW), ContextualMoERegressor(["dry", "wet"], **FEW)]


def distributional_estimators():
    """Families in several row-level parameters, one of each support; `diagonal` has all."""
    names = ("student", "lognormal", "beta", "zero_inflated_poisson", "multivariate_gaussian")
    return [WRAPPERS[name](expert=name, **FEW) for name in names]


def test_every_family_runs_the_checks():
    missing = set(EXPERTS) - set(WRAPPERS)
    assert not missing, (
        f"{sorted(missing)}: add an estimator to WRAPPERS that maps any target into the support "
        "of the family (MoERegressor where the support is the real line)."
    )
    assert set(TARGETS) >= set(EXPERTS)


@pytest.mark.slow
@checks_of(distributional_estimators())
def test_scikit_learn_check_of_a_distributional_family(estimator, check):
    check(estimator)


@checks_of(plain_estimators())
def test_scikit_learn_check(estimator, check):
    check(estimator)


@checks_of(estimators(), long=False)
def test_scikit_learn_check_of_families_and_estimators(estimator, check):
    check(estimator)


def diagonal():
    """Every family with one gate besides the default, classes with every gate.

    All pairs share one class, whose parameters and input checks others test; what differs between
    them, passes and M-steps, is what the contract tests hold for the whole product.
    """
    default = next(iter(GATES))
    gates = [gate for gate in GATES if gate != default]
    names = [name for name in WRAPPERS if name != "multinomial"]
    own = [
        WRAPPERS[name](gate=gates[i % len(gates)], expert=name, **FEW)
        for i, name in enumerate(names)
    ]
    return own + [MoEClassifier(gate=gate, **FEW) for gate in gates]


@pytest.mark.slow
@checks_of([MoERegressor(), MoEClassifier()])
def test_scikit_learn_check_of_the_defaults(estimator, check):
    check(estimator)


@pytest.mark.slow
@checks_of(diagonal(), OF_THE_MODEL)
def test_scikit_learn_check_of_other_gates(estimator, check):
    check(estimator)
