"""Vectorised elementary functions are as accurate as the library's."""

import numpy as np
from numba import njit
from numpy.testing import assert_allclose
from scipy import special

from mixexp.kernels import elementary


@njit(error_model="numpy")
def _exp(x):
    return np.array([elementary.fast_exp(value) for value in x])


@njit(error_model="numpy")
def _log(x):
    return np.array([elementary.fast_log(value) for value in x])


@njit(error_model="numpy")
def _log_ndtr(x):
    return np.array([elementary.log_ndtr(value) for value in x])


def test_exp():
    x = np.concatenate([np.linspace(-707, 708, 100_001), np.linspace(-1e-6, 1e-6, 1001)])
    assert_allclose(_exp(x), np.exp(x), rtol=4e-16)
    assert_allclose(_exp(np.array([-np.inf, -1e30, -746.0, 0.0])), [0, 0, 0, 1])


def test_log():
    rng = np.random.default_rng(0)
    x = np.concatenate(
        [np.exp(rng.uniform(-700, 700, 100_000)), 1 + 1e-9 * rng.normal(size=1000), [0.5, 1, 2]]
    )
    assert_allclose(_log(x), np.log(x), rtol=4e-16)


def test_log_ndtr():
    x = np.linspace(-40, 10, 2001)
    assert_allclose(_log_ndtr(x), special.log_ndtr(x), rtol=1e-12)
