"""Fits to groups over many simulated panels: the search, and the coverage of intervals."""

from __future__ import annotations

import numpy as np
import pytest

from mixexp import MoERegressor

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
]


def panel(seed, n_groups, size, K, p, noise, family="gaussian"):
    """Groups of random lengths, classes by a column z of the group; and the classes."""
    rng = np.random.default_rng(seed)
    sizes = rng.integers(max(1, size // 2), size * 3 // 2 + 1, n_groups)
    who = np.repeat(np.arange(n_groups), sizes)
    z, W = rng.standard_normal(n_groups), rng.standard_normal((K, 2))
    logit = W[:, 0] + 1.5 * np.outer(z, W[:, 1])
    kind = (logit + rng.gumbel(size=logit.shape)).argmax(axis=1)
    x, B = rng.standard_normal((len(who), p)), rng.standard_normal((K, p + 1))
    eta = B[kind[who], 0] + (x * B[kind[who], 1:]).sum(axis=1)
    if family == "gaussian":
        y = eta + noise * rng.standard_normal(len(who))
    else:
        y = rng.poisson(np.exp(np.clip(0.5 * eta + 0.3, -5, 4))).astype(float)
    settings = {"gate_features": [p], "expert_features": list(range(p)), "expert": family}
    return np.column_stack([x, z[who]]), y, who, kind, settings


DESIGNS = {
    "short groups": (60, 4, 3, 2, 1.0),
    "four experts": (100, 8, 4, 3, 1.0),
    "long groups": (100, 40, 5, 3, 2.0),
    "very long groups": (60, 200, 4, 2, 3.0),
    "pairs and triples": (300, 3, 3, 2, 1.5),
    "counts": (150, 6, 3, 2, 1.0, "poisson"),
    "many groups": (2000, 5, 4, 3, 1.0),
}


@pytest.mark.parametrize("name", DESIGNS)
def test_the_search_ends_no_lower_than_a_run_from_the_truth(name):
    n_seeds, found = 8, 0
    K = DESIGNS[name][2]
    for seed in range(n_seeds):
        X, y, who, kind, settings = panel(seed, *DESIGNS[name])
        model = MoERegressor(K, **settings).fit(X, y, groups=who)
        truth = np.eye(K)[kind[who]] * 0.95 + 0.05 / K
        told = MoERegressor(K, start=truth, **settings).fit(X, y, groups=who)
        found += model.loglik_ >= told.loglik_ - 0.3 or not told.regular_
    assert found >= 7


def test_intervals_cover_the_slopes_where_rows_without_groups_would_not():
    """80 panels of 150 subjects, four rows each; 95 % intervals of the slopes of both experts."""
    covered, by_rows = [], []
    for seed in range(80):
        rng = np.random.default_rng(seed)
        kind, who = rng.integers(0, 2, 150), np.repeat(np.arange(150), 4)
        x = rng.standard_normal(600)
        y = np.where(kind[who] == 1, 0.5 + x, -0.5 - 0.5 * x) + rng.standard_normal(600)
        X = x[:, None]
        model = MoERegressor(2, gate="constant").fit(X, y, groups=who)
        slopes = [f"expert {k}: x0" for k in np.argsort(model.coef_[:, 0])]
        ends = model.inference(X, y, groups=who).conf_int().loc[slopes].to_numpy()
        covered.append((ends[:, 0] < [-0.5, 1.0]) & ([-0.5, 1.0] < ends[:, 1]))
        alone = MoERegressor(2, gate="constant").fit(X, y)
        by_rows.append(np.abs(np.sort(alone.coef_[:, 0]) - [-0.5, 1.0]))
    # a binomial of 160 at 0.95 has a standard deviation of 0.017
    assert 0.90 <= np.mean(covered) <= 0.99
    widths = ends[:, 1] - ends[:, 0]
    assert np.mean(by_rows) > np.mean(widths) / 4  # single rows barely tell the experts apart
