"""Predictions of Dask collections: lazy, cut as X, and with the values of the rows in memory."""

from __future__ import annotations

import copy

import numpy as np
import pandas as pd
import pytest

from mixexp import MoEClassifier, MoERegressor

dask = pytest.importorskip("dask")
da = pytest.importorskip("dask.array")
dd = pytest.importorskip("dask.dataframe")

pytestmark = pytest.mark.usefixtures("in_this_process")


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    table = pd.DataFrame(rng.normal(size=(60, 2)), columns=["a", "b"], index=np.arange(60) * 2)
    table["y"] = np.where(table.a > 0, 1 + table.b, -table.b) + 0.1 * rng.normal(size=60)
    table["count"] = rng.poisson(np.exp(0.3 * table.a))
    table["label"] = np.where(table.y > 0, "high", "low")
    return table


@pytest.fixture(scope="module")
def regressor(table):
    return MoERegressor(n_experts=2).fit(table[["a", "b"]], table["y"])


@pytest.fixture(scope="module")
def classifier(table):
    return MoEClassifier(n_experts=1).fit(table[["a", "b"]], table["label"])


CALLS = {
    "predict": lambda model, X, y: model.predict(X),
    "predict_std": lambda model, X, y: model.predict_std(X),
    "predict_quantile": lambda model, X, y: model.predict_quantile(X, [0.1, 0.5]),
    "predict_interval": lambda model, X, y: model.predict_interval(X),
    "predict_experts": lambda model, X, y: model.predict_experts(X),
    "predict_component": lambda model, X, y: model.predict_component(X),
    "gate_proba": lambda model, X, y: model.gate_proba(X),
    "responsibilities": lambda model, X, y: model.responsibilities(X, y),
    "log_prob": lambda model, X, y: model.log_prob(X, y),
    "cdf": lambda model, X, y: model.cdf(X, y),
}


def _check(lazy, eager, chunks=None) -> None:
    """The lazy collection says of itself what it is, and has the values."""
    assert dask.is_dask_collection(lazy)
    assert lazy.dtype == eager.dtype
    found = lazy.compute()
    assert found.dtype == eager.dtype
    if chunks is not None:
        assert lazy.chunks[0] == chunks
        assert lazy.shape == eager.shape
    np.testing.assert_array_equal(found, eager)


@pytest.mark.parametrize("name", CALLS)
def test_of_arrays(regressor, table, name) -> None:
    values = table[["a", "b", "y"]].to_numpy()
    model = copy.copy(regressor)
    del model.feature_names_in_
    eager = CALLS[name](model, values[:, :2], values[:, 2])
    X = da.from_array(values[:, :2], chunks=((20, 0, 40), (1, 1)))
    lazy = CALLS[name](model, X, da.from_array(values[:, 2], chunks=7))
    _check(lazy, eager, (20, 0, 40))
    unknown = dd.from_pandas(table, npartitions=3).to_dask_array()[:, :3].astype(float)
    _check(CALLS[name](model, unknown[:, :2], unknown[:, 2]), eager)


@pytest.mark.parametrize("name", CALLS)
def test_of_frames(regressor, table, name) -> None:
    eager = CALLS[name](regressor, table[["a", "b"]], table["y"])
    frame = dd.from_pandas(table, npartitions=4)
    lazy = CALLS[name](regressor, frame[["a", "b"]], frame["y"])
    _check(lazy, eager)
    if eager.ndim == 1:
        assert lazy.divisions == frame.divisions
        assert lazy.compute().index.equals(table.index)


@pytest.mark.parametrize("name", ["predict", "predict_proba", "predict_experts"])
def test_of_classes(classifier, table, name) -> None:
    eager = getattr(classifier, name)(table[["a", "b"]])
    frame = dd.from_pandas(table, npartitions=4)
    found = getattr(classifier, name)(frame[["a", "b"]]).compute()
    np.testing.assert_array_equal(found, eager)
    found = classifier.log_prob(frame[["a", "b"]], frame["label"]).compute()
    np.testing.assert_array_equal(found, classifier.log_prob(table[["a", "b"]], table["label"]))


def test_row_wise_inputs_and_empty_partitions(table) -> None:
    exposure = np.exp(table["b"])
    model = MoERegressor(n_experts=1, expert="poisson")
    model.fit(table[["a"]], table["count"], exposure=exposure)
    frame = dd.from_pandas(table.assign(exposure=exposure, late=table.index > 40), npartitions=4)
    frame = frame[frame.late]  # partitions without rows among them
    lazy = model.predict(frame[["a"]], exposure=frame["exposure"])
    some = table.loc[42:]
    eager = model.predict(some[["a"]], exposure=exposure.loc[42:])
    np.testing.assert_array_equal(lazy.compute(), eager)
    lazy = model.predict(frame[["a"]], exposure=2.0)
    np.testing.assert_array_equal(lazy.compute(), model.predict(some[["a"]], exposure=2.0))


def test_a_later_fit_does_not_change_them(table) -> None:
    model = MoERegressor(n_experts=1).fit(table[["a", "b"]], table["y"])
    eager = model.predict(table[["a", "b"]])
    lazy = model.predict(dd.from_pandas(table, npartitions=2)[["a", "b"]])
    model.fit(table[["a", "b"]], -table["y"])
    np.testing.assert_array_equal(lazy.compute(), eager)


def test_score(regressor, table) -> None:
    frame = dd.from_pandas(table, npartitions=3)
    expected = regressor.score(table[["a", "b"]], table["y"])
    assert regressor.score(frame[["a", "b"]], frame["y"]) == expected


def test_columns_are_checked_before_anything_is_computed(regressor, table) -> None:
    frame = dd.from_pandas(table, npartitions=3)
    with pytest.raises(ValueError, match="feature names should match"):
        regressor.predict(frame[["b", "a"]])
    with pytest.raises(ValueError, match="feature names should match"):
        regressor.predict(frame[["a", "b", "y"]])
    with pytest.raises(ValueError, match=r"groups= is not available for Dask collections"):
        regressor.log_prob(frame[["a", "b"]], frame["y"], groups=frame["label"])
    plain = copy.copy(regressor)
    del plain.feature_names_in_
    with pytest.raises(ValueError, match="X has 3 features, but MoERegressor is expecting 2"):
        plain.predict(da.ones((10, 3)))
    with pytest.raises(ValueError, match="y has 9 rows and X has 10"):
        plain.log_prob(da.ones((10, 2)), da.ones(9))


def test_a_dataset_is_asked_for_in_words_of_dask(regressor, table) -> None:
    X = dd.from_pandas(table[["a", "b"]], npartitions=2)
    with pytest.raises(ValueError, match=r"got a Dask DataFrame\..* log_prob\(X\) is a lazy"):
        regressor.predict_to(X, "out.parquet", "log_prob")
