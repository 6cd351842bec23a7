"""What the contract tests know of each family: a table of targets, and small problems made of it.

A family or gate is tested from the day it is registered; a family also needs one row in `TARGETS`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pytest

import mixexp.experts
import mixexp.gates
from mixexp._component import EXPERTS, GATES
from mixexp.em.model import MoEModel
from mixexp.em.params import MoEParams, stack
from mixexp.em.rows import Rows, Scaling, standardisation
from mixexp.kernels.links import LINKS

assert mixexp.experts and mixexp.gates  # importing them fills the registries


def _gaussian(rng, mean, trials):
    return mean + 0.2 * rng.standard_normal(mean.shape)


def _poisson(rng, mean, trials):
    return rng.poisson(4 * mean).astype(float)


def _binomial(rng, mean, trials):
    return rng.binomial(trials.astype(int), mean / (mean + 1)).astype(float)


def _gamma(rng, mean, trials):
    return rng.gamma(6.0, mean / 6.0)


def _student(rng, mean, trials):
    return mean + 0.15 * rng.standard_t(4.0, mean.shape)


def _laplace(rng, mean, trials):
    return mean + rng.laplace(0, 0.15, mean.shape)


def _share(rng, mean, trials):
    share = mean / (mean + 1)
    return np.clip(rng.beta(8 * share, 8 * (1 - share)), 1e-6, 1 - 1e-6)


def _overdispersed(rng, mean, trials):
    return rng.poisson(4 * mean * rng.gamma(3.0, 1 / 3, mean.shape)).astype(float)


def _many_zeros(rng, mean, trials):
    return np.where(rng.random(mean.shape) < 0.3, 0.0, _overdispersed(rng, mean, trials))


def _skewed(rng, mean, trials):
    return mean + 0.2 * np.abs(rng.standard_normal(mean.shape)) + 0.05 * rng.normal(size=mean.shape)


def _skewed_far(rng, mean, trials):
    return (
        mean + 0.15 * np.abs(rng.standard_t(5.0, mean.shape)) + 0.05 * rng.normal(size=mean.shape)
    )


def _multinomial(rng, mean, trials):
    return np.digitize(mean * rng.gamma(3.0, 0.33, mean.shape), [0.6, 1.2]).astype(float)


# From positive means around one (and trials) to a target inside the family's support.
TARGETS = {
    "gaussian": _gaussian,
    "poisson": _poisson,
    "binomial": _binomial,
    "gamma": _gamma,
    "student": _student,
    "laplace": _laplace,
    "asymmetric_laplace": _laplace,
    "expectile": _gaussian,
    "heteroscedastic_gaussian": _gaussian,
    "heteroscedastic_gamma": _gamma,
    "skew_normal": _skewed,
    "skew_t": _skewed_far,
    "lognormal": _gamma,
    "inverse_gaussian": _gamma,
    "weibull": _gamma,
    "beta": _share,
    "negative_binomial": _overdispersed,
    "zero_inflated_poisson": _many_zeros,
    "zero_inflated_negative_binomial": _many_zeros,
    "hurdle_poisson": _many_zeros,
    "hurdle_negative_binomial": _many_zeros,
    "multinomial": _multinomial,
    "ordinal": _multinomial,
    "multivariate_gaussian": _gaussian,
}


class Problem(NamedTuple):
    """A small data set with two regimes, and the parts of a model for it."""

    gate: Any
    expert: Any
    rows: Rows

    @property
    def inputs(self):
        """Row-wise inputs of the estimators' methods."""
        return {} if self.rows.trials is None else {"trials": self.rows.trials}

    @property
    def y(self):
        """The target as a user would give it."""
        return self.rows.y[:, 0]

    def labels(self):
        """A start: the rows on either side of the median of the first column."""
        x = np.asarray(self.rows.X[:, 0], dtype=float)
        return (x > np.median(x)).astype(int)


def link_of(expert) -> str | None:
    return getattr(expert, "link_name", None)


def links(name: str) -> tuple:
    """All links of a family; (None,) for a family without links."""
    return getattr(EXPERTS[name], "links", ()) or (None,)


def build(name: str, link=None, **settings):
    """An expert of that family; ``link=None`` is its default."""
    return EXPERTS[name](**settings) if link is None else EXPERTS[name](link=link, **settings)


def target(name: str, rng, mean, trials):
    if name not in TARGETS:
        pytest.fail(
            f"The family {name!r} is registered but has no row in TARGETS of tests/contracts/"
            "cases.py: add a function that draws its target from positive means around one."
        )
    return TARGETS[name](rng, mean, trials)


def problem(gate: str, expert: str, link=None, n=120, p=2, seed=0, **settings) -> Problem:
    """Rows of two regimes, divided softly by the first column."""
    rng = np.random.default_rng(seed)
    X = rng.uniform(-1, 1, (n, p)) * np.linspace(1, 2, p) + np.linspace(0, 3, p)
    x = (X - X.mean(axis=0)) / X.std(axis=0)
    first = rng.random(n) < 1 / (1 + np.exp(-1.5 * x[:, 0]))
    mean = np.where(first, 1.5 + 0.4 * x[:, 0] - 0.1 * x[:, -1], 0.6 - 0.1 * x[:, 0])
    part = build(expert, link, **settings)
    takes = getattr(part, "takes", ())
    trials = rng.integers(3, 12, n).astype(float) if "trials" in takes else None
    y = target(expert, rng, np.maximum(mean, 0.1), trials)
    return Problem(GATES[gate](), part, Rows(X, y[:, None], None, None, trials))


def interior_problem(gate: str, expert: str, link=None) -> Problem:
    """A problem whose maximum lies inside the range of the link, where the gradient vanishes.

    With the seed of all other problems one expert of the log-binomial model ends at p = 1.
    """
    edge = (expert, link) == ("binomial", "log")
    separated = expert == "inverse_gaussian"  # its gate's slopes would grow for thousands of passes
    return problem(gate, expert, link, seed=1 if edge or separated else 0)


def model_of(problem: Problem, K=2, standardise=True) -> MoEModel:
    """The model that an estimator would fit to the problem's rows."""
    p, m = problem.rows.X.shape[1], problem.rows.y.shape[1]
    scaling = (
        standardisation(problem.rows, problem.expert.scales_target)
        if standardise
        else Scaling.identity(p, m)
    )
    gate_columns = np.arange(p) if problem.gate.uses_columns else np.empty(0, dtype=int)
    gate = problem.gate.for_columns(problem.rows.X, gate_columns, problem.rows.weight, K)
    expert = problem.expert
    if expert.classifies:
        expert = expert.for_classes(int(problem.rows.y.max()) + 1)
    return MoEModel(gate, expert, K, gate_columns, np.arange(p), scaling)


def some_params(model: MoEModel, rows: Rows, seed=1, spread=0.05) -> MoEParams:
    """Parameters near the neutral ones, inside the range of every link, and all different."""
    rng = np.random.default_rng(seed)
    template = model.initial(rows)
    vector = model.pack(template)
    return model.unpack(vector + spread * rng.standard_normal(vector.shape), template)


def numbers(leaf):
    """A leaf of statistics as an array of numbers; of rows that are kept, the distinct ones."""
    leaf = np.asarray(leaf)
    return leaf if leaf.dtype != object else np.concatenate([_distinct(one) for one in leaf.flat])


def _distinct(rows):
    """Distinct rows of `WeightedRows` with their weights, sorted and in one line."""
    X, y, weight = rows.arrays()
    held = weight > 0
    keys = np.column_stack([X, y])[held].round(9)
    values, place = np.unique(keys, axis=0, return_inverse=True)
    return np.column_stack([values, np.bincount(place.ravel(), weight[held])]).ravel()


def batch(params: MoEParams) -> MoEParams:
    """A batch of one."""
    return stack([params])


def expert_ids() -> list:
    """(family, link) of every family with its default link; the other links are slow."""
    out = []
    for name in EXPERTS:
        for link in links(name):
            default = link is None or link == links(name)[0]
            out.append(pytest.param(name, link, id=f"{name}-{link}" if link else name))
            assert default or link in LINKS
    return out


# Families whose likelihoods are so flat that fits take seconds.
LENGTHY = {
    "zero_inflated_negative_binomial",
    "hurdle_negative_binomial",
    "hurdle_poisson",
    "skew_t",
}


def pair_ids() -> list:
    """(gate, family, link): every family and gate once in the fast suite, the product slow."""
    gates, out = list(GATES), []
    for e, name in enumerate(EXPERTS):
        for link in links(name):
            for g, gate in enumerate(gates):
                default_link = link is None or link == links(name)[0]
                fast = (
                    default_link
                    and name not in LENGTHY
                    and (g == 0 or (e == 0 or g == e % len(gates)))
                )
                out.append(
                    pytest.param(
                        gate,
                        name,
                        link,
                        id=f"{gate}-{name}-{link}" if link else f"{gate}-{name}",
                        marks=[] if fast else pytest.mark.slow,
                    )
                )
    return out


def family_ids() -> list:
    """(gate, family): the default gate with every family, every gate with the first family."""
    first = next(iter(EXPERTS))
    gate = next(iter(GATES))
    out = [
        pytest.param(gate, name, marks=pytest.mark.slow if name in LENGTHY else [])
        for name in EXPERTS
    ]
    return out + [(other, first) for other in GATES if other != gate]


families = pytest.mark.parametrize(("family", "link"), expert_ids())
pairs = pytest.mark.parametrize(("gate", "family", "link"), pair_ids())
parts = pytest.mark.parametrize(("gate", "family"), family_ids())
gates = pytest.mark.parametrize("gate", list(GATES))
