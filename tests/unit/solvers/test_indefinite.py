"""Newton steps under indefinite curvature and bounds."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose

from mixexp.solvers.indefinite import (
    _equilibrated,
    bounded_newton,
    convex_part,
    is_convex,
    newton_step,
)


def _definite(rng, size):
    A = rng.standard_normal((5, size, size))
    return A @ np.swapaxes(A, 1, 2) + 0.1 * np.eye(size)


def test_a_positive_definite_system_is_solved():
    rng = np.random.default_rng(0)
    gram, score = _definite(rng, 4), rng.standard_normal((5, 4))
    exact = np.linalg.solve(gram, score[..., None])[..., 0]
    assert_allclose(newton_step(gram, score), exact, rtol=1e-9)


def test_a_step_rises_whatever_the_curvature():
    rng = np.random.default_rng(1)
    A = rng.standard_normal((200, 4, 4))
    score = rng.standard_normal((200, 4))
    step = newton_step(A + np.swapaxes(A, 1, 2), score)
    assert np.all((step * score).sum(axis=1) > 0)


def test_units_do_not_matter():
    rng = np.random.default_rng(2)
    gram, score, unit = _definite(rng, 3), rng.standard_normal((5, 3)), np.array([1e-5, 1.0, 1e4])
    scaled = newton_step(gram * unit[:, None] * unit, score * unit)
    assert_allclose(scaled * unit, newton_step(gram, score), rtol=1e-6)


def test_bounds_hold_and_the_others_maximise_given_them():
    rng = np.random.default_rng(3)
    gram, score = _definite(rng, 4), rng.standard_normal((5, 4))
    place = np.array([1, 3])
    low, high = np.full((5, 2), -0.05), np.full((5, 2), 0.05)
    step = bounded_newton(gram, score, place, low, high)
    assert np.all(np.abs(step[:, place]) <= 0.05 + 1e-12)
    left = score - np.einsum("nab,nb->na", gram, step)
    others = np.array([0, 2])
    assert_allclose(left[:, others], 0, atol=1e-8)


def test_a_step_inside_bounds_raises_the_model_where_coordinates_compensate_one_another():
    """As of a scale and a slant: the corner of their bounds lies downhill."""
    rng = np.random.default_rng(5)
    A = rng.standard_normal((2000, 4, 4)) * np.array([1.0, 1.0, 1.0, 1e-2])
    gram = A @ np.swapaxes(A, 1, 2) + 1e-6 * np.eye(4)
    score = rng.standard_normal((2000, 4))
    low, high = -rng.random((2000, 2)), rng.random((2000, 2))
    place = np.array([1, 3])
    step = bounded_newton(gram, score, place, low, high)
    assert np.all((step[:, place] >= low - 1e-12) & (step[:, place] <= high + 1e-12))
    rise = ((score - 0.5 * np.einsum("nab,nb->na", gram, step)) * step).sum(axis=1)
    assert rise.min() > 0


def test_a_coordinate_at_its_bound_stays_while_it_pushes_outwards():
    step = bounded_newton(
        np.eye(2)[None], np.array([[1.0, -2.0]]), np.array([1]), np.zeros((1, 1)), np.ones((1, 1))
    )
    assert_allclose(step, [[1.0, 0.0]])


@pytest.mark.parametrize("J", [1, 2, 3])
def test_the_convex_part_leaves_out_negative_eigenvalues(J):
    rng = np.random.default_rng(4)
    A = rng.standard_normal((J, J, 50, 2))
    A = A + np.swapaxes(A, 0, 1)
    if J == 3:  # of the matrices whose rows are on a common scale
        scale = _equilibrated(np.abs(A))
        A = A / (scale[:, None] * scale[None])
        for _ in range(60):  # and stay there
            again = _equilibrated(np.abs(A))
            A = A / (again[:, None] * again[None])
    part = np.moveaxis(convex_part(A), (0, 1), (-2, -1))
    values, vectors = np.linalg.eigh(np.moveaxis(A, (0, 1), (-2, -1)))
    wanted = np.einsum("...ab,...b,...cb->...ac", vectors, np.maximum(values, 0), vectors)
    assert_allclose(part, wanted, atol=1e-12)
    assert is_convex(part).all()


def test_a_vanishing_predictor_does_not_blow_up_the_convex_part():
    """As of a slant far out on the flat side, whose curvatures are next to nothing."""
    small = 10.0 ** -np.arange(0, 170, 0.25)
    A = np.array([[3.2, 2.4, -0.9], [2.4, 0.9, -0.3], [-0.9, -0.3, 0.02]])
    A = np.repeat(A[:, :, None, None], len(small), axis=2)
    A[2] *= small[:, None]
    A[:2, 2] *= small[:, None]
    part = convex_part(A)
    assert np.abs(part).max() <= 2 * np.abs(A).max()
    assert np.linalg.eigvalsh(np.moveaxis(part[:2, :2], (0, 1), (-2, -1))).min() > -1e-12


def test_a_pull_without_curvature_is_a_finite_step_uphill():
    """Without a warning, which is an error in tests."""
    step = newton_step(1e-200 * np.eye(2), np.array([1e-210, -1e150]))
    assert np.isfinite(step**2).all()
    assert_allclose(step[0], 1e-10)
    assert step[1] < -1e90
