"""Folds of the cross-validation."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.model_selection import KFold

from mixexp.selection.folds import make_folds


def test_every_row_is_tested_once_and_sizes_differ_by_one() -> None:
    folds = make_folds(np.zeros(23), 5, classes=False, random_state=0)
    tested = np.concatenate([test for _, test in folds])
    assert sorted(tested) == list(range(23))
    assert {len(test) for _, test in folds} <= {4, 5}


def test_a_class_of_one_row_stays_in_training() -> None:
    y = np.array(["a"] * 10 + ["b"] * 10 + ["c"])
    for train, test in make_folds(y, 5, classes=True, random_state=0):
        assert set(y[train]) == {"a", "b", "c"}
        assert "c" not in y[test]


def test_same_seed_same_folds() -> None:
    first, second = (make_folds(np.zeros(20), 4, classes=False, random_state=3) for _ in range(2))
    assert all(np.array_equal(a[1], b[1]) for a, b in zip(first, second, strict=True))


def test_splitters_and_none_pass() -> None:
    assert make_folds(np.zeros(9), None, classes=False) == []
    assert len(make_folds(np.zeros(9), KFold(3), classes=False, X=np.zeros((9, 1)))) == 3


def test_one_fold_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 2 folds"):
        make_folds(np.zeros(9), 1, classes=False)
