"""Exact passes over partitions: their sums are those of the pooled rows."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose

import mixexp
from mixexp import L2, GaussianExpert, MoEClassifier, MoERegressor, NotRegularError
from mixexp._persistence import PersistenceError
from mixexp.distributed import (
    LocalStatistics,
    aggregate,
    local_statistics,
    pooled_inference,
    refine,
)
from mixexp.em.params import tree_map
from tests.unit.distributed.partitioned import (
    classification,
    dealt,
    local_classification,
    regression,
    slopes_error,
)

N, M = 2400, 4
X, Y, Z = regression(N, 0)
PARTS = np.array_split(np.arange(N), M)


@pytest.fixture(scope="module")
def pooled():
    return MoERegressor(4, start=Z).fit(X, Y)


@pytest.fixture(scope="module")
def combined():
    return aggregate(dealt(N, M), 4)


def sums(model, information=True, weight=None):
    return [
        local_statistics(
            model, X[i], Y[i], None if weight is None else weight[i], information=information
        )
        for i in PARTS
    ]


def total_log_prob(model):
    return model.log_prob(X, Y).sum()


def test_sums_add_to_those_of_all_rows(combined):
    whole = local_statistics(combined, X, Y)
    assert_allclose(whole.loglik, total_log_prob(combined))
    added = [sum(values) for values in zip(*(part[:3] for part in sums(combined)), strict=True)]
    for one, other in zip(added, whole[:3], strict=True):
        assert_allclose(one, other, rtol=1e-9)
    for name in ("statistics", "information"):
        parts = [getattr(part, name) for part in sums(combined)]
        tree_map(
            lambda *leaves: assert_allclose(sum(leaves[1:]), leaves[0], rtol=1e-7, atol=1e-6),
            getattr(whole, name),
            *parts,
        )


def test_a_weight_of_two_is_a_row_twice(combined):
    weighted = local_statistics(combined, X[:50], Y[:50], np.full(50, 2.0))
    twice = local_statistics(combined, np.tile(X[:50], (2, 1)), np.tile(Y[:50], 2))
    tree_map(
        lambda a, b: assert_allclose(a, b, rtol=1e-8, atol=1e-8),
        weighted.statistics,
        twice.statistics,
    )


def test_a_step_of_em_raises_the_likelihood(combined):
    assert total_log_prob(refine(combined, sums(combined, False), "em")) > total_log_prob(combined)


def test_newton_steps_end_at_the_fit_of_all_rows(combined, pooled):
    model, gaps = combined, []
    for _ in range(3):
        model = refine(model, sums(model))
        gaps.append(pooled.loglik_ - total_log_prob(model))
    assert gaps[0] < 0.1 * (pooled.loglik_ - total_log_prob(combined))
    assert abs(gaps[-1]) < 1e-6
    assert_allclose(np.sort(model.coef_.ravel()), np.sort(pooled.coef_.ravel()), atol=1e-4)


def test_one_round_removes_what_the_reduction_lost():
    errors = []
    for seed in range(3):
        X, y, z = regression(4000, seed)
        parts = np.array_split(np.arange(4000), 20)
        pooled = MoERegressor(4, start=z).fit(X, y)
        model = aggregate(dealt(4000, 20, seed), 4)
        near = refine(model, [local_statistics(model, X[i], y[i]) for i in parts])
        errors.append([slopes_error(one) for one in (pooled, model, near)])
    globally, reduced, refined = np.mean(errors, axis=0)
    assert reduced > 1.05 * globally
    assert refined < 1.02 * globally


@pytest.mark.parametrize("covariance", ["observed", "opg", "sandwich"])
def test_pooled_standard_errors_are_those_of_all_rows(pooled, covariance):
    seen = refine(pooled, sums(pooled), "none")
    ours, theirs = pooled_inference(seen, covariance), pooled.inference(X, Y, covariance=covariance)
    assert ours.names == theirs.names
    assert_allclose(ours.covariance, theirs.covariance, rtol=1e-5, atol=1e-12)
    assert_allclose(ours.loglik, theirs.loglik)
    assert ours.n_obs == theirs.n_obs


@pytest.mark.parametrize(("rounds", "near"), [(1, 0.15), (2, 0.03)])
def test_standard_errors_after_some_steps_are_near(combined, rounds, near):
    """The information is that of the point before the last step."""
    model = combined
    for _ in range(rounds):
        model = refine(model, sums(model))
    maximum = MoERegressor(4, start=model).fit(X, Y)  # its experts are in the same order
    ours, theirs = pooled_inference(model).bse, maximum.inference(X, Y).bse
    assert_allclose(ours, theirs, rtol=near)


def test_the_pooled_information_is_in_the_file(combined, tmp_path):
    refined = refine(combined, sums(combined))
    refined.save(tmp_path / "refined.mixexp")
    back = mixexp.load(tmp_path / "refined.mixexp")
    for covariance in ("observed", "sandwich"):
        ours, theirs = (pooled_inference(one, covariance) for one in (back, refined))
        assert ours.names == theirs.names
        assert_allclose(ours.covariance, theirs.covariance, rtol=1e-12)
    refine(back, sums(back, False), "em").save(tmp_path / "moved.mixexp")
    with pytest.raises(ValueError, match="no pooled information"):
        pooled_inference(mixexp.load(tmp_path / "moved.mixexp"))


def test_a_fit_of_rows_forgets_the_partitions(combined):
    model = refine(combined, sums(combined)).set_params(start=Z)
    model.fit(X, Y)
    with pytest.raises(ValueError, match="no pooled information"):
        pooled_inference(model)
    assert not hasattr(model, "aggregation_")


def test_tests_without_rows(combined):
    result = pooled_inference(refine(combined, sums(combined)))
    name = result.names[-2]
    assert result.wald_test({name: 100.0}).pvalue < 1e-6
    assert "nan" not in str(result)
    assert result.conf_int().shape == (len(result.names), 2)
    with pytest.raises(ValueError, match="on the partitions"):
        result.profile(name)
    with pytest.raises(ValueError, match="on the partitions"):
        result.lr_test({name: 0.0})


def test_none_records_the_likelihood(combined):
    seen = refine(combined, sums(combined, False), "none")
    assert_allclose(seen.loglik_, total_log_prob(combined))
    assert_allclose(seen.coef_, combined.coef_)
    assert np.isnan(combined.loglik_)
    assert "AIC" in seen.summary()
    assert_allclose(seen.expert_sizes_.sum(), N)


@pytest.mark.parametrize("step", ["newton", "em"])
def test_after_a_step_nothing_is_said_of_the_point_before(combined, step, tmp_path):
    seen = refine(combined, sums(combined, False), "none")
    moved = refine(seen, sums(seen), step)
    assert np.isnan(moved.expert_sizes_).all() and moved.expert_sizes_.shape == (4,)
    assert np.isnan(moved.certificate_) and np.isnan(moved.loglik_)
    assert moved.regular_ is True
    assert "nan" not in moved.summary()
    assert "rows" in seen.summary() and np.isfinite(seen.expert_sizes_).all()
    moved.save(tmp_path / "a.mixexp")
    known = refine(mixexp.load(tmp_path / "a.mixexp"), sums(moved), "none")
    assert_allclose(known.expert_sizes_, known.responsibilities(X, Y).sum(axis=0), rtol=1e-6)
    assert known.certificate_ < seen.certificate_


def test_a_step_onto_a_bound_is_not_regular(combined):
    """One row passed off as a partition: the step of EM puts an expert's scale on its bound."""
    few = local_statistics(combined, X[:1], Y[:1], information=False)
    with pytest.warns(UserWarning, match="1 statistics"):
        assert not refine(combined, [few], "em").regular_


def test_files_travel_and_rounds_do_not_mix(combined, tmp_path):
    combined.save(tmp_path / "model.mixexp")
    for m, i in enumerate(PARTS):
        there = mixexp.load(tmp_path / "model.mixexp")
        local_statistics(there, X[i], Y[i]).save(tmp_path / f"{m}.mixexp")
    back = [LocalStatistics.load(tmp_path / f"{m}.mixexp") for m in range(M)]
    here = refine(combined, sums(combined))
    model = refine(combined, back)
    assert_allclose(model.coef_, here.coef_)
    with pytest.raises(ValueError, match="other parameters"):
        refine(model, back)
    with pytest.raises(PersistenceError, match="local statistics"):
        LocalStatistics.load(tmp_path / "model.mixexp")


def test_classes(tmp_path):
    X, y, z = classification(2400, 0)
    parts = np.array_split(np.arange(2400), 3)
    pooled = MoEClassifier(2, start=z).fit(X, y)
    fits = [local_classification(X[i], y[i], z[i], m) for m, i in enumerate(parts)]
    model = aggregate(fits, 2)
    before = model.log_prob(X, y).sum()
    for _ in range(3):
        model = refine(model, [local_statistics(model, X[i], y[i]) for i in parts])
    assert pooled.loglik_ - before > 0.1
    assert abs(pooled.loglik_ - model.log_prob(X, y).sum()) < 1e-3


def test_what_cannot_be_refined_is_refused(combined):
    with pytest.raises(ValueError, match="information=True"):
        refine(combined, sums(combined, False))
    with pytest.raises(ValueError, match="at least one partition"):
        refine(combined, [])
    with pytest.raises(ValueError, match="step must be"):
        refine(combined, sums(combined, False), "gradient")
    with pytest.raises(ValueError, match="no pooled information"):
        pooled_inference(combined)
    with pytest.raises(ValueError, match="covariance must be"):
        pooled_inference(refine(combined, sums(combined)), "bootstrap")
    template = MoERegressor(expert=GaussianExpert(penalty=L2(0.1)))
    penalised = aggregate(dealt(N, M), 4, estimator=template)
    with pytest.raises(ValueError, match="use step='em'"):
        refine(penalised, sums(penalised))
    with pytest.raises(NotRegularError, match="penalty"):
        pooled_inference(refine(penalised, sums(penalised), "none"))


def test_what_is_given_in_the_wrong_place_is_said_briefly(combined, tmp_path):
    found = sums(combined, False)
    wrong = [
        (lambda: refine(found, combined), r"refine\(model, statistics\) needs .* got a list"),
        (lambda: refine(combined, ["0.mixexp"]), r"statistics\[0\] is a str.*LocalStatistics.load"),
        (lambda: local_statistics(X, Y, combined), r"local_statistics\(model, X, y\).*ndarray"),
        (lambda: aggregate(["0.mixexp"], 4), r"fits\[0\] is a str.*LocalFit\.load\(path\)"),
    ]
    for call, message in wrong:
        with pytest.raises(TypeError, match=message) as error:
            call()
        assert len(str(error.value)) < 200
    assert repr(found[0]).endswith("weight 600, without information)")
    found[0].save(tmp_path / "0.mixexp")
    with pytest.raises(PersistenceError, match="It is read by .*LocalStatistics.load"):
        mixexp.load(tmp_path / "0.mixexp")


@pytest.mark.parametrize("information", [True, False])
def test_a_partition_given_twice_is_refused(combined, information, tmp_path):
    found = sums(combined)
    local_statistics(combined, X[PARTS[1]], Y[PARTS[1]], information=information).save(
        tmp_path / "again.mixexp"
    )
    again = LocalStatistics.load(tmp_path / "again.mixexp")
    with pytest.raises(ValueError, match="positions 1 and 4 are equal"):
        refine(combined, [*found, again], "em")


def test_a_missing_partition_and_other_rows_are_said(combined):
    found = sums(combined, False)
    with pytest.warns(UserWarning, match=r"3 statistics of total weight 1800; .* 4 local fits"):
        refine(combined, found[:3], "em")
    more = local_statistics(combined, np.r_[X[:7], X[PARTS[0]]], np.r_[Y[:7], Y[PARTS[0]]])
    with pytest.warns(UserWarning, match=r"weight 2407; .* of total weight 2400\."):
        moved = refine(combined, [more, *found[1:]], "em")
    assert moved.aggregation_.weight == N
    moved = refine(moved, sums(moved, False), "em")  # all of them: no word


def test_inference_on_a_combined_model_says_what_to_call(combined):
    for model in (combined, refine(combined, sums(combined))):
        with pytest.raises(NotRegularError, match=r"AGGREGATED.*pooled_inference\(refine") as found:
            model.inference(X, Y)
        assert "max_passes" not in str(found.value)


def test_the_advice_after_mini_batches_is_a_fit_from_there():
    online = MoERegressor(2)
    for i in PARTS:
        online.partial_fit(X[i], Y[i])
    with pytest.raises(NotRegularError, match=r"ONLINE.*start=model, solver=EM\(\)"):
        online.inference(X, Y)
