"""Merging experts: what is kept, what does not matter, and what is chosen."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.cluster.hierarchy import is_valid_linkage
from scipy.special import logsumexp, xlogy
from scipy.stats import norm

from mixexp import MoEClassifier, MoERegressor
from mixexp.selection import merge_path
from mixexp.selection.merging.steps import bend as bend_of

METHODS = ("measure", "entropy")


def draw(n: int = 160, seed: int = 0):
    rng = np.random.default_rng(seed)
    x = rng.uniform(-2, 2, size=n)
    return x[:, None], np.where(x < 0, 1 + 2 * x, 1 - 2 * x) + 0.2 * rng.normal(size=n)


def fit(X, y, K: int = 4, model=MoERegressor, **settings):
    """A fit from slices along the first column."""
    slices = np.argsort(np.argsort(X[:, 0])) * K // len(X)
    return model(K, start=slices, **settings).fit(X, y)


@pytest.fixture(scope="module")
def case():
    X, y = draw()
    return fit(X, y), X, y


@pytest.mark.parametrize("method", METHODS)
def test_the_path_begins_at_the_fit_and_ends_with_one(case, method) -> None:
    model, X, y = case
    path = merge_path(model, X, y, method=method)
    assert list(path.counts) == [4, 3, 2, 1]
    assert_allclose(path.loglik[0], model.log_prob(X, y).mean())
    assert_allclose(path.entropy[0], model.fit_summary_.entropy)
    assert_allclose(path.entropy[-1], 0.0, atol=1e-9)
    assert_allclose(path.weights, model.gate_proba(X).mean(axis=0))
    assert 2 <= path.n_experts <= 4
    assert is_valid_linkage(path.linkage)


def test_merged_mixtures_by_hand(case) -> None:
    """Gates add up as functions, experts become weighted means, in the user's units."""
    model, X, y = case
    path = merge_path(model, X, y)
    for count in (3, 2, 1):
        groups = path.labels(count)
        gate, mean, scale = [], [], []
        for group in range(count):
            own = groups == group
            share = path.weights[own] / path.weights[own].sum()
            gate.append(model.gate_proba(X)[:, own].sum(axis=1))
            mean.append(share @ model.intercept_[own] + X[:, 0] * (share @ model.coef_[own, 0]))
            scale.append(share @ model.dispersion_[own])
        log_density = norm.logpdf(y[:, None], np.transpose(mean), scale)
        joint = np.log(np.maximum(np.transpose(gate), 1e-300)) + log_density
        assert_allclose(path.loglik[4 - count], logsumexp(joint, axis=1).mean())


def test_the_first_height_is_the_smallest_distance(case) -> None:
    model, X, y = case
    w, path = model.gate_proba(X).mean(axis=0), merge_path(model, X, y)
    unit = np.exp(w @ np.log(model.dispersion_))
    slope = model.coef_[:, 0] * X.std() / unit
    centre = (model.intercept_ + model.coef_[:, 0] * X.mean()) / unit
    spread = model.dispersion_ / unit
    distance = {
        (i, j): w[i] * w[j] / (w[i] + w[j])
        * ((centre[i] - centre[j]) ** 2 + np.hypot(slope[i] - slope[j], spread[i] - spread[j]))
        for j in range(4) for i in range(j)
    }  # fmt: skip
    pair = min(distance, key=distance.get)
    assert tuple(sorted(path.merges[0])) == pair
    assert_allclose(path.heights[0], distance[pair], rtol=1e-9)


def test_criterion_weighs_height_and_likelihood(case) -> None:
    model, X, y = case
    path = merge_path(model, X, y)
    assert_allclose(path.criterion, -(path.heights + np.log(160) * path.loglik[:-1]))
    assert path.n_experts == path.counts[np.argmin(path.criterion)] == 2
    sure = merge_path(model, X, y, omega=1e6)
    assert_allclose(sure.heights, path.heights)
    assert sure.n_experts == 4


@pytest.mark.parametrize("method", METHODS)
def test_weights_are_repetitions(case, method) -> None:
    model, X, y = case
    times = np.random.default_rng(1).integers(0, 3, size=len(y))
    rows = np.repeat(np.arange(len(y)), times)
    weighted = merge_path(model, X, y, method=method, sample_weight=times)
    repeated = merge_path(model, X[rows], y[rows], method=method)
    for name in ("heights", "loglik", "entropy", "criterion", "weights", "merges"):
        # the centre of a column is that of the fit, so nothing else depends on the rows
        assert_allclose(getattr(weighted, name), getattr(repeated, name), atol=1e-9)


def test_units_do_not_matter() -> None:
    X, y = draw()
    plain = merge_path(fit(X, y), X, y)
    scaled = merge_path(fit(X * 1e4 + 7, y * 1e-3 - 2), X * 1e4 + 7, y * 1e-3 - 2)
    assert_allclose(scaled.heights, plain.heights, rtol=1e-4)
    assert scaled.n_experts == plain.n_experts


def test_equal_experts_merge_first_and_cost_nothing(case) -> None:
    model, X, y = case
    twins = fit(X, y)
    coef, scale = (leaf.copy() for leaf in twins._params_.expert)
    coef[3], scale[3] = coef[1], scale[1]
    expert = twins._params_.expert._replace(coef=coef, dispersion=scale)
    twins._params_ = twins._params_._replace(expert=expert)
    path = merge_path(twins, X, y)
    assert sorted(path.merges[0]) == [1, 3]
    assert path.heights[0] == 0.0
    assert_allclose(path.loglik[1], path.loglik[0], rtol=1e-12)


def test_entropy_merges_the_pair_of_the_largest_fall(case) -> None:
    model, X, y = case
    path, r = merge_path(model, X, y, method="entropy"), model.responsibilities(X, y)
    own = xlogy(r, r).sum(axis=0)
    fall = {
        (i, j): xlogy(r[:, i] + r[:, j], r[:, i] + r[:, j]).sum() - own[i] - own[j]
        for j in range(4)
        for i in range(j)
    }
    assert tuple(sorted(path.merges[0])) == max(fall, key=fall.get)
    assert_allclose(path.heights[0], max(fall.values()), atol=1e-9)
    assert_allclose(path.entropy[:-1] - path.entropy[1:], path.heights, atol=1e-9)
    assert_allclose(path.loglik, path.loglik[0])


@pytest.mark.parametrize("bend", [2, 3, 5])
def test_the_bend_of_two_pieces_is_found(bend) -> None:
    counts = np.arange(7, 0, -1)
    entropy = 0.1 * counts + 8.0 * np.maximum(0, counts - bend)
    assert counts[np.argmin(bend_of(entropy))] == bend


def test_levels_of_the_path(case) -> None:
    model, X, y = case
    path = merge_path(model, X, y)
    assert list(path.labels(4)) == [0, 1, 2, 3] and not path.labels(1).any()
    assert_allclose(path.start(4), model.responsibilities(X, y))
    start, labels = path.start(2), path.labels(2)
    assert_allclose(start.sum(axis=1), 1.0)
    assert_allclose(start[:, 0], model.responsibilities(X, y)[:, labels == 0].sum(axis=1))
    with pytest.raises(ValueError, match="1 to 4 experts"):
        path.labels(5)


@pytest.mark.filterwarnings("ignore:Degenerate")
def test_a_refit_starts_from_the_groups(case) -> None:
    model, X, y = case
    path = merge_path(model, X, y)
    again = path.refit(model, X, y)
    assert again.n_experts_ == path.n_experts == 2
    assert again.loglik_ / len(y) >= path.loglik[2]
    assert path.refit(model, X, y, 3).n_experts_ == 3


def test_other_families(rng) -> None:
    X = rng.uniform(-1, 1, size=(120, 2))
    counts = rng.poisson(np.exp(1 + X[:, 0] * np.sign(X[:, 1])))
    classes = rng.integers(3, size=120)
    poisson = fit(X, counts, 3, expert="poisson")
    path = merge_path(poisson, X, counts)
    assert_allclose(path.loglik[0], poisson.log_prob(X, counts).mean())
    classifier = fit(X, classes, 3, MoEClassifier)
    path = merge_path(classifier, X, classes)
    assert_allclose(path.loglik[0], classifier.log_prob(X, classes).mean())
    assert np.all(np.isfinite(path.heights))


def test_what_cannot_be_merged_is_named(case) -> None:
    model, X, y = case
    with pytest.raises(ValueError, match="at least 2 experts.*got 1"):
        merge_path(MoERegressor(1).fit(X, y), X, y)
    with pytest.raises(ValueError, match="at least 4 experts.*got 3"):
        merge_path(fit(X, y, 3), X, y, method="entropy")
    with pytest.raises(ValueError, match="method must be one of"):
        merge_path(model, X, y, method="x")


def simulated(seed: int, contaminated: bool, n: int = 1500):
    """Two experts, 2 - 2x and -1 + 2x, behind a gate of logit -4 + 8x; 3 % outliers or none."""
    rng = np.random.default_rng(seed)
    x = rng.uniform(size=n)
    first = rng.uniform(size=n) < 1 / (1 + np.exp(4 - 8 * x))
    y = np.where(first, 2 - 2 * x, -1 + 2 * x) + 0.3 * rng.normal(size=n)
    outlier = contaminated & (rng.uniform(size=n) < 0.03)
    return x[:, None], np.where(outlier, rng.uniform(-3, 3, size=n), y)


def best_of_clusters(X, y, K):
    """The best of three fits from k-means of the standardised rows: quick and good enough here."""
    from sklearn.cluster import KMeans

    Z = np.column_stack([X / X.std(), y / y.std()])
    starts = [KMeans(K, n_init=1, random_state=seed).fit_predict(Z) for seed in range(3)]
    return max((MoERegressor(K, start=s).fit(X, y) for s in starts), key=lambda m: m.loglik_)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("contaminated", [False, True], ids=["clean", "contaminated"])
def test_dendrogram_finds_two_experts_where_bic_counts_the_outliers(contaminated) -> None:
    """12 data sets: merging five experts ends at two, with outliers as without; BIC does not."""
    merged, bic = [], []
    for seed in range(12):
        X, y = simulated(seed, contaminated)
        fits = [best_of_clusters(X, y, K) for K in (2, 3, 4, 5)]
        merged.append(merge_path(fits[-1], X, y).n_experts)
        scores = [-2 * m.loglik_ + m.n_free_ * np.log(len(y)) for m in fits]
        bic.append(2 + int(np.argmin(scores)))
    assert np.sum(np.equal(merged, 2)) >= 10, merged
    if contaminated:
        assert np.sum(np.greater(bic, 2)) >= 10, bic
    else:
        assert np.sum(np.equal(bic, 2)) >= 10, bic
