"""Starts of trees of splits: the flat search's experts in their places."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose

from mixexp import HierarchicalGate, MoERegressor, MultiStart
from mixexp.em.start import MultiStart as Search
from mixexp.gates import trees
from tests.unit.gates.test_hierarchical import planted

QUICK = MultiStart(0.2, max_rounds=0)


def test_the_planted_places_are_found_from_a_quick_search():
    X, y, labels, _ = planted(400, seed=1)
    model = MoERegressor(4, gate="hierarchical", start=QUICK).fit(X, y)
    truth = MoERegressor(4, gate="hierarchical", start=labels).fit(X, y)
    assert model.loglik_ >= truth.loglik_ - 1e-3


def test_the_search_itself_runs_with_one_softmax_gate(monkeypatch):
    seen = []
    search = Search.search

    def spied(self, model, rows, **settings):
        seen.append(type(model.gate).__name__)
        return search(self, model, rows, **settings)

    monkeypatch.setattr(Search, "search", spied)
    X, y, _, _ = planted(80)
    model = MoERegressor(3, gate="hierarchical", start=QUICK).fit(X, y)
    assert seen == ["SoftmaxGate"]
    assert model.gate_tree_ == ((0, 1), 2)


def test_order_and_repetition_of_rows_do_not_matter():
    X, y, _, _ = planted(80)
    rng = np.random.default_rng(0)
    order, weight = rng.permutation(80), rng.integers(1, 3, 80)
    model = MoERegressor(3, gate="hierarchical", start=QUICK)
    weighted = model.fit(X, y, sample_weight=weight).loglik_
    shuffled = model.fit(X[order], y[order], sample_weight=weight[order]).loglik_
    repeated = model.fit(np.repeat(X, weight, axis=0), np.repeat(y, weight)).loglik_
    assert_allclose([shuffled, repeated], weighted, rtol=1e-9)


@pytest.mark.parametrize("K", [2, 3])
def test_a_given_fit_with_one_expert_less_is_never_lost(K):
    X, y, _, _ = planted(120, seed=5)
    below = MoERegressor(K, gate="hierarchical", start=QUICK).fit(X, y)
    above = MoERegressor(K + 1, gate="hierarchical", start=below).fit(X, y)
    assert above.loglik_ >= below.loglik_ - 1e-8


def test_swaps_of_leaves_are_all_trees_of_one_shape():
    gate = HierarchicalGate()
    new = [gate.initial(4, 2)]
    known = {gate.grouping(new[0])}
    while new:
        new = [one for some in new for one in gate.swapped(some) if gate.grouping(one) not in known]
        known |= {gate.grouping(one) for one in new}
    assert len(known) == 3
    assert {trees.shape(tree) for tree in known} == {trees.shape(((0, 1), (2, 3)))}
