"""`grow_tree`: every split is nested in the next, and the criterion decides."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import special

from mixexp import L2, GaussianExpert, HierarchicalGate, MoEClassifier, MoERegressor, MultiStart
from mixexp.gates import trees
from mixexp.selection import criteria_table, grow_tree
from mixexp.selection.growing.splits import split_leaf
from mixexp.selection.study.chains import StudyRows
from tests.unit.gates.test_hierarchical import LINES, planted

QUICK = MultiStart(0.2, max_rounds=0)


def three_regimes(n, seed=0, p=1):
    """Slopes that change twice along the first column; the second regime borders on both."""
    rng = np.random.default_rng(seed)
    X = rng.uniform(-3, 3, (n, p))
    labels = np.searchsorted([-1, 1.2], X[:, 0])
    mean = np.array([4.0, 0.0, -3.0])[labels] + np.array([1.5, -1.0, 2.0])[labels] * X[:, 0]
    return X, mean + 0.3 * rng.standard_normal(n), labels


@pytest.fixture(scope="module")
def grown():
    X, y, labels = three_regimes(250, p=2)
    seen = []
    growth = grow_tree(
        MoERegressor(), X, y, max_experts=6, search=QUICK, rearrange=False, callback=seen.append
    )
    return growth, X, y, labels, seen


def test_planted_regimes_are_found(grown):
    growth, X, y, labels, _ = grown
    assert growth.ended == "no gain"
    assert growth.table["n_experts"].tolist() == [1, 2, 3]
    assert growth.model.n_experts_ == 3 and growth.model.gate_tree_ == growth.tree
    assert growth.model.start == "default"
    own = growth.model.predict_component(X)
    agree = max(np.mean(np.array(order)[own] == labels) for order in PERMUTATIONS)
    assert agree > 0.97


PERMUTATIONS = [(0, 1, 2), (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0)]


def test_the_log_likelihood_never_falls_and_trees_are_nested(grown):
    growth = grown[0]
    assert np.all(np.diff(growth.table["loglik"]) > 0)
    for k in range(1, len(growth.table)):
        before, split = growth.table["tree"][k - 1], growth.table["split"][k]
        assert growth.table["tree"][k] == trees.with_leaf_split(before, split)


def test_scores_are_those_of_the_criterion(grown):
    growth = grown[0]
    wanted = criteria_table(growth.models, ["bic"])["BIC"]
    assert_allclose(growth.table["score"], wanted)
    assert_allclose(growth.table["gain"][1:], -np.diff(wanted))
    assert growth.chosen == int(np.argmin(wanted))


def test_every_step_tries_every_leaf_and_takes_the_best(grown):
    growth, *_, seen = grown
    tried = growth.candidates
    assert len(seen) == len(tried)
    assert [record["n_experts"] for record in seen] == (tried["step"] + 2).tolist()
    for step, part in tried.groupby("step"):
        assert part["split"].tolist() == list(range(growth.table["n_experts"][step]))
        if part["taken"].any():
            best = part[part["regular"]]["score"].min()
            assert_allclose(growth.table["score"][step + 1], best)
    last = tried[tried["step"] == len(growth.table) - 1]
    assert not last["taken"].any()
    assert not ((last["gain"] > 0) & last["regular"]).any()


def test_a_mixture_in_the_leafs_place_is_no_worse_before_any_refit():
    """Jensen: the rows gain at least what the leaf's rows, weighted, gain."""
    from mixexp.selection.growing.splits import _mixture_of_two, _put_in

    X, y, _ = three_regimes(200)
    template = MoERegressor(2, gate="hierarchical")
    model = template.fit(X, y)
    rows = StudyRows(X, y)
    for k in range(2):
        two = _mixture_of_two(template, model, k, rows, QUICK)
        tree = trees.with_leaf_split(model.gate_tree_, k)
        larger, params = _put_in(model, two, k, tree)
        start = larger.log_prob(params, model._rows(X, y)).sum()
        own = model.responsibilities(X, y)[:, k]
        alone = np.log(model.responsibilities(X, y)[:, k]) + model.log_prob(X, y)
        expert = alone - np.log(model.gate_proba(X)[:, k])
        kept = own > 1e-4
        gain = own[kept] @ (two.log_prob(X[kept], y[kept]) - expert[kept])
        assert gain > 0
        assert start - model.loglik_ > gain - 0.05
        fitted = split_leaf(template, model, k, rows, QUICK)
        assert fitted.loglik_ >= start - 1e-8


def test_the_same_seed_is_the_same_tree_and_order_of_rows_does_not_matter(grown):
    growth, X, y, *_ = grown
    order = np.random.default_rng(1).permutation(len(y))
    again = grow_tree(
        MoERegressor(), X[order], y[order], max_experts=6, search=QUICK, rearrange=False
    )
    assert again.tree == growth.tree
    assert_allclose(again.table["loglik"], growth.table["loglik"], rtol=1e-9)


def test_subtrees_change_places_until_the_planted_tree_is_found():
    X, y, _, prob = planted(600)
    greedy, growth = (
        grow_tree(MoERegressor(), X, y, max_experts=4, search=QUICK, rearrange=rearrange)
        for rearrange in (False, True)
    )
    assert growth.model.loglik_ > greedy.model.loglik_ + 50
    assert growth.table["rearranged"].iloc[-1]
    assert not greedy.table["rearranged"].any()
    assert np.all(np.diff(growth.table["loglik"]) > 0)
    order = [int(np.abs(growth.model.coef_ - line[1:]).sum(axis=1).argmin()) for line in LINES]
    pairs = {frozenset(order[:2]), frozenset(order[2:])}
    assert {frozenset(branch) for branch in growth.model.gate_nodes_[0].branches} == pairs
    assert np.abs(growth.model.gate_proba(X)[:, order] - prob).mean() < 0.04
    assert "subtrees changed places" in growth.headline()


@pytest.mark.parametrize("K", [3, 4, 5])
def test_exchanges_reach_every_binary_tree(K):
    tree = trees.in_order(trees.balanced(K, 2))
    known, new = {tree}, [tree]
    while new:
        found = {other for one in new for other in trees.exchanges(one)}
        assert all(sorted(trees.leaves(one)) == list(range(K)) for one in found)
        assert all(one not in trees.exchanges(one) for one in found)
        new = list(found - known)
        known |= found
    assert len(known) == {3: 3, 4: 15, 5: 105}[K]  # (2 K - 3)!!


def test_weights_repeat_rows():
    X, y, _ = three_regimes(120)
    weight = np.random.default_rng(0).integers(1, 3, len(y))
    weighted = grow_tree(MoERegressor(), X, y, max_experts=3, search=QUICK, sample_weight=weight)
    repeated = grow_tree(
        MoERegressor(), np.repeat(X, weight, axis=0), np.repeat(y, weight), max_experts=3,
        search=QUICK,
    )  # fmt: skip
    assert repeated.tree == weighted.tree
    assert_allclose(repeated.table["loglik"], weighted.table["loglik"], rtol=1e-7)
    assert weighted.ended == "max_experts"


def test_held_out_rows_decide_and_the_winner_is_refitted_to_all():
    X, y, _ = three_regimes(300)
    growth = grow_tree(MoERegressor(), X, y, max_experts=5, held_out=0.3, search=QUICK)
    assert 3 <= growth.model.n_experts_ == growth.table["n_experts"][growth.chosen]
    assert len(growth.held_out) == 100
    step = growth.models[growth.chosen]
    assert step.n_units_ == 200 and growth.model.n_units_ == 300
    mean = step.log_prob(X[growth.held_out], y[growth.held_out]).mean()
    assert_allclose(growth.table["heldout_loglik"][growth.chosen], mean)
    assert "held-out" in growth.headline()
    assert "heldout_loglik" in str(growth)


def test_groups_stay_together():
    rng = np.random.default_rng(2)
    group = np.repeat(np.arange(60), 4)
    x = rng.uniform(-3, 3, 60)[group]
    label = (rng.random(60) < special.expit(3 * x[::4]))[group]
    t = rng.uniform(size=240)
    y = np.where(label, 2 + t, -1 - 2 * t) + 0.3 * rng.standard_normal(240)
    X = np.column_stack([x, t])
    growth = grow_tree(
        MoERegressor(gate_features=[0]), X, y, groups=group, max_experts=3, held_out=0.25,
        search=QUICK,
    )  # fmt: skip
    assert growth.model.n_units_ == 60
    assert len(np.unique(group[growth.held_out])) * 4 == len(growth.held_out)
    assert growth.table["n_experts"].iloc[-1] >= 2


def test_classes_and_settings_of_the_nodes():
    rng = np.random.default_rng(0)
    X = rng.uniform(-2, 2, (240, 2))
    inner = np.where(X[:, 0] > 0, 4 * X[:, 1], -4 * X[:, 1])
    y = np.array(["no", "yes"])[(rng.random(240) < special.expit(inner)).astype(int)]
    gate = HierarchicalGate(penalty=L2(1e-3))
    growth = grow_tree(MoEClassifier(gate=gate), X, y, max_experts=2, search=QUICK)
    assert growth.model.n_experts_ == 2
    assert growth.model.gate.penalty.alpha == 1e-3
    assert growth.model.score(X, y) > 0.8


def test_a_callback_stops_with_the_steps_so_far():
    X, y, _ = three_regimes(120)
    growth = grow_tree(
        MoERegressor(), X, y, search=QUICK, callback=lambda record: record["n_experts"] == 3
    )
    assert growth.ended == "stopped"
    assert growth.table["n_experts"].tolist() == [1, 2]
    assert growth.model.n_experts_ == 2


def test_patience_looks_further():
    X, y, _ = three_regimes(120)
    growth = grow_tree(MoERegressor(), X, y, search=QUICK, max_experts=5, patience=1)
    assert growth.model.n_experts_ == 3
    assert growth.table["n_experts"].iloc[-1] > 3
    assert growth.table["gain"].iloc[-1] <= 0
    assert "The best further split, of expert " in growth.headline()
    assert "would change it by +" in growth.headline()


def test_the_text_says_what_was_chosen_and_why_it_ended(grown):
    text = str(grown[0])
    assert text.startswith("Three experts in the tree ((")
    for part in ("chosen by BIC", "Its last split, of expert 0, lowered BIC by", "decisive"):
        assert part in text
    assert "No further split gives a regular fit." in text


@pytest.mark.parametrize(
    ("estimator", "settings", "message"),
    [
        (MoERegressor(gate="gaussian"), {}, "leave gate= as it is"),
        (MoERegressor(gate=HierarchicalGate(depth=2)), {}, "finds the tree itself"),
        (MoERegressor(expert=["gaussian", "student"]), {}, "one family"),
        (GaussianExpert(), {}, "needs MoERegressor"),
        (MoERegressor(), {"max_experts": 0}, "max_experts"),
        (MoERegressor(), {"patience": -1}, "patience"),
        (MoERegressor(), {"held_out": 0.7}, "held_out"),
        (MoERegressor(), {"criterion": "slope"}, "one by one"),
        (MoERegressor(start=np.zeros(60)), {}, "start="),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_unusable_settings_are_refused_before_any_work(estimator, settings, message):
    X, y, _ = three_regimes(60)
    with pytest.raises(ValueError, match=message):
        grow_tree(estimator, X, y, **settings)
