"""What leaves a partition, and its file."""

from __future__ import annotations

import pickle

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from mixexp import L2, GaussianExpert, MoEClassifier, MoERegressor, SoftmaxGate
from mixexp._persistence import PersistenceError, load_tree, save_tree
from mixexp.distributed import LocalFit
from mixexp.em.model import MoEModel
from mixexp.em.rows import Rows, Scaling
from tests.unit.distributed.partitioned import (
    classification,
    labels_in_another_order,
    local_regression,
    regression,
)


@pytest.fixture(scope="module")
def regressor():
    X, y, z = regression(300, 0)
    return MoERegressor(4, start=labels_in_another_order(z, 4, 0)).fit(X, y), X, y


def same(one, other):
    for name in LocalFit.__dataclass_fields__:
        a, b = getattr(one, name), getattr(other, name)
        if name == "moments" and a is not None:
            for left, right in zip(a, b, strict=True):
                assert_array_equal(left, right)
        else:
            assert_array_equal(a, b, err_msg=name)


def test_parameters_are_those_of_the_model_on_plain_columns(regressor):
    model, X, y = regressor
    fit = LocalFit.of(model)
    plain = MoEModel(
        SoftmaxGate(), GaussianExpert(), 4, np.arange(3), np.arange(3), Scaling.identity(3, 1)
    )
    rows = Rows(X, y[:, None])
    assert_allclose(plain.log_prob(fit.params, rows), model.log_prob(X, y), rtol=1e-9)


def test_temperature_is_divided_out():
    X, y, z = regression(300, 0)
    start = labels_in_another_order(z, 4, 0)
    warm = MoERegressor(4, gate=SoftmaxGate(temperature=0.5), start=start).fit(X, y)
    logits = X @ LocalFit.of(warm).gate_coef[:, 1:].T + LocalFit.of(warm).gate_coef[:, 0]
    prob = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    assert_allclose(prob, warm.gate_proba(X), rtol=1e-8)


@pytest.mark.parametrize("with_moments", [False, True])
def test_file_round_trip(regressor, tmp_path, with_moments):
    model, X, _ = regressor
    fit = LocalFit.of(model, X if with_moments else None)
    fit.save(tmp_path / "a.mixexp")
    same(fit, LocalFit.load(tmp_path / "a.mixexp"))


def test_text_labels_and_names_round_trip(tmp_path):
    X, y, z = classification(300, 0)
    frame = pd.DataFrame(X, columns=["dose", "age"])
    model = MoEClassifier(2, start=z).fit(frame, np.array(["a", "b", "c"], dtype=object)[y])
    fit = LocalFit.of(model, frame)
    fit.save(tmp_path / "a.mixexp")
    again = LocalFit.load(tmp_path / "a.mixexp")
    assert again.classes.tolist() == ["a", "b", "c"]
    assert again.feature_names.tolist() == ["dose", "age"]


def test_the_file_does_not_grow_with_the_rows(tmp_path):
    sizes = []
    for n in (300, 1200):
        fit = local_regression(*regression(n, 0))
        fit.save(tmp_path / "a.mixexp")
        sizes.append((tmp_path / "a.mixexp").stat().st_size)
    assert abs(sizes[0] - sizes[1]) < 50  # digits of numbers in the manifest


def test_moments_leave_only_where_asked(regressor):
    model, X, _ = regressor
    assert LocalFit.of(model).moments is None
    moments = LocalFit.of(model, X).moments
    assert_allclose(moments.mean, X.mean(axis=0))
    assert_allclose(moments.covariance, np.cov(X, rowvar=False, bias=True))


def test_moments_take_the_weights_of_the_fit(regressor):
    model, X, _ = regressor
    weight = np.tile([0.0, 1.0, 2.0], 100)
    moments = LocalFit.of(model, X, weight).moments
    repeated = np.repeat(X, weight.astype(int), axis=0)
    assert_allclose(moments.mean, repeated.mean(axis=0))
    assert_allclose(moments.covariance, np.cov(repeated, rowvar=False, bias=True))
    with pytest.raises(ValueError, match="got no X"):
        LocalFit.of(model, sample_weight=weight)
    with pytest.raises(ValueError, match="zero"):
        LocalFit.of(model, X, np.zeros(300))


def test_foreign_files_are_refused(regressor, tmp_path):
    model, _, _ = regressor
    path = tmp_path / "a.mixexp"
    path.write_bytes(pickle.dumps({"a": 1}))
    with pytest.raises(PersistenceError, match="pickle"):
        LocalFit.load(path)
    model.save(path)
    with pytest.raises(PersistenceError, match="local fit"):
        LocalFit.load(path)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("coef", np.zeros((4, 1, 9))),
        ("scale", np.zeros((4, 1))),
        ("gate_coef", np.full((4, 4), np.nan)),
        ("gate_columns", np.array([0, 1, 7])),
        ("n_rows", 0.0),
        ("family", "poisson"),
    ],
)
def test_files_with_impossible_values_are_refused(regressor, tmp_path, field, value):
    LocalFit.of(regressor[0]).save(tmp_path / "a.mixexp")
    tree, _ = load_tree(tmp_path / "a.mixexp", kind="local fit")
    save_tree(tmp_path / "b.mixexp", {**tree, field: value}, kind="local fit", version="0")
    with pytest.raises(PersistenceError, match="save it again"):
        LocalFit.load(tmp_path / "b.mixexp")


def test_a_class_that_no_row_showed_has_less_than_half_a_row():
    X, y, z = classification(300, 0)
    seen = y < 2
    model = MoEClassifier(2, start=z[seen]).fit(X[seen], y[seen])
    fit = LocalFit.of(model)
    wide = fit.with_classes(np.array([0, 1, 2]))
    logits = np.einsum("kcp,np->nkc", wide.coef[:, :, 1:], X) + wide.coef[:, :, 0]
    prob = np.exp(logits) / np.exp(logits).sum(axis=2, keepdims=True)
    assert prob[:, :, 2].max() < 0.5 / fit.n_rows
    among = prob[:, :, :2] / prob[:, :, :2].sum(axis=2, keepdims=True)
    assert_allclose(among, model.predict_experts(X), rtol=1e-8)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"gate": "constant"}, "softmax gate"),
        ({"gate": SoftmaxGate(transform="tanh")}, "with a transform"),
        ({"expert": "student"}, "Gaussian experts on the identity link"),
        ({"expert": GaussianExpert(degree=2)}, "PolynomialFeatures"),
    ],
)
def test_models_that_cannot_be_combined_are_refused_by_name(settings, message):
    X, y, z = regression(200, 0, K=2)
    model = MoERegressor(2, start=z, **settings).fit(X, y)
    with pytest.raises(ValueError, match=message):
        LocalFit.of(model)


def test_penalised_fits_are_taken():
    X, y, z = regression(200, 0, K=2)
    model = MoERegressor(2, start=z, expert=GaussianExpert(penalty=L2(0.01))).fit(X, y)
    assert LocalFit.of(model).n_experts == 2
