"""Rate studies: distances, slopes, and what a study depends on."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from scipy import integrate

from mixexp import MoEClassifier, MoERegressor, rate_study
from mixexp.datasets import make_moe_classification, make_moe_regression
from mixexp.plotting import plot_rates
from mixexp.theory import RateDesign, RateStudy, ggamoe, hellinger, multinomial, sgamoe
from mixexp.theory.rates import surplus_labels


def made(values, sizes=(100, 1000, 10_000)):
    """A study with given losses (replicates, sizes)."""
    lines = [
        {"n": n, "replicate": r, "start": "truth", "voronoi": values[r, s], "hellinger": 1.0}
        for s, n in enumerate(sizes)
        for r in range(len(values))
    ]
    return RateStudy("made", 2, 2, sizes, ("truth",), pd.DataFrame(lines))


# --- slopes --------------------------------------------------------------------------------------


@pytest.mark.parametrize("statistic", ["mean", "median"])
def test_the_slope_of_an_exact_power(statistic):
    values = 3.0 * np.array([100, 1000, 10_000]) ** -0.5 * np.ones((4, 1))
    found = made(values).slope(statistic=statistic)
    assert_allclose([found.slope, found.low, found.high, found.level], [-0.5, -0.5, -0.5, 3.0])


def test_intervals_of_the_slope_cover():
    rng, hits = np.random.default_rng(0), 0
    for _ in range(200):
        noise = rng.gamma(4.0, 0.25, size=(20, 3))  # of mean one
        found = made(noise * np.array([100, 1000, 10_000]) ** -0.5).slope(n_boot=300)
        assert found.low <= found.slope <= found.high
        hits += found.low <= -0.5 <= found.high
    assert 0.87 <= hits / 200 <= 0.99


def test_unknown_questions_are_refused():
    study = made(np.ones((2, 3)))
    with pytest.raises(ValueError, match="statistic must be"):
        study.slope(statistic="mode")
    with pytest.raises(ValueError, match="loss must be"):
        study.slope("kl")
    with pytest.raises(ValueError, match="start must be"):
        study.slope(start="search")
    with pytest.raises(ValueError, match="level must"):
        study.slope(level=95)


# --- distances -----------------------------------------------------------------------------------


def test_the_hellinger_distance_is_the_integral():
    X, y, truth = make_moe_regression(40, 1, 2, random_state=0, return_truth=True)
    model = MoERegressor(2, start=truth.z).fit(X, y)
    rng = np.random.default_rng(1)
    points = np.repeat(rng.standard_normal((5, 1)), 40_000, axis=0)
    found = hellinger(model, truth, points, truth.sample(points, rng)[0])
    exact = []
    for x in points[::40_000]:
        grid = np.linspace(-15, 15, 6001)
        at = np.repeat(x[None], len(grid), axis=0)
        p, q = np.exp(model.log_prob(at, grid)), np.exp(truth.log_prob(at, grid))
        exact.append(0.5 * integrate.simpson((np.sqrt(p) - np.sqrt(q)) ** 2, x=grid))
    assert_allclose(found, np.sqrt(np.mean(exact)), rtol=0.02)


def test_the_hellinger_distance_of_classes_is_their_sum():
    X, y, truth = make_moe_classification(300, 2, 2, random_state=0, return_truth=True)
    model = MoEClassifier(2, start=truth.z).fit(X, y)
    h2 = 0.5 * (np.sqrt(model.predict_proba(X)) - np.sqrt(truth.mean(X))) ** 2
    assert_allclose(hellinger(model, truth, X, y), np.sqrt(h2.sum(axis=1).mean()))


# --- studies -------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_larger_study_contains_the_smaller():
    small = rate_study(sgamoe(), [60, 200], replicates=2, starts=["truth"], n_fresh=500)
    large = rate_study(
        sgamoe(), [100, 60, 200], replicates=3, starts="truth", n_fresh=500, n_jobs=2
    )
    both = small.table.merge(large.table, on=["n", "replicate", "start"], suffixes=("", "_large"))
    assert len(both) == 4
    for name in ("hellinger", "voronoi", "loglik"):
        assert_allclose(both[name], both[f"{name}_large"], rtol=1e-12)
    assert large.sizes == (60, 100, 200) and large.losses().shape == (3, 3)


def test_seeds_differ():
    studies = [
        rate_study(sgamoe(), [60, 200], replicates=2, starts="truth", random_state=seed, n_fresh=99)
        for seed in (0, 1)
    ]
    assert not np.isclose(*[study.table["loglik"] for study in studies]).any()


def test_the_search_finds_what_the_truth_finds():
    study = rate_study(sgamoe(), [300, 1200], replicates=2, n_fresh=500)
    assert study.starts == ("truth", "search")
    assert_allclose(
        study.losses("hellinger", "truth"), study.losses("hellinger", "search"), rtol=1e-3
    )
    assert set(study.slopes(n_boot=50).columns) == {"slope", "low", "high", "level"}
    assert study.summary()["converged"].eq(1).all()


@pytest.mark.parametrize(
    "design",
    [sgamoe(2), sgamoe(3), ggamoe(1, 3), ggamoe(2, 4), multinomial()],
    ids=lambda d: d.name,
)
def test_losses_fall_in_every_design(design):
    study = rate_study(design, [300, 3000], replicates=5, starts="truth", n_fresh=2000)
    assert study.slope("hellinger").slope < -0.25
    assert study.to_frame() is not study.table
    assert (study.n_experts > study.n_true) == design.overspecified


def test_surplus_experts_halve_the_largest_classes(rng):
    z = rng.choice(2, size=400, p=[0.3, 0.7])
    X, y = rng.standard_normal((400, 2)), rng.standard_normal(400)
    labels = surplus_labels(X, y, z, 2, 4, rng)
    assert np.array_equal(surplus_labels(X, y, z, 2, 2, rng), z)
    counts = np.bincount(labels)
    assert len(counts) == 4 and counts[2] == np.sum(z == 1) // 2
    # every new class lies inside one true class
    assert all(len(np.unique(z[labels == k])) == 1 for k in range(4))


def test_a_design_of_ones_own():
    _, _, truth = make_moe_regression(10, 2, 2, random_state=0, return_truth=True)
    own = RateDesign(
        "own", truth, MoERegressor(2), (100, 200), lambda n, rng: rng.standard_normal((n, 2))
    )
    study = rate_study(own, replicates=2, starts="truth", n_fresh=100)
    assert study.sizes == (100, 200) and study.table["converged"].all()


def test_studies_that_make_no_sense_are_refused():
    with pytest.raises(ValueError, match="sizes must be"):
        rate_study(sgamoe(), [1000])
    with pytest.raises(ValueError, match="sizes must be"):
        rate_study(sgamoe(), [10, 1000])
    with pytest.raises(ValueError, match="starts must be"):
        rate_study(sgamoe(), starts=["k-means"])
    with pytest.raises(ValueError, match="replicates must be"):
        rate_study(sgamoe(), replicates=1)
    with pytest.raises(ValueError, match="kind must be"):
        rate_study(sgamoe(), kind="over")
    with pytest.raises(ValueError, match="fewer experts"):
        sgamoe(1)
    with pytest.raises(ValueError, match="inputs must draw X"):
        dataclasses.replace(sgamoe(), inputs=None)
    with pytest.raises(ValueError, match="model must be"):
        ggamoe(3)


@pytest.mark.parametrize("loss", ["voronoi", "hellinger"])
def test_the_figure_shows_the_slopes(loss):
    study = rate_study(sgamoe(), [60, 120, 240], replicates=3, n_fresh=200)
    ax = plot_rates(study, loss, statistic="median")
    shown = [text.get_text() for text in ax.get_legend().get_texts()]
    for text, start in zip(shown, ("truth", "search")):
        assert f"{study.slope(loss, start, statistic='median').slope:.2f}" in text
    assert shown[-1] == "slope -0.5" and ax.get_yscale() == "log"
