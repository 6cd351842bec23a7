"""`HierarchicalGate`: what a tree of softmax splits is, and what it is not."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import sparse as scipy_sparse
from scipy import special

import mixexp
from mixexp import (
    EM,
    L1,
    L2,
    HierarchicalGate,
    MoERegressor,
    MultiStart,
    SelectionStudy,
    SoftmaxGate,
)
from mixexp.em.params import stack
from mixexp.em.starts.moves import duplicate, remove
from mixexp.gates import SoftmaxParams, trees
from mixexp.inference.bootstrap import reordered
from tests.contracts.cases import model_of, problem, some_params

SOLVER = EM(max_passes=3000, tol=1e-15, gradient_tol=1e-9)
TREES = [((0, 1), (2, 3)), (((0, 1), 2), 3), (0, (1, 2, 3)), (0, 1, 2, 3), ((0, 3), (1, 2))]

ORDERS = np.array([[0, 1, 2, 3], [3, 1, 0, 2], [0, 1, 2, 3], [2, 1, 0, 3], [3, 1, 0, 2]])

# log odds of the branches, a + b'x: the root, and the nodes below its branches
ROOT, LEFT, RIGHT = (0.3, [2.5, 0.0]), (0.2, [0.0, 2.0]), (-0.4, [0.5, -2.0])
LINES = np.array([[4.0, 1.0, 0.0], [-3.0, 0.0, 1.0], [1.0, -1.0, 1.0], [-6.0, 0.5, -0.5]])


def planted(n, seed=0):
    """Rows of a depth-two tree ((0, 1), (2, 3)) and its gate probabilities."""
    rng = np.random.default_rng(seed)
    X = rng.uniform(-2, 2, (n, 2))
    root, left, right = (special.expit(a + X @ np.array(b)) for a, b in (ROOT, LEFT, RIGHT))
    prob = np.column_stack(
        [root * left, root * (1 - left), (1 - root) * right, (1 - root) * (1 - right)]
    )
    labels = (rng.random(n)[:, None] > prob.cumsum(axis=1)).sum(axis=1)
    mean = LINES[labels, 0] + (LINES[labels, 1:] * X).sum(axis=1)
    return X, mean + 0.4 * rng.standard_normal(n), labels, prob


def splits(path):
    """Nodes as sets of sets of experts."""
    return {frozenset(map(frozenset, node.branches)) for node in trees.nodes(path)}


def model_with(gate, K, seed=0):
    case = problem("softmax", "gaussian", n=60)._replace(gate=gate)
    model = model_of(case, K=K)
    return model, some_params(model, case.rows, seed=seed, spread=0.7), case


@pytest.mark.parametrize("tree", [None, (0, 1)])
def test_a_tree_of_two_leaves_is_the_softmax_gate(tree):
    case = problem("softmax", "gaussian")
    fits = [
        MoERegressor(2, gate=gate, start=case.labels(), solver=SOLVER).fit(case.rows.X, case.y)
        for gate in ("softmax", HierarchicalGate(tree))
    ]
    assert_allclose(fits[1].loglik_, fits[0].loglik_, rtol=1e-12)
    assert_allclose(fits[1].coef_, fits[0].coef_, rtol=1e-6, atol=1e-8)
    node = fits[1].gate_nodes_[0]
    assert_allclose(node.coef, fits[0].gate_coef_, rtol=1e-5, atol=1e-7)
    tables = [fit.inference(case.rows.X, case.y).summary() for fit in fits]
    assert str(tables[0]).splitlines()[-4:] == str(tables[1]).splitlines()[-4:]


@pytest.mark.parametrize("gate", [HierarchicalGate(depth=1), HierarchicalGate((0, 1, 2, 3))])
def test_one_node_over_all_experts_is_the_softmax_gate(gate):
    X, y, labels, _ = planted(400)
    flat, tree = (
        MoERegressor(4, gate=one, start=labels, solver=SOLVER).fit(X, y)
        for one in ("softmax", gate)
    )
    assert_allclose(tree.loglik_, flat.loglik_, rtol=1e-11)
    assert_allclose(tree.gate_proba(X), flat.gate_proba(X), atol=1e-6)
    assert tree.n_free_ == flat.n_free_


def test_a_planted_tree_is_found_by_the_search():
    X, y, _, prob = planted(2000)
    search = MultiStart(n_starts=0.3, max_rounds=4)
    tree = MoERegressor(4, gate="hierarchical", start=search).fit(X, y)
    assert tree.gate_tree_ == ((0, 1), (2, 3))
    order = [int(np.abs(tree.coef_ - line[1:]).sum(axis=1).argmin()) for line in LINES]
    assert {frozenset(order[:2]), frozenset(order[2:])} == {frozenset((0, 1)), frozenset((2, 3))}
    assert_allclose(tree.coef_[order], LINES[:, 1:], atol=0.12)
    found = tree.gate_proba(X)[:, order]
    assert np.abs(found - prob).mean() < 0.02


def test_log_odds_across_nodes_are_not_linear_and_those_within_are():
    """Why the tree is no softmax gate, though it has as many parameters."""
    gate = HierarchicalGate()
    params = gate.initial(4, 2)
    params.coef[:, 0] = np.array([[0, 1], [0, 1], [0, -1], [0, -1]])
    params.coef[:, 1] = np.array([[1, 2], [-1, -2], [0, 0.5], [0, -0.5]])
    log_prob = gate.log_prob(params, np.column_stack([np.ones(5), np.linspace(-2, 2, 5)]))
    bend = np.abs(np.diff(log_prob[:, :1] - log_prob, 2, axis=0)).max(axis=0)
    assert bend[1] < 1e-10
    assert np.all(bend[2:] > 0.01)


@pytest.mark.parametrize("tree", TREES, ids=str)
def test_node_posteriors_multiply_to_those_of_the_leaves(tree):
    model, params, case = model_with(HierarchicalGate(tree), 4)
    resp = model.responsibilities(params, case.rows)
    product = np.ones_like(resp)
    for node, posterior in model.gate.node_posteriors(params.gate, resp):
        assert_allclose(posterior.sum(axis=1), 1)
        for b, branch in enumerate(node.branches):
            product[:, branch] *= posterior[:, [b]]
    assert_allclose(product, resp, rtol=1e-10)


@pytest.mark.parametrize("tree", TREES, ids=str)
def test_nodes_of_a_fit_multiply_to_its_probabilities(tree):
    X, y, labels, _ = planted(200, seed=4)
    model = MoERegressor(4, gate=HierarchicalGate(tree), start=labels).fit(X, y)
    for nodes, whole in (
        (model.node_proba(X), model.gate_proba(X)),
        (model.node_responsibilities(X, y), model.responsibilities(X, y)),
    ):
        assert list(nodes) == [node.name for node in model.gate_nodes_]
        product = np.ones_like(whole)
        for node in model.gate_nodes_:
            for b, branch in enumerate(node.branches):
                product[:, branch] *= nodes[node.name][:, [b]]
        assert_allclose(product, whole, rtol=1e-9, atol=1e-200)
    assert_allclose([part.sum(axis=1) for part in model.node_proba(X).values()], 1)


def test_nodes_are_those_of_trees_alone():
    X, y, _, _ = planted(60)
    one = MoERegressor(1, gate="hierarchical").fit(X, y)
    assert one.node_proba(X) == {}
    assert not hasattr(MoERegressor(2), "node_proba")


@pytest.mark.parametrize("sparse_rows", [False, True])
def test_a_pass_of_all_sets_is_that_of_each(sparse_rows):
    """Sets with different trees, in one batch."""
    model, _, case = model_with(HierarchicalGate(), 4)
    sets = [some_params(model, case.rows, seed=s, spread=0.7) for s in range(5)]
    sets = [reordered(one, order) for one, order in zip(sets, ORDERS, strict=True)]
    X = model.gate_design(case.rows.X)
    X = scipy_sparse.csr_array(X) if sparse_rows else X
    resp = np.stack([model.responsibilities(one, case.rows) for one in sets], axis=1)
    weight = np.linspace(0.5, 2, len(resp))
    gate, batch = model.gate, stack([one.gate for one in sets])
    each = [gate.log_prob(one.gate, X) for one in sets]
    assert_allclose(gate.log_prob_sets(batch, X), np.stack(each, axis=1), rtol=1e-12)
    together = gate.statistics_sets(batch, X, resp, weight)
    own = [gate.statistics(one.gate, X, resp[:, s], weight) for s, one in enumerate(sets)]
    for found, wanted in zip(together, stack(own), strict=True):
        assert_allclose(found, wanted, rtol=1e-10, atol=1e-10)
    # against the softmax gate of the root
    node = trees.nodes(sets[1].gate.path)[0]
    coef = sets[1].gate.coef[node.heads, node.depth]
    root = np.stack([resp[:, 1, branch].sum(axis=1) for branch in node.branches], axis=1)
    reference = SoftmaxGate().statistics(SoftmaxParams(coef), X, root, root.sum(axis=1))
    assert_allclose(own[1].score[node.heads, node.depth], reference.score, rtol=1e-10)


@pytest.mark.parametrize("tree", TREES, ids=str)
@pytest.mark.parametrize("k", [0, 2, 3])
def test_a_leaf_split_by_a_node_has_the_product_of_both(tree, k):
    model, params, case = model_with(HierarchicalGate(tree), 4)
    X = model.gate_design(case.rows.X)
    node = HierarchicalGate().initial(2, X.shape[1])
    node.coef[:, 0] = np.array([[0.3, -1.0, 0.5], [-0.3, 1.0, -0.5]])[:, : X.shape[1]]
    larger = HierarchicalGate().with_node(params.gate, k, node)
    whole = np.exp(model.gate.log_prob(params.gate, X))
    found = np.exp(model.gate.log_prob(larger, X))
    share = np.exp(HierarchicalGate().log_prob(node, X))
    assert_allclose(found[:, [k, 4]], whole[:, [k]] * share, rtol=1e-10)
    assert_allclose(np.delete(found, [k, 4], axis=1), np.delete(whole, k, axis=1), rtol=1e-10)
    assert trees.tree_of(larger.path) == trees.with_leaf_split(tree, k)


@pytest.mark.parametrize("tree", TREES, ids=str)
def test_the_objective_never_falls_on_any_tree(tree):
    X, y, labels, _ = planted(300, seed=3)
    model = MoERegressor(4, gate=HierarchicalGate(tree), start=labels).fit(X, y)
    path = model.objective_path_
    assert len(path) > 3
    assert np.all(np.diff(path) >= -1e-10 * (1 + np.abs(path[:-1])))
    assert model.certificate_ < 1e-6


@pytest.mark.parametrize("tree", TREES, ids=str)
def test_any_order_of_the_experts_is_the_same_mixture(tree):
    model, params, case = model_with(HierarchicalGate(tree), 4)
    moved = reordered(params, np.array([3, 1, 0, 2]))
    assert_allclose(model.log_prob(moved, case.rows), model.log_prob(params, case.rows), rtol=1e-12)
    back = model.gate.numbering(moved.gate)
    path = moved.gate.path if back is None else moved.gate.path[back]
    assert splits(path) == splits(trees.addresses(tree))


@pytest.mark.parametrize("K", [1, 2, 3, 4, 5, 7])
def test_splitting_the_leaf_that_the_larger_tree_splits_keeps_the_mixture(K):
    model, params, case = model_with(HierarchicalGate(), K)
    log_prob = model.log_prob(params, case.rows)
    kept = 0
    for k in range(K):
        larger = duplicate(model, params, k, 0.3)
        new = model._replace(K=K + 1)
        shape = trees.shape(trees.tree_of(larger.gate.path))
        assert shape == trees.shape(trees.balanced(K + 1, 2))
        kept += np.allclose(new.log_prob(larger, case.rows), log_prob, rtol=1e-10)
    assert kept >= 1


def test_an_expert_taken_out_leaves_its_share_to_its_siblings():
    model, params, case = model_with(HierarchicalGate(), 4)
    X = model.gate_design(case.rows.X)
    whole = np.exp(model.gate.log_prob(params.gate, X))
    fewer = np.exp(model.gate.log_prob(remove(params, 3).gate, X))
    assert_allclose(fewer[:, 2], whole[:, 2] + whole[:, 3], rtol=1e-10)
    assert_allclose(fewer[:, :2], whole[:, :2], rtol=1e-10)


def test_a_saved_tree_predicts_bit_for_bit(tmp_path):
    X, y, labels, _ = planted(200)
    gate = HierarchicalGate((((0, 1), 2), 3), penalty=L2(0.01))
    model = MoERegressor(4, gate=gate, start=labels).fit(X, y)
    model.save(tmp_path / "tree.mixexp")
    copy = mixexp.load(tmp_path / "tree.mixexp")
    assert np.array_equal(copy.gate_proba(X), model.gate_proba(X))
    assert copy.gate_tree_ == model.gate_tree_ == (((0, 1), 2), 3)


def test_the_summary_names_rows_by_node():
    X, y, labels, _ = planted(300)
    model = MoERegressor(4, gate="hierarchical", start=labels).fit(X, y)
    text = model.summary()
    for row in ("0+1 | 2+3: (intercept)", "0 | 1: x0", "2 | 3: x1"):
        assert row in text
    assert "nan" not in text


def test_advice_for_a_separated_gate_names_the_gate():
    X = np.linspace(-1, 1, 80)[:, None]
    y = np.where(X[:, 0] > 0.1, 3 - X[:, 0], X[:, 0]) + 0.05 * np.cos(40 * X[:, 0])
    for gate, name in (("softmax", "SoftmaxGate"), ("hierarchical", "HierarchicalGate")):
        model = MoERegressor(2, gate=gate, start=(X[:, 0] > 0.1).astype(int)).fit(X, y)
        advice = f"gate={name}(penalty=L2(1e-3))"
        assert model.status_.name == "SEPARATED"
        assert advice in " ".join(model.summary().split())
        with pytest.raises(mixexp.NotRegularError, match="separates") as refused:
            model.inference(X, y)
        assert advice in str(refused.value)
        penalised = MoERegressor(2, gate=model._model_.gate.set_params(penalty=L2(1e-3)))
        assert penalised.set_params(start=model.start).fit(X, y).status_.name == "CONVERGED"


def test_standard_errors_cover_the_planted_splits():
    X, y, labels, _ = planted(3000, seed=2)
    model = MoERegressor(4, gate="hierarchical", start=labels).fit(X, y)
    found = model.inference(X, y, reference=1)
    truth = {"gate 0 vs 1: x1": LEFT[1][1], "gate 2+3 vs 0+1: x0": -ROOT[1][0]}
    for name, value in truth.items():
        assert abs(found.params[name] - value) < 4 * found.bse[name]


def test_a_study_compares_numbers_of_experts():
    X, y, _, _ = planted(300)
    estimator = MoERegressor(gate="hierarchical", start=MultiStart(0.1, max_rounds=0))
    study = SelectionStudy(estimator, {"n_experts": [2, 3, 4]}, cv=None).fit(X, y)
    assert study.best_estimator_.n_experts_ == 4


@pytest.mark.parametrize(
    ("gate", "message"),
    [
        (HierarchicalGate(((0, 1), 2)), "3 leaves for n_experts=4"),
        (HierarchicalGate(((0, 1), (2, 2))), "each once"),
        (HierarchicalGate(((0, 1), (2,), 3)), "two branches"),
        (HierarchicalGate((("a", 1), 2, 3)), "numbers of experts"),
        (HierarchicalGate(depth=1, branching=2), "do not fit below 1 splits"),
        (HierarchicalGate(branching=1), "branching >= 2"),
        (HierarchicalGate(depth=0), "depth >= 1"),
        (HierarchicalGate((0, 1, 2, 3), depth=1), "not both"),
        (HierarchicalGate(penalty=L1(0.1)), "L2 penalties alone"),
    ],
    ids=lambda value: None if isinstance(value, str) else "",
)
def test_unusable_settings_are_refused_before_any_work(gate, message):
    X, y, _, _ = planted(60)
    with pytest.raises(ValueError, match=message):
        MoERegressor(4, gate=gate).fit(X, y)


def test_balanced_trees():
    assert trees.balanced(5, 2) == (((0, 1), 2), (3, 4))
    assert trees.balanced(5, 3) == ((0, 1), (2, 3), 4)
    assert HierarchicalGate(depth=2).tree_for(9) == ((0, 1, 2), (3, 4, 5), (6, 7, 8))
    assert trees.pruned((((0, 1), 2), (3, 4)), 4) in (((0, 1), (2, 3)), ((0, 1), 2, 3))
    assert trees.branch_name([0, 1, 2, 5]) == "0-2+5"


@pytest.mark.slow
def test_a_tree_of_named_experts_is_the_one_that_was_asked_for():
    rng = np.random.default_rng(3)
    x = rng.uniform(-2, 2, (300, 1))
    share = np.exp(-2 * (x - np.array([-1.2, 0, 1.2])) ** 2)
    z = (rng.random((300, 1)) > (share / share.sum(1, keepdims=True)).cumsum(1)).sum(1)
    y = np.array([2.0, -3, 1])[z] * x[:, 0] + np.array([0, 4, -4])[z] + 0.5 * rng.normal(size=300)
    prior, known = np.ones((300, 3)), rng.random(300) < 0.3
    prior[known] = 1e-6
    prior[known, z[known]] = 1.0
    for tree in (((0, 1), 2), (0, (1, 2))):
        model = MoERegressor(3, gate=HierarchicalGate(tree=tree)).fit(x, y, expert_prior=prior)
        assert model.gate_tree_ == tree
        assert_allclose(model.coef_[:, 0], [2, -3, 1], atol=0.5)
