"""Selections and orders against stable sorts."""

from __future__ import annotations

import pytest
import torch

from mixexp.neural.routing.select import count, stable_order, top_k


def scores(n_rows, n, seed=0, dtype=torch.float32):
    """Normal scores of many magnitudes, some equal, some infinite, zeros of both signs."""
    source = torch.Generator().manual_seed(seed)
    z = torch.randn(n_rows, n, generator=source, dtype=dtype)
    z = z * 10.0 ** torch.randint(-30, 30, z.shape, generator=source)
    z[::2] = z[::2].clamp(-2, 2).round()
    z[1::4, ::2] = -torch.inf
    z[2::4, 1::3] = -0.0
    return z


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("n", "k"), [(1, 1), (5, 1), (5, 2), (5, 5), (64, 8), (1000, 16)])
def test_top_k_is_a_stable_sort(n, k, dtype) -> None:
    z = scores(60, n, dtype=dtype)
    kept = z.clone()
    exact = torch.sort(z, dim=1, descending=True, stable=True).indices[:, :k]
    assert torch.equal(top_k(z, k), exact)
    assert torch.equal(z, kept)


def test_top_k_of_no_rows_and_under_function_transforms() -> None:
    assert top_k(torch.zeros(0, 4), 2).shape == (0, 2)
    z = scores(20, 6)
    inside = []
    torch.func.grad(lambda z: [inside.append(top_k(z, 3)), z.sum()][1])(z)
    assert torch.equal(torch.func.vmap(lambda z: top_k(z, 3))(z[None])[0], top_k(z, 3))
    assert len(inside) == 1


@pytest.mark.parametrize("n", [7, 2**16])
def test_stable_order_and_count(n) -> None:
    index = torch.randint(n, (5000,), generator=torch.Generator().manual_seed(0))
    assert torch.equal(stable_order(index, n), torch.argsort(index, stable=True))
    assert torch.equal(count(index, n), torch.bincount(index, minlength=n))
    inside = []
    torch.func.grad(lambda w: [inside.append(count(index, n)), w.sum()][1])(torch.ones(3))
    assert torch.equal(inside[0], count(index, n))
