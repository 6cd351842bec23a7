"""Localised experts in the inverse parametrisation against the R package xLLiM 2.3.1 (`gllim`).

The same EM from the same responsibilities: log-likelihoods pass by pass, up to where xLLiM stops.
It adds 1e-8 to every variance, which shows in the tenth digit.
"""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose

from mixexp import EM, GLoMERegressor

pytestmark = [
    pytest.mark.reference,
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
]
# covariance of x given y: its name there, free parameters, log-likelihoods
PATHS = {
    "full": (
        62,
        [
            -503.4117553878, -465.6306962855, -447.3044483084, -444.8351778243, -444.5378801999,
            -444.3961723661, -444.3547089966,
        ],
    ),
    "diagonal": (
        53,
        [
            -511.4354468666, -462.6849331464, -451.0594053426, -449.9358013149, -449.6145097448,
            -449.3840372809, -449.1188271473, -448.9077342080, -448.8322367545, -448.8111069054,
        ],
    ),
    "spherical": (
        47,
        [
            -514.9525182224, -463.1470924547, -451.7965691353, -451.0907803062, -450.9866236257,
            -450.9573178163,
        ],
    ),
}  # fmt: skip


def data():
    """60 rows, two responses, three inputs, three classes; responsibilities .8 and .1."""
    rng = np.random.default_rng(19)
    labels = np.arange(60) % 3
    y = rng.normal(size=(60, 2)) + labels[:, None]
    A = rng.normal(size=(3, 3, 2))
    X = np.einsum("ndl,nl->nd", A[labels], y) + rng.normal(size=(3, 3))[labels]
    X += rng.normal(size=(60, 3))
    return X.round(3), y.round(3), 0.7 * np.eye(3)[labels] + 0.1


@pytest.mark.parametrize("covariance", PATHS)
def test_log_likelihoods_pass_by_pass(covariance):
    X, y, responsibilities = data()
    n_free, path = PATHS[covariance]
    plain = EM(max_passes=len(path), tol=0, gradient_tol=0, acceleration=0)
    model = GLoMERegressor(
        3, parametrisation="inverse", covariance=covariance, start=responsibilities, solver=plain
    ).fit(X, y)
    assert_allclose(len(X) * np.array(model.objective_path_), path, rtol=1e-8)
    # xLLiM's own count is 62, 53 and 47 as well
    assert model.n_free_ == n_free
