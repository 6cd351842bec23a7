"""Simulated data of localised experts follow the truth that is returned with them."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import special, stats

from mixexp.datasets import LocalisedTruth, make_localised_regression


def wide(**changed):
    """Two columns, two responses, three experts."""
    fields = {
        "weights": [0.2, 0.3, 0.5],
        "centres": [[0, 0], [3, 1], [-2, 2]],
        "covariances": [np.eye(2), [[1, 0.5], [0.5, 2]], 0.3 * np.eye(2)],
        "means": [lambda X: X, lambda X: 1 - X, lambda X: np.sin(X)],
        "residual_covariances": [np.eye(2), [[1, -0.8], [-0.8, 1]], 0.1 * np.eye(2)],
    }
    return LocalisedTruth(**(fields | changed))


def test_densities_are_those_of_scipy():
    truth = wide()
    X, y, truth = make_localised_regression(50, truth, random_state=0, return_truth=True)
    laws = [
        stats.multivariate_normal(c, g)
        for c, g in zip(truth.centres, truth.covariances, strict=True)
    ]
    inside = np.log(truth.weights) + np.column_stack([law.logpdf(X) for law in laws])
    assert_allclose(truth.gate_proba(X), special.softmax(inside, axis=1), rtol=1e-10)
    outside = np.column_stack(
        [
            stats.multivariate_normal([0, 0], s).logpdf(y - mean(X))
            for mean, s in zip(truth.means, truth.residual_covariances, strict=True)
        ]
    )
    expected = special.logsumexp(special.log_softmax(inside, axis=1) + outside, axis=1)
    assert_allclose(truth.log_prob(X, y), expected, rtol=1e-10)


@pytest.mark.parametrize("design", ["lines", "parabolas"])
def test_the_density_of_y_integrates_to_one_and_has_the_mean(design):
    _, _, truth = make_localised_regression(1, design, return_truth=True)
    grid = np.linspace(-30, 30, 60_001)
    for x in (-0.5, 0.5, 1.5):
        density = np.exp(truth.log_prob(np.full((len(grid), 1), x), grid))
        assert_allclose(np.trapezoid(density, grid), 1.0, rtol=1e-8)
        assert_allclose(np.trapezoid(grid * density, grid), truth.mean([[x]])[0], rtol=1e-7)


def test_draws_follow_the_joint_law():
    """Labels drawn at x and x drawn from the labels' laws are one joint law."""
    X, y, truth = make_localised_regression(40_000, wide(), random_state=1, return_truth=True)
    for k in range(3):
        mine = truth.z == k
        assert_allclose(mine.mean(), truth.weights[k], atol=0.01)
        assert_allclose(X[mine].mean(axis=0), truth.centres[k], atol=0.06)
        assert_allclose(np.cov(X[mine].T), truth.covariances[k], atol=0.12)
        residual = y[mine] - truth.means[k](X[mine])
        assert_allclose(np.cov(residual.T), truth.residual_covariances[k], atol=0.06)


def test_the_designs_are_those_of_the_paper():
    X, y, truth = make_localised_regression(20_000, random_state=0, return_truth=True)
    assert X.shape == (20_000, 1) and y.shape == (20_000,)
    grid = np.array([[-1.0], [0.5], [2.0]])
    assert_allclose(truth.means[0](grid), 2 - 5 * grid[:, 0])
    residual = y - np.where(truth.z == 0, 2 - 5 * X[:, 0], 0.1 * X[:, 0])
    assert_allclose(residual.std(), 0.3, rtol=0.02)
    for k, (centre, variance) in enumerate([(0.2, 0.1), (0.8, 0.15)]):
        assert_allclose(X[truth.z == k].mean(), centre, atol=0.02)
        assert_allclose(X[truth.z == k].var(), variance, rtol=0.05)


def test_one_seed_gives_one_sample():
    first, again = (make_localised_regression(30, random_state=3) for _ in range(2))
    for one, other in zip(first, again, strict=True):
        assert_array_equal(one, other)


@pytest.mark.parametrize(
    ("changed", "match"),
    [
        ({"weights": [0.5, 0.6, 0.1]}, "sum to 1"),
        ({"centres": [[0, 0], [1, 1]]}, "centres must have shape"),
        ({"means": [lambda X: X]}, "3 functions"),
        ({"covariances": -np.stack([np.eye(2)] * 3)}, "positive definite"),
        ({"residual_covariances": np.ones((3, 2, 1))}, "residual_covariances must have shape"),
    ],
    ids=["weights", "centres", "means", "covariances", "residuals"],
)
def test_a_wrong_truth_is_named(changed, match):
    with pytest.raises(ValueError, match=match):
        wide(**changed)


def test_an_unknown_design_is_named():
    with pytest.raises(ValueError, match="lines, parabolas"):
        make_localised_regression(10, "circles")
