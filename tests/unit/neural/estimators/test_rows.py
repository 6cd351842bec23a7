"""Training rows depend on the weighted sample alone; rows held out."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from mixexp.neural.estimators._rows import distinct_rows, held_out


def sample(rng):
    X = rng.integers(0, 3, (30, 2)) / 7
    y = rng.integers(0, 2, 30).astype(float)
    return X, y, rng.integers(0, 4, 30).astype(float)


def canonical(X, y, weight):
    index, summed = distinct_rows([X, y], weight)
    return np.c_[X[index], y[index], summed]


def test_order_and_repetition_change_no_bit() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        X, y, weight = sample(rng)
        wanted = canonical(X, y, weight)
        order = rng.permutation(30)
        assert_array_equal(canonical(X[order], y[order], weight[order]), wanted)
        times = weight.astype(int)
        twice = np.repeat(X, times, axis=0), np.repeat(y, times), np.ones(times.sum())
        assert_array_equal(canonical(*twice), wanted)


def test_rows_are_distinct_and_keep_their_weight() -> None:
    X, y, weight = sample(np.random.default_rng(1))
    found = canonical(X, y, weight)
    rows = {tuple(row) for row in found[:, :3]}
    assert len(rows) == len(found)
    for *row, summed in found:
        same = (np.c_[X, y] == row).all(axis=1)
        assert summed == weight[same].sum() > 0


def test_zero_has_one_sign() -> None:
    X = np.array([[0.0], [-0.0]])
    assert len(distinct_rows([X], np.ones(2))[0]) == 1


def test_held_out_rows_are_of_every_class_in_proportion() -> None:
    classes = np.repeat([0, 1, 2], [100, 40, 2])
    mask = held_out(142, 0.25, 0, classes)
    counts = np.bincount(classes[mask], minlength=3)
    assert abs(mask.sum() - 35.5) <= 1 and abs(counts - [25, 10, 0.5]).max() <= 1
    assert_array_equal(held_out(142, 0.25, 0, classes), mask)
    assert held_out(3, 0.01, 0, None).sum() == 1


def test_one_row_cannot_be_held_out() -> None:
    with pytest.raises(ValueError, match="early_stopping=False"):
        held_out(1, 0.5, 0, None)
