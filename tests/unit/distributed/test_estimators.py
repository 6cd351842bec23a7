"""`AggregatedMoERegressor` and `AggregatedMoEClassifier`."""

from __future__ import annotations

import os
import warnings

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from scipy import sparse
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.metrics import r2_score
from sklearn.model_selection import cross_val_score

import mixexp
from mixexp import (
    EM,
    ArrayDataset,
    GaussianExpert,
    MoEClassifier,
    MoERegressor,
    MultiStart,
    OnlineEM,
)
from mixexp.distributed import (
    AggregatedMoEClassifier,
    AggregatedMoERegressor,
    LocalFit,
    aggregate,
)
from mixexp.distributed.partitions import deal, draw, each
from tests.unit.distributed.partitioned import classification, regression, slopes_error

N = 1200
X, Y, Z = regression(N, 0)
LABELS = np.array(["north", "south", "west"])[np.arange(N) % 3]
LOCAL = MoERegressor(4, start=Z)
QUICK = MoERegressor(2, start=MultiStart(n_starts=0.1, max_rounds=1))


@pytest.fixture(scope="module")
def fitted():
    return AggregatedMoERegressor(LOCAL, refine_rounds=1).fit(X, Y, partitions=LABELS)


def test_it_is_the_steps_by_hand():
    model = AggregatedMoERegressor(LOCAL, support=X).fit(X, Y, partitions=LABELS)
    fits = []
    for name in ("north", "south", "west"):
        i = LABELS == name
        fits.append(LocalFit.of(MoERegressor(4, start=Z[i]).fit(X[i], Y[i])))
    by_hand = aggregate(fits, 4, support=X)
    assert_allclose(model.predict(X), by_hand.predict(X))


def test_refining_brings_the_error_to_the_global_fits(fitted):
    whole = AggregatedMoERegressor(LOCAL, method="global").fit(X, Y)
    assert slopes_error(fitted.estimator_) < 1.03 * slopes_error(whole.estimator_)
    assert whole.estimator_.loglik_ - fitted.estimator_.loglik_ < 0.5
    assert fitted.inference().bse.notna().all()


def test_rounds_never_lower_the_likelihood():
    heights = [
        AggregatedMoERegressor(LOCAL, refine_rounds=rounds, refine_step=step)
        .fit(X, Y, partitions=LABELS)
        .log_prob(X, Y)
        .sum()
        for rounds, step in ((0, "em"), (1, "em"), (3, "em"), (2, "newton"))
    ]
    assert np.diff(heights).min() > 0


def test_interface(fitted, tmp_path):
    assert fitted.predict(X).shape == (N,)
    assert fitted.predict_std(X).shape == (N,)
    assert fitted.predict_interval(X).shape == (N, 2)
    assert fitted.predict_quantile(X, 0.5).shape == (N,)
    assert fitted.predict_experts(X).shape == (N, 4)
    assert_allclose(fitted.gate_proba(X).sum(axis=1), 1)
    assert_allclose(fitted.responsibilities(X, Y).sum(axis=1), 1)
    assert fitted.predict_component(X).max() == 3
    assert fitted.sample(X, 0).shape == (N,)
    assert fitted.score(X, Y) > 0.5
    assert "Aggregated" in fitted.summary()
    assert fitted.n_features_in_ == 3
    assert len(fitted.local_fits_) == len(fitted.times_["local"]) == 3
    fitted.save(tmp_path / "a.mixexp")
    assert_allclose(mixexp.load(tmp_path / "a.mixexp").predict(X), fitted.predict(X))


def test_rows_are_dealt_at_random_and_again_the_same():
    settings = {"n_partitions": 5, "random_state": 3}
    one = AggregatedMoERegressor(LOCAL, **settings).fit(X, Y)
    other = clone(one).fit(X, Y)
    assert [fit.n_rows for fit in one.local_fits_] == [240] * 5
    assert_allclose(one.predict(X), other.predict(X))


def threads_there(part):
    return os.environ["OMP_NUM_THREADS"]


def test_processes_have_one_thread_each_and_change_nothing(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "4")
    parts = deal(X, Y, None, LABELS, 3, None, 0)
    assert [one.value for one in each(threads_there, parts, 2)] == ["1"] * 3
    alone, both = (
        AggregatedMoERegressor(LOCAL, n_jobs=n_jobs, support=X).fit(X, Y, partitions=LABELS)
        for n_jobs in (1, 2)
    )
    assert_allclose(both.predict(X), alone.predict(X), rtol=1e-10)


def test_no_row_leaves_with_support_from_moments():
    model = AggregatedMoERegressor(LOCAL, support="moments", support_size=800)
    model.fit(X, Y, partitions=LABELS)
    assert model.aggregation_.n_support == 800
    assert all(fit.moments is not None for fit in model.local_fits_)
    assert slopes_error(model.estimator_) < 0.1


def test_weights_are_repetitions():
    weight = np.tile([1.0, 2.0], N // 2)
    twice = np.repeat(np.arange(N), weight.astype(int))
    settings = {"refine_rounds": 1, "support": X}
    one = AggregatedMoERegressor(LOCAL, **settings).fit(X, Y, weight, partitions=LABELS)
    local = MoERegressor(4, start=Z[twice])
    other = AggregatedMoERegressor(local, **settings)
    other.fit(X[twice], Y[twice], partitions=LABELS[twice])
    assert_allclose(one.predict(X), other.predict(X), atol=1e-4)


@pytest.mark.parametrize("settings", [{"support": "rows"}, {"support": "moments"}])
def test_rows_of_weight_zero_are_not_there(settings):
    weight = np.ones(N)
    weight[::7] = 0
    far = np.where(weight[:, None] > 0, X, 1000.0)
    there = weight > 0
    one = AggregatedMoERegressor(LOCAL, **settings).fit(far, Y, weight, partitions=LABELS)
    other = AggregatedMoERegressor(MoERegressor(4, start=Z[there]), **settings)
    other.fit(X[there], Y[there], partitions=LABELS[there])
    # the support is drawn in another way, and each expert's place is the same
    assert_allclose(one.predict(X), other.predict(X), atol=0.3)
    alone = AggregatedMoERegressor(LOCAL, 5, **settings).fit(far, Y, weight)
    assert sum(fit.n_rows for fit in alone.local_fits_) == there.sum()
    nothing = np.where(LABELS == "north", 0.0, 1.0)
    assert len(clone(one).fit(X, Y, nothing, partitions=LABELS).local_fits_) == 2


def test_support_is_drawn_in_proportion_to_weights():
    weight = np.tile([0.0, 1.0, 3.0], 100)
    rng = np.random.default_rng(0)
    counts = np.zeros(300)
    for _ in range(400):
        found = draw(300, 40, weight, rng)
        assert len(np.unique(found)) == 40
        np.add.at(counts, found, 1)
    assert counts[0::3].sum() == 0
    assert_allclose(counts[2::3].sum() / counts[1::3].sum(), 3, rtol=0.1)
    # 3 / 400 of 40 rows: every row is drawn as often as its weight says
    assert_allclose(counts[2::3] / 400, 0.3, atol=0.12)
    assert draw(4, 4, np.array([0, 1e9, 1.0, 0]), rng).tolist() == [1, 1]


def test_a_spoilt_partition_is_left_out_of_the_passes_too():
    y = Y.copy()
    bad = np.arange(N) % 6 == 0
    y[bad] = -100 * y[bad]
    part = np.arange(N) % 6
    start = MoERegressor(4, start=Z, solver=EM(max_passes=5000))
    model = AggregatedMoERegressor(start, robust=True, refine_rounds=1)
    model.fit(X, y, partitions=part)
    assert model.aggregation_.kept.tolist() == [False] + [True] * 5
    assert slopes_error(model.estimator_) < 0.1
    assert model.estimator_.n_units_ == 1000


def test_classes_sparse_rows_and_frames():
    X, y, z = classification(900, 0)
    names = np.array(["no", "maybe", "yes"], dtype=object)[y]
    frame = pd.DataFrame(X, columns=["a", "b"])
    model = AggregatedMoEClassifier(MoEClassifier(2, start=z), 3, refine_rounds=1).fit(frame, names)
    assert model.predict_proba(frame).shape == (900, 3)
    assert model.classes_.tolist() == ["maybe", "no", "yes"]
    assert model.score(frame, names) > 0.5
    assert model.feature_names_in_.tolist() == ["a", "b"]
    thin = AggregatedMoEClassifier(MoEClassifier(2, start=z), 3).fit(sparse.csr_array(X), names)
    assert thin.predict(sparse.csr_array(X)).shape == (900,)


def test_scores_are_those_of_the_combined_model_also_over_blocks(fitted):
    weight = np.tile([0.0, 1.0, 2.0], N // 3)
    plain = r2_score(Y, fitted.predict(X), sample_weight=weight)
    assert_allclose(fitted.score(X, Y, weight), plain, rtol=1e-12)
    assert_allclose(fitted.score(ArrayDataset(X, Y, weight=weight, block_rows=500)), plain)
    array = pytest.importorskip("dask.array")
    cut = [array.from_array(values, chunks=500) for values in (Y, weight)]
    assert_allclose(fitted.score(array.from_array(X, chunks=(500, -1)), *cut), plain)
    X_c, y_c, z = classification(900, 0)
    model = AggregatedMoEClassifier(MoEClassifier(2, start=z), 3).fit(X_c, y_c)
    share = np.mean(model.predict(X_c) == y_c)
    assert_allclose([model.score(X_c, y_c), model.score(ArrayDataset(X_c, y_c))], share)


def test_scikit_learn_tools_take_it():
    model = AggregatedMoERegressor(MoERegressor(2), 2, support_size=200)
    assert cross_val_score(model, X[:300], Y[:300], cv=2).shape == (2,)
    with pytest.raises(NotFittedError):
        clone(model).predict(X)


def test_one_warning_for_all_local_fits():
    short = MoERegressor(4, start=Z % 2, solver=EM(max_passes=2))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        AggregatedMoERegressor(short, 3).fit(X, Y)
    assert [w.category for w in caught] == [ConvergenceWarning]
    assert "3 of 3 local fits ended as MAX_PASSES" in str(caught[0].message)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"method": "median"}, "method must be one of"),
        ({"estimator": 3}, "estimator must be a MoERegressor or None; got 3"),
        ({"estimator": MoEClassifier(2)}, "estimator must be a MoERegressor or None"),
        ({"n_partitions": 0}, "n_partitions must be an integer from 1 to 600"),
        ({"refine_rounds": -1}, "refine_rounds must be"),
        ({"refine_step": "none"}, "refine_step must be"),
        ({"support": "columns"}, "support must be"),
        ({"estimator": MoERegressor(4, start=Z, gate="constant")}, "softmax gate"),
    ],
)
def test_wrong_settings_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        AggregatedMoERegressor(**{"estimator": LOCAL, **settings}).fit(X, Y)


def test_families_that_cannot_be_combined_are_refused_before_any_fit(monkeypatch):
    monkeypatch.setattr(MoERegressor, "fit", None)
    with pytest.raises(ValueError, match="got PoissonExpert"):
        AggregatedMoERegressor(MoERegressor(2, expert="poisson")).fit(X, np.abs(np.round(Y)))
    tied = MoERegressor(2, expert=GaussianExpert(tied_scale=True))
    with pytest.raises(ValueError, match="got tied_scale=True"):
        AggregatedMoERegressor(tied).fit(X, Y)


def test_a_partition_that_cannot_be_fitted_is_named():
    labels = np.zeros(N, dtype=int)
    labels[5:7] = 1
    with pytest.raises(ValueError, match="Partition 1, of 2 rows: n_experts=4 needs"):
        AggregatedMoERegressor(MoERegressor(4, start=Z)).fit(X, Y, partitions=labels)


def test_a_partition_of_one_class_is_named_with_what_to_do():
    X, y, z = classification(300, 0)
    labels = np.where(y == 1, 1, 0)
    with pytest.raises(ValueError, match=r"Partition 1, of .*two classes.*merge the partition"):
        AggregatedMoEClassifier(MoEClassifier(2, start=z)).fit(X, y, partitions=labels)


def test_datasets_of_blocks_are_refused():
    for given, name in ((ArrayDataset(X, Y), "ArrayDataset"), ("rows", "the path 'rows'")):
        with pytest.raises(ValueError, match=rf"got {name}\. Fit one .*LocalFit.of\(model.fit"):
            AggregatedMoERegressor(MoERegressor(2)).fit(given, None)


def test_passes_over_mini_batches_are_no_bad_ending():
    model = MoERegressor(2, solver=OnlineEM(n_epochs=1, batch_size=200))
    assert len(AggregatedMoERegressor(model, 2).fit(X, Y).local_fits_) == 2  # without a warning


def test_labels_that_do_not_match_are_refused():
    with pytest.raises(ValueError, match="one label per row"):
        AggregatedMoERegressor(LOCAL).fit(X, Y, partitions=LABELS[:-1])


@pytest.mark.parametrize("kind", ["array", "frame"])
def test_dask_partitions_are_fitted_where_they_are(kind):
    dask = pytest.importorskip("dask")
    chunks = (N // 3, -1)
    if kind == "array":
        array = pytest.importorskip("dask.array")
        X_cut, y_cut = array.from_array(X, chunks=chunks), array.from_array(Y, chunks=N // 3)
    else:
        frames = pytest.importorskip("dask.dataframe")
        table = pd.DataFrame(X, columns=["a", "b", "c"]).assign(y=Y)
        cut = frames.from_pandas(table, npartitions=3)
        X_cut, y_cut = cut[["a", "b", "c"]], cut["y"]
    settings = {"refine_rounds": 1, "support": X}
    with dask.config.set(scheduler="synchronous"):
        one = AggregatedMoERegressor(QUICK, **settings).fit(X_cut, y_cut)
        drawn = AggregatedMoERegressor(QUICK, support_size=300).fit(X_cut, y_cut)
    labels = np.repeat([0, 1, 2], N // 3)
    other = AggregatedMoERegressor(QUICK, **settings).fit(X, Y, partitions=labels)
    assert_allclose(one.estimator_.coef_, other.estimator_.coef_, rtol=1e-6, atol=1e-8)
    assert one.inference().bse.notna().all()
    assert drawn.aggregation_.n_support == 300
    if kind == "frame":
        assert one.feature_names_in_.tolist() == ["a", "b", "c"]
    with pytest.raises(ValueError, match="leave it out"):
        AggregatedMoERegressor(QUICK).fit(X_cut, y_cut, partitions=labels)


def test_empty_dask_partitions_are_left_out():
    dask = pytest.importorskip("dask")
    frames = pytest.importorskip("dask.dataframe")
    table = pd.DataFrame(X, columns=["a", "b", "c"]).assign(y=Y, w=1.0)
    table.loc[table.index >= 2 * N // 3, "w"] = 0.0
    cut = frames.from_pandas(table, npartitions=3)
    some = cut.map_partitions(
        lambda rows: rows[rows.index >= N // 3]
    )  # none of the first partition
    columns = ["a", "b", "c"]
    with dask.config.set(scheduler="synchronous"):
        settings = {"support_size": 300, "refine_rounds": 1}
        model = AggregatedMoERegressor(QUICK, **settings).fit(some[columns], some["y"])
        weighted = clone(model).fit(cut[columns], cut["y"], cut["w"])
        with pytest.raises(ValueError, match="All of 3 partitions are empty"):
            none = cut.map_partitions(lambda rows: rows[rows.index < 0])
            clone(model).fit(none[columns], none["y"])
    assert [fit.n_rows for fit in model.local_fits_] == [N // 3] * 2
    assert model.aggregation_.n_support == 300
    assert model.estimator_.n_units_ == 2 * N // 3
    assert [fit.n_rows for fit in weighted.local_fits_] == [N // 3] * 2
