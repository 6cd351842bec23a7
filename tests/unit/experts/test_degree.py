"""Polynomial means: the columns that an estimator adds are those a user would have added."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from scipy import sparse, special

from mixexp import GaussianExpert, MoERegressor, MultivariateGaussianExpert, load


def data(n=160):
    rng = np.random.default_rng(0)
    X = rng.uniform(-1, 1, (n, 2))
    labels = (X[:, 0] > 0).astype(int)
    y = np.where(labels, 1 - X[:, 0] ** 2 + X[:, 1], X[:, 0] * X[:, 1] - 1)
    return X, y + 0.2 * rng.standard_normal(n), labels


def by_hand(X):
    return np.column_stack([X, X[:, 0] ** 2, X[:, 0] * X[:, 1], X[:, 1] ** 2])


@pytest.mark.parametrize("gate", ["softmax", "gaussian"])
def test_a_polynomial_expert_is_a_linear_one_on_the_monomials(gate):
    X, y, labels = data()
    one = MoERegressor(2, gate=gate, expert=GaussianExpert(degree=2), start=labels).fit(X, y)
    other = MoERegressor(2, gate=gate, gate_features=[0, 1], start=labels).fit(by_hand(X), y)
    assert_allclose(one.loglik_, other.loglik_, rtol=1e-12)
    assert_allclose(one.predict(X), other.predict(by_hand(X)), rtol=1e-10)
    assert one.n_free_ == other.n_free_
    assert list(one.expert_feature_names_) == ["x0", "x1", "x0^2", "x0 x1", "x1^2"]
    assert list(one.gate_feature_names_) == ["x0", "x1"]


@pytest.mark.parametrize(("D", "degree"), [(1, 3), (2, 2), (3, 2)])
def test_a_response_has_one_coefficient_for_each_monomial(D, degree):
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((80, D)), rng.standard_normal((80, 2))
    expert = MultivariateGaussianExpert("diagonal", degree=degree)
    model = MoERegressor(1, expert=expert).fit(X, y)
    assert model.n_free_ == 2 * special.comb(D + degree, degree, exact=True) + 2


def test_named_columns_chosen_experts_columns_and_a_file(tmp_path):
    X, y, labels = data()
    frame = pd.DataFrame(X, columns=["a", "b"])
    expert = GaussianExpert(degree=3)
    model = MoERegressor(2, expert=expert, expert_features=["b"], start=labels).fit(frame, y)
    assert list(model.expert_feature_names_) == ["b", "b^2", "b^3"]
    model.save(tmp_path / "model")
    again = load(tmp_path / "model")
    assert list(again.expert_feature_names_) == ["b", "b^2", "b^3"]
    assert np.array_equal(again.predict(frame), model.predict(frame))


def test_sparse_columns_have_the_same_monomials():
    X, y, labels = data()
    X = np.where(np.abs(X) < 0.2, 0, X)
    dense = MoERegressor(2, expert=GaussianExpert(degree=2), start=labels).fit(X, y)
    thin = MoERegressor(2, expert=GaussianExpert(degree=2), start=dense)
    thin.fit(sparse.csr_array(X), y)
    assert_allclose(thin.loglik_, dense.loglik_, rtol=1e-8)


@pytest.mark.parametrize("degree", [0, 1.5, True, "2"])
def test_a_degree_is_a_positive_integer(degree):
    X, y, _ = data()
    with pytest.raises(ValueError, match="degree"):
        MoERegressor(1, expert=GaussianExpert(degree=degree)).fit(X, y)
