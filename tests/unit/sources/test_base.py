"""Sources of blocks: order, reading ahead, and errors on the way."""

from __future__ import annotations

import numpy as np
import pytest

from mixexp.sources import Block, BlockSource


class Numbered(BlockSource):
    """Blocks of the rows 0, 1, ...; block ``broken`` cannot be read."""

    n_features, feature_names, row_inputs = 1, None, ()

    def __init__(self, n_blocks, broken=None):
        self.n_blocks, self.broken = n_blocks, broken
        self.read = []

    def blocks(self):
        for i in range(self.n_blocks):
            if i == self.broken:
                raise ValueError(f"block {i} is damaged")
            self.read.append(i)
            yield Block(np.full((2, 1), float(i)), None, place=f"block {i}")

    def identity(self):
        return f"{self.n_blocks}"


def first_row(block):
    return [block.X[0, 0]]


def joined(left, right):
    return left + right


def test_values_are_merged_in_the_order_of_the_blocks():
    source = Numbered(5)
    assert source.reduce(first_row, joined) == [0, 1, 2, 3, 4]
    assert source.reduce(first_row, joined) == [0, 1, 2, 3, 4]  # every call begins anew


def test_no_more_than_one_block_is_read_ahead():
    source = Numbered(6)

    def ahead(block):
        return [len(source.read) - block.X[0, 0]]

    assert max(source.reduce(ahead, joined)) <= 2


def test_errors_of_reading_and_of_the_function_come_through():
    with pytest.raises(ValueError, match="block 3 is damaged"):
        Numbered(5, broken=3).reduce(first_row, joined)

    def refuses(block):
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        Numbered(5).reduce(refuses, joined)


def test_a_source_without_blocks_is_refused():
    with pytest.raises(ValueError, match="no rows"):
        Numbered(0).reduce(first_row, joined)
