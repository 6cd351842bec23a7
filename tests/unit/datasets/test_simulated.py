"""Simulated data follow the truth that is returned with them."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import stats

from mixexp.datasets import MoETruth, make_moe_classification, make_moe_regression

EXPERTS = ["gaussian", "poisson", "binomial", "gamma"]
GATES = ["softmax", "constant"]
OWN = {"gaussian": "scale", "gamma": "shape"}


def make(expert, n=300, **options):
    if expert == "multinomial":
        return make_moe_classification(n, random_state=0, return_truth=True, **options)
    return make_moe_regression(n, expert=expert, random_state=0, return_truth=True, **options)


def scipy_density(truth, X, y, k):
    """Density of expert k by scipy.stats."""
    eta = X @ truth.coef[k] + truth.intercept[k]
    if truth.expert == "gaussian":
        return stats.norm(eta, truth.scale[k]).pdf(y)
    if truth.expert == "poisson":
        return stats.poisson(np.exp(eta)).pmf(y)
    if truth.expert == "binomial":
        return stats.binom(truth.trials, 1 / (1 + np.exp(-eta))).pmf(y)
    return stats.gamma(truth.shape[k], scale=np.exp(eta) / truth.shape[k]).pdf(y)


@pytest.mark.parametrize("gate", GATES)
@pytest.mark.parametrize("expert", EXPERTS)
def test_log_prob_is_the_log_of_the_weighted_scipy_densities(expert, gate):
    X, y, truth = make(expert, gate=gate)
    pi = truth.gate_proba(X)
    density = sum(pi[:, k] * scipy_density(truth, X, y, k) for k in range(truth.n_experts))
    assert_allclose(truth.log_prob(X, y), np.log(density), rtol=1e-9, atol=1e-9)


def test_class_probabilities_are_the_exponential_of_log_prob():
    X, _, truth = make("multinomial", n_classes=4)
    proba = np.column_stack([np.exp(truth.log_prob(X, np.full(300, c))) for c in range(4)])
    assert_allclose(proba.sum(axis=1), 1.0)
    assert_allclose(truth.mean(X), proba)


@pytest.mark.parametrize("gate", GATES)
@pytest.mark.parametrize("expert", [*EXPERTS, "multinomial"])
def test_mean_score_of_the_truth_is_zero(expert, gate):
    """Law: the expected gradient of log p vanishes at the truth, within 4.5 standard errors."""
    n, step = 20_000, 1e-5
    X, y, truth = make(expert, n=n, gate=gate)
    names = ["coef", "intercept", "gate_coef", "gate_intercept", OWN.get(expert)]
    for name in filter(None, names):
        value = getattr(truth, name)
        for index in np.ndindex(value.shape):
            shift = np.zeros_like(value)
            shift[index] = step
            up = replace(truth, **{name: value + shift}).log_prob(X, y)
            down = replace(truth, **{name: value - shift}).log_prob(X, y)
            score = (up - down) / (2 * step)
            error = score.std() / np.sqrt(n)
            assert abs(score.mean()) < 4.5 * error + 1e-7, (name, index)


@pytest.mark.parametrize("expert", [*EXPERTS, "multinomial"])
def test_sample_mean_and_label_frequencies_match(expert):
    n = 20_000
    X, y, truth = make(expert, n=n)
    mean = truth.mean(X)
    drawn = np.eye(mean.shape[1])[y] if expert == "multinomial" else y
    residual = drawn - mean
    assert (abs(residual.mean(axis=0)) < 4.5 * residual.std(axis=0) / np.sqrt(n)).all()
    share = np.bincount(truth.z, minlength=3) / n
    assert_allclose(share, truth.gate_proba(X).mean(axis=0), atol=4.5 * 0.5 / np.sqrt(n))


@pytest.mark.parametrize("n_experts", [2, 3, 5])
@pytest.mark.parametrize("n_features", [1, 2, 4])
def test_softmax_gate_gives_every_expert_a_fair_share(n_experts, n_features):
    X, _, truth = make("gaussian", n=5000, n_experts=n_experts, n_features=n_features)
    share = truth.gate_proba(X).mean(axis=0)
    assert share.min() > 0.4 / n_experts


@pytest.mark.parametrize("expert", [*EXPERTS, "multinomial"])
def test_same_seed_same_data_and_shapes(expert):
    X, y, truth = make(expert, n_features=4, n_experts=2)
    X2, y2, _ = make(expert, n_features=4, n_experts=2)
    assert_array_equal(X, X2)
    assert_array_equal(y, y2)
    assert X.shape == (300, 4) and y.shape == truth.z.shape == (300,)
    classes = (3,) if expert == "multinomial" else ()
    assert truth.coef.shape == (2, *classes, 4) and truth.intercept.shape == (2, *classes)
    assert truth.gate_coef.shape == (2, 4) and truth.gate_intercept.shape == (2,)
    assert not np.array_equal(X, make_moe_regression(300, 4, 2, random_state=1)[0])


def test_unused_columns_have_zero_coefficients():
    _, _, truth = make("gaussian", n_features=4, gate_features=[3], expert_features=slice(0, 2))
    assert (truth.gate_coef[:, :3] == 0).all() and (truth.gate_coef[:, 3] != 0).any()
    assert (truth.coef[:, 2:] == 0).all() and (truth.coef[:, :2] != 0).all()


def test_constant_gate_does_not_look_at_x():
    X, _, truth = make("gaussian", gate="constant")
    assert np.ptp(truth.gate_proba(X), axis=0).max() == 0


def test_separation_zero_makes_the_experts_equal():
    _, _, truth = make("poisson", separation=0.0)
    assert_array_equal(truth.coef, truth.coef[[0, 0, 0]])
    assert (truth.gate_coef == 0).all()


def test_trials_per_row():
    trials = np.arange(1, 301)
    X, y, truth = make("binomial", trials=trials)
    assert (y <= trials).all() and (y == np.round(y)).all()
    assert_allclose(
        truth.log_prob(X[:5], y[:5], trials=trials[:5]), truth.log_prob(X, y)[:5], rtol=1e-12
    )
    with pytest.raises(ValueError, match="trials must be a number or have shape"):
        truth.log_prob(X[:5], y[:5])


def test_given_truth_is_sampled_from():
    truth = MoETruth("gaussian", [[0.0]], [0.0], [[2.0]], [1.0], scale=[1e-9])
    X, y, found = make_moe_regression(50, truth=truth, random_state=0, return_truth=True)
    assert_allclose(y, 2 * X[:, 0] + 1, atol=1e-6)
    assert found.z.tolist() == [0] * 50 and truth.z is None


def test_random_states_of_numpy_are_taken():
    for make_state in (np.random.default_rng, np.random.RandomState):
        first, second = (make_moe_regression(9, random_state=make_state(3))[0] for _ in range(2))
        assert_array_equal(first, second)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_samples": 0}, "n_samples must be an integer of at least 1; got 0"),
        ({"n_features": 1.5}, "n_features must be an integer"),
        ({"n_experts": True}, "n_experts must be an integer"),
        ({"gate": "tree"}, "gate must be one of softmax, constant; got 'tree'"),
        ({"expert": "multinomial"}, "expert must be one of gaussian, poisson, binomial, gamma"),
        ({"noise": -1.0}, "noise must be a finite positive number"),
        ({"noise": 1.0, "expert": "poisson"}, "has no noise"),
        ({"separation": np.nan}, "separation must be a finite non-negative number"),
        ({"trials": 3}, 'trials belong to expert="binomial"'),
        ({"trials": 0, "expert": "binomial"}, "trials must be a positive integer"),
        ({"trials": [1, 2], "expert": "binomial"}, "trials must be a positive integer or 500"),
        ({"gate_features": [2]}, "gate_features must be distinct column indices"),
        ({"expert_features": [0, -2]}, "expert_features must be distinct"),
        ({"gate_features": ["a"]}, "gate_features must be distinct"),
        ({"truth": 3}, "truth must be a MoETruth; got int"),
    ],
)
def test_bad_arguments_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        make_moe_regression(**options)


def test_bad_arguments_of_classification():
    with pytest.raises(ValueError, match="n_classes must be an integer of at least 2"):
        make_moe_classification(n_classes=1)
    with pytest.raises(ValueError, match="belongs to make_moe_regression"):
        make_moe_classification(truth=make("gaussian")[2])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"expert": "beta"}, "expert must be one of"),
        ({"coef": [[1.0, 2.0]]}, r"coef must have shape \(1, 1\); got \(1, 2\)"),
        ({"scale": None}, "needs positive scale"),
        ({"scale": [0.0]}, "needs positive scale"),
        ({"gate_coef": [0.0]}, r"gate_coef must have shape \(K, p\)"),
    ],
)
def test_bad_truth_is_named(options, message):
    good = {
        "expert": "gaussian",
        "gate_coef": [[0.0]],
        "gate_intercept": [0.0],
        "coef": [[1.0]],
        "intercept": [0.0],
        "scale": [1.0],
    }
    with pytest.raises(ValueError, match=message):
        MoETruth(**{**good, **options})


def test_wrong_width_and_length():
    X, y, truth = make("gaussian")
    with pytest.raises(ValueError, match=r"X must have shape \(n, 2\)"):
        truth.mean(X[:, :1])
    with pytest.raises(ValueError, match=r"y must have shape \(300,\)"):
        truth.log_prob(X, y[:5])
