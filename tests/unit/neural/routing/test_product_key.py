"""Product keys: exact retrieval, heads that share experts, and what is never formed."""

from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

from mixexp.neural import ProductKeyRouter, RoutingInputs
from mixexp.neural.routing.product_key import best_of_grid, merged_heads


@pytest.mark.parametrize("n_experts", [1, 2, 7, 12, 13, 100, 9_973, 10_000])
@pytest.mark.parametrize("k", [1, 8])
def test_the_best_sums_are_found_exactly(n_experts, k) -> None:
    """Squares, primes, grids of one row and of an incomplete last one."""
    router = ProductKeyRouter(4, n_experts, min(k, n_experts), score="relu", n_heads=1)
    source = torch.Generator().manual_seed(0)
    by_row = torch.randn(50, router.n_rows, generator=source)
    by_column = torch.randn(50, router.n_columns, generator=source)
    every = (by_row[:, :, None] + by_column[:, None]).flatten(1)[:, :n_experts]
    found = best_of_grid(by_row, by_column, n_experts, router.k)
    assert torch.equal(found, every.topk(router.k).indices)


def test_equal_sums_go_to_the_first_experts() -> None:
    found = best_of_grid(torch.zeros(2, 3), torch.zeros(2, 4), 11, 6)
    assert found.tolist() == [list(range(6))] * 2


def test_heads_are_merged_with_the_sum_of_their_weights() -> None:
    expert = torch.tensor([[4, 2], [2, 7], [9, 4]])
    weight = torch.tensor([[0.7, 0.3], [0.6, 0.4], [0.8, 0.2]])
    number, total, keep = merged_heads(expert, weight, None, 3, 10)
    assert number[keep].tolist() == [2, 4, 9, 7]  # largest first, the first of equals
    assert_close(total[keep], torch.tensor([0.9, 0.9, 0.8, 0.4]))
    seen = torch.tensor([[True, True], [False, True], [True, False]])
    number, total, keep = merged_heads(expert, weight, seen, 3, 10)
    assert number[keep].tolist() == [9, 4, 7, 2]
    assert_close(total[keep], torch.tensor([0.8, 0.7, 0.4, 0.3]))


def test_the_weights_are_those_of_all_heads() -> None:
    """Against scores of all experts, head by head."""
    torch.manual_seed(0)
    router, x = ProductKeyRouter(6, 50, 4, n_heads=3), torch.randn(20, 6)
    query = router.query(x).view(20, 3, 2, router.key_dim)
    scores = (query[:, :, 0] @ router.row_keys.T)[..., None]
    scores = (scores + (query[:, :, 1] @ router.column_keys.T)[:, :, None]).flatten(2)[..., :50]
    best = scores.topk(4)
    dense = torch.zeros(20, 3, 50).scatter(2, best.indices, torch.softmax(best.values, 2)).sum(1)
    assert_close(router(RoutingInputs(x)).weights(), dense)


def test_a_mask_that_hides_nothing_changes_nothing() -> None:
    torch.manual_seed(0)
    router, x = ProductKeyRouter(6, 50, 4, n_heads=3), torch.randn(20, 6)
    visible = torch.ones(20, 50, dtype=torch.bool)
    plain = router(RoutingInputs(x)).weights()
    assert_close(router(RoutingInputs(x, visible=visible)).weights(), plain)


@pytest.mark.parametrize(
    "options", [{"k": 51}, {"k": 1}, {"score": "tanh"}, {"n_heads": 0}, {"key_dim": 0}]
)
def test_impossible_settings_are_refused(options) -> None:
    with pytest.raises(ValueError, match="must be|always one"):
        ProductKeyRouter(6, 50, **options)
