"""Embeddings of categories, and the rule for unseen ones."""

from __future__ import annotations

import numpy as np
import torch
from torch.testing import assert_close

from mixexp.neural import CategoricalEmbedding


def test_an_unseen_category_is_the_mean_of_the_seen_ones_by_their_shares() -> None:
    torch.manual_seed(0)
    shares = [np.array([0.25, 0.75]), np.array([0.2, 0.3, 0.5])]
    module = CategoricalEmbedding(shares, d_embedding=4)
    out = module(torch.tensor([[0, 2], [1, 0], [-1, 1], [1, -1]]))
    first, second = module.tables
    assert_close(out[0], torch.cat([first[0], second[2]]))
    assert_close(out[2, :4], 0.25 * first[0] + 0.75 * first[1])
    assert_close(out[3, 4:], torch.tensor(shares[1]).float() @ second)


def test_width_grows_with_the_number_of_categories() -> None:
    widths = [CategoricalEmbedding([np.full(n, 1 / n)]).out_dim for n in (2, 10, 100, 10_000)]
    assert widths == sorted(widths) and widths[0] < widths[-1] == 16
