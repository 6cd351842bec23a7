"""What a fitted estimator sums over datasets is what it sums over the same rows in memory."""

from __future__ import annotations

import dask.array as da
import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

from mixexp import ArrayDataset, FileDataset, MoEClassifier, MoERegressor, SelectionStudy
from mixexp.distributed import LocalFit, aggregate, local_statistics

RNG = np.random.default_rng(3)
X = RNG.normal(size=(900, 2)) + [5.0, 0.0]
Y = np.where(X[:, 1] > 0, 2 * X[:, 0], -X[:, 0]) + 0.3 * RNG.normal(size=900)
WEIGHT = RNG.integers(0, 3, 900).astype(float)


@pytest.fixture(scope="module")
def model():
    return MoERegressor(2, start=(X[:, 1] > 0).astype(int)).fit(X, Y)


def of_arrays(y, **inputs):
    return ArrayDataset(X, y, block_rows=130, **inputs)


def test_score_over_blocks_is_that_in_memory(model):
    assert_allclose(model.score(of_arrays(Y)), model.score(X, Y), rtol=1e-12)
    weighted = model.score(of_arrays(Y, weight=WEIGHT))
    assert_allclose(weighted, model.score(X, Y, WEIGHT), rtol=1e-12)
    lazy = [da.from_array(part, chunks=200) for part in (X, Y, WEIGHT)]
    assert_allclose(model.score(lazy[0].rechunk((200, 2)), *lazy[1:]), weighted, rtol=1e-12)


def test_score_of_files_responses_and_exposures(tmp_path):
    frame = pd.DataFrame({"a": X[:, 0], "b": X[:, 1], "y": Y, "z": Y**2})
    frame.to_parquet(tmp_path / "rows.parquet", row_group_size=250)
    double = MoERegressor(1).fit(frame[["a", "b"]], frame[["y", "z"]])
    rows = FileDataset(tmp_path / "rows.parquet", target=["y", "z"], features=["a", "b"])
    expected = double.score(frame[["a", "b"]], frame[["y", "z"]])
    assert_allclose(double.score(rows), expected, rtol=1e-12)
    exposure = RNG.uniform(1, 5, 900)
    counts = RNG.poisson(exposure * np.exp(0.1 * X[:, 1])).astype(float)
    rates = MoERegressor(1, expert="poisson").fit(X, counts, exposure=exposure)
    given = rates.score(X, counts, exposure=exposure)
    assert_allclose(rates.score(of_arrays(counts, exposure=exposure)), given, rtol=1e-12)


def test_accuracy_over_blocks_is_that_in_memory():
    labels = np.where(Y > 0, "up", "down")
    own = MoEClassifier(1).fit(X, labels)
    assert own.score(of_arrays(labels)) == own.score(X, labels)
    weighted = own.score(of_arrays(labels, weight=WEIGHT))
    assert_allclose(weighted, own.score(X, labels, WEIGHT), rtol=1e-12)


def test_a_constant_target_scores_as_in_memory(model):
    level = np.full(900, 2.0)
    assert model.score(of_arrays(level)) == model.score(X, level) == 0


def test_local_fits_of_datasets_hold_the_same_moments(model):
    memory = LocalFit.of(model, X, WEIGHT)
    lazy = da.from_array(X, chunks=(200, 2)), da.from_array(WEIGHT, chunks=200)
    for fit in (LocalFit.of(model, of_arrays(Y, weight=WEIGHT)), LocalFit.of(model, *lazy)):
        assert_allclose(fit.moments.mean, memory.moments.mean, rtol=1e-12)
        assert_allclose(fit.moments.covariance, memory.moments.covariance, rtol=1e-10)


def test_local_statistics_of_datasets_are_those_of_the_rows(model):
    combined = aggregate([LocalFit.of(model, X)], 2)
    memory = local_statistics(combined, X, Y, WEIGHT)
    blocks = local_statistics(combined, of_arrays(Y, weight=WEIGHT))
    assert blocks.point == memory.point
    assert_allclose(blocks.loglik, memory.loglik, rtol=1e-12)
    assert_allclose(blocks.weight, WEIGHT.sum())
    assert_allclose(blocks.information.observed, memory.information.observed, rtol=1e-8, atol=1e-8)
    assert local_statistics(combined, of_arrays(Y), information=False).information is None


REFUSED = {
    "score, target beside": (lambda m: m.score(of_arrays(Y), Y), "y is part of a dataset"),
    "score, a path": (lambda m: m.score("rows.parquet"), r"Give FileDataset\('rows.parquet', targ"),
    "score, no target": (lambda m: m.score(of_arrays(None)), "rows 0 to 129: .* needs the target"),
    "score, other columns": (
        lambda m: m.score(ArrayDataset(X[:, :1], Y)),
        "rows 0 to 899: X has 1",
    ),
    "moments": (lambda m: LocalFit.of(m, of_arrays(Y), WEIGHT), "sample_weight is part of a"),
    "moments, a path": (lambda m: LocalFit.of(m, "rows"), "LocalFit.of needs rows or a dataset"),
    "statistics": (lambda m: local_statistics(m, X), "needs y beside X, or a dataset"),
    "statistics, no target": (lambda m: local_statistics(m, of_arrays(None)), "without the target"),
    "statistics, offset": (
        lambda m: local_statistics(m, of_arrays(Y, offset=Y)),
        "takes X, y and weights; got a dataset with offset",
    ),
    "partial_fit": (lambda m: m.partial_fit(of_arrays(Y)), r"ArrayDataset.*solver=OnlineEM\(\)"),
    "partial_fit, a path": (lambda m: m.partial_fit("rows"), "the path 'rows'.*one by one"),
    "partial_fit, dask": (lambda m: m.partial_fit(da.from_array(X), Y), "a Dask Array.*OnlineEM"),
    "study": (
        lambda m: SelectionStudy(m, {"n_experts": [1, 2]}).fit(of_arrays(Y)),
        r"needs rows in memory; got ArrayDataset\. Study a sample.*start=study\.best_estimator_",
    ),
    "study, a path": (
        lambda m: SelectionStudy(m, {"n_experts": [1, 2]}).fit("rows.parquet"),
        "got the path 'rows.parquet'",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_done_says_what_can(case, model):
    call, message = REFUSED[case]
    with pytest.raises(ValueError, match=message):
        call(model)


def test_a_bad_row_is_named(model):
    y = Y.copy()
    y[300] = np.nan
    with pytest.raises(ValueError, match="rows 260 to 389, row 40 of it: y is nan"):
        model.score(of_arrays(y))
