"""Shared slopes and dispersions: shared at every point of a fit, wherever the start stood."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from mixexp import GammaExpert, GaussianExpert, MoERegressor, PoissonExpert
from mixexp.datasets import load_ethanol
from mixexp.experts import GLMParams

SHARED = [
    GaussianExpert(tied="all"),
    GaussianExpert(tied_scale=True),
    GaussianExpert(tied=[1], tied_scale=True),
    GammaExpert(tied="all"),
    GammaExpert(tied_shape=True),
    PoissonExpert(tied=[0]),
]


def assert_shared(expert, coef, dispersion) -> None:
    """coef (K, p) of the slopes and dispersion (K,) are equal over the experts where tied."""
    columns = [] if expert.tied is None else expert.tied
    columns = slice(None) if isinstance(columns, str) else columns
    assert_array_equal(coef[:, columns], np.broadcast_to(coef[0, columns], coef[:, columns].shape))
    if expert.ties_dispersion:
        assert_array_equal(dispersion, np.full_like(dispersion, dispersion[0]))


@pytest.mark.parametrize("expert", SHARED, ids=repr)
def test_any_vector_is_brought_to_shared_parameters(expert, rng) -> None:
    params = GLMParams(rng.normal(size=(3, 1, 3)), rng.uniform(0.5, 2, size=(3, 1)))
    found = expert.unpack(expert.pack(params), params)
    assert_shared(expert, found.coef[:, 0, 1:], found.dispersion[:, 0])


@pytest.mark.parametrize("expert", SHARED, ids=repr)
def test_fit_from_the_default_start_shares_and_converges(expert) -> None:
    X, y = load_ethanol(return_X_y=True)
    y = np.round(4 * y) if isinstance(expert, PoissonExpert) else y
    model = MoERegressor(2, gate="constant", expert=expert).fit(X, y)
    assert model.converged_
    dispersion = np.ones(2) if model.dispersion_ is None else model.dispersion_
    assert_shared(expert, model.coef_, dispersion)
