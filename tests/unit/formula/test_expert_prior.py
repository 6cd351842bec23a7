"""What is known of the rows' experts, beside a formula."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

from mixexp import MoERegressor, moe


@pytest.fixture
def known(rng):
    x = rng.standard_normal(80)
    kind = rng.integers(0, 2, 80)
    y = np.where(kind == 1, 1 + x, -1 - x) + 0.5 * rng.standard_normal(80)
    prior = np.ones((80, 2))
    prior[:30] = np.eye(2)[kind[:30]]
    return pd.DataFrame({"x": x, "y": y}), prior


@pytest.mark.parametrize("likelihood", ["evidential", "conditional"])
def test_it_enters_the_fit(known, likelihood):
    frame, prior = known
    given = {"expert_prior": prior, "prior_likelihood": likelihood}
    model = moe("y ~ x", frame, **given)
    plain = MoERegressor(2).fit(frame[["x"]], frame["y"], **given)
    assert_allclose(model.loglik_, plain.loglik_, rtol=1e-10)
    assert_allclose(model.coef_["x"], plain.coef_[:, 0], rtol=1e-8)
    resp = model.responsibilities(frame, expert_prior=prior)
    assert_allclose(resp[:30], prior[:30], atol=1e-12)


def test_rows_left_out_leave_theirs_out(known):
    frame, prior = known
    gaps = frame.copy()
    gaps.loc[[3, 40], "x"] = np.nan
    model = moe("y ~ x", gaps, expert_prior=prior)
    kept = gaps["x"].notna().to_numpy()
    assert model.n_dropped_ == 2
    assert_allclose(model.loglik_, moe("y ~ x", frame[kept], expert_prior=prior[kept]).loglik_)
    with pytest.raises(ValueError, match="expert_prior has 79 rows"):
        moe("y ~ x", gaps, expert_prior=prior[1:])
