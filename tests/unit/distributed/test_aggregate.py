"""`aggregate`: laws of the reduction, consistency, and partitions as they come."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from sklearn.base import clone

import mixexp
from mixexp import L2, GaussianExpert, MoEClassifier, MoERegressor, SoftmaxGate, Status
from mixexp.distributed import LocalFit, aggregate
from tests.unit.distributed.partitioned import (
    classification,
    dealt,
    labels_in_another_order,
    local_classification,
    local_regression,
    regression,
    slopes_error,
)

X_SUPPORT = regression(1000, 1000)[0]


@pytest.fixture(scope="module")
def fits():
    return dealt(2000, 4)


def local_classes(n, M, seed=0):
    X, y, z = classification(n, seed)
    parts = np.array_split(np.arange(n), M)
    return [local_classification(X[i], y[i], z[i], m) for m, i in enumerate(parts)]


def shuffled(fit, seed):
    """The same fit with its experts in another order."""
    order = np.random.default_rng(seed).permutation(fit.n_experts)
    scale = None if fit.scale is None else fit.scale[order]
    return replace(fit, gate_coef=fit.gate_coef[order], coef=fit.coef[order], scale=scale)


def test_one_partition_comes_back_as_it_is():
    X, y, z = regression(500, 0)
    local = MoERegressor(4, start=labels_in_another_order(z, 4, 0)).fit(X, y)
    model = aggregate([LocalFit.of(local)], 4, support=X_SUPPORT)
    assert model.aggregation_.divergence < 1e-9
    assert_allclose(model.predict_std(X), local.predict_std(X), rtol=1e-4)
    # experts come back exactly; where means cross, the plan sends x to either, and the gate follows
    order = np.abs(model.coef_[:, None] - local.coef_[None]).sum(axis=2).argmin(axis=1)
    assert sorted(order) == [0, 1, 2, 3]
    assert_allclose(model.coef_, local.coef_[order], rtol=1e-6, atol=1e-8)
    assert_allclose(model.gate_coef_, local.gate_coef_[order], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("method", ["reduction", "aligned", "middle"])
def test_order_of_partitions_and_of_labels_do_not_matter(fits, method):
    model = aggregate(fits, 4, support=X_SUPPORT, method=method)
    first, *rest = [shuffled(fit, seed) for seed, fit in enumerate(fits)]
    other = aggregate([first, *rest[::-1]], 4, support=X_SUPPORT, method=method)
    assert_allclose(other.predict(X_SUPPORT), model.predict(X_SUPPORT), rtol=1e-3, atol=1e-3)


def test_units_of_columns_and_target_do_not_matter():
    X, y, z = regression(1200, 0)
    parts = np.array_split(np.arange(1200), 3)
    move = np.array([10.0, 0.01, 3.0])
    plain = [local_regression(X[i], y[i], z[i], m) for m, i in enumerate(parts)]
    moved = [local_regression(X[i] * move + 5, 7 - 30 * y[i], z[i], m) for m, i in enumerate(parts)]
    one = aggregate(plain, 4, support=X_SUPPORT)
    other = aggregate(moved, 4, support=X_SUPPORT * move + 5)
    assert_allclose(other.predict(X * move + 5), 7 - 30 * one.predict(X), rtol=1e-4, atol=1e-2)
    assert_allclose(other.aggregation_.divergence, one.aggregation_.divergence, rtol=1e-3)


@pytest.mark.parametrize("plan", ["pointwise", "whole"])
@pytest.mark.parametrize("kind", ["gaussian", "multinomial"])
def test_the_divergence_never_rises(fits, kind, plan):
    if kind == "gaussian":
        own, K, X = fits, 3, X_SUPPORT
    else:
        own, K, X = local_classes(1500, 3), 1, X_SUPPORT[:, :2]
    model = aggregate(own, K, support=X, tol=0.0, max_iter=20, plan=plan)
    path = model.aggregation_.path
    assert len(path) > 1 + (plan == "pointwise")
    assert np.diff(path).max() < 1e-10


@pytest.mark.filterwarnings("ignore:The combined model may be worse")
def test_reduction_is_at_least_as_near_as_its_rivals():
    fits = dealt(2000, 4, intercepts=np.zeros(4))  # whose order says nothing
    near = {
        method: aggregate(fits, 4, support=X_SUPPORT, method=method).aggregation_.divergence
        for method in ("reduction", "aligned", "average", "middle")
    }
    assert min(near, key=near.__getitem__) == "reduction"
    # label switching ruins the average, and alignment repairs it
    assert near["average"] > 20 * near["aligned"]


def valley(n, seed):
    """A surface that two experts cannot follow, and along which they may be laid in two ways."""
    rng = np.random.default_rng(seed)
    X = rng.uniform(-3, 3, (n, 2))
    return X, np.abs(X).sum(axis=1) + 0.1 * rng.standard_normal(n)


def split_along(column, seed, n=500):
    X, y = valley(n, seed)
    return LocalFit.of(MoERegressor(2, start=(X[:, column] > 0).astype(int)).fit(X, y), X)


def test_fits_that_disagree_are_told():
    """The result is worse than each of them on new rows, and says so; where they agree it does not.

    Their divergences alone do not show it: none of the fits is nearer to all than the result.
    """
    apart = [split_along(m % 2, m) for m in range(4)]
    with pytest.warns(UserWarning, match="may be worse than every local fit") as seen:
        model = aggregate(apart, 2)
    assert len(seen) == 1
    X, y = valley(2000, 9)
    own = [aggregate([fit], 2).log_prob(X, y).mean() for fit in apart]
    assert model.log_prob(X, y).mean() < min(own) - 0.05
    kept = aggregate(apart, 2, method="middle")
    assert kept.log_prob(X, y).mean() >= min(own) - 1e-3
    alike = aggregate([split_along(0, m) for m in range(4)], 2)  # a warning would be an error
    assert alike.aggregation_.loss < 0.1 * model.aggregation_.loss


@pytest.mark.slow
@pytest.mark.parametrize("plan", ["pointwise", "whole"])
@pytest.mark.filterwarnings("ignore:The combined model may be worse")
def test_the_reduction_is_never_above_a_local_fit(plan):
    """By its own objective, where neither clusters nor matched experts lead to a good plan."""
    fits = []
    for m in range(3):
        X, y = valley(500, 20 + m)
        fits.append(LocalFit.of(MoERegressor(2).fit(X, y), X))
    reduced = aggregate(fits, 2, support=2000, plan=plan)
    near = aggregate(fits, 2, support=2000, method="middle")
    assert reduced.aggregation_.divergence < near.aggregation_.divergence


def test_agreeing_fits_lose_what_sampling_loses():
    X, y, z = regression(4000, 3)
    parts = np.array_split(np.arange(4000), 4)
    fits = [local_regression(X[i], y[i], z[i], m) for m, i in enumerate(parts)]
    d = fits[0].gate_coef[1:].size + fits[0].coef.size + fits[0].scale.size
    loss = aggregate(fits, 4, support=X_SUPPORT).aggregation_.loss
    assert 0 < loss < 3 * d / (2 * 1000)
    classes = aggregate(local_classes(1500, 3), 2, support=X_SUPPORT[:, :2]).aggregation_.loss
    assert 0 < classes < 0.1
    assert np.isnan(aggregate(fits, 3, support=X_SUPPORT).aggregation_.loss)


def test_error_falls_with_the_rows_at_a_fixed_number_of_partitions():
    errors = {
        n: np.mean([slopes_error(aggregate(dealt(n, 4, seed), 4)) for seed in range(3)])
        for n in (800, 6400)
    }
    # eight times the rows: the error of a root-n estimator falls by 2.8
    assert errors[6400] < errors[800] / 2


def test_classes_are_combined_and_predict_as_the_pooled_fit():
    X, y, z = classification(3000, 0)
    pooled = MoEClassifier(2, start=z).fit(X, y)
    model = aggregate(local_classes(3000, 3), 2)
    assert isinstance(model, MoEClassifier)
    gap = np.abs(model.predict_proba(X) - pooled.predict_proba(X)).mean()
    assert gap < 0.02


def test_unequal_sizes_weigh_by_their_rows():
    X, y, z = regression(3300, 0)
    parts = np.split(np.arange(3300), [150, 300, 800])
    fits = [local_regression(X[i], y[i], z[i], m) for m, i in enumerate(parts)]
    model = aggregate(fits, 4)
    assert_allclose(model.aggregation_.share, np.array([150, 150, 500, 2500]) / 3300)
    assert model.n_units_ == 3300
    pooled = MoERegressor(4, start=z).fit(X, y)
    assert slopes_error(model) < 1.5 * slopes_error(pooled)


def test_an_expert_missing_from_most_partitions_is_found():
    X, y, z = regression(4800, 0)
    part = np.arange(4800) % 6
    kept = (z != 3) | (part == 0)
    fits, alone = [], None
    for m in range(6):
        i = kept & (part == m)
        fits.append(local_regression(X[i], y[i], z[i], m, K=4 if m == 0 else 3))
        alone = fits[0]
    model = aggregate(fits, 4)
    truth = model.coef_[np.abs(model.coef_ - [1.0, -2.0, 0.0]).sum(axis=1).argmin()]
    own = alone.coef[:, 0, 1:]
    local = own[np.abs(own - [1.0, -2.0, 0.0]).sum(axis=1).argmin()]
    # the rare expert is known from one partition, and comes from there nearly unchanged
    assert_allclose(truth, local, atol=0.1)
    assert slopes_error(model) < 0.1


def test_a_class_missing_from_a_partition():
    X, y, z = classification(2400, 0)
    part = np.arange(2400) % 3
    kept = (y != 2) | (part > 0)
    fits = [
        local_classification(X[i], y[i], z[i], m)
        for m, i in enumerate(kept & (part == m) for m in range(3))
    ]
    model = aggregate(fits, 2)
    assert model.classes_.tolist() == [0, 1, 2]
    assert model.score(X, y) > 0.5


def test_whole_plans_leave_the_better_gate():
    """Where means cross, a plan at each x mixes experts up, and the gate pays for it."""
    test, y, _ = regression(5000, 500)
    heights = {
        plan: np.mean([
            aggregate(dealt(2000, 4, seed), 4, plan=plan).log_prob(test, y).mean()
            for seed in range(2)
        ])
        for plan in ("pointwise", "whole")
    }  # fmt: skip
    assert heights["whole"] > heights["pointwise"] + 1e-3


def test_covariates_say_which_partition_speaks():
    """Partitions that have never seen an expert do not vote on where it rules."""
    X, y, z = regression(4800, 0)
    part = np.arange(4800) % 6
    kept = (z != 3) | (part < 2)
    fits = [
        local_regression(X[i], y[i], z[i], m, K=4 if m < 2 else 3)
        for m, i in enumerate(kept & (part == m) for m in range(6))
    ]
    X, y, z = X[kept], y[kept], z[kept]
    pooled = MoERegressor(4, start=z).fit(X, y).log_prob(X, y).mean()
    lost = {
        way: pooled - aggregate(fits, 4, weighting=way, plan="whole").log_prob(X, y).mean()
        for way in ("sizes", "covariates")
    }
    assert lost["covariates"] < 0.2 * lost["sizes"]


def test_weights_of_alike_partitions_are_their_sizes(fits):
    one = aggregate(fits, 4, support=X_SUPPORT, plan="whole")
    other = aggregate(fits, 4, support=X_SUPPORT, plan="whole", weighting="covariates")
    assert_allclose(one.gate_proba(X_SUPPORT), other.gate_proba(X_SUPPORT), atol=0.05)


def test_two_responses(fits):
    X, y, z = regression(900, 0)
    parts = np.array_split(np.arange(900), 3)
    double = np.column_stack([y, -y])
    local = [
        local_regression(X[i], double[i] + 0.1 * z[i, None], z[i], m) for m, i in enumerate(parts)
    ]
    model = aggregate(local, 4)
    assert model.predict(X).shape == (900, 2)
    assert_allclose(model.predict(X)[:, 0], y, atol=12)
    assert np.corrcoef(model.predict(X)[:, 0], y)[0, 1] > 0.8


def test_the_result_is_a_fitted_estimator(fits, tmp_path):
    X, y, _ = regression(200, 5)
    model = aggregate(fits, 4)
    assert model.status_ is Status.AGGREGATED
    assert np.isnan(model.loglik_)
    assert "not computed" in model.summary()
    assert "nan" not in model.summary()
    model.save(tmp_path / "a.mixexp")
    again = mixexp.load(tmp_path / "a.mixexp")
    assert_allclose(again.predict(X), model.predict(X))
    assert again.status_ is Status.AGGREGATED
    assert not hasattr(clone(model), "coef_")
    refitted = MoERegressor(4, start=model).fit(X, y)
    assert refitted.converged_


def test_settings_of_the_result(fits):
    template = MoERegressor(gate=SoftmaxGate(temperature=0.5, penalty=L2(0.01)))
    model = aggregate(fits, 4, support=X_SUPPORT, estimator=template)
    plain = aggregate(fits, 4, support=X_SUPPORT)
    assert_allclose(model.gate_proba(X_SUPPORT), plain.gate_proba(X_SUPPORT), atol=0.05)
    assert template.n_experts == 2
    assert model.get_params()["gate"].temperature == 0.5


def test_names_of_columns_and_chosen_columns():
    X, y, z = regression(600, 0)
    frame = pd.DataFrame(X, columns=["a", "b", "c"])
    fits = []
    for m in range(2):
        i = np.arange(600) % 2 == m
        local = MoERegressor(4, gate_features=["a", "b"], start=z[i]).fit(frame[i], y[i])
        fits.append(LocalFit.of(local, frame[i]))
    model = aggregate(fits, 4)
    assert model.gate_coef_.shape == (4, 2)
    assert model.predict(frame).shape == (600,)
    assert "a" in model.summary()


def test_support_from_moments_and_from_rows_agree(fits):
    drawn = aggregate(fits, 4, support=4000)
    given = aggregate(fits, 4, support=regression(4000, 77)[0])
    assert drawn.aggregation_.n_support == 4000
    assert_allclose(drawn.predict(X_SUPPORT), given.predict(X_SUPPORT), atol=0.6)
    assert abs(slopes_error(drawn) - slopes_error(given)) < 0.02


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"support": np.zeros((500, 2))}, "2 columns; the local fits have 3"),
        ({"support": np.zeros((5, 3))}, "fewer than the 12 coefficients"),
        ({"support": "all"}, "support must be rows"),
        ({"n_experts": 17}, "from 1 to 16"),
        ({"n_experts": 2.5}, "n_experts must be an integer"),
        ({"method": "global"}, "fit the estimator to them"),
        ({"plan": "half"}, "plan must be one of"),
        ({"weighting": "equal"}, "weighting must be one of"),
        ({"method": "mean"}, "method must be one of"),
        ({"method": "aligned", "n_experts": 3}, "needs local fits of n_experts=3"),
        ({"estimator": MoEClassifier()}, "estimator must be MoERegressor"),
        ({"estimator": MoERegressor(gate="constant")}, "gate='softmax'"),
        ({"estimator": MoERegressor(gate=SoftmaxGate(transform="tanh"))}, "with a transform"),
        ({"estimator": MoERegressor(expert=GaussianExpert(link="log"))}, "identity link"),
        ({"estimator": MoERegressor(expert=GaussianExpert(degree=2))}, "PolynomialFeatures"),
        ({"estimator": MoERegressor(expert=GaussianExpert(tied_scale=True))}, "Leave tied_scale"),
        ({"estimator": MoERegressor(expert=GaussianExpert(tied=[0]))}, r"got tied=\[0\]"),
        ({"estimator": MoERegressor(expert=GaussianExpert(scale_free=True))}, "sparse penalty"),
    ],
)
def test_wrong_arguments_are_refused(fits, arguments, message):
    with pytest.raises(ValueError, match=message):
        aggregate(fits, **{"n_experts": 4, **arguments})


def test_fits_that_do_not_belong_together_are_refused(fits):
    with pytest.raises(ValueError, match="at least one"):
        aggregate([], 2)
    with pytest.raises(TypeError, match=r"LocalFit\.of"):
        aggregate([fits[0], "fit.mixexp"], 4)
    with pytest.raises(ValueError, match="differ in family"):
        aggregate([fits[0], *local_classes(600, 1)], 4)
    with pytest.raises(ValueError, match="names of the columns"):
        aggregate([fits[0], replace(fits[1], feature_names=np.array(["a", "b", "c"]))], 4)
    with pytest.raises(ValueError, match="those at positions \\[1\\] do not hold"):
        aggregate([fits[0], replace(fits[1], moments=None)], 4)
    X, y, z = regression(300, 0)
    with pytest.raises(ValueError, match="give n_experts"):
        aggregate([fits[0], local_regression(X[z < 3], y[z < 3], z[z < 3], K=3)])
