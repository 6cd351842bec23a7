"""Embeddings of numeric columns: the published formula, weights as repetitions, odd columns."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from mixexp.neural import PeriodicEmbedding, PiecewiseLinearEmbedding
from mixexp.neural.embeddings import quantile_edges


def test_edges_of_weighted_rows_are_those_of_repeated_rows() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        column = rng.integers(0, 9, 12) / 3
        weight = rng.integers(0, 4, 12).astype(float)
        weight[0] = 1.0
        repeated = np.repeat(column, weight.astype(int))
        n_bins = int(rng.integers(1, 8))
        edges = quantile_edges(column, weight, n_bins)
        assert_allclose(edges, quantile_edges(repeated, np.ones(len(repeated)), n_bins))


def test_edges_are_quantiles_of_the_empirical_distribution() -> None:
    column = np.random.default_rng(1).permutation(np.arange(101.0))
    assert_allclose(quantile_edges(column, np.ones(101), 4), [0, 25, 50, 75, 100])


def test_edges_do_not_hang_on_roundings_of_sums() -> None:
    """Orders that are reached exactly count, whatever the unit of the weights."""
    column = np.arange(30.0)
    wanted = quantile_edges(column, np.ones(30), 10)
    for unit in (0.1, 1 / 3, 1e-7, 1e5 / 7):
        assert_allclose(quantile_edges(column, np.full(30, unit), 10), wanted)


def encoded(x, edges):
    """The formula, entry by entry."""
    last = len(edges) - 2
    out = []
    for t in range(last + 1):
        share = (x - edges[t]) / (edges[t + 1] - edges[t])
        if t > 0:
            share = max(share, 0.0)
        if t < last:
            share = min(share, 1.0)
        out.append(share)
    return out


def test_piecewise_linear_encoding_is_the_formula() -> None:
    rng = np.random.default_rng(2)
    columns = np.c_[rng.standard_normal(40), rng.integers(0, 3, 40)]
    module = PiecewiseLinearEmbedding(n_bins=5, d_embedding=None).build(columns).double()
    found = module(torch.from_numpy(3 * columns)).numpy()
    edges = [quantile_edges(column, np.ones(40), 5) for column in columns.T]
    wanted = [[*encoded(3 * a, edges[0]), *encoded(3 * b, edges[1])] for a, b in columns]
    assert found.shape == (40, 5 + 2)
    assert_allclose(found, wanted, atol=1e-6)


def test_piecewise_linear_embedding_begins_linear_and_learns_kinks() -> None:
    columns = np.linspace(-1, 1, 50)[:, None]
    module = PiecewiseLinearEmbedding(n_bins=8, d_embedding=3).build(columns).double()
    x = torch.linspace(-2, 2, 9, dtype=torch.float64)[:, None]
    bends = torch.diff(module(x), n=2, dim=0)
    assert bends.abs().max() < 1e-12
    module(x).square().sum().backward()
    assert module.bins.weight.grad.abs().max() > 0


@pytest.mark.parametrize("d_embedding", [None, 4])
def test_columns_without_spread_are_encoded_without_numbers(d_embedding) -> None:
    columns = np.c_[np.zeros(10), np.arange(10.0)]
    module = PiecewiseLinearEmbedding(n_bins=4, d_embedding=d_embedding).build(columns)
    out = module(torch.tensor([[0.0, 3.0], [5.0, 3.0]]))
    assert out.shape == (2, module.out_dim) and torch.isfinite(out).all()


def test_periodic_waves_have_the_stated_frequencies() -> None:
    torch.manual_seed(0)
    module = PeriodicEmbedding(3, sigma=0.5, d_embedding=None).build(np.zeros((1, 2))).double()
    x = torch.tensor([[0.3, -1.2]], dtype=torch.float64)
    angle = 2 * np.pi * x[0][:, None] * module.frequency
    wanted = torch.cat([torch.cos(angle), torch.sin(angle)], 1).flatten()
    assert_allclose(module(x)[0].detach(), wanted.detach())
    assert PeriodicEmbedding(3, d_embedding=5).build(np.zeros((1, 2))).out_dim == 10


@pytest.mark.parametrize(
    "part", [PiecewiseLinearEmbedding(n_bins=0), PeriodicEmbedding(0), PeriodicEmbedding(sigma=0)]
)
def test_settings_out_of_range_are_named(part) -> None:
    with pytest.raises(ValueError, match="n_bins|n_frequencies"):
        part.build(np.zeros((3, 1)))
