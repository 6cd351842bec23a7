"""Ordinal experts: the cumulative link model at K = 1, ordered labels and thresholds."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from scipy import special, stats
from statsmodels.miscmodels.ordinal_model import OrderedModel

import mixexp
from mixexp import L1, BinomialExpert, MoEClassifier, MoERegressor, OrdinalExpert, Status
from mixexp.kernels.rows import observed_hessian

LAWS = {"logit": stats.logistic, "probit": stats.norm, "cloglog": stats.gumbel_l}
every_link = pytest.mark.parametrize("link", LAWS)


def ordered(n=400, seed=0, link="logit", cuts=(-1.0, 0.3, 2.0)):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 2))
    latent = X @ [1.0, -0.7] + LAWS[link].rvs(size=n, random_state=rng)
    return X, np.digitize(latent, cuts)


def two_scales(n=3000, seed=1):
    """Ratings that rise with x where z is large, and fall elsewhere, by other thresholds."""
    rng = np.random.default_rng(seed)
    X = rng.uniform(-2, 2, (n, 2))
    upper = rng.random(n) < special.expit(3 * X[:, 1])
    latent = np.where(upper, 2 * X[:, 0], -1.5 * X[:, 0]) + rng.logistic(size=n)
    cuts = np.where(upper[:, None], [-1.0, 1.0], [-2.0, 0.0])
    return X, (latent[:, None] > cuts).sum(axis=1)


@every_link
def test_one_expert_is_the_cumulative_link_model_of_statsmodels(link):
    X, y = ordered(link=link)
    model = MoEClassifier(1, expert=OrdinalExpert(link)).fit(X, y)
    theirs = OrderedModel(y, X, distr=LAWS[link]).fit(method="newton", disp=0, maxiter=200)
    assert_allclose(model.loglik_, theirs.llf, rtol=1e-10)
    assert_allclose(model.coef_[0], theirs.params[:2], atol=1e-5)
    thresholds = np.cumsum(np.r_[theirs.params[2], np.exp(theirs.params[3:])])
    assert_allclose(model.thresholds_[0], thresholds, atol=1e-5)
    assert_allclose(model.intercept_, -model.thresholds_[:, 0])
    assert_allclose(model.predict_proba(X), theirs.predict(X), atol=1e-6)
    found = model.inference(X, y)
    assert found.names[0] == "expert 0: threshold 0"
    assert found.names[-1] == "expert 0: log(threshold 2 - threshold 1)"
    order = [2, 0, 1, 3, 4]
    assert_allclose(found.params, theirs.params[order], atol=1e-5)
    # statsmodels differentiates numerically
    assert_allclose(found.bse, theirs.bse[order], rtol=1e-3)


@every_link
def test_derivatives_are_those_of_the_log_density(link):
    expert = OrdinalExpert(link, n_classes=5)
    rng = np.random.default_rng(0)
    eta = [rng.normal(size=(50, 1)), *(np.full((50, 1), v) for v in (-0.3, 0.1, -2.0))]
    y = rng.integers(0, 5, (50, 1)).astype(float)
    value, score, hessian = expert.derivatives_unit(eta, y, None)
    assert_allclose(value, expert.log_density_unit(eta, y, None))
    numeric = np.empty_like(score)
    for j in range(4):
        ends = []
        for sign in (1, -1):
            moved = [e + sign * 1e-6 * (i == j) for i, e in enumerate(eta)]
            ends.append(expert.log_density_unit(moved, y, None))
        numeric[j] = (ends[0] - ends[1]) / 2e-6
    assert_allclose(score, numeric, rtol=1e-6, atol=1e-7)
    wanted = observed_hessian(lambda e: expert.score_unit(e, y, None), eta)
    assert_allclose(hessian, wanted, rtol=1e-6, atol=1e-6)


@every_link
def test_log_p_is_concave_in_slopes_and_gaps(link):
    """What the M-step relies on; not so in the gaps' logarithms."""
    expert = OrdinalExpert(link, n_classes=4)
    rng = np.random.default_rng(1)
    eta = [rng.normal(size=(300, 1)) * 3, *(rng.normal(size=(300, 1)) for _ in range(2))]
    y = rng.integers(0, 4, (300, 1)).astype(float)
    _, score, hessian = expert.derivatives_unit(eta, y, None)
    for j in (1, 2):
        hessian[j, j] -= score[j]
    factor = np.stack([np.ones((300, 1)), np.exp(eta[1]), np.exp(eta[2])])
    in_gaps = np.moveaxis(hessian / (factor[:, None] * factor), (0, 1), (-2, -1))
    values = np.linalg.eigvalsh(in_gaps)
    assert (values.max(axis=-1) <= 1e-9 * (1 + np.abs(values).max(axis=-1))).all()


@every_link
def test_probabilities_are_differences_of_the_latent_law(link):
    expert = OrdinalExpert(link, n_classes=4)
    theta = np.array([0.4, 0.7, 1.9])[None, None]
    thresholds = np.array([0.0, 0.7, 2.6])
    below = LAWS[link].cdf(thresholds - 0.4)
    prob = expert.class_probabilities(theta)[0, 0]
    assert_allclose(prob, np.diff(below, prepend=0, append=1), rtol=1e-12)
    at = None, None, theta
    assert_allclose(expert.cdf(np.arange(-1, 4.0), *at)[0], [0, *below, 1], rtol=1e-12)
    assert expert.quantile(below[1] - 1e-9, *at)[0, 0] == 1
    assert expert.quantile(below[1] + 1e-9, *at)[0, 0] == 2
    assert_allclose(expert.mean_of(tuple(np.moveaxis(theta, -1, 0)), None), prob @ np.arange(4))


@every_link
def test_tails_are_finite_far_out(link):
    expert = OrdinalExpert(link, n_classes=3)
    coef = np.zeros((1, 2, 2))
    coef[0, 0, 1] = 1.0
    X = np.column_stack([np.ones(6), np.repeat([-1e8, 1e8], 3)])
    y = np.tile([0.0, 1.0, 2.0], 2)[:, None]
    values = expert.log_density(mixexp.experts.DistributionalParams(coef), X, y, None, None)
    assert np.isfinite(values).all()


def test_two_classes_are_a_binomial_expert():
    X, y = ordered(cuts=(0.0,))
    ours = MoEClassifier(1, expert="ordinal").fit(X, y)
    theirs = MoERegressor(1, expert=BinomialExpert()).fit(X, y)
    assert_allclose(ours.loglik_, theirs.loglik_, rtol=1e-9)
    assert_allclose(ours.coef_, theirs.coef_, atol=1e-5)


@pytest.mark.slow
def test_the_opposite_order_has_the_opposite_slopes():
    X, y = two_scales(300)
    one = MoEClassifier(2, expert="ordinal").fit(X, y)
    other = MoEClassifier(2, expert="ordinal").fit(X, -y)
    assert_allclose(one.loglik_, other.loglik_, rtol=1e-7)
    assert_allclose(np.sort(one.coef_, axis=0), np.sort(-other.coef_, axis=0), atol=1e-3)


@pytest.mark.slow
def test_two_experts_are_recovered():
    X, y = two_scales()
    columns = {"expert_features": [0], "gate_features": [1]}
    model = MoEClassifier(2, expert="ordinal", **columns).fit(X, y)
    assert model.status_ is Status.CONVERGED
    order = np.argsort(model.coef_[:, 0])
    assert_allclose(model.coef_[order, 0], [-1.5, 2], atol=0.25)
    assert_allclose(model.thresholds_[order], [[-2, 0], [-1, 1]], atol=0.25)
    assert (np.diff(model.thresholds_, axis=1) > 0).all()
    error = np.abs(model.coef_[order, 0] - [-1.5, 2])
    found = model.inference(X, y)
    spread = [found.bse[f"expert {k}: x0"] for k in order]
    assert (error < 3 * np.array(spread)).all()
    assert model.score(X, y) > 0.6


def test_ordered_categories_come_in_their_order_and_others_sorted():
    X, y = ordered()
    names = np.array(["poor", "fair", "good", "best"])
    kind = pd.CategoricalDtype([*names, "never seen"], ordered=True)
    given = pd.Series(pd.Categorical(names[y], dtype=kind))
    numbers = MoEClassifier(1, expert="ordinal").fit(X, 10 * y)
    labels = MoEClassifier(1, expert="ordinal").fit(X, given)
    assert numbers.classes_.tolist() == [0, 10, 20, 30]
    assert labels.classes_.tolist() == names.tolist()
    assert_allclose(labels.coef_, numbers.coef_)
    assert_allclose(labels.predict_proba(X), numbers.predict_proba(X))
    assert (labels.predict(X) == names[numbers.predict(X) // 10]).all()
    assert_allclose(labels.log_prob(X, names[y]), numbers.log_prob(X, 10 * y))
    with pytest.warns(UserWarning, match="alphabetical order, .'best', 'fair'"):
        by_name = MoEClassifier(1, expert="ordinal").fit(X, names[y])
    assert by_name.classes_.tolist() == sorted(names)
    assert by_name.loglik_ < labels.loglik_ - 10
    unordered = MoEClassifier(1).fit(X, given)
    assert unordered.classes_.tolist() == sorted(names)


def test_a_formula_knows_the_order_and_the_table_the_thresholds(tmp_path):
    X, y = ordered()
    names = np.array(["poor", "fair", "good", "best"])
    rating = pd.Categorical(names[y], names, ordered=True)
    frame = pd.DataFrame({"x": X[:, 0], "z": X[:, 1], "rating": rating})
    model = mixexp.moe("rating ~ x + z", frame, n_experts=1, family="ordinal")
    plain = MoEClassifier(1, expert="ordinal").fit(X, y)
    assert model.classes_.tolist() == names.tolist()
    assert_allclose(model.loglik_, plain.loglik_, rtol=1e-9)
    assert_allclose(model.score(frame), plain.score(X, y))
    assert_allclose(model.thresholds_, plain.thresholds_, atol=1e-6)
    assert model.n_units_ == len(y) and model.expert_sizes_.tolist() == [len(y)]
    assert len(model.starts_) == len(plain.starts_)
    model.save(tmp_path / "model.moe")
    assert mixexp.load(tmp_path / "model.moe").classes_.tolist() == names.tolist()
    table = plain.summary()
    assert "threshold 0" in table and f"{plain.thresholds_[0, 2]:.5g}" in table


def test_an_expert_that_separates_its_classes_keeps_finite_slopes():
    X = np.linspace(-1, 1, 60)[:, None]
    y = np.digitize(X[:, 0], [-0.3, 0.4])
    model = MoEClassifier(1, expert=OrdinalExpert(ridge=1e-4)).fit(X, y)
    assert np.isfinite(model.coef_).all() and np.abs(model.coef_).max() < 1e4
    assert model.score(X, y) == 1.0


def test_a_file_and_a_batch_know_the_classes(tmp_path):
    X, y = ordered()
    names = np.array(["d", "c", "b", "a"])
    given = pd.Series(pd.Categorical(names[y], names, ordered=True))
    model = MoEClassifier(1, expert="ordinal").fit(X, given)
    model.save(tmp_path / "model.moe")
    again = mixexp.load(tmp_path / "model.moe")
    assert again.classes_.tolist() == names.tolist()
    assert np.array_equal(again.predict_proba(X), model.predict_proba(X))
    seen = y < 3
    online = MoEClassifier(1, expert="ordinal")
    online.partial_fit(X[seen], y[seen], classes=[0, 1, 2, 3]).partial_fit(X, y)
    assert online.predict_proba(X).shape == (400, 4)


def test_what_is_not_possible_is_said():
    X, y = ordered(60)
    with pytest.raises(ValueError, match="MoEClassifier"):
        MoERegressor(2, expert="ordinal").fit(X, y)
    with pytest.raises(ValueError, match="distribution function"):
        MoERegressor(2, expert=["lognormal", "ordinal"]).fit(X, y + 1)
    with pytest.raises(ValueError, match=r"link=\.\.\.\) must be one of .*; got 'cauchit'"):
        MoEClassifier(expert=OrdinalExpert("cauchit")).fit(X, y)
    with pytest.raises(ValueError, match="takes the penalty L2 or none"):
        MoEClassifier(expert=OrdinalExpert(penalty=L1(0.1))).fit(X, y)
    with pytest.raises(ValueError, match=r"n_classes=3\) got a class of code 3"):
        MoEClassifier(expert=OrdinalExpert(n_classes=3)).fit(X, y)


@pytest.mark.parametrize(
    "classes",
    [
        ["zlow", "mid", "tall"],
        pd.Categorical(["tall", "mid", "zlow"], ["zlow", "mid", "tall"], ordered=True),
    ],
)
def test_a_batch_takes_the_classes_in_their_order(classes):
    X, y = ordered(300, cuts=(-1.0, 0.5))
    names = np.array(["zlow", "mid", "tall"])
    online = MoEClassifier(1, expert="ordinal").partial_fit(X, names[y], classes=classes)
    assert online.classes_.tolist() == names.tolist()
    numbers = MoEClassifier(1, expert="ordinal").fit(X, y)
    assert_allclose(online.predict_proba(X), numbers.predict_proba(X))
    online.partial_fit(X, names[y], classes=classes)
    with pytest.raises(ValueError, match=r"classes=\[.*\] differs from that of the first call"):
        online.partial_fit(X, names[y], classes=sorted(names))
    with pytest.raises(ValueError, match="label 'huge'"):
        online.partial_fit(X[:2], ["mid", "huge"])
    assert MoEClassifier(1).partial_fit(X, names[y], classes=classes).classes_[0] == "mid"


def test_classes_in_another_order_than_the_categories_are_refused():
    X, y = ordered(60, cuts=(-1.0, 0.5))
    names = np.array(["zlow", "mid", "tall"])
    given = pd.Series(pd.Categorical(names[y], names, ordered=True))
    with pytest.raises(ValueError, match="another order than the categories of y"):
        MoEClassifier(1, expert="ordinal").partial_fit(X, given, classes=sorted(names))
    with pytest.raises(ValueError, match="label 'tall', which classes= does not list"):
        MoEClassifier(1, expert="ordinal").partial_fit(X, names[y], classes=names[:2])


@pytest.mark.parametrize("n_classes", [3, 5])
def test_another_number_of_classes_is_refused(n_classes):
    X, y = ordered(60, cuts=(-1.0, 0.5))
    model = MoEClassifier(1, expert=OrdinalExpert(n_classes=n_classes))
    if n_classes == 3:
        assert model.fit(X, y).thresholds_.shape == (1, 2)
        return
    with pytest.raises(ValueError, match=r"n_classes=5\) got 3 classes. Leave n_classes out"):
        model.fit(X, y)
    with pytest.raises(ValueError, match=r"n_classes=5\) got 4 classes"):
        model.partial_fit(X, y, classes=range(4))
    assert model.partial_fit(X, y, classes=range(5)).predict_proba(X).shape == (60, 5)


LACKING = {
    0: "threshold 0",
    1: "log(threshold 1 - threshold 0)",
    2: "log(threshold 1 - threshold 0)",
}


@pytest.mark.parametrize("absent", LACKING)
def test_inference_names_the_threshold_of_a_class_that_an_expert_lacks(absent):
    X, y = two_scales(400)
    upper = X[:, 1] > 0
    y[upper & (y == absent)] = 0 if absent == 1 else 1
    columns = {"expert_features": [0], "gate_features": [1]}
    gate = mixexp.CallableGate(lambda Z: np.column_stack([Z[:, 0] <= 0, Z[:, 0] > 0]) * 1.0)
    model = MoEClassifier(2, gate=gate, expert="ordinal", **columns).fit(X, y)
    assert model.status_ is Status.CONVERGED
    name = f"expert 1: {LACKING[absent]}"
    with pytest.raises(mixexp.NotRegularError) as said:
        model.inference(X, y)
    assert f"do not determine {name}: " in str(said.value)
    assert f"hold=[{name!r}]" in str(said.value)
    found = model.inference(X, y, hold=[name])
    # a known gate keeps the experts apart: the other classes' own cumulative link model
    own = MoEClassifier(1, expert="ordinal").fit(X[upper, :1], y[upper])
    alone = own.inference(X[upper, :1], y[upper])
    assert_allclose(found.bse["expert 1: x0"], alone.bse["expert 0: x0"], rtol=1e-3)
    assert np.nanmax(found.bse) < 1.0


def test_an_expert_of_one_class_has_no_parameter_that_is_determined():
    expert = OrdinalExpert(n_classes=3)
    params = mixexp.experts.DistributionalParams(np.zeros((2, 2, 2)))
    y = np.array([[0.0], [1.0], [2.0], [2.0]])
    resp = np.array([[1, 0], [1, 0], [1, 0], [0, 1.0]])
    own = ["threshold 0", "x", "log(threshold 1 - threshold 0)"]
    assert expert.undetermined(params, y, resp, ["x"]) == [f"expert 1: {name}" for name in own]
