"""Rows that share one expert, against R's flexmix 2.3-18.

The best of 20 starts of ``flexmix(yp ~ x | id, k = 2, model = FLXMRglm(family = "poisson"))``, to a
tolerance of 1e-15, on flexmix's own data ``NPreg``, whose groups of two and of four rows are in
``NPreg_groups.csv``; standard errors by ``refit``.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

from mixexp import MoERegressor

pytestmark = pytest.mark.reference
DATA = Path(__file__).parent / "data"


class Reference(NamedTuple):
    """Experts in the order of their intercepts; (intercept, slope) and their standard errors."""

    loglik: float
    bic: float
    coef: list
    std_err: list
    gate: list


CASES = {
    "id2": Reference(
        -420.08138294678,
        866.6543527263,
        [[1.0394667833, 0.0937430622], [1.9282338899, -0.1748684278]],
        [[0.1237308438, 0.0199052241], [0.0966857886, 0.0221870508]],
        [0.4650685623, 0.5349314377],
    ),
    "id1": Reference(
        -432.63105058782,
        891.75368800838,
        [[1.0819947522, 0.0856402123], [2.0081968712, -0.1830307765]],
        [[0.1241090035, 0.0219619488], [0.1321520919, 0.0318320877]],
        [0.4817301831, 0.5182698169],
    ),
}


@pytest.mark.parametrize("group", CASES)
def test_poisson_experts_of_groups(group):
    wanted = CASES[group]
    frame = pd.read_csv(DATA / "NPreg.csv")
    groups = pd.read_csv(DATA / "NPreg_groups.csv")[group]
    model = MoERegressor(2, expert="poisson", gate="constant")
    model.fit(frame[["x"]], frame["yp"], groups=groups)
    order = np.argsort(model.intercept_)
    found = np.column_stack([model.intercept_, model.coef_])[order]
    assert_allclose(model.loglik_, wanted.loglik, atol=1e-5)
    assert_allclose(found, wanted.coef, atol=2e-4)
    assert_allclose(model.gate_proba(frame[["x"]])[0, order], wanted.gate, atol=2e-4)
    by_rows = -2 * model.loglik_ + np.log(len(frame)) * model.n_free_
    assert_allclose(by_rows, wanted.bic, atol=1e-4)  # flexmix counts rows, not groups
    errors = model.inference(frame[["x"]], frame["yp"], groups=groups).bse
    for k, own in zip(order, wanted.std_err, strict=True):
        assert_allclose(errors[[f"expert {k}: (intercept)", f"expert {k}: x"]], own, rtol=2e-3)
