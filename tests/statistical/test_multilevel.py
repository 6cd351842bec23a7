"""Random effects in the gate of 500 groups: what is recovered, and what could be at best."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import optimize, special

from mixexp import MixedEffectsMoERegressor

pytestmark = pytest.mark.slow
G, SIZE, NOISE = 500, 10, 0.5


def panel(seed):
    """Two Gaussian experts; the groups differ in their odds, by intercepts of unit variance."""
    rng = np.random.default_rng(seed)
    who = np.repeat(np.arange(G), SIZE)
    x = rng.uniform(-1.7, 1.7, G * SIZE)
    b = rng.normal(size=G)
    first = rng.random(G * SIZE) < special.expit(0.3 * x + b[who])
    y = np.where(first, 4 + x, -4 - x) + NOISE * rng.normal(size=G * SIZE)
    return x, y, who, b


def log_joint(x, y, who, sd, u):
    """(G, m) log p(y, u) of the groups at standard normal effects u, the rest as it is in truth."""
    first, second = (-0.5 * ((y - mean) / NOISE) ** 2 for mean in (4 + x, -4 - x))
    eta = 0.3 * x[:, None] + sd * u
    rows = np.logaddexp(
        first[:, None] - np.logaddexp(0, -eta), second[:, None] - np.logaddexp(0, eta)
    )
    return np.add.reduceat(rows, np.arange(0, G * SIZE, SIZE)) - 0.5 * u**2


def at_best(x, y, who):
    """What one who knows all else can say: the likeliest sd, and the effects' posterior means."""
    u = np.linspace(-6, 6, 401)

    def cost(sd):
        return -special.logsumexp(log_joint(x, y, who, sd, u), axis=1).sum()

    sd = optimize.minimize_scalar(cost, bounds=(0.5, 2), method="bounded").x
    return sd, special.softmax(log_joint(x, y, who, 1.0, u), axis=1) @ u


def fitted(x, y, who, kind):
    model = MixedEffectsMoERegressor(2, expert_random=None, approximation=kind)
    return model.fit(x[:, None], y, groups=who)


def test_effects_of_the_gate():
    """The bound, the standard deviation, and the posterior means, over four samples."""
    deviations = []
    for seed in range(4):
        x, y, who, b = panel(seed)
        bound, exact = (fitted(x, y, who, kind) for kind in ("variational", "quadrature"))
        assert bound.loglik_ <= exact.loglik_
        sampled = exact.monte_carlo_log_likelihood(x[:, None], y, who, n_draws=400)
        assert abs(exact.loglik_ - sampled.value) < 4 * sampled.std_err
        found = exact.variance_components_.iloc[0]
        deviations.append(found["estimate"])
        likeliest, guess = at_best(x, y, who)
        assert abs(found["estimate"] - likeliest) < 0.02
        assert abs(bound.variance_components_["estimate"].iloc[0] - likeliest) < 0.03
        assert found["lower"] < 1 < found["upper"]
        effects = exact.random_effects_["group"].to_numpy()[:, 0]
        # ten draws of one of two experts say so much of a group and no more: about 0.8
        reached, possible = (abs(np.corrcoef(own, b)[0, 1]) for own in (effects, guess))
        assert 0.77 < possible < 0.86
        assert reached > possible - 0.02
    assert abs(np.mean(deviations) - 1) < 0.1
