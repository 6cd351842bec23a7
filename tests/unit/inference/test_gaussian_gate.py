"""Standard errors of a Gaussian gate, which models the columns too."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose

from mixexp import GaussianGate, MoERegressor


@pytest.fixture
def rows(rng):
    x = rng.normal(size=(300, 2)) + 2 * (rng.random((300, 1)) < 0.5)
    y = np.where(x[:, 0] > 1, 1 + x[:, 0], -x[:, 0]) + 0.4 * rng.normal(size=300)
    return x, y


def test_one_class_has_the_standard_errors_of_means_and_of_a_regression(rows):
    X, y = rows
    bse = MoERegressor(1, gate="gaussian").fit(X, y).inference(X, y).bse
    own = [bse[f"gate 0: centre of x{j}"] for j in range(2)]
    assert_allclose(own, X.std(axis=0) / np.sqrt(len(y)), rtol=1e-5)
    alone = MoERegressor(1).fit(X, y).inference(X, y).bse
    assert_allclose(bse[alone.index], alone, rtol=1e-5)


@pytest.mark.parametrize("covariance", ["full", "diagonal", "spherical"])
@pytest.mark.parametrize("tied", [False, True])
def test_as_many_parameters_are_reported_as_are_free(rows, covariance, tied):
    X, y = rows
    model = MoERegressor(2, gate=GaussianGate(covariance, tied_covariance=tied)).fit(X, y)
    result = model.inference(X, y)
    assert len(result.names) == len(set(result.names)) == model.n_free_
    assert np.isfinite(result.bse).all() and (result.bse > 0).all()
    assert "gate 1: centre of x1" in result.names
