"""Localised experts, forward and inverse: counts, exact conversions, many columns, blocks."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import sparse, special, stats
from sklearn.mixture import GaussianMixture

from mixexp import EM, BLoMERegressor, GLoMERegressor, MultiStart, load
from mixexp.em.inverse import LinearGaussian, reverse
from mixexp.selection import SlopeHeuristic

EXACT = EM(max_passes=3000, tol=1e-15, gradient_tol=1e-9)
QUICK = MultiStart(n_starts=0.2, max_rounds=1)
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def data(n=240, D=2, L=2, seed=0):
    """Two localised regimes: X (n, D), Y (n, L), labels."""
    rng = np.random.default_rng(seed)
    labels = (np.arange(n) < n // 3).astype(int)
    X = rng.standard_normal((n, D)) + 2.5 * labels[:, None]
    A, b = rng.standard_normal((2, L, D)), 2 * rng.standard_normal((2, L))
    Y = np.einsum("nld,nd->nl", A[labels], X) + b[labels]
    return X, Y + 0.4 * rng.standard_normal((n, L)), labels


def law(K=3, d=2, e=4, seed=0):
    rng = np.random.default_rng(seed)

    def covariances(size):
        root = rng.standard_normal((K, size, size + 2))
        return root @ np.swapaxes(root, 1, 2) / size

    return LinearGaussian(
        rng.standard_normal(K),
        rng.standard_normal((K, d)),
        covariances(d),
        rng.standard_normal((K, e, d)),
        rng.standard_normal((K, e)),
        covariances(e),
    )


def log_joint_forward(one, u, v):
    total = []
    for k in range(len(one.logit)):
        residual = v - (one.coef[k] @ u + one.intercept[k])
        inner = stats.multivariate_normal(one.mean[k], one.covariance[k]).logpdf(u)
        outer = stats.multivariate_normal(np.zeros(len(v)), one.residual[k]).logpdf(residual)
        total.append(special.log_softmax(one.logit)[k] + inner + outer)
    return special.logsumexp(total)


@pytest.mark.parametrize(("d", "e"), [(1, 1), (2, 5), (5, 2)])
def test_reversing_keeps_the_joint_density(d, e):
    one = law(d=d, e=e)
    other = reverse(one)
    covariance = one.residual + other.loading @ np.swapaxes(other.loading, 1, 2)
    back = LinearGaussian(
        other.logit, other.mean, covariance, other.coef, other.intercept, other.residual
    )
    rng = np.random.default_rng(1)
    for _ in range(5):
        u, v = rng.standard_normal(d), rng.standard_normal(e)
        assert_allclose(log_joint_forward(one, u, v), log_joint_forward(back, v, u), rtol=1e-10)


def test_reversing_twice_comes_back():
    one = law()
    other = reverse(one)
    covariance = one.residual + other.loading @ np.swapaxes(other.loading, 1, 2)
    again = reverse(
        LinearGaussian(
            other.logit, other.mean, covariance, other.coef, other.intercept, other.residual
        )
    )
    assert_allclose(again.mean, one.mean, rtol=1e-9)
    assert_allclose(again.coef, one.coef, rtol=1e-8)
    assert_allclose(again.residual, one.residual, rtol=1e-8)


@pytest.mark.parametrize("covariance", ["full", "diagonal", "spherical"])
def test_the_forward_density_of_an_inverse_fit_is_its_own(covariance):
    X, Y, labels = data(D=5)
    model = GLoMERegressor(2, parametrisation="inverse", covariance=covariance, start=labels)
    model.fit(X, Y)
    inner = model.inverse_model_
    joint = inner.joint_log_prob(Y, X)
    assert_allclose(model.joint_log_prob(X, Y), joint, rtol=1e-10, atol=1e-10)
    assert_allclose(joint.sum(), model.loglik_, rtol=1e-10)
    assert_allclose(model.log_prob(X, Y).sum(), model.fit_summary_.conditional_loglik, rtol=1e-10)
    assert_allclose(model.responsibilities(X, Y), inner.responsibilities(Y, X), atol=1e-10)


@pytest.mark.parametrize("parametrisation", ["forward", "inverse"])
def test_one_column_and_one_response_are_a_gaussian_mixture(parametrisation):
    X, Y, labels = data(D=1, L=1)
    model = GLoMERegressor(2, parametrisation=parametrisation, start=labels, solver=EXACT)
    model.fit(X, Y)
    pairs = np.column_stack([X, Y])
    resp = np.eye(2)[labels]
    mixture = GaussianMixture(
        2, reg_covar=0, tol=1e-13, max_iter=3000, means_init=resp.T @ pairs / resp.sum(0)[:, None]
    ).fit(pairs)
    assert model.n_free_ == 6 * 2 - 1
    assert_allclose(model.loglik_, mixture.score_samples(pairs).sum(), rtol=1e-9)
    assert_allclose(model.joint_log_prob(X, Y), mixture.score_samples(pairs), atol=1e-4)


@pytest.mark.parametrize(
    ("D", "L", "degree", "K"), [(1, 1, 1, 1), (1, 1, 1, 3), (2, 2, 1, 2), (2, 3, 2, 2)]
)
def test_free_parameters_are_those_of_the_paper(D, L, degree, K):
    """Nguyen et al. (2022): K - 1 + K (D + D (D + 1) / 2 + L C(D + d, d) + L (L + 1) / 2)."""
    X, Y, labels = data(D=D, L=L)
    labels = np.arange(len(X)) % 3 if K == 3 else labels * (K > 1)
    model = GLoMERegressor(K, degree=degree, start=labels, solver=EM(max_passes=3)).fit(X, Y)
    each = D + D * (D + 1) // 2 + L * special.comb(D + degree, degree, exact=True)
    assert model.n_free_ == K - 1 + K * (each + L * (L + 1) // 2)


def test_inverse_parameters_are_those_of_the_inverse_model():
    X, Y, labels = data(D=5)
    for covariance, each in {"spherical": 1, "diagonal": 5, "full": 15}.items():
        model = GLoMERegressor(2, parametrisation="inverse", covariance=covariance, start=labels)
        model.fit(X, Y)
        assert model.n_free_ == 1 + 2 * (5 * 2 + 5 + 2 + each + 3)


def test_more_columns_than_rows():
    rng = np.random.default_rng(0)
    n, p = 200, 300
    y = rng.uniform(-1, 1, n)
    labels = (y > 0).astype(int)
    slopes, level = rng.standard_normal((2, p)), rng.standard_normal((2, p))
    X = slopes[labels] * y[:, None] + level[labels] + 0.5 * rng.standard_normal((n, p))
    for covariance in ("diagonal", "spherical"):
        model = GLoMERegressor(
            2, parametrisation="inverse", covariance=covariance, start=labels[:150]
        )
        model.fit(X[:150], y[:150])
        assert model.converged_ and model.regular_
        assert model.score(X[150:], y[150:]) > 0.99
        assert not any(getattr(leaf, "size", 0) >= 2 * p * p for leaf in vars(model).values())


def test_both_parametrisations_predict_either_side():
    X, Y, labels = data(n=2000)
    forward = GLoMERegressor(2, start=labels).fit(X, Y)
    inverse = GLoMERegressor(2, parametrisation="inverse", covariance="full", start=labels)
    inverse.fit(X, Y)
    assert_allclose(inverse.loglik_, forward.loglik_, rtol=1e-9)  # one model, two charts
    assert_allclose(inverse.predict(X), forward.predict(X), atol=1e-4)
    assert_allclose(inverse.predict_inverse(Y), forward.predict_inverse(Y), atol=1e-4)
    residual = X - forward.predict_inverse(Y)
    assert np.all(residual.var(axis=0) < X.var(axis=0))
    interval = inverse.predict_interval(X, 0.9)
    covered = (interval[..., 0] <= Y) & (Y <= interval[..., 1])
    assert_allclose(covered.mean(axis=0), 0.9, atol=0.03)


def test_the_mean_of_x_given_y_is_the_integral():
    X, y, labels = data(D=1, L=1)
    model = GLoMERegressor(2, start=labels).fit(X, y[:, 0])
    grid = np.linspace(-8, 10, 4001)[:, None]
    for value in (-1.0, 0.5, 2.0):
        density = np.exp(model.joint_log_prob(grid, np.full(4001, value)))
        mean = (density * grid[:, 0]).sum() / density.sum()
        assert_allclose(model.predict_inverse([value])[0, 0], mean, rtol=1e-6)


@pytest.mark.parametrize("parametrisation", ["forward", "inverse"])
def test_draws_follow_the_joint_law(parametrisation):
    X, Y, labels = data(n=600)
    model = GLoMERegressor(2, parametrisation=parametrisation, covariance="full", start=labels)
    model.fit(X, Y)
    drawn = np.column_stack(model.sample_joint(20000, rng=0))
    seen = np.column_stack([X, Y])
    error = 5 * seen.std(axis=0) / np.sqrt(20000)
    # weighted moments of a Gaussian mixture's maximum are those of the sample
    assert np.all(np.abs(drawn.mean(axis=0) - seen.mean(axis=0)) < error)
    assert_allclose(np.cov(drawn.T), np.cov(seen.T, bias=True), atol=0.12)


def test_constant_columns_are_left_out_and_given_back():
    X, Y, labels = data(D=3)
    X[:, 1] = 4.0
    model = GLoMERegressor(2, parametrisation="inverse", start=labels).fit(X, Y)
    assert list(model.gate_feature_names_) == ["x0", "x2"]
    assert_allclose(model.predict_inverse(Y)[:, 1], 4.0)


@pytest.mark.parametrize("parametrisation", ["forward", "inverse"])
def test_a_saved_fit_comes_back(parametrisation, tmp_path):
    X, Y, labels = data(D=4)
    model = GLoMERegressor(2, parametrisation=parametrisation, start=labels).fit(X, Y)
    model.save(tmp_path / "model")
    again = load(tmp_path / "model")
    assert np.array_equal(again.predict(X), model.predict(X))
    assert np.array_equal(again.predict_inverse(Y), model.predict_inverse(Y))
    assert again.fit_summary_ == model.fit_summary_


def test_inverse_fits_continue_and_learn_online():
    X, Y, labels = data()
    model = GLoMERegressor(2, parametrisation="inverse", start=labels).fit(X, Y)
    again = GLoMERegressor(2, parametrisation="inverse", start=model).fit(X, Y)
    assert_allclose(again.loglik_, model.loglik_, rtol=1e-9)
    online = GLoMERegressor(2, parametrisation="inverse", start=labels)
    for _ in range(2):
        online.partial_fit(X, Y)
    assert online.status_.name == "ONLINE"
    assert_allclose(online.predict(X), model.predict(X), atol=0.02)


@pytest.mark.parametrize(
    ("settings", "changed", "match"),
    [
        ({"parametrisation": "sideways"}, None, "'forward' or 'inverse'"),
        ({"parametrisation": "inverse", "degree": 2}, None, "degree=1"),
        ({"parametrisation": "inverse"}, "constant", "no density"),
        ({"parametrisation": "inverse"}, "sparse", "dense"),
        ({"covariance": "banded"}, None, "covariances"),
    ],
    ids=["name", "degree", "constant response", "sparse", "structure"],
)
def test_what_cannot_be_fitted_is_named(settings, changed, match):
    X, Y, labels = data()
    if changed == "constant":
        Y[:, 1] = 3.0
    X = sparse.csr_array(X) if changed == "sparse" else X
    with pytest.raises((TypeError, ValueError), match=match):
        GLoMERegressor(2, start=labels, **settings).fit(X, Y)


def test_polynomial_means_have_no_closed_inverse():
    X, Y, labels = data()
    model = GLoMERegressor(2, degree=2, start=labels).fit(X, Y)
    with pytest.raises(ValueError, match="degree=1"):
        model.predict_inverse(Y)


# --- blocks of responses -------------------------------------------------------------------------

BLOCKS = [[0, 1, 2, 3], [4, 5, 6, 7]]


def planted(seed, sign=1.0, n=400):
    """One column, eight responses in two blocks; ``sign`` of the correlations between 0 and 1."""
    rng = np.random.default_rng(seed)
    labels = (np.arange(n) >= n // 2).astype(int)
    x = rng.normal(-1, 0.6, n) + 2.5 * labels
    covariance = np.eye(8)
    for block in BLOCKS:
        covariance[np.ix_(block, block)] += 0.6 * (1 - np.eye(4))
    flip = np.tile([1.0, sign], 4)
    covariance *= np.outer(flip, flip)
    A, b = rng.standard_normal((2, 8)), 2 * rng.standard_normal((2, 8))
    noise = rng.multivariate_normal(np.zeros(8), covariance, size=n)
    return x[:, None], A[labels] * x[:, None] + b[labels] + noise, labels


@pytest.mark.parametrize("sign", [1.0, -1.0], ids=["positive", "negative"])
def test_planted_blocks_are_found(sign):
    x, Y, labels = planted(0, sign)
    model = BLoMERegressor(2, start=labels).fit(x, Y)
    assert model.blocks_ == [BLOCKS, BLOCKS]
    assert model.n_free_ == 1 + 2 * (1 + 1 + 8 * 2 + 20)
    assert np.all(model.covariances_[:, :4, 4:] == 0)
    chosen = model.structures_[model.structures_["chosen"]].iloc[0]
    assert chosen["n_free"] == model.n_free_ and chosen["loglik"] == model.loglik_
    assert chosen["score"] == model.structures_["score"].min()


@pytest.mark.slow
def test_planted_blocks_are_found_from_default_starts_in_four_of_five_samples():
    found = [
        BLoMERegressor(2, start=QUICK).fit(*planted(seed)[:2]).blocks_ == [BLOCKS, BLOCKS]
        for seed in range(20)
    ]
    assert sum(found) >= 16


def test_more_parameters_never_fit_worse_and_full_blocks_are_the_full_model():
    x, Y, labels = planted(1)
    model = BLoMERegressor(2, start=labels, solver=EXACT).fit(x, Y)
    table = model.structures_
    full = GLoMERegressor(2, start=labels, solver=EXACT).fit(x, Y)
    diagonal = GLoMERegressor(2, covariance="diagonal", start=labels, solver=EXACT).fit(x, Y)
    assert_allclose(table["loglik"].iloc[0], diagonal.loglik_, rtol=1e-9)
    assert_allclose(table["loglik"].iloc[-1], full.loglik_, rtol=1e-9)
    assert table["n_free"].iloc[0] == diagonal.n_free_
    assert table["n_free"].iloc[-1] == full.n_free_
    assert np.all(table["loglik"].between(diagonal.loglik_ - 1e-6, full.loglik_ + 1e-6))


def test_the_slope_heuristic_may_choose():
    x, Y, labels = planted(0)
    model = BLoMERegressor(2, criterion=SlopeHeuristic("djump"), start=labels).fit(x, Y)
    assert sorted(map(len, model.blocks_[0])) == [4, 4]


def test_one_response_has_one_structure_and_a_file_keeps_the_blocks(tmp_path):
    x, Y, labels = planted(0)
    single = BLoMERegressor(2, start=labels).fit(x, Y[:, 0])
    assert len(single.structures_) == 1 and single.blocks_ == [[[0]], [[0]]]
    model = BLoMERegressor(2, start=labels).fit(x, Y)
    model.save(tmp_path / "model")
    again = load(tmp_path / "model")
    assert again.blocks_ == model.blocks_
    assert again.structures_.equals(model.structures_)
    assert np.array_equal(again.log_prob(x, Y), model.log_prob(x, Y))


def test_an_unknown_criterion_is_named():
    x, Y, labels = planted(0)
    with pytest.raises(ValueError, match="criterion"):
        BLoMERegressor(2, criterion="best", start=labels).fit(x, Y)
