"""`robust=True`: a partition with garbage is left out, and a sound one is not."""

from __future__ import annotations

import numpy as np
import pytest

from mixexp import MoERegressor
from mixexp.distributed import LocalFit, aggregate
from tests.unit.distributed.partitioned import dealt, local_regression, regression, slopes_error

GARBAGE = {
    "noise": lambda y, rng: 10 * rng.standard_normal(len(y)),
    "other unit": lambda y, rng: 100 * y,
    "shuffled rows": lambda y, rng: rng.permutation(y),
    "other sign": lambda y, rng: -y,
}


@pytest.fixture(scope="module")
def sound():
    return dealt(3000, 6)


def spoilt(kind, seed=50):
    """The local fit of 500 rows whose target is garbage."""
    X, y, z = regression(500, seed)
    y = GARBAGE[kind](y, np.random.default_rng(seed))
    return LocalFit.of(MoERegressor(4, start=z).fit(X, y), X)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.filterwarnings("ignore:The combined model may be worse")
@pytest.mark.parametrize("kind", GARBAGE)
def test_garbage_costs_little(sound, kind):
    fits = [*sound[:3], spoilt(kind), *sound[3:]]
    robust = aggregate(fits, 4, robust=True)
    assert robust.aggregation_.kept.tolist() == [True] * 3 + [False] + [True] * 3
    without = slopes_error(aggregate(sound, 4))
    assert slopes_error(robust) <= 1.2 * without
    # it would have mattered
    assert slopes_error(aggregate(fits, 4)) > 2 * without


def test_two_spoilt_of_eight(sound):
    fits = [spoilt("other sign"), *sound, spoilt("noise")]
    kept = aggregate(fits, 4, robust=True).aggregation_.kept
    assert kept.tolist() == [False] + [True] * 6 + [False]


def test_sound_partitions_stay(sound):
    assert aggregate(sound, 4, robust=True).aggregation_.kept.all()


def test_small_partitions_are_not_taken_for_garbage():
    X, y, z = regression(3300, 3)
    parts = np.split(np.arange(3300), [100, 220, 1200, 2200])
    fits = [local_regression(X[i], y[i], z[i], m) for m, i in enumerate(parts)]
    assert aggregate(fits, 4, robust=True).aggregation_.kept.all()


def test_a_partition_that_knows_one_expert_more_is_not_taken_for_garbage():
    X, y, z = regression(3000, 4)
    part = np.arange(3000) % 5
    kept = (z != 3) | (part == 0)
    fits = [
        local_regression(X[i], y[i], z[i], m, K=4 if m == 0 else 3)
        for m, i in enumerate(kept & (part == m) for m in range(5))
    ]
    assert aggregate(fits, 4, robust=True).aggregation_.kept.all()


def test_a_majority_is_needed(sound):
    with pytest.raises(ValueError, match="at least 3 local fits"):
        aggregate(sound[:2], 4, robust=True)
