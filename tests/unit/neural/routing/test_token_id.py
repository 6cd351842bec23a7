"""Routing by token id: tables, balance, and what cannot be a table."""

from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

from mixexp.neural import RoutingInputs, TokenIdRouter


def _inputs(ids, **fields) -> RoutingInputs:
    return RoutingInputs(torch.randn(len(ids), 3), token_id=torch.as_tensor(ids), **fields)


def _load(router, counts):
    """Expected load of each expert over its mean."""
    k = router.table.shape[1]
    load = torch.zeros(router.n_experts, dtype=torch.float64)
    load.index_add_(0, router.table.reshape(-1), counts.double().repeat_interleave(k))
    return load / load.mean()


def test_a_table_sends_each_id_to_its_experts() -> None:
    table = torch.tensor([[0, 3], [1, 2], [3, 1]])
    routing = TokenIdRouter(3, 4, table)(_inputs([2, 0, 1, 2]))
    expected = torch.zeros(4, 4).scatter(1, table[[2, 0, 1, 2]], 0.5)
    assert_close(routing.weights(), expected)
    first = routing.rank == 0
    assert dict(zip(routing.unit[first].tolist(), routing.expert[first].tolist(), strict=True)) == {
        0: 3, 1: 0, 2: 1, 3: 3,
    }  # fmt: skip


@pytest.mark.parametrize("k", [1, 3])
def test_a_balanced_hash_evens_a_zipf_vocabulary_out(k) -> None:
    counts = 1e6 / (torch.arange(4_000) + 20.0)
    balanced = TokenIdRouter(3, 16, n_tokens=4_000, counts=counts, k=k)
    random = TokenIdRouter(3, 16, n_tokens=4_000, hash="random", k=k)
    assert _load(balanced, counts).max() < 1.05
    assert _load(random, counts).max() > 1.05


def test_without_counts_every_expert_has_as_many_ids() -> None:
    table = TokenIdRouter(3, 5, n_tokens=100).table
    assert table.reshape(-1).bincount().tolist() == [20] * 5
    assert not torch.equal(table, TokenIdRouter(3, 5, n_tokens=100, seed=1).table)
    assert torch.equal(table, TokenIdRouter(3, 5, n_tokens=100).table)


def test_modulo_needs_no_draw() -> None:
    router = TokenIdRouter(3, 4, n_tokens=6, hash="modulo", k=2)
    assert router.table.tolist() == [[0, 1], [1, 2], [2, 3], [3, 0], [0, 1], [1, 2]]


def test_a_hidden_expert_is_replaced_by_the_next_visible_one() -> None:
    visible = torch.tensor([True, False, False, True])
    routing = TokenIdRouter(3, 4, torch.arange(4))(_inputs([0, 1, 2, 3], visible=visible))
    assert routing.weights().argmax(1).tolist() == [0, 3, 3, 3]
    two = TokenIdRouter(3, 4, [[1, 0], [2, 3]])(_inputs([0, 1], visible=visible)).weights()
    assert_close(two, torch.tensor([[0.5, 0, 0, 0.5], [0.5, 0, 0, 0.5]]))
    one = TokenIdRouter(3, 4, [[1, 0]])(_inputs([0], visible=torch.arange(4) == 2)).weights()
    assert_close(one, torch.tensor([[0, 0, 1.0, 0]]))


def test_ids_outside_the_table_are_named_and_padding_may_have_any() -> None:
    router = TokenIdRouter(3, 4, torch.arange(4))
    with pytest.raises(ValueError, match=r"token_id from 0 to 3; got 0 to 7"):
        router(_inputs([0, 7]))
    routing = router(_inputs([0, -100], valid=torch.tensor([True, False])))
    assert routing.unit.tolist() == [0]


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ([0, 4], "experts from 0 to 3; got 0 to 4"),
        ([[0, 1], [2, 2]], "an expert twice for id 1"),
        ([0.5, 1.0], "must hold an expert"),
    ],
)
def test_impossible_tables_are_refused(table, message) -> None:
    with pytest.raises(ValueError, match=message):
        TokenIdRouter(3, 4, table)


@pytest.mark.parametrize(
    "options",
    [{}, {"n_tokens": 5, "hash": "md5"}, {"n_tokens": 5, "k": 5}, {"n_tokens": 5, "counts": [1.0]}],
)
def test_impossible_settings_are_refused(options) -> None:
    with pytest.raises(ValueError, match=r"needs a table|must be"):
        TokenIdRouter(3, 4, **options)
