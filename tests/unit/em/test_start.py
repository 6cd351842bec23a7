"""The search is a function of the weighted sample, nested in K, and never returns the spurious."""

from __future__ import annotations

import joblib
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse

from mixexp import datasets
from mixexp.em.driver import EM
from mixexp.em.engines import MemoryEngine
from mixexp.em.model import MoEModel
from mixexp.em.params import stack, take
from mixexp.em.rows import Rows, standardisation
from mixexp.em.start import STRIDE, MultiStart
from mixexp.em.starts.screen import Screen
from mixexp.experts import (
    BinomialExpert,
    GammaExpert,
    GaussianExpert,
    MultinomialExpert,
    PoissonExpert,
)
from mixexp.gates import ConstantGate, SoftmaxGate

LIGHT = MultiStart(n_starts=0.3, max_rounds=1)


def lines(rng, n=120, p=1, sd=0.3):
    """Two lines that cross, the left rows on one of them."""
    X = rng.uniform(-1, 1, (n, p))
    left = rng.random(n) < 1 / (1 + np.exp(4 * X[:, 0]))
    y = np.where(left, 2 + 3 * X[:, 0], 1 - 2 * X[:, 0]) + sd * rng.standard_normal(n)
    return Rows(X, y[:, None])


def make(rows, K, gate=None, expert=None):
    expert = GaussianExpert() if expert is None else expert
    gate = SoftmaxGate() if gate is None else gate
    p = rows.X.shape[1]
    columns = np.arange(p) if gate.uses_columns else np.empty(0, dtype=int)
    scaling = standardisation(rows, expert.scales_target)
    return MoEModel(gate, expert, K, columns, np.arange(p), scaling)


def loglik(model, rows, found):
    return model.log_prob(found.params, rows).sum()


def test_row_order_changes_nothing(rng):
    rows = lines(rng)
    model = make(rows, 3)
    shuffled = rows.take(rng.permutation(rows.n))
    one = LIGHT.search(model, rows, seed=5)
    other = LIGHT.search(model, shuffled, seed=5)
    assert one.optima == other.optima
    assert_array_equal(one.params.expert.coef, other.params.expert.coef)
    assert_array_equal(one.params.gate.coef, other.params.gate.coef)


@pytest.mark.parametrize("table_size", [2000, 60])
def test_weights_equal_repetition(rng, table_size):
    rows = lines(rng)
    weight = rng.integers(0, 4, rows.n)
    weighted = rows._replace(weight=weight.astype(float))
    repeated = rows.take(np.repeat(np.arange(rows.n), weight))
    start = MultiStart(n_starts=0.3, max_rounds=1, table_size=table_size)
    one = start.search(make(weighted, 2), weighted, seed=1)
    other = start.search(make(repeated, 2), repeated, seed=1)
    assert one.optima == other.optima
    assert_allclose(one.params.expert.coef, other.params.expert.coef, rtol=1e-8, atol=1e-10)


def test_seeds_differ_but_agree_on_easy_data(rng):
    rows = lines(rng)
    three = make(rows, 3)
    hits = {tuple(o.hits for o in LIGHT.search(three, rows, seed=s).optima) for s in range(3)}
    assert len(hits) > 1
    two = make(rows, 2)
    values = [loglik(two, rows, LIGHT.search(two, rows, seed=s)) for s in range(4)]
    assert_allclose(values, values[0], rtol=1e-8)


def test_optima_describe_the_search(rng):
    rows = lines(rng)
    model = make(rows, 2)
    found = LIGHT.search(model, rows, seed=0)
    best = found.optima[0]
    assert best.best and best.regular and not any(o.best for o in found.optima[1:])
    assert_allclose(best.loglik, loglik(model, rows, found), rtol=1e-10)
    assert best.hits == sum(best.kinds.values())
    resp = model.responsibilities(found.params, rows)
    assert_allclose(best.smallest_expert, resp.sum(axis=0).min(), rtol=1e-6)


def test_likelihood_does_not_fall_with_more_experts(rng):
    rows = lines(rng, sd=1.0)
    values = [
        loglik(m, rows, LIGHT.search(m, rows, seed=0)) for m in (make(rows, K) for K in range(1, 5))
    ]
    assert np.all(np.diff(values) >= -1e-6)


def test_spurious_optima_are_listed_not_returned(rng):
    """Nine rows on an exact line make a higher, irregular optimum."""
    X = rng.uniform(-1, 1, (200, 1))
    y = rng.standard_normal(200)
    y[:9] = 0.5 * X[:9, 0]
    rows = Rows(X, y[:, None])
    model = make(rows, 2, ConstantGate())
    resp = np.eye(2)[(np.arange(200) < 9) * 1]
    tempting = take(model.from_responsibilities(rows, [resp]), 0)
    found = LIGHT.search(model, rows, seed=0, given=[tempting])
    best, *others = found.optima
    assert best.regular
    spurious = [o for o in others if "given" in o.kinds]
    assert len(spurious) == 1 and not spurious[0].regular
    assert spurious[0].loglik > best.loglik


def test_tight_line_among_noise_is_found():
    """The better of tone perception's two optima, which random starts meet once in a hundred."""
    X, y = datasets.load_tone(return_X_y=True)
    rows = Rows(
        np.asarray(X, dtype=float).reshape(-1, 1), np.asarray(y, dtype=float).reshape(-1, 1)
    )
    model = make(rows, 2, ConstantGate())
    for seed in range(3):
        found = MultiStart().search(model, rows, seed=seed)
        assert_allclose(loglik(model, rows, found), 145.416847, atol=1e-4)


def test_given_parameters_are_tried(rng):
    rows = lines(rng)
    two, three = make(rows, 2), make(rows, 3)
    best = LIGHT.search(two, rows, seed=0)
    again = LIGHT.search(two, rows, seed=1, given=[best.params])
    assert "given" in again.optima[0].kinds
    grown = LIGHT.search(three, rows, seed=0, given=[best.params])
    assert loglik(three, rows, grown) >= loglik(two, rows, best) - 1e-6


FAMILIES = {
    "poisson": (PoissonExpert(), lambda eta, rng: rng.poisson(np.exp(eta)).astype(float), None),
    "binomial": (
        BinomialExpert(),
        lambda eta, rng: rng.binomial(8, 1 / (1 + np.exp(-eta))).astype(float),
        8.0,
    ),
    "gamma": (GammaExpert(), lambda eta, rng: rng.gamma(9.0, np.exp(eta) / 9), None),
    "multinomial": (
        MultinomialExpert(),
        lambda eta, rng: (eta + rng.logistic(size=len(eta)) > 0) * 1.0,
        None,
    ),
}


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_climbs_above_one_expert(rng, family):
    expert, draw, trials = FAMILIES[family]
    X = rng.uniform(-1, 1, (150, 1))
    eta = np.where(rng.random(150) < 1 / (1 + np.exp(5 * X[:, 0])), 1.5, -1.5)
    rows = Rows(
        X, draw(eta, rng)[:, None], None, None, None if trials is None else np.full(150, trials)
    )
    one, two = make(rows, 1, expert=expert), make(rows, 2, expert=expert)
    low = loglik(one, rows, LIGHT.search(one, rows, seed=0))
    found = LIGHT.search(two, rows, seed=0)
    assert np.isfinite(found.optima[0].loglik)
    assert loglik(two, rows, found) > low


def test_several_responses_and_sparse_columns(rng):
    rows = lines(rng, p=2)
    dense = rows._replace(X=rows.X.round(1))
    thin = dense._replace(X=sparse.csr_array(dense.X))
    found = LIGHT.search(make(thin, 2), thin, seed=0)
    wanted = LIGHT.search(make(dense, 2), dense, seed=0)
    assert_allclose(found.optima[0].loglik, wanted.optima[0].loglik, atol=1e-4)
    both = rows._replace(y=np.hstack([rows.y, -rows.y + rng.standard_normal(rows.y.shape)]))
    assert LIGHT.search(make(both, 2), both, seed=0).optima[0].regular


@pytest.mark.parametrize("n", [1, 2, 3, 5])
def test_few_rows_and_constant_columns_give_an_answer(n, rng):
    X = np.hstack([rng.standard_normal((n, 1)), np.ones((n, 1))])
    rows = Rows(X, rng.standard_normal((n, 1)))
    model = make(rows, min(n, 3))
    found = LIGHT.search(model, rows, seed=0)
    assert np.all(np.isfinite(found.params.expert.coef)) and np.isfinite(found.optima[0].loglik)


def test_constant_target():
    rows = Rows(np.arange(20.0)[:, None], np.ones((20, 1)))
    found = LIGHT.search(make(rows, 2), rows, seed=0)
    assert np.all(np.isfinite(found.params.expert.coef))


def test_a_large_sample_is_searched_on_its_table(rng):
    rows = lines(rng, n=20_000)
    model = make(rows, 2)
    found = MultiStart(n_starts=0.3, max_rounds=1, table_size=500).search(model, rows, seed=0)
    engine = MemoryEngine(rows, model)
    near = EM().run(model, stack([found.params]), engine)
    left = rows.X[:, 0] < 0
    truth = EM().run(
        model, model.from_responsibilities(rows, [np.eye(2)[left * 1] * 0.8 + 0.1]), engine
    )
    assert near.objective[0] >= truth.objective[0] - 1e-9


def test_the_work_of_a_search_falls_with_its_effort(rng, monkeypatch):
    rows = lines(rng)
    model = make(rows, 3)
    work = []
    advance = Screen.advance

    def counted(self, pool, passes, acceleration=8):
        work[-1] += passes * len(pool.objective)
        return advance(self, pool, passes, acceleration)

    monkeypatch.setattr(Screen, "advance", counted)
    for effort in (0.1, 0.3, 1.0):
        work.append(0)
        MultiStart(n_starts=effort, max_rounds=1).search(model, rows, seed=0)
    assert 2 * work[0] < work[2] and work[0] < work[1] < 0.7 * work[2]


def test_too_few_rows_for_a_regular_optimum_are_not_searched_further(rng, monkeypatch):
    rows = lines(rng, n=30, p=3)  # experts of 5 parameters: at most 3 of 10 rows each
    shaken = []
    shake = Screen.shake
    monkeypatch.setattr(
        Screen, "shake", lambda self, *a, **k: shaken.append(self.model.K) or shake(self, *a, **k)
    )
    found = MultiStart(n_starts=0.3, max_rounds=2).search(make(rows, 4), rows, seed=0)
    assert 4 not in shaken and {2, 3} & set(shaken)
    assert found.optima and not any(optimum.regular for optimum in found.optima)


def test_several_searches_find_the_best_of_each(rng):
    rows = lines(rng)
    model = make(rows, 4)
    each = [LIGHT.search(model, rows, seed=seed).optima[0] for seed in (5, 5 + STRIDE)]
    several = MultiStart(n_starts=0.3, max_rounds=1, n_searches=2)
    found = several.search(model, rows, seed=5)
    assert found.optima[0].loglik == max(optimum.loglik for optimum in each)
    assert sum(optimum.hits for optimum in found.optima) > max(o.hits for o in each)
    with joblib.parallel_config("threading", n_jobs=2):
        again = several.search(model, rows, seed=5)
    assert again.optima == found.optima
    assert_array_equal(again.params.expert.coef, found.params.expert.coef)
    with pytest.raises(ValueError, match="n_searches >= 1; got 0"):
        MultiStart(n_searches=0).search(model, rows, seed=5)
