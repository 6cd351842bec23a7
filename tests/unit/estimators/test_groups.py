"""Repeated measures: fits to groups of rows that share one expert, from the estimators' face."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse, special
from sklearn.exceptions import ConvergenceWarning

from mixexp import (
    EM,
    L1,
    GammaExpert,
    GaussianExpert,
    GLoMERegressor,
    LassoMoERegressorCV,
    MoEClassifier,
    MoEPath,
    MoERegressor,
    MultiStart,
    load,
)


def panel(seed=0, n_groups=60, size=5, noise=1.0, classes=False):
    """Subjects of two kinds with crossing lines; z, one value a subject, tells the kinds apart.

    The noise hides a single row's kind; the rows of a subject together show it.
    """
    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, 2 * size, n_groups)
    z = rng.standard_normal(n_groups)
    kind = (rng.random(n_groups) < special.expit(0.5 + z)).astype(int)
    who = np.repeat(np.arange(n_groups), sizes)
    x = rng.standard_normal(len(who))
    eta = np.where(kind[who] == 1, 1 + 2 * x, -1 - x)
    if classes:
        y = np.where(rng.random(len(who)) < special.expit(2 * eta), "yes", "no")
    else:
        y = eta + noise * rng.standard_normal(len(who))
    return np.column_stack([x, z[who]]), y, who, kind


SETTINGS = {"gate_features": [1], "expert_features": [0]}


def fitted(X, y, groups, **inputs):
    return MoERegressor(2, **SETTINGS).fit(X, y, groups=groups, **inputs)


def test_a_panel_is_recovered():
    X, y, who, kind = panel(1, n_groups=400)
    model = fitted(X, y, who)
    order = np.argsort(model.coef_[:, 0])
    assert model.converged_ and model.regular_
    assert_allclose(model.coef_[order, 0], [-1, 2], atol=0.1)
    assert_allclose(model.intercept_[order], [-1, 1], atol=0.1)
    assert_allclose(model.dispersion_, 1, atol=0.07)
    assert_allclose(np.diff(model.gate_coef_[order, 0]), 1, atol=0.4)
    resp = model.responsibilities(X, y, groups=who)
    assert_array_equal(resp, resp[np.searchsorted(who, who)])  # one for all rows of a subject
    first = np.searchsorted(who, np.arange(400))
    agree = np.mean(resp[first].argmax(axis=1) == order[kind])
    alone = model.responsibilities(X, y)[first].argmax(axis=1)
    assert agree > 0.93 > np.mean(alone == order[kind])
    assert model.n_units_ == 400 and model.fit_summary_.n_rows == len(y)
    assert_allclose(model.expert_sizes_.sum(), 400)


def test_groups_of_one_row_are_no_groups():
    X, y, _, _ = panel(2)
    plain = MoERegressor(2, **SETTINGS).fit(X, y)
    single = fitted(X, y, np.random.default_rng(0).permutation(len(y)))
    for name in ("coef_", "gate_coef_", "dispersion_", "loglik_", "n_units_"):
        assert_array_equal(getattr(single, name), getattr(plain, name))


@pytest.mark.parametrize("n_groups", [60, 900])
def test_order_of_rows_and_labels_change_no_bit(n_groups):
    X, y, who, _ = panel(3, n_groups=n_groups)
    rng = np.random.default_rng(1)
    names = np.array([f"subject {i}" for i in rng.permutation(n_groups)])
    order = rng.permutation(len(y))
    settings = {} if n_groups == 60 else {"start": MultiStart(0.3, table_size=400, max_rounds=2)}
    one, other = (
        MoERegressor(2, **SETTINGS, **settings).fit(*data, groups=labels)
        for data, labels in (((X, y), who), ((X[order], y[order]), names[who][order]))
    )
    assert_array_equal(one.coef_, other.coef_)
    assert_array_equal(one.gate_coef_, other.gate_coef_)
    assert one.loglik_ == other.loglik_ and one.n_iter_ == other.n_iter_
    resp = one.responsibilities(X, y, groups=who)
    again = other.responsibilities(X[order], y[order], groups=names[who][order])
    assert_allclose(again, resp[order], rtol=1e-12)


def test_weight_two_is_the_group_twice():
    X, y, who, _ = panel(4, n_groups=40)
    weight = np.random.default_rng(0).integers(0, 3, 40)
    weighted = fitted(X, y, who, sample_weight=weight[who].astype(float))
    copies = np.concatenate([np.flatnonzero(weight[who] > c) for c in (0, 1)])
    labels = np.concatenate([who[weight[who] > 0], 100 + who[weight[who] > 1]])
    repeated = fitted(X[copies], y[copies], labels)
    assert_array_equal(weighted.coef_, repeated.coef_)
    assert weighted.n_units_ == repeated.n_units_ == weight.sum()


def test_log_densities_are_those_of_the_groups():
    X, y, who, _ = panel(5)
    model = fitted(X, y, who)
    found = model.log_prob(X, y, groups=who)
    gate, means = model.gate_proba(X), model.predict_experts(X)
    for g in (0, 7, 31):
        own = who == g
        z = (y[own, None] - means[own]) / model.dispersion_
        log_f = (-0.5 * z**2 - np.log(model.dispersion_ * np.sqrt(2 * np.pi))).sum(axis=0)
        assert_allclose(found[g], np.log(gate[own][0] @ np.exp(log_f)), rtol=1e-10)
        posterior = gate[own][0] * np.exp(log_f - found[g])
        assert_allclose(model.responsibilities(X, y, groups=who)[own][-1], posterior, rtol=1e-8)
    assert_allclose(found.sum(), model.loglik_, rtol=1e-12)
    text = np.array(["b", "a"])[(who == 0).astype(int)]
    with pytest.raises(ValueError, match="one value within a group"):
        model.log_prob(X, y, groups=text)
    order = np.random.default_rng(0).permutation(len(y))
    assert_allclose(model.log_prob(X[order], y[order], groups=who[order]), found, rtol=1e-12)


def test_entropies_and_criteria_count_groups():
    X, y, who, _ = panel(6)
    model = fitted(X, y, who)
    resp = model.responsibilities(X, y, groups=who)[np.searchsorted(who, np.arange(60))]
    assert_allclose(model.fit_summary_.entropy, special.entr(resp).sum(), rtol=1e-8)
    assert_allclose(model.expert_sizes_, resp.sum(axis=0), rtol=1e-8)
    assert model.n_units_ == 60


@pytest.mark.parametrize("gate", ["softmax", "constant", "gaussian"])
def test_runs_are_monotone_and_stationary(gate):
    X, y, who, _ = panel(7)
    own = {} if gate == "constant" else {"gate_features": [1]}
    model = MoERegressor(2, gate=gate, expert_features=[0], solver=EM(acceleration=0), **own)
    model.fit(X, y, groups=who)
    assert np.all(np.diff(model.objective_path_) >= -1e-10)
    assert model.converged_ and model.certificate_ < 1e-5
    if gate == "gaussian":
        z = X[np.searchsorted(who, np.arange(60)), 1]
        weights, means = model.gate_weights_, model.gate_means_[:, 0]
        assert_allclose(weights @ means, z.mean(), atol=1e-4)  # a subject counts once


def test_classes():
    X, y, who, kind = panel(8, n_groups=250, classes=True)
    model = MoEClassifier(2, **SETTINGS).fit(X, y, groups=who)
    assert model.n_units_ == 250 and model.regular_
    first = np.searchsorted(who, np.arange(250))
    named = model.responsibilities(X, y, groups=who)[first].argmax(axis=1)
    assert max(np.mean(named == kind), np.mean(named != kind)) > 0.85
    assert_allclose(model.log_prob(X, y, groups=who).sum(), model.loglik_, rtol=1e-10)
    assert set(model.sample(X, 0, groups=who)) == {"yes", "no"}
    with pytest.raises(ValueError, match="class_weight= weights single rows"):
        MoEClassifier(2, class_weight="balanced", **SETTINGS).fit(X, y, groups=who)


@pytest.mark.parametrize("expert", ["poisson", "gamma", "lognormal"])
def test_other_families(expert):
    X, y, who, _ = panel(9, n_groups=60, size=3)
    rng = np.random.default_rng(0)
    mean = np.exp(np.clip(y, -3, 3))
    y = rng.poisson(mean).astype(float) if expert == "poisson" else rng.gamma(5, mean / 5)
    part = GammaExpert(link="log") if expert == "gamma" else expert
    model = MoERegressor(2, expert=part, **SETTINGS).fit(X, y, groups=who)
    expert = part
    assert_allclose(model.log_prob(X, y, groups=who).sum(), model.loglik_, rtol=1e-10)
    rows = MoERegressor(2, expert=expert, **SETTINGS).fit(X, y)
    resp = rows.responsibilities(X, y, groups=who)
    started = MoERegressor(2, expert=expert, start=resp, **SETTINGS).fit(X, y, groups=who)
    assert model.loglik_ >= started.loglik_ - 1e-3


def test_the_search_finds_what_the_truth_leads_to():
    for seed in range(6):
        X, y, who, kind = panel(20 + seed, n_groups=30, size=3, noise=1.5)
        found = fitted(X, y, who)
        start = np.eye(2)[kind[who]] * 0.98 + 0.01
        told = MoERegressor(2, start=start, **SETTINGS).fit(X, y, groups=who)
        assert found.loglik_ >= told.loglik_ - 1e-6 or not told.regular_


def test_long_groups_and_many_rows():
    rng = np.random.default_rng(0)
    who = np.repeat(np.arange(40), 300)
    kind = np.arange(40) % 3
    x = rng.standard_normal(len(who))
    slope = np.array([-1.0, 0.0, 1.0])
    y = slope[kind[who]] * x + 2 * rng.standard_normal(len(who))
    model = MoERegressor(3, gate="constant", start=MultiStart(0.3)).fit(x[:, None], y, groups=who)
    assert_allclose(np.sort(model.coef_[:, 0]), slope, atol=0.12)
    assert_allclose(model.expert_sizes_, 40 / 3, atol=1)


def test_a_start_of_rows_where_every_group_is_one_row():
    X, y, _, _ = panel(10)
    labels = (y > 0).astype(int)
    plain = MoERegressor(2, start=labels, **SETTINGS).fit(X, y)
    groups = np.random.default_rng(0).permutation(len(y))
    single = MoERegressor(2, start=labels, **SETTINGS).fit(X, y, groups=groups)
    assert_allclose(single.coef_, plain.coef_, rtol=1e-6)


def test_a_start_of_rows_is_averaged_within_groups():
    X, y, who, kind = panel(10)
    order = np.random.default_rng(3).permutation(len(y))
    labels = kind[who][order]
    told = MoERegressor(2, start=labels, **SETTINGS).fit(X[order], y[order], groups=who[order])
    resp = np.eye(2)[kind[who]]
    again = MoERegressor(2, start=resp, **SETTINGS).fit(X, y, groups=who)
    assert_allclose(told.loglik_, again.loglik_, rtol=1e-10)
    warm = MoERegressor(2, start=again, **SETTINGS).fit(X, y, groups=who)
    assert_allclose(warm.loglik_, again.loglik_, rtol=1e-10)


def test_sparse_and_framed_columns():
    X, y, who, _ = panel(11)
    dense = fitted(X, y, who)
    thin = fitted(sparse.csr_array(X), y, who)
    assert_allclose(thin.loglik_, dense.loglik_, rtol=1e-8)
    frame = pd.DataFrame(X, columns=["x", "z"])
    labels = pd.Series(who, index=np.arange(len(y))[::-1]).astype("category")
    named = MoERegressor(2, gate_features=["z"], expert_features=["x"])
    assert named.fit(frame, y, groups=labels).loglik_ == dense.loglik_


def test_a_polynomial_expert_beside_columns_of_the_group():
    X, y, who, _ = panel(12)
    model = MoERegressor(2, expert=GaussianExpert(degree=2), **SETTINGS).fit(X, y, groups=who)
    assert_allclose(model.log_prob(X, y, groups=who).sum(), model.loglik_, rtol=1e-10)


# --- inference, samples, files --------------------------------------------------------------


def test_standard_errors_take_groups_for_units():
    X, y, who, _ = panel(13, n_groups=150)
    model = fitted(X, y, who)
    found = {
        kind: model.inference(X, y, groups=who, covariance=kind)
        for kind in ("observed", "opg", "sandwich", "cluster")
    }
    assert found["observed"].n_obs == 150
    for kind in ("opg", "sandwich", "cluster"):  # the model holds: all estimate one law
        assert_allclose(found[kind].bse, found["observed"].bse, rtol=0.4)
    assert_allclose(found["cluster"].bse, found["sandwich"].bse * np.sqrt(150 / 149), rtol=1e-9)
    boot = model.inference(X, y, groups=who, covariance="bootstrap", n_boot=60)
    assert_allclose(boot.bse, found["observed"].bse, rtol=0.5)
    drawn = model.inference(
        X, y, groups=who, covariance="bootstrap", n_boot=60, bootstrap="parametric"
    )
    assert_allclose(drawn.bse, found["observed"].bse, rtol=0.5)
    assert "150 groups" in str(found["observed"])
    test = found["observed"].lr_test("`expert 0: x0` = `expert 1: x0`")
    assert test.pvalue < 1e-10
    assert found["observed"].margins().shape[0] == 2
    order = np.random.default_rng(0).permutation(len(y))
    moved = model.inference(X[order], y[order], groups=who[order])
    assert_allclose(moved.bse, found["observed"].bse, rtol=1e-8)


def test_inference_of_a_grouped_fit_needs_the_groups():
    X, y, who, _ = panel(13)
    with pytest.raises(ValueError, match="units of its likelihood"):
        fitted(X, y, who).inference(X, y)


def test_samples_share_an_expert_within_a_group():
    X, y, who, _ = panel(14, n_groups=300)
    model = fitted(X, y, who)
    drawn = model.sample(X, 0, groups=who)
    again = fitted(X, drawn, who)
    order, other = np.argsort(model.coef_[:, 0]), np.argsort(again.coef_[:, 0])
    assert_allclose(again.coef_[other], model.coef_[order], atol=0.15)
    shuffled = np.random.default_rng(1).permutation(len(y))
    assert_allclose(model.sample(X[shuffled], 0, groups=who[shuffled]).std(), drawn.std(), rtol=0.1)


def test_a_saved_fit_knows_that_it_had_groups(tmp_path):
    X, y, who, _ = panel(15)
    model = fitted(X, y, who)
    model.save(tmp_path / "fit")
    again = load(tmp_path / "fit")
    assert_array_equal(
        again.responsibilities(X, y, groups=who), model.responsibilities(X, y, groups=who)
    )
    assert again.fit_summary_ == model.fit_summary_
    with pytest.raises(ValueError, match="units of its likelihood"):
        again.inference(X, y)


def test_a_checkpoint_belongs_to_its_groups(tmp_path):
    X, y, who, _ = panel(16)
    path = tmp_path / "state"

    start = (y > np.median(y)).astype(int)

    def fit(groups, checkpoint=path, **limits):
        solver = EM(checkpoint=checkpoint, checkpoint_every=1, acceleration=0, **limits)
        return MoERegressor(2, solver=solver, start=start, **SETTINGS).fit(X, y, groups=groups)

    with pytest.warns(ConvergenceWarning):
        fit(who, max_passes=3)
    assert_array_equal(fit(who).coef_, fit(who, None).coef_)
    with pytest.raises(ValueError, match="belongs to a fit of other data"):
        fit(None)


# --- bad inputs and refusals ----------------------------------------------------------------


def bad_inputs():
    X, y, who, _ = panel(17, n_groups=12)
    n = len(y)
    lost = who.astype(float)
    lost[4] = np.nan
    mixed = who.astype(object)
    mixed[:3] = "a"
    none = who.astype(object)
    none[5] = None
    weight = np.ones(n)
    weight[3] = 2.0
    at = who[3]
    return X, y, [
        ({"groups": who[:-1]}, f"one label per row, shape \\({n},\\)"),
        ({"groups": np.column_stack([who, who])}, "one label per row"),
        ({"groups": "Center"}, "one label per row"),
        ({"groups": lost}, "no label in row 4"),
        ({"groups": none}, "no label in row 5"),
        ({"groups": mixed}, "of one kind"),
        (
            {"groups": who, "sample_weight": weight},
            f"one number within a group.*group {at} has",
        ),
        ({"groups": who, "expert_prior": np.ones((n, 2))}, "cannot be given together"),
    ]  # fmt: skip


def test_unusable_groups_are_refused():
    X, y, cases = bad_inputs()
    for given, message in cases:
        with pytest.raises(ValueError, match=message):
            MoERegressor(2, **SETTINGS).fit(X, y, **given)


def test_a_gate_column_that_varies_is_named_with_a_group():
    X, y, who, _ = panel(17)
    names = np.array([f"s{i:03d}" for i in range(60)])[who]
    frame = pd.DataFrame(X, columns=["x", "z"])
    with pytest.raises(ValueError, match=r"'x' is .* in group 's\d+'. Use gate_features=\['z'\]"):
        MoERegressor(2).fit(frame, y, groups=names)
    with pytest.raises(ValueError, match="'x0' is .* Use gate='constant'"):
        MoERegressor(2, gate_features=[0]).fit(sparse.csr_array(X), y, groups=names)


def test_more_experts_than_groups_are_refused():
    X, y, who, _ = panel(17, n_groups=3)
    with pytest.raises(ValueError, match="at least 4 groups of positive weight; got groups=3"):
        MoERegressor(4, **SETTINGS).fit(X, y, groups=who)


def test_what_takes_no_groups_says_so():
    X, y, who, _ = panel(18)
    wide = np.column_stack([X, np.random.default_rng(0).standard_normal((len(y), 40))])
    sparse_expert = GaussianExpert(penalty=L1(0.1))
    many = MoERegressor(2, gate="constant", expert=sparse_expert)
    with pytest.raises(ValueError, match="groups= is not available for sparse penalties on more"):
        many.fit(wide, y, groups=who)
    with pytest.raises(ValueError, match="A path takes no groups="):
        MoEPath(MoERegressor(2, gate="constant")).fit(X, y, groups=who)
    with pytest.raises(TypeError, match="groups"):
        LassoMoERegressorCV(2).fit(X, y, groups=who)
    with pytest.raises(TypeError, match="groups"):
        MoERegressor(2).partial_fit(X, y, groups=who)
    with pytest.raises(ValueError, match="takes no groups="):
        GLoMERegressor(2, parametrisation="inverse").fit(X, np.column_stack([y, y]), groups=who)
    few = MoERegressor(2, gate="constant", expert=sparse_expert).fit(X, y, groups=who)
    assert few.converged_
