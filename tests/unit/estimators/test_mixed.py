"""`MixedEffectsMoERegressor`: what it promises of fits, predictions, files and errors."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from sklearn.base import clone

from mixexp import MixedEffectsMoERegressor, MoERegressor, load
from mixexp.estimators._mixed_saving import from_tree, to_tree


def two_regimes(G=60, m=8, sd=1.0, seed=0, expert_sd=0.0, slope_sd=0.0):
    """Rows of G groups, two Gaussian regimes whose odds differ between the groups."""
    rng = np.random.default_rng(seed)
    g = np.repeat(np.arange(G), m)
    x = rng.uniform(-1.7, 1.7, size=G * m)
    b, c = sd * rng.normal(size=G), expert_sd * rng.normal(size=(G, 2))
    d = slope_sd * rng.normal(size=(G, 2))
    first = rng.random(G * m) < 1 / (1 + np.exp(-(0.3 * x + b[g])))
    mean = np.where(first, 4 + x * (1 + d[g, 0]) + c[g, 0], -4 - x * (1 + d[g, 1]) + c[g, 1])
    y = mean + 0.5 * rng.normal(size=G * m)
    return pd.DataFrame({"x": x}), y, g, b, c


@pytest.fixture(scope="module")
def fitted():
    X, y, g, b, _ = two_regimes()
    return MixedEffectsMoERegressor(2, expert_random=None).fit(X, y, groups=g), X, y, g, b


def test_random_intercepts_of_the_gate_are_found(fitted):
    model, _, _, _, b = fitted
    assert model.converged_ and model.certificate_ < 1e-6
    row = model.variance_components_.iloc[0]
    assert row["lower"] < 1 < row["upper"]
    sign = np.sign(model.intercept_[0])
    assert np.corrcoef(sign * model.random_effects_["group"].to_numpy()[:, 0], b)[0, 1] > 0.7


def test_a_larger_model_is_not_less_likely(fitted):
    model, X, y, g, _ = fitted
    plain = MoERegressor(2).fit(X, y)
    assert model.loglik_ > plain.loglik_ + 5
    assert model.n_free_ == plain.n_free_ + 1


def test_known_groups_predict_better_than_unknown():
    X, y, g, _, _ = two_regimes(G=60, m=20, sd=1.5, expert_sd=0.8, seed=3)
    held = np.arange(len(y)) % 4 == 0
    model = MixedEffectsMoERegressor(2).fit(X[~held], y[~held], groups=g[~held])
    known, unknown = model.predict(X[held], groups=g[held]), model.predict(X[held])
    assert np.mean((y[held] - known) ** 2) < 0.9 * np.mean((y[held] - unknown) ** 2)
    assert model.score(X[held], y[held], groups=g[held]) > model.score(X[held], y[held])
    better = model.log_prob(X[held], y[held], g[held]) - model.log_prob(X[held], y[held])
    assert better.mean() > 0.05


def test_unseen_missing_and_absent_groups_are_the_same(fitted):
    model, X, _, _, _ = fitted
    absent = model.predict(X[:3])
    assert_allclose(model.predict(X[:3], groups=[999, 1000, -5]), absent)
    assert_allclose(model.predict(X[:3], groups=[np.nan, None, "new"]), absent)
    assert_allclose(model.predict(X[:3], groups=["0", "1", "2"]), model.predict(X[:3], [0, 1, 2]))


def test_integration_is_an_average_over_the_effects(fitted):
    model, X, _, _, _ = fitted
    sd = model.variance_components_["estimate"].iloc[0]
    draws = sd * np.random.default_rng(0).normal(size=200_000)
    logit = model.gate_intercept_[0] + model.gate_coef_[0, 0] * X["x"].iloc[0]
    share = (1 / (1 + np.exp(-(logit + draws)))).mean()
    assert_allclose(model.gate_proba(X[:1])[0, 0], share, atol=2e-3)
    plain = 1 / (1 + np.exp(-logit))
    assert_allclose(model.gate_proba(X[:1], integrate=False)[0, 0], plain, rtol=1e-10)


def test_predictions_fit_together(fitted):
    model, X, y, g, _ = fitted
    assert_allclose(model.gate_proba(X, g).sum(axis=1), 1)
    assert_allclose(model.responsibilities(X, y, g).sum(axis=1), 1)
    mean = (model.gate_proba(X, g) * model.predict_experts(X, g)).sum(axis=1)
    assert_allclose(model.predict(X, g), mean, atol=1e-10)  # the experts have no effects here
    grid = np.linspace(-12, 12, 4001)
    row = X.iloc[np.zeros(len(grid), dtype=int)]
    density = np.exp(model.log_prob(row, grid, np.repeat(g[0], len(grid))))
    step = grid[1] - grid[0]
    assert_allclose(density.sum() * step, 1, atol=1e-6)
    assert_allclose((density * grid).sum() * step, model.predict(X[:1], g[:1])[0], atol=1e-5)
    second = (density * grid**2).sum() * step - ((density * grid).sum() * step) ** 2
    assert_allclose(np.sqrt(second), model.predict_std(X[:1], g[:1])[0], atol=1e-5)


def test_order_of_rows_and_names_of_groups_do_not_matter(fitted):
    model, X, y, g, _ = fitted
    order = np.random.default_rng(0).permutation(len(y))
    names = np.array([f"g{label}" for label in g])[order]
    again = clone(model).fit(X.iloc[order], y[order], groups={"group": names})
    assert_allclose(again.loglik_, model.loglik_, atol=1e-6)
    assert_allclose(np.sort(again.intercept_), np.sort(model.intercept_), atol=1e-5)


def test_columns_and_target_may_have_any_scale():
    X, y, g, _, _ = two_regimes(G=30, m=10, expert_sd=0.7, slope_sd=0.5, seed=1)
    terms = {"expert_random": ("1", "x"), "gate_random": ("1",)}
    one = MixedEffectsMoERegressor(2, **terms).fit(X, y, groups=g)
    other = MixedEffectsMoERegressor(2, **terms).fit(100 * X + 7, 1e3 * y - 5, groups=g)
    assert_allclose(other.loglik_, one.loglik_ - len(y) * np.log(1e3), atol=1e-4)
    assert_allclose(1e3 * one.predict(X, g) - 5, other.predict(100 * X + 7, g), rtol=1e-3, atol=0.5)
    slopes = one.variance_components_.query("term == 'x' and `with` == ''")["estimate"]
    moved = other.variance_components_.query("term == 'x' and `with` == ''")["estimate"]
    assert_allclose(np.sort(moved), 10 * np.sort(slopes), rtol=1e-3)


def test_diagonal_and_shared_effects_are_smaller_models():
    X, y, g, _, _ = two_regimes(G=30, m=10, expert_sd=0.7, slope_sd=0.5, seed=1)
    full = MixedEffectsMoERegressor(2, expert_random=("1", "x")).fit(X, y, groups=g)
    diagonal = clone(full).set_params(covariance="diagonal").fit(X, y, groups=g)
    assert diagonal.n_free_ == full.n_free_ - 2
    assert diagonal.loglik_ <= full.loglik_ + 1e-6
    shared = MixedEffectsMoERegressor(2, shared=True).fit(X, y, groups=g)
    assert shared.variance_components_["part"].tolist() == ["all experts", "gate 0 vs 1"]


def test_an_absent_effect_has_a_standard_deviation_of_zero():
    rng = np.random.default_rng(1)
    x = rng.normal(size=200)
    y = x + rng.normal(size=200)
    g = np.arange(200) % 20
    y -= np.array([y[g == k].mean() for k in range(20)])[g]  # less than chance between groups
    model = MixedEffectsMoERegressor(1).fit(x[:, None], y, groups=g)
    row = model.variance_components_.iloc[0]
    assert row["estimate"] == 0 and np.isnan(row["std err"])
    assert_allclose(model.loglik_, MoERegressor(1).fit(x[:, None], y).loglik_, atol=1e-3)
    assert "boundary" in model.summary()


def test_nested_labels_may_be_used_again(rng):
    site, plot = np.repeat(np.arange(5), 24), np.tile(np.repeat(np.arange(4), 6), 5)
    y = rng.normal(size=5)[site] + rng.normal(size=20)[site * 4 + plot] + rng.normal(size=120)
    X = rng.normal(size=(120, 1))
    given = pd.DataFrame({"site": site, "plot": plot})
    nested = MixedEffectsMoERegressor(1, nested=True).fit(X, y, groups=given)
    explicit = MixedEffectsMoERegressor(1).fit(
        X, y, groups={"site": site, "plot": [f"{a}/{b}" for a, b in zip(site, plot)]}
    )
    assert nested.n_groups_ == {"site": 5, "plot": 20}
    assert_allclose(nested.loglik_, explicit.loglik_, atol=1e-7)
    assert_allclose(nested.predict(X, given), explicit.predict(X, {"site": site, "plot": [
        f"{a}/{b}" for a, b in zip(site, plot)
    ]}), atol=1e-6)  # fmt: skip


def test_terms_may_differ_between_factors():
    X, y, g, _, _ = two_regimes(G=30, m=10, expert_sd=0.7, slope_sd=0.5, seed=1)
    day = np.arange(len(y)) % 7
    model = MixedEffectsMoERegressor(
        2, expert_random={"person": ("1", "x")}, gate_random={"day": ("1",)}
    ).fit(X, y, groups={"person": g, "day": day})
    frame = model.variance_components_
    assert set(frame.query("factor == 'day'")["part"]) == {"gate 0 vs 1"}
    assert len(frame.query("factor == 'person'")) == 6
    assert list(model.random_effects_) == ["person", "day"]
    partly = model.predict(X[:4], groups={"person": g[:4]})
    assert not np.allclose(partly, model.predict(X[:4]))


@pytest.mark.parametrize("family", ["poisson", "gamma", "binomial"])
@pytest.mark.parametrize("approximation", ["laplace", "variational"])
def test_other_families(family, approximation):
    rng = np.random.default_rng(2)
    g = np.repeat(np.arange(40), 10)
    x, b = rng.normal(size=400), 0.6 * rng.normal(size=40)
    eta = np.where(rng.random(400) < 0.5, 2.0 + 0.5 * x, -0.5 - 0.5 * x) + b[g]
    trials = np.full(400, 20.0)
    y = {
        "poisson": lambda: rng.poisson(np.exp(eta)),
        "gamma": lambda: rng.gamma(30.0, np.exp(eta) / 30),
        "binomial": lambda: rng.binomial(20, 1 / (1 + np.exp(-eta))),
    }[family]()
    inputs = {"trials": trials} if family == "binomial" else {}
    model = MixedEffectsMoERegressor(
        2, family=family, gate_random=None, shared=True, approximation=approximation
    ).fit(x[:, None], y, groups=g, **inputs)
    assert model.converged_
    row = model.variance_components_.iloc[0]
    assert row["lower"] < 0.6 < row["upper"]
    assert np.corrcoef(model.random_effects_["group"].to_numpy()[:, 0], b)[0, 1] > 0.9
    with_groups = model.predict(x[:, None], g, **inputs)
    assert np.mean((y - with_groups) ** 2) < np.mean((y - model.predict(x[:, None], **inputs)) ** 2)


def test_offsets_and_exposures_enter_the_predictor(rng):
    g = np.repeat(np.arange(20), 10)
    hours = rng.uniform(1, 5, 200)
    y = rng.poisson(hours * np.exp(0.3 * rng.normal(size=20)[g]))
    X = rng.normal(size=(200, 1))
    model = MixedEffectsMoERegressor(1, family="poisson").fit(X, y, groups=g, exposure=hours)
    other = clone(model).fit(X, y, groups=g, offset=np.log(hours))
    assert_allclose(model.loglik_, other.loglik_)
    doubled = model.predict(X, g, exposure=2 * hours)
    assert_allclose(doubled, 2 * model.predict(X, g, exposure=hours))


def test_files_hold_the_whole_fit(fitted, tmp_path):
    model, X, y, g, _ = fitted
    model.save(tmp_path / "model.mixexp")
    again = load(tmp_path / "model.mixexp")
    assert again.get_params() == model.get_params()
    assert str(again) == str(model)
    assert_allclose(again.predict(X, g), model.predict(X, g), rtol=0)
    assert_allclose(again.log_prob(X, y), model.log_prob(X, y), rtol=0)
    pd.testing.assert_frame_equal(again.variance_components_, model.variance_components_)


def test_files_from_before_bounded_directions_were_counted(fitted):
    model, X, _, g, _ = fitted
    tree = to_tree(model)
    del tree["fitted"]["n_bounded_"]
    again = from_tree(tree)
    assert again.n_bounded_ == 0
    assert_allclose(again.predict(X, g), model.predict(X, g), rtol=0)


X_BAD, Y_BAD, G_BAD, _, _ = two_regimes(G=5, m=6)
MISSING = np.where(np.arange(30) == 4, None, G_BAD.astype(object))


@pytest.mark.parametrize(
    ("settings", "groups", "message"),
    [
        ({}, None, "groups= is needed"),
        ({}, MISSING, "no label in 1 row.*row 4"),
        ({}, np.zeros(30), "one group 0"),
        ({}, G_BAD[:-1], "one label per row"),
        ({}, np.arange(30), "every row is a group of its own"),
        ({"expert_random": ("1", "z")}, G_BAD, "no column named"),
        ({"gate_random": (3,)}, G_BAD, "positions must lie in 0..0"),
        ({"expert_random": {"school": ("1",)}}, G_BAD, "no factor named"),
        ({"expert_random": None, "gate_random": ()}, G_BAD, "Nothing is random"),
        ({"n_experts": 1, "expert_random": None}, G_BAD, "one expert has"),
        ({"family": "student"}, G_BAD, "family must be one of"),
        ({"family": "poisson"}, G_BAD, "PoissonExpert needs"),
        ({"approximation": "exact"}, G_BAD, "approximation must be one of"),
        ({"covariance": "banded"}, G_BAD, "covariance must be one of"),
        ({"n_experts": 0}, G_BAD, "n_experts must be"),
        ({"max_iter": 0}, G_BAD, "max_iter must be"),
        ({"start": "anywhere"}, G_BAD, "start must be"),
        ({}, {}, "holds no factor"),
        ({}, np.zeros((30, 2, 2)), "got an array of shape"),
    ],
)
def test_bad_input_is_refused_before_any_work(settings, groups, message):
    with pytest.raises(ValueError, match=message):
        MixedEffectsMoERegressor(**settings).fit(X_BAD, Y_BAD, groups=groups)


def test_constant_columns_have_no_random_slope():
    X = X_BAD.assign(one=1.0)
    with pytest.raises(ValueError, match="constant columns"):
        MixedEffectsMoERegressor(expert_random=("one",)).fit(X, Y_BAD, groups=G_BAD)


def test_unknown_factors_are_refused_in_predictions(fitted):
    model, X, _, g, _ = fitted
    with pytest.raises(ValueError, match="no factor"):
        model.predict(X, groups={"school": g})
