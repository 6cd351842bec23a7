"""Laws of densities, highest-density regions and expectations beyond a threshold.

For every family: those with closed forms agree with the defaults that serve all others.
"""

from __future__ import annotations

import numpy as np
from numpy.testing import assert_allclose

from mixexp.em import predictive, regions, tails
from mixexp.experts.base import Expert
from tests.contracts.test_predictive import DRAWS, PROBABILITIES, law_of, pairs_of

INNER = PROBABILITIES[1:-1]
LEVELS = (0.05, 0.5, 0.8, 0.99)


@pairs_of(classifies=False)
def test_density_is_that_of_the_model(gate, family, link):
    law = law_of(gate, family, link, m=1)
    for probability in INNER:
        y = law.quantile(probability)
        found = predictive.density(law.parts, law.expert, y)
        assert_allclose(found[:, 0], law.density(y), rtol=1e-7)


@pairs_of(classifies=False)
def test_closed_forms_agree_with_the_defaults(gate, family, link):
    law = law_of(gate, family, link, m=1)
    own = law.parts.law(0)
    accurate = 1e-7 if law.expert.smooth else 1e-4  # differences and quadrature over a kink
    for probability in INNER:
        y = law.quantile(probability)
        density, default = law.expert.density(y, *own), Expert.density(law.expert, y, *own)
        assert_allclose(default, density, rtol=10 * accurate, atol=1e-8 * density.max())
        for threshold in (y, y - 0.25 * np.abs(y)):
            excess = law.expert.excess(threshold, *own)
            default = Expert.excess(law.expert, threshold, *own)
            assert_allclose(default, excess, rtol=accurate, atol=1e-10 * np.abs(y).max())


@pairs_of(classifies=False)
def test_the_excess_falls_as_fast_as_there_is_probability_above(gate, family, link):
    law = law_of(gate, family, link)

    def excess(threshold):
        return tails.excess(law.parts, law.expert, threshold)

    for probability in INNER:
        y = law.quantile(probability)
        above = 1 - law.cdf(y)
        if law.expert.discrete:
            assert_allclose(excess(y) - excess(y + 1), above, atol=1e-9)
            assert_allclose(excess(y) - excess(y + 0.25), 0.25 * above, atol=1e-9)
        else:
            # a share of the law's own scale too: one expert may be far narrower than its mean
            scale = np.minimum(above, 1 - above) / predictive.density(law.parts, law.expert, y)
            h = np.minimum(1e-4 * np.abs(y), 1e-3 * scale)
            slope = (excess(y - h) - excess(y + h)) / (2 * h)
            assert_allclose(slope, above, rtol=1e-5 if law.expert.smooth else 1e-4)
    lowest = law.quantile(1e-6)
    lowest = lowest - 10 * np.abs(law.quantile(0.99) - lowest) - 1
    assert_allclose(excess(lowest), predictive.mean(law.parts) - lowest, rtol=1e-8)


@pairs_of(classifies=False)
def test_excess_and_limited_expectation_are_those_of_many_draws(gate, family, link):
    law = law_of(gate, family, link)
    threshold = law.quantile(0.8) + 0.3
    over = np.maximum(law.draws - threshold, 0)
    error = over.std(axis=0) / np.sqrt(DRAWS)
    found = tails.excess(law.parts, law.expert, threshold)
    assert np.all(np.abs(over.mean(axis=0) - found) <= 4 * error + 1e-12)
    limited = np.minimum(law.draws, threshold)
    error = limited.std(axis=0) / np.sqrt(DRAWS)
    found = tails.limited(law.parts, law.expert, threshold)
    assert np.all(np.abs(limited.mean(axis=0) - found) <= 4 * error + 1e-12)


@pairs_of(classifies=False)
def test_the_two_shortfalls_share_the_mean(gate, family, link):
    law = law_of(gate, family, link)
    mean = predictive.mean(law.parts)
    for probability in INNER:
        upper, lower = (
            tails.shortfall(law.parts, law.expert, probability, tail) for tail in ("upper", "lower")
        )
        both = (1 - probability) * upper + probability * lower
        assert_allclose(both, mean, rtol=1e-9)
        y = law.quantile(probability)
        slack = 1e-9 * np.abs(y) + 1e-12
        assert np.all(lower <= y + slack) and np.all(upper >= y - slack)
    ordered = np.sort(law.draws, axis=0)[int(0.9 * DRAWS) :]
    error = ordered.std(axis=0) / np.sqrt(len(ordered)) + law.draws.std(axis=0) / np.sqrt(DRAWS)
    found = tails.shortfall(law.parts, law.expert, 0.9, "upper")
    assert np.all(np.abs(ordered.mean(axis=0) - found) <= 5 * error)


def probability_of(law, region, i):
    """Probability of a region of row i, and the densities at its ends."""
    one = law.parts.take(np.full(region.size, i))
    ends = region.reshape(-1, 1)
    step = np.tile([1.0, 0.0], len(region))[:, None] if law.expert.discrete else 0.0
    F = predictive.cdf(one, law.expert, ends - step).reshape(-1, 2)
    return np.diff(F, axis=1).sum(), predictive.density(one, law.expert, ends)[:, 0]


@pairs_of(classifies=False)
def test_regions_are_the_smallest_sets_of_their_probability(gate, family, link):
    law = law_of(gate, family, link, m=1)
    for level in LEVELS:
        found = regions.highest_density(law.parts, law.expert, level)
        assert len(found) == len(law.rows.y)
        for i, region in enumerate(found):
            held, densities = probability_of(law, region, i)
            assert np.all(region[:, 0] <= region[:, 1])
            assert np.all(region[1:, 0] > region[:-1, 1])
            if law.expert.discrete:
                assert held >= level - 1e-12
                assert region.tolist() == counted(law, i, level)
            else:
                assert_allclose(held, level, atol=1e-9)
                assert_allclose(densities, densities[0], rtol=1e-5)
                ends = [law.quantile((1 - level) / 2)[i], law.quantile((1 + level) / 2)[i]]
                assert np.diff(region, axis=1).sum() <= (ends[1] - ends[0])[0] * (1 + 1e-9)


def counted(law, i, level):
    """The region of counts by sorting all of them."""
    one = law.parts.take(np.full(2000, i))
    counts = np.arange(2000.0)
    mass = predictive.density(one, law.expert, counts[:, None])[:, 0]
    order = np.argsort(-mass, kind="stable")
    last = order[np.searchsorted(np.cumsum(mass[order]), level)]
    inside = counts[mass >= mass[last] * (1 - 1e-9)]
    runs = np.split(inside, np.flatnonzero(np.diff(inside) > 1) + 1)
    return [[run[0], run[-1]] for run in runs]


@pairs_of(classifies=False)
def test_content_is_the_level_at_which_a_target_enters_the_region(gate, family, link):
    law = law_of(gate, family, link, m=1)
    for level in LEVELS:
        found = regions.highest_density(law.parts, law.expert, level)
        ends = np.array([region[-1, 1] for region in found])
        content = regions.content(law.parts, law.expert, ends)
        if not law.expert.discrete:
            assert_allclose(content, level, atol=1e-6)
            continue
        assert np.all(content < level)
        after = regions.highest_density(law.parts, law.expert, content + 1e-6)
        before = regions.highest_density(law.parts, law.expert, np.maximum(content - 1e-6, 0))
        for i, y in enumerate(ends):
            assert holds(after[i], y)
            assert not holds(before[i], y) or content[i] < 1e-6  # the likeliest count


def holds(region, y):
    return bool(((region[:, 0] <= y) & (y <= region[:, 1])).any())
