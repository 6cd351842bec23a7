"""One Gaussian expert with random effects is the linear mixed model of statsmodels."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose
from statsmodels.regression.mixed_linear_model import MixedLM

from mixexp import MixedEffectsMoERegressor


@pytest.mark.parametrize("slope", [False, True])
def test_one_gaussian_expert_is_a_linear_mixed_model(slope):
    rng = np.random.default_rng(1)
    group = np.repeat(np.arange(40), 8)
    x = rng.standard_normal(320)
    effects = rng.standard_normal((40, 2)) * [1.0, 0.5]
    y = 1 + 2 * x + effects[group, 0] + slope * effects[group, 1] * x + rng.standard_normal(320)
    fixed = np.column_stack([np.ones(320), x])
    wanted = MixedLM(y, fixed, group, exog_re=fixed if slope else None).fit(reml=False)
    terms = ("1", 0) if slope else ("1",)
    model = MixedEffectsMoERegressor(1, expert_random=terms).fit(x[:, None], y, groups=group)
    assert_allclose(model.loglik_, wanted.llf, atol=1e-4)
    assert_allclose([model.intercept_[0], model.coef_[0, 0]], wanted.fe_params, atol=1e-4)
    assert_allclose(model.dispersion_, np.sqrt(wanted.scale), rtol=1e-3)
    deviations = model.variance_components_["estimate"].iloc[: 2 if slope else 1]
    assert_allclose(deviations, np.sqrt(np.diag(np.asarray(wanted.cov_re))), rtol=1e-3)
