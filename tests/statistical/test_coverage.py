"""Coverage of nominal 95 % intervals over replicates, where theory promises it and where not."""

from __future__ import annotations

import pytest

from benchmarks.coverage import DESIGNS, study


@pytest.mark.slow
@pytest.mark.parametrize("design", [name for name, one in DESIGNS.items() if one.promised])
def test_intervals_cover(design):
    found = study(design, 2000)
    assert found.lost <= 20
    assert 0.935 <= found.coverage.mean() <= 0.965
    error = (0.95 * 0.05 / found.replicates) ** 0.5
    assert ((found.coverage - 0.95).abs() < 4 * error).all(), found.coverage


@pytest.mark.slow
@pytest.mark.parametrize("design", list(DESIGNS))
def test_the_study_runs(design):
    found = study(design, 30)
    assert found.replicates >= 20
    assert found.coverage.between(0.3, 1.0).all()


@pytest.mark.slow
def test_intervals_at_a_peak_of_the_density_are_a_little_wide():
    found = study("laplace", 1000)
    assert found.lost <= 10
    error = (0.95 * 0.05 / found.replicates) ** 0.5
    assert (found.coverage > 0.95 - 4 * error).all(), found.coverage
    assert (found.coverage < 0.99).all(), found.coverage
