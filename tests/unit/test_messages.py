"""What a newcomer gets wrong, and what is said: the input, the need and the next step."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.exceptions import NotFittedError

from mixexp import (
    MixedEffectsMoERegressor,
    MoEClassifier,
    MoERegressor,
    SelectionStudy,
    intervals,
    likelihood_ratio_test,
    moe,
)
from mixexp.explain import (
    diagnose,
    gate_calibration,
    influence,
    leverage,
    quantile_residuals,
    row_uncertainty,
)
from mixexp.plotting import (
    plot_fit_lines,
    plot_gate_calibration,
    plot_gate_regions,
    plot_influence,
    plot_partial_effects,
    plot_residuals,
    plot_uncertainty,
    plot_worm,
)

N = 80
rng = np.random.default_rng(0)
X = pd.DataFrame(rng.normal(size=(N, 2)), columns=["age", "dose"])
y = np.where(rng.random(N) < 0.5, 1 + 2 * X["age"], -1 - X["dose"]) + 0.4 * rng.normal(size=N)
labels = np.repeat(np.arange(20.0), 4)
frame = X.assign(y=y)


@pytest.fixture(scope="module")
def model():
    return MoERegressor(2, gate="constant").fit(X, y)


@pytest.fixture(scope="module")
def result(model):
    return model.inference(X, y)


@pytest.mark.parametrize(
    "use",
    [
        lambda own: own.inference(X, y),
        lambda own: influence(own, X, y),
        lambda own: leverage(own, X, y),
        lambda own: gate_calibration(own, X, y),
        lambda own: row_uncertainty(own, X, y),
        lambda own: quantile_residuals(own, X, y),
        lambda own: diagnose(own, X, y),
        lambda own: likelihood_ratio_test(own, own),
    ],
)
def test_what_is_not_fitted_is_said(use):
    with pytest.raises(NotFittedError, match="not fitted yet"):
        use(MoERegressor(2))


@pytest.mark.parametrize(
    ("settings", "error", "says"),
    [
        ({"reference": "expert 1"}, ValueError, "number of an expert, 0 to 1; got 'expert 1'"),
        ({"reference": 2}, ValueError, "number of an expert, 0 to 1; got 2"),
        ({"cov_type": "HC1"}, TypeError, "no argument 'cov_type'.* covariance="),
        (
            {"covariance": "cluster", "groups": np.where(labels == 3, np.nan, labels)},
            ValueError,
            r"groups has no label in row 12 \(4 rows in all\)",
        ),
        ({"covariance": "cluster", "groups": labels[:9]}, ValueError, "got 9 for 80 rows"),
    ],
)
def test_inference(model, settings, error, says):
    with pytest.raises(error, match=says):
        model.inference(X, y, **settings)


@pytest.mark.parametrize(
    ("use", "says"),
    [
        (lambda r: r.wald_test("expert 0: age = 0"), "Put names between backticks, as in"),
        (lambda r: r.wald_test(""), "holds no constraint; write one as"),
        (lambda r: r.summary(alpha=95), "alpha must lie strictly between 0 and 1; got 95"),
        (lambda r: r.delta(lambda b: b["age"]), "No parameter is named 'age'; .*'expert 0: age'"),
    ],
)
def test_results(result, use, says):
    with pytest.raises(ValueError, match=says) as caught:
        use(result)
    assert "\x1b" not in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("use", "says"),
    [
        (lambda: intervals(y, y - 1), "row 0, .* did lower and upper change places[?]$"),
        (lambda: intervals(["a"], [1]), "lower needs numbers .* write -inf or inf"),
        (lambda: intervals([1.0, 2.0], [1.0]), "upper needs 2 values; got an array of shape"),
        (
            lambda: intervals([2.0], truncated_below=3, truncated_above=1),
            "truncated to an interval with its upper end below its lower one; give them in order",
        ),
        (lambda: intervals([np.inf], [np.inf]), "infinite value; give the finite end"),
    ],
)
def test_intervals(use, says):
    with pytest.raises(ValueError, match=says):
        use()


@pytest.mark.parametrize(
    ("use", "says"),
    [
        (lambda: MoERegressor(2, expert=[]).fit(X, y), "lists no family; give one for every"),
        (
            lambda: MoERegressor(2, gate="constant").fit(X, y, groups="clinic"),
            r"got the text 'clinic'. Give the column itself, such as data\['clinic'\]",
        ),
        (
            lambda: MoERegressor(2).fit(X.assign(sex="f", city="x"), y),
            r"the columns \['sex', 'city'\] hold texts. Encode them .* mixexp.moe",
        ),
        (
            lambda: MoERegressor(2).fit(X, np.array(["a", "b"] * 40)),
            "y must be numbers; got the text 'a'. For classes use MoEClassifier",
        ),
        (
            lambda: MoERegressor(2).fit(X, np.array([1.0, "high"] * 40, dtype=object)),
            "y must be numbers; got the text 'high'",
        ),
        (
            lambda: MoERegressor(1).fit(X.assign(seen=pd.Timestamp("2020-02-01")), y),
            r"the columns \['seen'\] hold dates or times. Make numbers of them",
        ),
        (
            lambda: MoEClassifier(1).fit(X, np.array(["a", None, "b", "a"] * 20, dtype=object)),
            r"Input y contains NaN: 20 labels are missing, the first in row 1",
        ),
        (lambda: moe("y ~ y + age", frame), "'y' stands on both sides of the tilde"),
        (lambda: moe("y ~ age | y", frame), "'y' stands on both sides of the tilde"),
        (lambda: SelectionStudy("moe", {"n_experts": [1]}).fit(X, y), "such as MoERegressor()"),
    ],
)
def test_fits(use, says):
    with pytest.raises(ValueError, match=says):
        use()


def test_new_rows_with_texts_are_named(model):
    with pytest.raises(ValueError, match=r"columns \['dose'\] hold texts"):
        model.predict(X.assign(dose="high"))


def test_numbers_written_as_text_are_numbers():
    written = MoERegressor(1).fit(X, y.astype(str).astype(object))
    assert written.loglik_ == pytest.approx(MoERegressor(1).fit(X, y).loglik_)


def test_texts_are_classes():
    names = np.where(y > 0, "high", "low")
    assert set(MoEClassifier(1).fit(X, names).predict(X)) <= {"high", "low"}


@pytest.mark.parametrize(
    ("use", "says"),
    [
        (lambda m: influence(m, X[:40], y[:40]), "rows and weights of the fit.*Give all rows"),
        (lambda m: diagnose(m, X, y[:5]), r"y has shape \(5,\); the model needs 80 rows"),
        (lambda m: diagnose(moe("y ~ age", frame), X, y), "call model.diagnose"),
        (lambda m: diagnose(MixedEffectsMoERegressor(1), X, y), "got MixedEffectsMoERegressor"),
        (lambda m: plot_residuals(quantile_residuals(m, X, y), "worm"), "plot_worm draws one"),
    ],
)
def test_diagnostics(model, use, says):
    with pytest.raises(ValueError, match=says):
        use(model)


@pytest.mark.parametrize(
    "draw",
    [
        plot_residuals,
        plot_worm,
        plot_influence,
        plot_gate_calibration,
        plot_uncertainty,
        plot_fit_lines,
        plot_gate_regions,
        plot_partial_effects,
    ],
)
def test_figures_of_a_model_say_what_they_are_drawn_from(model, draw):
    with pytest.raises(TypeError, match=r"what .*mixexp\.explain\..* gives; got MoERegressor"):
        draw(model)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (
            lambda: MoEClassifier(2, expert=["multinomial", "ordinal"]).fit(X, y > 0),
            "one family for all experts",
        ),
        (lambda: MoEClassifier(2).fit(X, intervals(y, y)), "needs classes: use MoERegressor"),
        (
            lambda: MoERegressor(2, expert=["lognormal", "gamma"]).fit(X, -(y**2)),
            "positive targets",
        ),
        (lambda: MoERegressor(2, expert=["gaussian", "gamma"]).fit(X, y), "^GammaExpert needs"),
    ],
)
def test_families_in_the_wrong_place(make, says):
    with pytest.raises(ValueError, match=says):
        make()
