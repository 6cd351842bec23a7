"""Experts that separate their rows: named by inference, which holds for all others."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose

from mixexp import MoEClassifier, MoERegressor, NotRegularError


@pytest.fixture(scope="module")
def rows():
    """Two regions in x1: in one x0 decides at .2, in the other log odds are .5 + x0."""
    rng = np.random.default_rng(1)
    X = rng.normal(size=(600, 2))
    sharp = rng.random(600) < 1 / (1 + np.exp(-2 * X[:, 1]))
    likely = rng.random(600) < 1 / (1 + np.exp(-0.5 - X[:, 0]))
    return X, np.where(sharp, X[:, 0] > 0.2, likely).astype(int)


COLUMNS = {"expert_features": [0], "gate_features": [1]}


@pytest.mark.parametrize(
    ("model", "names"),
    [
        (MoERegressor(2, expert="binomial", **COLUMNS), "expert {}: {}"),
        (MoEClassifier(2, **COLUMNS), "expert {}, class 1 vs 0: {}"),
        pytest.param(
            MoEClassifier(2, expert="ordinal", **COLUMNS),
            "expert {}: {}",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_the_separated_expert_is_named_and_the_other_has_standard_errors(rows, model, names):
    X, y = rows
    model.fit(X, y)
    sharp = int(np.argmax(np.ptp(model.predict_experts(X).reshape(600, 2, -1)[..., -1], axis=0)))
    lost = [names.format(sharp, "x0")]
    with pytest.raises(NotRegularError, match="An expert separates its rows") as caught:
        model.inference(X, y)
    message = str(caught.value)
    assert lost[0] in message and names.format(1 - sharp, "x0") not in message
    held = eval(message.split("hold=")[1].split("]")[0] + "]")  # as the message says
    found = model.inference(X, y, hold=held)
    other = names.format(1 - sharp, "x0")
    assert abs(found.params[other] - 1) < 3 * found.bse[other] < 1
    assert np.isnan(found.bse[lost[0]]) or found.bse[lost[0]] == 0


def test_steep_slopes_that_rows_determine_have_standard_errors():
    rng = np.random.default_rng(2)
    X = rng.normal(size=(4000, 1))
    y = (rng.random(4000) < 1 / (1 + np.exp(-12 * X[:, 0]))).astype(float)
    found = MoERegressor(1, expert="binomial").fit(X, y).inference(X, y)
    assert_allclose(found.params["expert 0: x0"], 12, atol=4 * found.bse["expert 0: x0"])
