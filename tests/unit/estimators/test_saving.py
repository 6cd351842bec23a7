"""`save` and `load`: bit-identical predictions, nothing executed, damage and newer files named."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

import mixexp
from mixexp import EM, L2, GaussianExpert, MoEClassifier, MoERegressor, MultiStart, SoftmaxGate
from mixexp._persistence import PersistenceError
from tests.contracts.cases import pairs, problem

FIXTURE = Path(__file__).parents[2] / "data" / "estimator_v1.mixexp"
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def fitted(case):
    cls = MoEClassifier if case.expert.classifies else MoERegressor
    model = cls(gate=case.gate, expert=case.expert, start=case.labels(), solver=EM(max_passes=50))
    inputs = {} if case.expert.classifies else case.inputs
    return model.fit(case.rows.X, case.y, **inputs), inputs


def reloaded(model, tmp_path):
    model.save(tmp_path / "model.mixexp")
    return mixexp.load(tmp_path / "model.mixexp")


@pairs
def test_a_loaded_model_predicts_bit_for_bit(gate, family, link, tmp_path):
    case = problem(gate, family, link, n=60)
    model, inputs = fitted(case)
    copy = reloaded(model, tmp_path)
    X = case.rows.X
    assert np.array_equal(copy.predict(X, **inputs), model.predict(X, **inputs))
    assert np.array_equal(copy.log_prob(X, case.y, **inputs), model.log_prob(X, case.y, **inputs))


@pytest.fixture
def model():
    rng = np.random.default_rng(0)
    X = pd.DataFrame(rng.standard_normal((60, 2)), columns=["a", "b"])
    y = np.where(X["a"] > 0, X["b"], -X["b"]) + 0.3 * rng.standard_normal(60)
    start = MultiStart(n_starts=0.1, max_rounds=1)
    gate = SoftmaxGate(penalty=L2(0.01))
    expert = GaussianExpert(tied_scale=True)
    return MoERegressor(2, gate=gate, expert=expert, gate_features=["a"], start=start).fit(X, y)


ATTRIBUTES = [
    "coef_",
    "intercept_",
    "dispersion_",
    "gate_coef_",
    "gate_intercept_",
    "objective_path_",
    "expert_sizes_",
    "feature_names_in_",
]


@pytest.mark.parametrize("name", ATTRIBUTES)
def test_fitted_arrays_are_kept(model, tmp_path, name):
    assert np.array_equal(getattr(reloaded(model, tmp_path), name), getattr(model, name))


PLAIN = ["loglik_", "n_free_", "status_", "converged_", "n_iter_", "n_features_in_", "certificate_"]


@pytest.mark.parametrize("name", PLAIN)
def test_fitted_values_are_kept(model, tmp_path, name):
    assert getattr(reloaded(model, tmp_path), name) == getattr(model, name)


def test_the_parameters_are_kept(model, tmp_path):
    assert repr(reloaded(model, tmp_path).get_params()) == repr(model.get_params())


def test_the_table_of_starts_is_kept(model, tmp_path):
    pd.testing.assert_frame_equal(reloaded(model, tmp_path).starts_, model.starts_)


def test_the_summary_is_kept(model, tmp_path):
    assert str(reloaded(model, tmp_path)) == str(model)


@pytest.mark.parametrize("classes", [["no", "yes"], [3, 7], [False, True]], ids=str)
def test_class_labels_are_kept(tmp_path, classes):
    X = np.random.default_rng(0).standard_normal((40, 1))
    y = np.array(classes)[(X[:, 0] + np.random.default_rng(1).standard_normal(40) > 0).astype(int)]
    model = MoEClassifier(1).fit(X, y)
    copy = reloaded(model, tmp_path)
    assert np.array_equal(copy.predict(X), model.predict(X))
    assert copy.classes_.tolist() == classes


def test_a_model_on_arrays_of_responses(tmp_path):
    rng = np.random.default_rng(0)
    X, Y = rng.standard_normal((50, 2)), rng.standard_normal((50, 2))
    model = MoERegressor(1).fit(X, Y)
    assert np.array_equal(reloaded(model, tmp_path).predict(X), model.predict(X))


def test_a_loaded_model_can_be_saved_again(model, tmp_path):
    copy = reloaded(model, tmp_path)
    assert np.array_equal(reloaded(copy, tmp_path).coef_, model.coef_)


def test_a_loaded_model_can_be_fitted_again(model, tmp_path):
    copy = reloaded(model, tmp_path)
    rng = np.random.default_rng(1)
    X = pd.DataFrame(rng.standard_normal((40, 2)), columns=["a", "b"])
    assert np.isfinite(copy.fit(X, rng.standard_normal(40)).coef_).all()


def test_a_loaded_online_model_goes_on_where_it_was(tmp_path):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((90, 1))
    y = np.abs(X[:, 0]) + 0.3 * rng.standard_normal(90)
    model = MoERegressor(2, start=MultiStart(n_starts=0.1, max_rounds=1))
    model.partial_fit(X[:50], y[:50]).partial_fit(X[50:70], y[50:70])
    copy = reloaded(model, tmp_path)
    for one in (model, copy):
        one.partial_fit(X[70:], y[70:])
    assert copy.n_iter_ == 3
    assert np.array_equal(copy.coef_, model.coef_)


def test_a_model_with_a_checkpoint_can_be_saved(tmp_path):
    X = np.random.default_rng(0).standard_normal((30, 1))
    model = MoERegressor(1, solver=EM(checkpoint=tmp_path / "c")).fit(X, X[:, 0] ** 2)
    assert reloaded(model, tmp_path).solver.checkpoint == str(tmp_path / "c")


def test_class_weights_are_kept(tmp_path):
    X = np.random.default_rng(0).standard_normal((30, 1))
    model = MoEClassifier(1, class_weight={0: 1.0, 1: 2.5}).fit(X, np.arange(30) % 2)
    assert reloaded(model, tmp_path).class_weight == {0: 1.0, 1: 2.5}


@pytest.mark.parametrize("cut", [0, 1, 100, -1, -40])
def test_a_truncated_file_is_named(model, tmp_path, cut):
    path = tmp_path / "model.mixexp"
    model.save(path)
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(PersistenceError, match="model.mixexp"):
        mixexp.load(path)


def test_no_flipped_byte_gives_another_model(model, tmp_path):
    path = tmp_path / "model.mixexp"
    model.save(path)
    whole = path.read_bytes()
    X = pd.DataFrame(np.random.default_rng(1).standard_normal((5, 2)), columns=["a", "b"])
    expected = model.predict(X)
    for place in np.random.default_rng(0).integers(0, len(whole), 40):
        damaged = bytearray(whole)
        damaged[place] ^= 0x10
        path.write_bytes(bytes(damaged))
        try:
            values = mixexp.load(path).predict(X)
        except PersistenceError:
            continue
        assert np.array_equal(values, expected), place


def test_an_unfitted_model_is_not_saved(tmp_path):
    from sklearn.exceptions import NotFittedError

    with pytest.raises(NotFittedError):
        MoERegressor().save(tmp_path / "model.mixexp")


def test_a_file_of_another_kind_is_refused(tmp_path):
    path = tmp_path / "other.mixexp"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("something.json", json.dumps({"a": 1}))
    with pytest.raises(PersistenceError):
        mixexp.load(path)


def test_a_checkpoint_is_not_a_model(tmp_path):
    X = np.random.default_rng(0).standard_normal((40, 1))
    MoERegressor(1, solver=EM(checkpoint=tmp_path / "c")).fit(X, X[:, 0] ** 2)
    with pytest.raises(PersistenceError, match="checkpoint"):
        mixexp.load(tmp_path / "c")


def test_the_stored_file_of_this_format_stays_loadable():
    """Written by version 0.1.0 from sixty rows; the numbers are those of that fit."""
    stored = mixexp.load(FIXTURE)
    X = pd.DataFrame({"a": [-1.0, 0.0, 1.0], "b": [1.0, 2.0, 0.0]})
    expected = json.loads(FIXTURE.with_suffix(".json").read_text())
    assert_allclose(stored.predict(X), expected["predict"], rtol=1e-12)
    assert stored.n_free_ == expected["n_free"]
    assert list(stored.feature_names_in_) == ["a", "b"]
