"""Assertions on a fifth of the rows against none: predictions over thirty samples."""

from __future__ import annotations

import numpy as np
import pytest

from mixexp import (
    EM,
    ContextualMoERegressor,
    MoERegressor,
    possibility_from_tags,
    possibility_trapezoid,
)


def process(rng, n):
    """Two regimes that follow each other in time; the gate sees a column that tells them apart."""
    time = (np.arange(n) + 0.5) / n
    z = ((time > 0.4) & (time <= 0.7)).astype(int)
    x = np.column_stack([rng.standard_normal(n) + 1.4 * z, rng.standard_normal(n)])
    y = np.where(z == 1, 1 + 1.5 * x[:, 1], -1 - x[:, 1]) + 0.4 * rng.standard_normal(n)
    return time, x, y


@pytest.mark.slow
def test_rows_tagged_by_trapezoids_on_time_do_not_harm_predictions():
    errors = []
    for seed in range(30):
        rng = np.random.default_rng(seed)
        time, x, y = process(rng, 300)
        _, new, target = process(rng, 1500)
        possible = possibility_from_tags(
            {
                "normal": possibility_trapezoid(time, (0.10, 0.20), (0.12, 0.18)),
                "other": possibility_trapezoid(time, (0.50, 0.60), (0.52, 0.58)),
            }
        )
        assert np.mean((possible < 1).any(axis=1)) == pytest.approx(0.2)
        contextual = ContextualMoERegressor(["normal", "other"], solver=EM(acceleration=0))
        contextual.fit(x, y, possibilities=possible)
        assert np.all(np.diff(contextual.objective_path_) >= -1e-10)
        fits = [contextual, MoERegressor(2).fit(x, y)]
        errors.append([np.sqrt(np.mean((target - fit.predict(new)) ** 2)) for fit in fits])
    contextual, plain = np.mean(errors, axis=0)
    assert contextual <= plain
