"""The group Lasso: which slopes form a group, weights, names, errors."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose

from mixexp import GroupLasso

B = np.array([[3.0, 0.0, 1.0], [4.0, 2.0, 0.0]])


def test_every_column_over_all_experts_is_a_group():
    assert_allclose(GroupLasso(0.5).value(B), 0.5 * np.sqrt(2) * (5 + 2 + 1))


def test_groups_of_columns_come_first():
    both = GroupLasso(1.0, groups=[[0, 2]])
    assert_allclose(both.value(B), np.sqrt(4) * np.sqrt(26) + np.sqrt(2) * 2)
    assert_allclose(GroupLasso(1.0, groups=[[0, 2]], weights=[10, 1]).value(B), 10 * 26**0.5 + 2)
    assert both.labels(3).tolist() == [0, 1, 0]


def test_groups_inside_each_expert():
    within = GroupLasso(1.0, groups=[[0, 2]], across=False)
    assert_allclose(within.value(B), np.sqrt(2) * (np.sqrt(10) + 4) + 2)


def test_groups_leave_as_a_whole():
    small = 0.1 * B
    assert not GroupLasso(10.0).prox(small, 1.0).any()
    kept = GroupLasso(0.3, groups=[[0, 2]]).prox(B, 1.0)
    assert np.array_equal(kept[:, [0, 2]] != 0, B[:, [0, 2]] != 0)


def test_groups_by_name():
    named = GroupLasso(groups=[["c", 0]]).named(["a", "b", "c"])
    assert named.groups == [[2, 0]]
    with pytest.raises(ValueError, match=r"groups name the columns \['z'\]"):
        GroupLasso(groups=[["z"]]).named(["a"])


def test_some_columns_keep_their_groups_and_weights():
    penalty = GroupLasso(1.0, groups=[[0, 2]], weights=[10, 1])
    taken = penalty.take([0, 2])
    assert_allclose(taken.value(B[:, [0, 2]]), 10 * np.sqrt(26))
    assert_allclose(penalty.take([1]).value(B[:, [1]]), 2)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"groups": [[0, 3]]}, r"positions 0..2"),
        ({"groups": [[0.5]]}, r"positions 0..2"),
        ({"groups": [[]]}, r"positions 0..2"),
        ({"groups": [[0, 1], [1, 2]]}, r"is in two groups"),
        ({"groups": [[0, 1]], "weights": [1, 2, 3]}, r"2 finite weights >= 0"),
    ],
    ids=["range", "fraction", "empty", "twice", "weights"],
)
def test_settings_are_checked(settings, message):
    with pytest.raises(ValueError, match=message):
        GroupLasso(**settings).check(3)


def test_no_groups_inside_the_classes_of_a_softmax():
    with pytest.raises(ValueError, match="use across=True on a gate"):
        GroupLasso(across=False).check(3, centred=True)
    GroupLasso(across=False).check(3)
