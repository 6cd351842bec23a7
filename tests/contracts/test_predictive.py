"""Laws of the predictive law: its distribution function, quantiles, moments and draws agree.

They hold in the user's units, for every pair of gate and family, for several responses at once
and with an offset.
"""

from __future__ import annotations

import functools

import numpy as np
import pytest
from numpy.testing import assert_allclose

from mixexp._component import EXPERTS
from mixexp.em import predictive
from tests.contracts.cases import links, model_of, pair_ids, problem, some_params, target

K = 3
N = 5  # rows that a law is asked at
DRAWS = 20_000  # a row
PROBABILITIES = np.array([1e-6, 0.02, 0.3, 0.5, 0.77, 0.99, 1 - 1e-6])
UNIT = 250.0  # of a target that a fit standardises: not one


def pairs_of(classifies):
    """All pairs of gate and family (and link) of numbers, or of classes."""
    chosen = [pair for pair in pair_ids() if EXPERTS[pair.values[1]].classifies == classifies]
    return pytest.mark.parametrize(("gate", "family", "link"), chosen)


class Law:
    """A model of K experts, its parameters, and its predictive law at a few rows."""

    def __init__(self, gate, family, link, m=2):
        case = problem(gate, family, link, n=40)
        rows = richer(case, family, m)
        self.model = model_of(case._replace(rows=rows), K)
        # only the default links have a mean at any predictor
        spread = 0.6 if link in (None, links(family)[0]) else 0.15
        if family == "binomial" and link in ("identity", "log"):
            spread = 0.03
        if case.expert.batches:  # several parameters: laws with densities without bounds are near
            spread = 0.1
        self.params = some_params(self.model, rows, spread=spread)
        self.rows, self.expert = rows.take(slice(0, N)), self.model.expert
        self.parts = predictive.components(self.model, self.params, self.rows)
        design, offset = self.model.expert_design(self.rows.X), self.model.scaled_offset(self.rows)
        means = self.expert.mean(self.params.expert, design, offset, self.rows.trials)
        assert np.isfinite(means).all()

    def cdf(self, y):
        return predictive.cdf(self.parts, self.expert, y)

    def quantile(self, probability):
        return predictive.quantile(self.parts, self.expert, probability)

    def density(self, y):
        """(N,) densities of the rows' targets, by the model."""
        return np.exp(self.model.log_prob(self.params, self.rows._replace(y=y)))

    @functools.cached_property
    def draws(self):
        """(DRAWS, N, m) draws."""
        many = self.rows.take(np.tile(np.arange(N), DRAWS))
        y, _ = predictive.sample(self.model, self.params, many, np.random.default_rng(0))
        return y.reshape(DRAWS, N, -1)


law_of = functools.cache(Law)  # several tests ask the same law


def richer(case, family, m):
    """The problem's rows with m responses where the family takes several, and an offset."""
    rows, expert, rng = case.rows, case.expert, np.random.default_rng(7)
    if expert.multi_output:
        means = 1 + 0.5 * rng.random((m, rows.n))
        y = np.column_stack([target(family, rng, mean, rows.trials) for mean in means])
        rows = rows._replace(y=y)
    if expert.scales_target:
        rows = rows._replace(y=UNIT * rows.y * np.arange(1, rows.y.shape[1] + 1))
    if "offset" in getattr(expert, "takes", ()):
        unit = UNIT if expert.scales_target else 0.05  # inside the range of every link
        rows = rows._replace(offset=unit * rng.random(rows.n))
    return rows


@pairs_of(classifies=False)
def test_quantile_is_the_smallest_target_with_that_probability(gate, family, link):
    law = law_of(gate, family, link)
    for probability in PROBABILITIES:
        y = law.quantile(probability)
        if law.expert.discrete:
            assert np.all(y == np.floor(y))
            assert np.all((law.cdf(y) >= probability) & (law.cdf(y - 1) < probability))
        else:
            assert_allclose(law.cdf(y), probability, rtol=1e-9)
            assert_allclose(1 - law.cdf(y), 1 - probability, rtol=1e-8)


@pairs_of(classifies=False)
def test_distribution_function_accumulates_the_density(gate, family, link):
    law = law_of(gate, family, link, m=1)
    for probability in PROBABILITIES[1:-1]:
        y = law.quantile(probability)
        if law.expert.discrete:
            mass = law.cdf(y) - law.cdf(y - 1)
            assert_allclose(mass[:, 0], law.density(y), rtol=1e-9)
        else:
            h = 1e-5 * np.abs(y)
            slope = (law.cdf(y + h) - law.cdf(y - h)) / (2 * h)
            rtol = 1e-5 if law.expert.smooth else 1e-4  # a kink of the density lies between
            assert_allclose(slope[:, 0], law.density(y), rtol=rtol)


@pairs_of(classifies=False)
def test_mean_and_variance_are_those_of_many_draws(gate, family, link):
    law = law_of(gate, family, link)
    draws = law.draws
    centred = draws - draws.mean(axis=0)
    second, fourth = (centred**2).mean(axis=0), (centred**4).mean(axis=0)
    error = np.sqrt(second / DRAWS)
    assert np.all(np.abs(draws.mean(axis=0) - predictive.mean(law.parts)) < 4 * error)
    error = np.sqrt((fourth - second**2) / DRAWS)
    variance = predictive.variance(law.parts, law.expert)
    assert np.all(np.abs(second - variance) < 4 * error)


@pairs_of(classifies=False)
def test_draws_follow_the_distribution_function(gate, family, link):
    law = law_of(gate, family, link)
    draws = law.draws
    for probability in PROBABILITIES[1:-1]:
        y = law.quantile(probability)
        wanted = law.cdf(y)
        error = np.sqrt(wanted * (1 - wanted) / DRAWS)
        assert np.all(np.abs((draws <= y).mean(axis=0) - wanted) < 4 * error + 4 / DRAWS)


@pairs_of(classifies=False)
def test_a_response_is_predicted_as_if_it_were_alone(gate, family, link):
    law = law_of(gate, family, link)
    assert law.parts.mean.shape[2] == (2 if law.expert.multi_output else 1)
    y = law.quantile(0.8)
    found = [predictive.mean(law.parts), predictive.variance(law.parts, law.expert), y, law.cdf(y)]
    for j in range(y.shape[1]):
        model, params, rows = alone(law, j)
        parts = predictive.components(model, params, rows)
        wanted = [
            predictive.mean(parts),
            predictive.variance(parts, law.expert),
            predictive.quantile(parts, law.expert, 0.8),
            predictive.cdf(parts, law.expert, y[:, [j]]),
        ]
        for together, single in zip(found, wanted, strict=True):
            assert_allclose(together[:, [j]], single, rtol=1e-12)


def alone(law, j):
    """Model, parameters and rows of one response."""
    scaling = law.model.scaling
    scaling = scaling._replace(y_centre=scaling.y_centre[[j]], y_scale=scaling.y_scale[[j]])
    expert = law.params.expert
    if not hasattr(expert, "dispersion"):  # a family of one response
        return law.model, law.params, law.rows
    spread = expert.dispersion[:, [j]]
    scale = {"factor": spread[..., None]} if hasattr(expert, "factor") else {"dispersion": spread}
    expert = expert._replace(coef=expert.coef[:, [j]], **scale)
    return (
        law.model._replace(scaling=scaling),
        law.params._replace(expert=expert),
        law.rows._replace(y=law.rows.y[:, [j]]),
    )


@pairs_of(classifies=False)
def test_draws_of_several_responses_share_their_expert(gate, family, link):
    """Responses covary by the experts' means, and by the residual covariances of a family with."""
    law = law_of(gate, family, link)
    if not law.expert.multi_output:
        return
    draws = law.draws
    centred = draws - draws.mean(axis=0)
    products = centred[:, :, 0] * centred[:, :, 1]
    between = law.parts.mean - predictive.mean(law.parts)[:, None]
    within = np.zeros(law.parts.mean.shape[1])
    if hasattr(law.params.expert, "factor"):
        factor = law.params.expert.factor
        within = (factor[:, 0] * factor[:, 1]).sum(axis=1) * law.model.scaling.y_scale.prod()
    covariance = (law.parts.prob * (within + between[:, :, 0] * between[:, :, 1])).sum(axis=1)
    error = products.std(axis=0) / np.sqrt(DRAWS)
    assert np.all(np.abs(products.mean(axis=0) - covariance) < 4 * error)


@pairs_of(classifies=False)
def test_an_expert_without_a_mean_leaves_its_share_to_the_others(gate, family, link):
    law = law_of(gate, family, link)
    mean = law.parts.mean.copy()

    class Without(type(law.expert)):
        """The family where the experts ``without`` have no mean at the first row."""

        def mean(self, params, X, offset, trials):
            values = super().mean(params, X, offset, trials).copy()
            values[0, self.without] = np.nan
            return values

    expert = Without(**law.expert.get_params(deep=False))
    expert.without = [0]
    model = law.model._replace(expert=expert)
    parts = predictive.components(model, law.params, law.rows)
    share = law.parts.prob[0, 1:] / law.parts.prob[0, 1:].sum()
    assert_allclose(parts.prob[0], [0, *share], rtol=1e-12)
    assert_allclose(predictive.mean(parts)[0], share @ mean[0, 1:], rtol=1e-12)
    assert_allclose(parts.prob[1:], law.parts.prob[1:], rtol=1e-12)

    expert.without = [0, 1, 2]
    parts = predictive.components(model, law.params, law.rows)
    found = [
        predictive.mean(parts),
        predictive.variance(parts, expert),
        predictive.quantile(parts, expert, 0.3),
        predictive.cdf(parts, expert, law.rows.y),
    ]
    for values in found:
        assert np.isnan(values[0]).all() and np.isfinite(values[1:]).all()


@pairs_of(classifies=True)
def test_class_probabilities_are_the_density_and_those_of_many_draws(gate, family, link):
    law = law_of(gate, family, link)
    prob, draws = predictive.mean(law.parts), law.draws[:, :, 0]
    assert_allclose(prob.sum(axis=1), 1, rtol=1e-12)
    for code in range(prob.shape[1]):
        assert_allclose(prob[:, code], law.density(np.full((N, 1), float(code))), rtol=1e-12)
        error = np.sqrt(prob[:, code] * (1 - prob[:, code]) / DRAWS)
        assert np.all(np.abs((draws == code).mean(axis=0) - prob[:, code]) < 4 * error)
