"""Standard errors, tests and intervals: against statsmodels at one expert, and by their laws."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from numpy.testing import assert_allclose

from mixexp import (
    L2,
    ConstantGate,
    GaussianExpert,
    MoEClassifier,
    MoERegressor,
    NotRegularError,
    SoftmaxGate,
    likelihood_ratio_test,
    vuong_test,
)

# statsmodels' count and binary models: coefficients, three covariances
COUNTS = {"poisson": sm.families.Poisson(), "binomial": sm.families.Binomial()}


def columns(n, seed=0):
    return np.random.default_rng(seed).normal(size=(n, 2)) * [1.0, 3.0] + [0.0, 5.0]


@pytest.fixture(scope="module")
def two():
    """Two experts and their rows."""
    rng = np.random.default_rng(1)
    X = pd.DataFrame(rng.normal(size=(600, 2)), columns=["age", "dose"])
    first = rng.random(600) < 1 / (1 + np.exp(-(0.3 + 1.2 * X["age"])))
    mean = np.where(first, 1 + 2 * X["age"] - X["dose"], -1 - X["age"] + 0.5 * X["dose"])
    y = mean + 0.7 * rng.normal(size=600)
    return MoERegressor(2).fit(X, y), X, y


@pytest.mark.parametrize("family", list(COUNTS))
def test_one_expert_is_a_glm(family):
    X, rng = columns(200), np.random.default_rng(2)
    eta = 0.2 + 0.4 * X[:, 0] - 0.05 * X[:, 1]
    groups = rng.integers(30, size=200)
    if family == "poisson":
        y, given = rng.poisson(np.exp(eta)).astype(float), {}
    else:
        y, given = rng.binomial(1, 1 / (1 + np.exp(-eta))).astype(float), {"trials": np.ones(200)}
    model = MoERegressor(1, expert=family).fit(X, y, **given)
    glm = sm.GLM(y, sm.add_constant(X), family=COUNTS[family])
    theirs = glm.fit(tol=1e-12)
    mine = model.inference(X, y, **given)
    assert_allclose(mine.params, theirs.params, rtol=1e-6)
    assert_allclose(mine.bse, theirs.bse, rtol=1e-6)
    assert_allclose(mine.tvalues, theirs.tvalues, rtol=1e-6)
    assert_allclose(mine.pvalues, theirs.pvalues, rtol=1e-5, atol=1e-12)
    assert_allclose(mine.conf_int(), theirs.conf_int(), rtol=1e-5)
    robust = model.inference(X, y, covariance="sandwich", **given)
    assert_allclose(robust.bse, glm.fit(cov_type="HC0", tol=1e-12).bse, rtol=1e-6)
    clustered = model.inference(X, y, covariance="cluster", groups=groups, **given)
    wanted = glm.fit(
        cov_type="cluster", cov_kwds={"groups": groups, "use_correction": False}, tol=1e-12
    )
    count = len(np.unique(groups))
    assert_allclose(clustered.bse, wanted.bse * np.sqrt(count / (count - 1)), rtol=1e-6)
    hypothesis = np.array([[0.0, 1.0, 3.0]])
    own, other = mine.wald_test(hypothesis), theirs.wald_test(hypothesis, scalar=True, use_f=False)
    assert_allclose([own.statistic, own.pvalue], [other.statistic, other.pvalue], rtol=1e-5)


def test_one_gaussian_expert_is_least_squares():
    X = columns(150)
    y = 1 + X @ [0.5, -0.2] + 2 * np.random.default_rng(3).normal(size=150)
    result = MoERegressor(1).fit(X, y).inference(X, y)
    ols = sm.OLS(y, sm.add_constant(X)).fit()
    assert_allclose(result.params[:3], ols.params, rtol=1e-7)
    # maximum likelihood divides by n, least squares by n less the coefficients
    assert_allclose(result.bse[:3], ols.bse * np.sqrt(147 / 150), rtol=1e-6)
    assert_allclose(result.bse.iloc[3], np.sqrt(0.5 / 150), rtol=1e-6)


def test_one_gamma_expert_has_the_covariance_of_its_likelihood():
    X = columns(300)
    rng = np.random.default_rng(4)
    y = rng.gamma(3.0, np.exp(0.3 + 0.2 * X[:, 0]) / 3)
    result = MoERegressor(1, expert="gamma").fit(X, y).inference(X, y)
    glm = sm.GLM(y, sm.add_constant(X), family=sm.families.Gamma(sm.families.links.Log()))
    shape = np.exp(result.params.iloc[3])
    theirs = glm.fit(scale=1 / shape, tol=1e-12, cov_type="nonrobust")
    # with the log link the mean's block of the observed information has the weights y / mean
    eta = sm.add_constant(X) @ theirs.params
    observed = sm.add_constant(X).T * (shape * y / np.exp(eta)) @ sm.add_constant(X)
    assert_allclose(result.params[:3], theirs.params, rtol=1e-5)
    cross = np.linalg.inv(result.cov_params().to_numpy())
    assert_allclose(cross[:3, :3], observed, rtol=1e-5)


def test_two_classes_are_a_logistic_regression():
    X = columns(300)
    y = (X[:, 0] + np.random.default_rng(5).logistic(size=300) > 0).astype(int)
    result = MoEClassifier(1).fit(X, y).inference(X, y)
    logit = sm.Logit(y, sm.add_constant(X)).fit(disp=0, tol=1e-12)
    assert_allclose(result.params, logit.params, rtol=1e-5, atol=1e-7)
    assert_allclose(result.bse, logit.bse, rtol=1e-5)


def test_a_frequency_weight_is_a_repetition(two):
    _, X, y = two
    weight = np.random.default_rng(6).integers(1, 4, len(y)).astype(float)
    index = np.repeat(np.arange(len(y)), weight.astype(int))
    model = MoERegressor(2).fit(X, y, weight)
    weighted = model.inference(X, y, weight)
    repeated = model.inference(X.iloc[index], y[index])
    assert_allclose(weighted.bse, repeated.bse, rtol=1e-8)
    assert weighted.n_obs == len(index)


def test_the_scale_of_precision_and_sampling_weights_does_not_matter(two):
    _, X, y = two
    weight = np.random.default_rng(7).uniform(0.5, 2, len(y))
    small, large = (MoERegressor(2).fit(X, y, weight * c) for c in (1.0, 50.0))
    for kind, covariance in (("precision", "observed"), ("sampling", "sandwich")):
        one = small.inference(X, y, weight, weights=kind, covariance=covariance)
        two_ = large.inference(X, y, 50 * weight, weights=kind, covariance=covariance)
        assert_allclose(one.bse, two_.bse, rtol=1e-5)
        assert one.n_obs == len(y)
    with pytest.raises(ValueError, match="sandwich"):
        small.inference(X, y, weight, weights="sampling")


def test_units_of_the_columns_scale_the_standard_errors(two):
    model, X, y = two
    plain = model.inference(X, y)
    other = X * [1e4, 1e-4]
    scaled = MoERegressor(2, start=model.responsibilities(X, y)).fit(other, y).inference(other, y)
    name = "expert 0: age"
    assert_allclose(scaled.bse[name] * 1e4, plain.bse[name], rtol=1e-4)
    assert_allclose(scaled.tvalues, plain.tvalues, rtol=1e-3)


def test_the_reference_expert_changes_the_gate_alone(two):
    model, X, y = two
    zero, one = (model.inference(X, y, reference=k) for k in (0, 1))
    assert_allclose(zero.params["gate 1 vs 0: age"], -one.params["gate 0 vs 1: age"], rtol=1e-9)
    assert_allclose(zero.bse["gate 1 vs 0: age"], one.bse["gate 0 vs 1: age"], rtol=1e-7)
    assert_allclose(zero.bse["expert 1: dose"], one.bse["expert 1: dose"], rtol=1e-7)


@pytest.mark.slow
def test_the_bootstraps_agree_with_the_information(two):
    model, X, y = two
    wanted = model.inference(X, y).bse
    for kind in ("nonparametric", "parametric", "weighted"):
        result = model.inference(X, y, covariance="bootstrap", n_boot=150, bootstrap=kind)
        assert result.replicates is not None
        # a standard deviation of 150 draws has an error of 6 %
        assert_allclose(result.bse, wanted, rtol=0.35)
        percentile = result.conf_int(method="percentile")
        assert np.all(percentile["lower"] < result.params)
        assert np.all(percentile["upper"] > result.params)


def test_nested_tests_agree_when_the_hypothesis_is_nearly_true(two):
    model, X, y = two
    result = model.inference(X, y)
    name = "gate 1 vs 0: dose"  # planted as zero
    wald, ratio, score = result.wald_test(name), result.lr_test(name), result.score_test(name)
    assert_allclose(ratio.statistic, wald.statistic, rtol=0.05)
    assert_allclose(score.statistic, wald.statistic, rtol=0.3)
    assert_allclose(wald.statistic, result.tvalues[name] ** 2, rtol=1e-9)
    restricted = MoERegressor(2, gate_features=["age"]).fit(X, y)
    nested = likelihood_ratio_test(restricted, model)
    assert_allclose(nested.statistic, ratio.statistic, rtol=1e-5)
    assert nested.df == 1


def test_a_constrained_fit_is_the_shared_slope(two):
    model, X, y = two
    tied = MoERegressor(2, expert=GaussianExpert(tied=["age"]), start=model.responsibilities(X, y))
    tied.fit(X, y)
    result = model.inference(X, y)
    test = result.lr_test("`expert 0: age` = `expert 1: age`")
    assert_allclose(test.detail["loglik"], tied.loglik_, rtol=1e-7)
    free = tied.inference(X, y)
    assert "all experts: age" in free.names
    assert len(free.names) == len(result.names) - 1 == tied.n_free_


def test_profile_and_wald_intervals_agree_for_a_nearly_quadratic_likelihood(two):
    model, X, y = two
    result = model.inference(X, y)
    name = "expert 0: dose"
    profile, wald = result.profile(name), result.conf_int().loc[name]
    assert_allclose(profile, wald, rtol=0.01)
    fallen = result.lr_test({name: profile[0]})
    assert_allclose(fallen.pvalue, 0.05, rtol=1e-3)


def test_delta_method_and_odds_ratios(two):
    model, X, y = two
    result = model.inference(X, y)
    table = result.delta(lambda b: np.exp(b["expert 0: log(std. deviation)"]))
    sigma = model.dispersion_[0]
    assert_allclose(table["coef"], sigma, rtol=1e-9)
    spread = result.bse["expert 0: log(std. deviation)"] * sigma
    assert_allclose(table["std err"], spread, rtol=1e-6)
    odds = result.odds_ratios()
    assert_allclose(np.log(odds["odds ratio"]), result.params[odds.index], rtol=1e-9)


def test_margins_are_mean_derivatives(two):
    model, X, y = two
    result = model.inference(X, y)
    moved = X.copy()
    moved["age"] += 1e-4
    slope = ((model.predict(moved) - model.predict(X)) / 1e-4).mean()
    table = result.margins("mean")
    assert list(table.index) == ["age", "dose"]
    assert_allclose(table.loc["age", "coef"], slope, rtol=1e-3)
    gate = result.margins("gate", expert=1, features=["age"], at="mean")
    p = model.gate_proba(pd.DataFrame([X.mean()]))[0, 1]
    wanted = p * (1 - p) * result.params["gate 1 vs 0: age"]
    assert_allclose(gate.loc["age", "coef"], wanted, rtol=1e-5)
    assert result.margins("quantile", q=0.9, features=["dose"]).shape == (1, 6)


def test_margins_with_one_expert_have_the_coefficients_errors():
    X = columns(150)
    y = 1 + X @ [0.5, -0.2] + np.random.default_rng(3).normal(size=150)
    result = MoERegressor(1).fit(X, y).inference(X, y)
    assert_allclose(result.margins()["std err"], result.bse[1:3], rtol=1e-5)


def test_fits_without_standard_errors_are_named(two):
    _, X, y = two
    penalised = MoERegressor(2, gate=SoftmaxGate(penalty=L2(0.01))).fit(X, y)
    with pytest.raises(NotRegularError, match="penalty"):
        penalised.inference(X, y)
    spread = penalised.inference(X, y, covariance="bootstrap", n_boot=10)
    assert np.isfinite(spread.bse).all()
    x = np.linspace(-1, 1, 200)[:, None]
    step = np.where(x[:, 0] < 0, -5.0, 5.0) + np.random.default_rng(8).normal(size=200) * 0.1
    separated = MoERegressor(2).fit(x, step)
    with pytest.raises(NotRegularError, match="separates"):
        separated.inference(x, step)


def test_a_collinear_column_is_named(two):
    _, X, y = two
    double = X.assign(again=2 * X["dose"])
    model = MoERegressor(2, gate=ConstantGate()).fit(double, y)
    with pytest.raises(NotRegularError, match="again"):
        model.inference(double, y)
    names = ["expert 0: again", "expert 1: again"]
    held = model.inference(double, y, hold=names)
    assert held.bse[names].isna().all()
    assert held.bse.drop(names).notna().all()


def test_other_rows_than_those_of_the_fit_are_refused(two):
    model, X, y = two
    with pytest.raises(NotRegularError, match="rows"):
        model.inference(X, y + np.linspace(0, 3, len(y)))


def test_hypotheses_that_cannot_be_read_say_so(two):
    model, X, y = two
    result = model.inference(X, y)
    with pytest.raises(ValueError, match="backticks"):
        result.wald_test("expert 0: age = 0")
    with pytest.raises(ValueError, match="named"):
        result.wald_test({"expert 9: age": 0})
    with pytest.raises(ValueError, match="contradict"):
        result.lr_test((np.eye(11)[[4, 4]], [0.0, 1.0]))


def test_vuong_prefers_the_model_that_fits(two):
    model, X, y = two
    other = MoERegressor(2, gate="constant", expert_features=["dose"]).fit(X, y)
    test = vuong_test(model, other, X, y, correction="bic")
    assert test.statistic > 3
    assert_allclose(vuong_test(other, model, X, y, correction="bic").statistic, -test.statistic)


def test_the_summary_is_readable_in_three_formats(two):
    model, X, y = two
    summary = model.inference(X, y).summary()
    text = summary.as_text()
    assert "gate 1 vs 0" in text and "log(std. deviation)" in text and "std err" in text
    assert "<table" in summary.as_html()
    assert "tabular" in summary.as_latex()


def test_monomials_of_a_polynomial_expert_have_standard_errors():
    X = columns(200)[:, :1]
    y = 1 + X[:, 0] ** 2 + np.random.default_rng(9).normal(size=200)
    result = MoERegressor(1, expert=GaussianExpert(degree=2)).fit(X, y).inference(X, y)
    design = np.column_stack([np.ones(200), X[:, 0], X[:, 0] ** 2])
    ols = sm.OLS(y, design).fit()
    assert_allclose(result.bse[:3], ols.bse * np.sqrt(197 / 200), rtol=1e-6)
    assert result.margins().loc["x0", "coef"] == pytest.approx(
        (result.params.iloc[1] + 2 * result.params.iloc[2] * X[:, 0]).mean(), rel=1e-4
    )


def test_standard_errors_do_not_depend_on_the_origin_of_a_column():
    rng = np.random.default_rng(0)
    year = 2024 + 0.05 * rng.normal(size=(200, 1))
    y = 1 + 2 * (year[:, 0] - 2024) + 0.1 * rng.normal(size=200)
    ours = MoERegressor(1).fit(year, y).inference(year, y).bse.to_numpy()[:2]
    theirs = sm.OLS(y, sm.add_constant(year)).fit()
    np.testing.assert_allclose(ours, theirs.bse * np.sqrt(198 / 200), rtol=1e-6)


@pytest.mark.parametrize("gate", ["softmax", "gaussian", "hierarchical"])
def test_columns_that_do_not_vary_have_no_slopes_to_report(gate):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 1))
    left = rng.random(200) < 1 / (1 + np.exp(-2 * x[:, 0]))
    y = np.where(left, 3 + x[:, 0], -1 - x[:, 0]) + 0.4 * rng.normal(size=200)
    X = np.column_stack([x, np.ones(200)])
    plain = MoERegressor(2, gate=gate).fit(x, y)
    more = MoERegressor(2, gate=gate, start=plain.responsibilities(x, y).argmax(axis=1)).fit(X, y)
    result = more.inference(X, y)
    wanted = plain.inference(x, y)
    assert list(result.params.index) == list(wanted.params.index)
    np.testing.assert_allclose(result.bse, wanted.bse, rtol=1e-3)
    assert any("do not vary: " in note and "expert 1: x1" in note for note in result.notes)
