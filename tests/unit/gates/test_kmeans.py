"""Gates by k-means: the partition is that of x alone, and the experts are those given it."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import sparse, special, stats
from sklearn.base import clone
from sklearn.cluster import KMeans

import mixexp
from mixexp import FixedGate, KMeansGate, MoERegressor, MultiStart, SelectionStudy
from mixexp.gates import KMeansPartition

QUICK = MultiStart(0.1, max_rounds=0)
CENTRES = np.array([[0.0, 0.0], [3.0, 5.0], [6.0, 1.0]])
LINES = np.array([[0.0, 1.0, 0.0], [-4.0, 0.0, 1.0], [4.0, -1.0, 0.5]])


def data(n=240, spread=1.0, seed=0):
    """Three clusters of x with a plane each."""
    rng = np.random.default_rng(seed)
    part = rng.integers(0, 3, n)
    X = CENTRES[part] + spread * rng.standard_normal((n, 2))
    y = (np.column_stack([np.ones(n), X]) * LINES[part]).sum(axis=1)
    return X, y + 0.3 * rng.standard_normal(n), part


def fit(X, y, K=3, **settings):
    inputs = {"sample_weight": settings.pop("weight")} if "weight" in settings else {}
    return MoERegressor(K, gate=KMeansGate(**settings), start=QUICK).fit(X, y, **inputs)


def test_a_hard_gate_gives_separate_least_squares_in_the_clusters_of_scikit_learn():
    X, y, _ = data()
    model = fit(X, y)
    z = (X - X.mean(axis=0)) / X.std(axis=0)
    clusters = KMeans(3, n_init=10, random_state=5).fit(z)
    centres = clusters.cluster_centers_ * X.std(axis=0) + X.mean(axis=0)
    order = np.argsort(centres[:, 0])
    assert_allclose(model.gate_centers_, centres[order], rtol=1e-8)
    design, total = np.column_stack([np.ones(len(X)), X]), 0.0
    for k, cluster in enumerate(order):
        own = clusters.labels_ == cluster
        assert np.array_equal(model.predict_component(X) == k, own)
        coef, left, *_ = np.linalg.lstsq(design[own], y[own], rcond=None)
        assert_allclose([model.intercept_[k], *model.coef_[k]], coef, rtol=1e-6, atol=1e-8)
        sigma = np.sqrt(left[0] / own.sum())
        total += stats.norm.logpdf(y[own], design[own] @ coef, sigma).sum()
    assert_allclose(model.loglik_, total, rtol=1e-10)
    assert model.converged_ and model.n_free_ == 12


def test_a_soft_gate_is_the_softmax_of_negative_squared_distances():
    X, y, _ = data(spread=1.6)
    model = fit(X, y, temperature=0.7)
    away = ((X[:, None] - model.gate_centers_) / X.std(axis=0)) ** 2
    P = special.softmax(-away.sum(axis=2) / 0.7, axis=1)
    assert_allclose(model.gate_proba(X), P, rtol=1e-8)
    settings = {"gate_features": [2, 3, 4], "expert_features": [0, 1], "start": QUICK}
    same = MoERegressor(3, gate=FixedGate(), **settings).fit(np.hstack([X, P]), y)
    assert_allclose(same.loglik_, model.loglik_, rtol=1e-9)
    assert_allclose(same.coef_, model.coef_, atol=1e-4)


def test_a_small_temperature_is_the_hard_gate():
    X, y, _ = data()
    hard, nearly = fit(X, y), fit(X, y, temperature=1e-6)
    assert_allclose(nearly.loglik_, hard.loglik_, rtol=1e-8)
    assert_allclose(nearly.gate_proba(X), hard.gate_proba(X), atol=1e-6)


def test_recovery_of_clusters_and_planes():
    X, y, part = data(n=1500, seed=2)
    model = fit(X, y)
    assert (model.predict_component(X) == part).mean() > 0.97
    result = model.inference(X, y)
    assert any("The gate is known (KMeansGate)" in note for note in result.notes)
    clear, close, _ = data(n=1500, spread=0.5, seed=2)
    model = fit(clear, close)
    assert_allclose(model.gate_centers_, CENTRES, atol=0.1)
    errors = model.inference(clear, close).bse.to_numpy()[:9].reshape(3, 3)
    found = np.column_stack([model.intercept_, model.coef_])
    assert np.all(np.abs(found - LINES) < 4 * errors)


def test_the_partition_is_a_function_of_the_weighted_sample():
    X, y, _ = data(spread=2.0)
    rng = np.random.default_rng(3)
    weight = rng.integers(0, 4, len(y)).astype(float)
    index = rng.permutation(np.repeat(np.arange(len(y)), weight.astype(int)))
    weighted, repeated = fit(X, y, weight=weight), fit(X[index], y[index])
    assert np.array_equal(weighted.gate_centers_, repeated.gate_centers_)
    assert np.array_equal(weighted.coef_, repeated.coef_)
    other = fit(X, y, weight=weight, random_state=1)
    assert_allclose(other.gate_centers_, weighted.gate_centers_, rtol=1e-6)


def test_columns_that_say_nothing_new_change_no_distance():
    X, y, _ = data()
    more = np.column_stack([X, np.full(len(X), 3.0), X[:, 0] - X[:, 1], X[:, 1]])
    plain, wide = fit(X, y), fit(more, y)
    assert_allclose(wide.gate_centers_, plain.gate_centers_, rtol=1e-9)
    assert_allclose(wide.loglik_, plain.loglik_, rtol=1e-9)


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_one_expert_is_the_regression_without_a_gate(temperature):
    X, y, _ = data()
    one = fit(X, y, K=1, temperature=temperature)
    assert_allclose(one.loglik_, MoERegressor(1).fit(X, y).loglik_, rtol=1e-12)


def test_files_pickles_clones_and_sparse_rows(tmp_path):
    X, y, _ = data()
    model = fit(X, y, temperature=0.5)
    model.save(tmp_path / "model.npz")
    for again in (mixexp.load(tmp_path / "model.npz"), pickle.loads(pickle.dumps(model))):
        assert np.array_equal(again.predict(X), model.predict(X))
        assert np.array_equal(again.gate_centers_, model.gate_centers_)
    assert "centre x1" in model.summary() and "not estimated" in model.summary()
    assert clone(model).gate.partition is None  # settings alone
    assert_allclose(fit(sparse.csr_array(X), y, temperature=0.5).loglik_, model.loglik_, rtol=1e-9)


def test_known_centres_are_used_as_they_are():
    X, y, _ = data()
    partition = KMeansPartition(np.zeros(2), np.ones(2), CENTRES[[1, 0, 2]])
    model = fit(X, y, partition=partition)
    assert_allclose(model.gate_centers_, CENTRES[[1, 0, 2]])
    nearest = ((X[:, None] - CENTRES[[1, 0, 2]]) ** 2).sum(axis=2).argmin(axis=1)
    assert np.array_equal(model.predict_component(X), nearest)


def test_a_study_compares_it_with_other_gates():
    X, y, _ = data(n=150)
    template = MoERegressor(start=QUICK)
    study = SelectionStudy(template, {"n_experts": [2, 3], "gate": ["kmeans", "softmax"]})
    result = study.fit(X, y)
    labels = result.result_.table["label"]
    assert len(labels) == 6 and labels.str.contains("kmeans").sum() == 3
    assert result.best_estimator_.n_experts_ == 3


@pytest.mark.parametrize("temperature", [-1.0, np.nan, np.inf, "warm", None, True])
def test_temperatures_are_checked(temperature):
    X, y, _ = data(n=30)
    with pytest.raises(ValueError, match="KMeansGate needs a temperature >= 0; got"):
        fit(X, y, temperature=temperature)


def test_too_few_distinct_rows_and_partitions_of_another_size_are_refused():
    X, y, _ = data(n=30)
    with pytest.raises(ValueError, match="2 distinct rows of the gate's columns cannot be divided"):
        fit(np.repeat([[0.0, 1.0], [2.0, 0.5]], 15, axis=0), y)
    with pytest.raises(
        ValueError, match=r"partition has \(centres, columns\) = \(3, 2\); the model"
    ):
        fit(X, y, K=2, partition=KMeansPartition(np.zeros(2), np.ones(2), CENTRES))
