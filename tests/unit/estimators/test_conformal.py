"""Conformal prediction: coverage over many calibrations, exact where scores have no ties."""

from __future__ import annotations

import pickle

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV

from mixexp import ConformalMoERegressor, GLoMERegressor, MoERegressor, conformalize
from mixexp.datasets import load_ethanol, load_seizure
from mixexp.estimators._conformity import SCORES

N, LEVEL, TIMES = 49, 0.8, 250
INTERVALS = [name for name in SCORES if name != "density"]


def draw(rng, n):
    """Two regimes with skewed noise that no Gaussian expert describes."""
    x = rng.uniform(-1, 1, n)
    slope = np.where(rng.random(n) < 1 / (1 + np.exp(-4 * x)), 3.0, -1.0)
    return x[:, None], slope * x + (0.2 + 0.3 * np.abs(x)) * (rng.gamma(1.0, 1.0, n) - 1)


@pytest.fixture(scope="module")
def skewed():
    rng = np.random.default_rng(0)
    return MoERegressor(2).fit(*draw(rng, 200))


def covers(regions, y):
    return np.array(
        [
            bool(((own[:, 0] <= value) & (value <= own[:, 1])).any())
            for own, value in zip(regions, y, strict=True)
        ]
    )


@pytest.mark.slow
@pytest.mark.parametrize("conformity", SCORES)
def test_coverage_over_calibrations_is_exact(skewed, conformity):
    """Without ties the coverage is that of an order statistic: k / (n + 1) on average."""
    rng = np.random.default_rng(1)
    hits = []
    for _ in range(TIMES):
        X, y = draw(rng, N + 20)
        model = conformalize(skewed, X[:N], y[:N], conformity=conformity, level=LEVEL)
        hits.append(covers(model.predict_region(X[N:]), y[N:]).mean())
    wanted = np.ceil((N + 1) * LEVEL) / (N + 1)
    error = np.std(hits) / np.sqrt(TIMES)
    assert error < 0.01
    assert abs(np.mean(hits) - wanted) < 3.5 * error


@pytest.mark.parametrize("conformity", SCORES)
def test_coverage_of_counts_is_at_least_the_level(conformity):
    rng = np.random.default_rng(2)

    def counts(n):
        x, hours = rng.uniform(-1, 1, n), rng.uniform(0.5, 2, n)
        return x[:, None], rng.negative_binomial(2, 2 / (2 + hours * np.exp(1 + x))), hours

    X, y, hours = counts(150)
    fitted = MoERegressor(1, expert="poisson").fit(X, y, exposure=hours)  # no overdispersion
    hits = []
    for _ in range(TIMES // 2):
        X, y, hours = counts(N + 20)
        model = conformalize(
            fitted, X[:N], y[:N], conformity=conformity, level=LEVEL, exposure=hours[:N]
        )
        found = model.predict_region(X[N:], exposure=hours[N:])
        ends = np.concatenate(found)
        assert np.all(ends >= 0) and np.all(ends == np.floor(ends))
        hits.append(covers(found, y[N:]).mean())
    error = np.std(hits) / np.sqrt(len(hits))
    assert np.mean(hits) > LEVEL - 3 * error
    naive = fitted.predict_interval(X, LEVEL, exposure=hours)
    assert np.mean((naive[:, 0] <= y) & (y <= naive[:, 1])) < LEVEL - 0.05


def test_fit_splits_and_covers_in_expectation():
    """Over fits and splits together, with few rows and a wrong model."""
    rng = np.random.default_rng(3)
    hits = []
    for seed in range(40):
        X, y = draw(rng, 90 + 50)
        model = ConformalMoERegressor(
            MoERegressor(1), level=LEVEL, calibration_size=40, random_state=seed
        )
        found = model.fit(X[:90], y[:90]).predict_interval(X[90:])
        assert len(model.scores_) == 40
        hits.append(np.mean((found[:, 0] <= y[90:]) & (y[90:] <= found[:, 1])))
    assert np.mean(hits) > LEVEL - 3 * np.std(hits) / np.sqrt(len(hits))


def test_likelihood_ratios_restore_the_coverage_under_a_shift(skewed):
    """Rows of the calibration lean to one side, new rows to the other."""
    rng = np.random.default_rng(4)
    hits = {"plain": [], "weighted": []}
    for _ in range(120):
        (X, y), (X_new, y_new) = draw(rng, 300), draw(rng, 100)
        left = rng.random(300) < np.exp(-1.5 * (X[:, 0] + 1))
        right = rng.random(100) < np.exp(1.5 * (X_new[:, 0] - 1))
        cal, new = np.flatnonzero(left)[:80], np.flatnonzero(right)
        ratio, ratio_new = np.exp(3 * X[:, 0]), np.exp(3 * X_new[:, 0])  # of the two laws of x
        for name, weight in (("plain", None), ("weighted", ratio_new)):
            model = conformalize(
                skewed, X[cal], y[cal], conformity="absolute", level=LEVEL,
                sample_weight=None if weight is None else ratio[cal],
            )  # fmt: skip
            own = None if weight is None else weight[new]
            low, high = model.predict_interval(X_new[new], weight=own).T
            hits[name].append(np.mean((low <= y_new[new]) & (y_new[new] <= high)))
    assert np.mean(hits["plain"]) < LEVEL - 0.02
    assert np.mean(hits["weighted"]) > LEVEL - 0.01


@pytest.mark.parametrize("conformity", SCORES)
def test_a_weight_of_two_equals_the_row_twice(skewed, conformity):
    X, y = draw(np.random.default_rng(5), 40)
    weight = np.random.default_rng(6).integers(0, 4, 40).astype(float)
    twice = np.repeat(np.arange(40), weight.astype(int))
    one = conformalize(skewed, X, y, conformity=conformity, level=0.9, sample_weight=weight)
    two = conformalize(skewed, X[twice], y[twice], conformity=conformity, level=0.9)
    assert one.threshold_ == two.threshold_


def test_threshold_is_the_order_statistic(skewed):
    X, y = draw(np.random.default_rng(7), 19)
    model = conformalize(skewed, X, y, conformity="absolute", level=0.9)
    assert model.threshold_ == np.sort(np.abs(y - skewed.predict(X)))[17]  # the 18th of 19
    assert_allclose(np.diff(model.predict_interval(X), axis=1), 2 * model.threshold_)
    far = model.predict_interval(X[:2], weight=np.array([1.0, 1e9]))
    assert np.isfinite(far[0]).all() and np.isinf(far[1]).all()


def test_density_regions_follow_the_modes(skewed):
    X, y = draw(np.random.default_rng(8), 300)
    model = conformalize(skewed, X, y, conformity="density", level=0.8)
    found = model.predict_region(X)
    assert {len(own) for own in found} >= {1, 2}
    plain = conformalize(skewed, X, y, conformity="quantile", level=0.8).predict_interval(X)
    lengths = [np.diff(own, axis=1).sum() for own in found]
    assert np.mean(lengths) < np.diff(plain, axis=1).mean()
    with pytest.raises(ValueError, match="use predict_region"):
        model.predict_interval(X)


def test_bundled_data_as_a_frame():
    X, y = load_ethanol(return_X_y=True, as_frame=True)
    model = ConformalMoERegressor(MoERegressor(3), conformity="normalised").fit(X, y)
    found = model.predict_interval(X)
    assert found.shape == (88, 2) and np.mean((found[:, 0] <= y) & (y <= found[:, 1])) > 0.8
    assert_array_equal(model.predict(X), model.estimator_.predict(X))
    assert model.score(X, y) == model.estimator_.score(X, y)
    again = pickle.loads(pickle.dumps(model))
    assert_array_equal(again.predict_interval(X), found)


def test_scikit_learn_tools_reach_inside():
    X, y = load_ethanol(return_X_y=True)
    model = ConformalMoERegressor(MoERegressor(1), level=0.7)
    assert clone(model).get_params()["estimator__n_experts"] == 1
    search = GridSearchCV(model, {"estimator__n_experts": [1, 2]}, cv=2).fit(X, y)
    assert search.best_params_["estimator__n_experts"] == 2


def test_exposure_travels_with_the_rows():
    data = load_seizure()
    model = ConformalMoERegressor(MoERegressor(2, expert="poisson", gate="constant"))
    model.fit(pd.DataFrame(data.data), data.target, exposure=data.exposure)
    short, long = (model.predict_interval(data.data[:1], exposure=[h])[0] for h in (1.0, 12.0))
    assert long[1] > short[1]
    with pytest.raises(ValueError, match="takes no trials"):
        model.predict_interval(data.data[:1], trials=[3])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"conformity": "mean"}, "conformity must be one of"),
        ({"level": 90}, "level must lie strictly between 0 and 1"),
        ({"level": 0.99}, "at least 99 calibration rows; got 40"),
    ],
)
def test_errors_say_what_is_needed(skewed, settings, message):
    X, y = draw(np.random.default_rng(9), 40)
    with pytest.raises(ValueError, match=message):
        conformalize(skewed, X, y, **settings)
    with pytest.raises(ValueError, match=message):
        ConformalMoERegressor(calibration_size=40, **settings).fit(
            np.tile(X, (3, 1)), np.tile(y, 3)
        )


def test_several_responses_are_refused(skewed):
    X, y = load_ethanol(return_X_y=True)
    fitted = GLoMERegressor(1).fit(X, np.column_stack([y, y**2]))
    with pytest.raises(ValueError, match="needs one response"):
        conformalize(fitted, X, y)
    with pytest.raises(ValueError, match="sample_weight needs"):
        conformalize(skewed, X[:, :1], y, sample_weight=-np.ones(88))
