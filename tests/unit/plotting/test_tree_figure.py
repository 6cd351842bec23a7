"""The picture of a tree: what is written where."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from mixexp import EM, L2, HierarchicalGate, MoEClassifier, MoERegressor, MultinomialExpert
from mixexp.plotting import plot_tree
from mixexp.selection import grow_tree
from tests.unit.gates.test_hierarchical import planted

ODD = ["_$x_1$ with % and {braces}, long", "Gr\u00f6\u00dfe\n(cm)"]


@pytest.fixture(autouse=True)
def _closed():
    yield
    plt.close("all")


def fitted(tree, K, names=("age", "dose")):
    X, y, _, _ = planted(200)
    frame = pd.DataFrame(X, columns=list(names))
    solver = EM(max_passes=200, tol=1e-6, gradient_tol=1e-3)
    start = np.arange(200) % K
    return MoERegressor(K, gate=HierarchicalGate(tree), start=start, solver=solver).fit(frame, y)


def texts(ax):
    ax.figure.canvas.draw()
    return [text.get_text() for text in ax.texts]


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize(
    ("tree", "K"),
    [((0, 1), 2), (((0, 1), 2), 3), ((0, 1, 2, 3), 4), (((0, 1, 2), (3, 4)), 5), (None, 6)],
    ids=str,
)
def test_every_node_and_expert_has_its_text(tree, K):
    model = fitted(tree, K, ODD)
    found = texts(plot_tree(model))
    for k in range(K):
        share = 100 * model.expert_sizes_[k] / 200
        own = [text for text in found if text.startswith(f"expert {k}\n")]
        assert len(own) == 1 and f"rows, {share:.0f} %" in own[0]
    heads = sum(text.startswith(("log odds", "logits by")) for text in found)
    assert heads == len(model.gate_nodes_)
    branches = sum(len(node.branches) for node in model.gate_nodes_)
    assert len(found) == K + heads + branches
    assert not any("Gr\u00f6\u00dfe\n" in text for text in found)


def test_a_split_shows_the_log_odds_of_left_against_right():
    model = fitted((0, 1), 2)
    head = next(text for text in texts(plot_tree(model)) if text.startswith("log odds"))
    node = model.gate_nodes_[0]
    slope = node.coef[0] - node.coef[1]
    for name, value in zip(["age", "dose"], slope, strict=True):
        assert f"{name}  {value:+.3g}".replace("-", "\u2212") in head


def test_rows_rank_the_columns_by_what_they_move():
    X, y, labels, _ = planted(200)
    X = X * np.array([1.0, 1e-4])
    model = MoERegressor(4, gate="hierarchical", start=labels).fit(X, y)
    assert np.abs(model.gate_nodes_[0].coef).argmax(axis=1).tolist() == [1, 1]
    found = [texts(plot_tree(model, rows, most=1)) for rows in (None, X)]
    shown = [[text for text in one if text.startswith("log odds")][-1] for one in found]
    assert "x1" in shown[0] and "x0" in shown[1]


def test_one_column_says_where_both_sides_are_even():
    X, y, labels, _ = planted(200)
    model = MoERegressor(2, gate="hierarchical", gate_features=[0], start=labels // 2).fit(X, y)
    head = next(text for text in texts(plot_tree(model)) if text.startswith("log odds"))
    even = float(head.rpartition("even at ")[2].replace("\u2212", "-"))
    at = np.array([[even, 0.0]])
    assert abs(model.gate_proba(at)[0, 0] - 0.5) < 0.01


def test_classes_growths_and_single_experts():
    X, y, _, _ = planted(200)
    expert = MultinomialExpert(penalty=L2(0.01))
    for classes in (2, 3):
        target = np.array(["low", "mid", "high"])[np.digitize(y, [-2, 3][: classes - 1])]
        start = np.arange(200) % 2
        model = MoEClassifier(2, gate="hierarchical", expert=expert, start=start).fit(X, target)
        found = "\n".join(texts(plot_tree(model)))
        assert ("log odds of mid" in found) == (classes == 2)
        assert ("high: x" in found) == (classes == 3)
    both = np.column_stack([y, 2 - y])
    model = MoERegressor(2, gate="hierarchical", start=start).fit(X, both)
    assert all(name in "\n".join(texts(plot_tree(model))) for name in ("y0: x", "y1: x"))
    growth = grow_tree(MoERegressor(), X, y, max_experts=1)
    ax = plt.subplots()[1]
    assert plot_tree(growth, X, ax=ax) is ax
    assert texts(ax)[0].startswith("expert 0\n200 rows, 100 %")


def test_other_gates_are_refused():
    X, y, labels, _ = planted(60)
    model = MoERegressor(4, start=labels).fit(X, y)
    with pytest.raises(ValueError, match="needs a fit with gate='hierarchical'.*plot_gate_regions"):
        plot_tree(model)
