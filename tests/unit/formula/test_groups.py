"""Groups of rows that share one expert, named by a column of the data."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from mixexp import FormulaMoE, MoERegressor, load, moe


@pytest.fixture
def frame(rng):
    import pandas as pd

    who = np.repeat(np.arange(40), 4)
    dose = rng.standard_normal(160)
    slope = np.where(np.arange(40) % 2 == 1, 2.0, -1.0)
    gain = slope[who] * dose + rng.standard_normal(160)
    age = rng.standard_normal(40) + np.arange(40) % 2
    names = [f"s{i}" for i in who]
    return pd.DataFrame({"gain": gain, "dose": dose, "age": age[who], "who": names})


def test_the_column_enters_the_fit_and_what_reads_the_response(frame, tmp_path):
    model = moe("gain ~ dose | age", frame, groups="who")
    X = frame[["dose", "age"]].to_numpy()
    plain = MoERegressor(2, expert_features=[0], gate_features=[1])
    plain.fit(X, frame["gain"], groups=frame["who"])
    assert_allclose(model.loglik_, plain.loglik_, rtol=1e-12)
    assert model.fit_summary_.n_units == 40
    resp = plain.responsibilities(X, frame["gain"], groups=frame["who"])
    assert_allclose(model.responsibilities(frame), resp, rtol=1e-8)
    assert_allclose(model.log_prob(frame).sum(), plain.loglik_, rtol=1e-10)
    new = frame[["dose", "age"]]
    assert model.predict(new).shape == model.sample(new, 0).shape == (160,)
    assert_array_equal(model.sample(frame, 0), plain.sample(X, 0, groups=frame["who"]))
    model.save(tmp_path / "fit")
    again = load(tmp_path / "fit")
    assert again.groups == "who"
    assert_array_equal(again.responsibilities(frame), model.responsibilities(frame))


def test_the_dot_leaves_the_labels_out(frame):
    model = FormulaMoE("gain ~ . - age | age", groups="who").fit(frame)
    assert list(model.coef_.columns) == ["(intercept)", "dose"]


def test_rows_without_a_label_are_dropped_or_refused(frame):
    frame.loc[3, "who"] = None
    assert moe("gain ~ dose | 1", frame, groups="who").n_dropped_ == 1
    with pytest.raises(ValueError, match="who"):
        moe("gain ~ dose | 1", frame, groups="who", missing="raise")
    with pytest.raises(ValueError, match="groups"):
        moe("gain ~ dose | 1", frame, groups="where")
    with pytest.raises(ValueError, match="'dose' is .* in group"):
        moe("gain ~ dose", frame, groups="who")


def test_standard_errors_are_those_of_the_groups_of_the_fit(frame):
    model = moe("gain ~ dose | age", frame, groups="who")
    X = frame[["dose", "age"]].to_numpy()
    plain = MoERegressor(2, expert_features=[0], gate_features=[1])
    plain.fit(X, frame["gain"], groups=frame["who"])
    wanted = plain.inference(X, frame["gain"], groups=frame["who"])
    result = model.inference(frame)
    assert result.n_obs == 40
    assert_allclose(result.bse, wanted.bse, rtol=1e-5)
