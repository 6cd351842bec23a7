"""Possibility distributions: their laws, and what is refused."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.testing import assert_allclose, assert_array_equal

from mixexp import (
    combine_possibilities,
    possibility_certain,
    possibility_from_labels,
    possibility_from_tags,
    possibility_trapezoid,
    to_probability,
)

UNIT = arrays(np.float64, (6, 3), elements=st.floats(0, 1, width=32))


def test_a_trapezoid_is_the_interpolation_of_its_corners():
    t = np.linspace(-1, 6, 141)
    ours = possibility_trapezoid(t, (0, 5), (1, 3))
    assert_allclose(ours, np.interp(t, [0, 1, 3, 5], [0, 1, 1, 0]), atol=1e-14)
    raised = possibility_trapezoid(t, (0, 5), (1, 3), floor=0.2)
    assert_allclose(raised, 0.2 + 0.8 * ours)


def test_a_trapezoid_may_have_steep_and_infinite_ends_dates_and_gaps():
    step = possibility_trapezoid([0.9, 1, 2, 2.1, np.nan], (1, 2), (1, 2))
    assert_array_equal(step, [0, 1, 1, 0, np.nan])
    late = possibility_trapezoid([-9, 0, 1, 99], (0, np.inf), (2, np.inf))
    assert_allclose(late, [0, 0, 0.5, 1])
    days = pd.date_range("2024-01-01", periods=5).to_numpy()
    ours = possibility_trapezoid(days, ("2024-01-01", "2024-01-05"), ("2024-01-03", "2024-01-04"))
    assert_allclose(ours, [0, 0.5, 1, 1, 0])


def test_labels_and_assertions():
    mask = np.array([True, False])
    assert_allclose(possibility_certain(mask, 0.7), [1, 0.3])
    found = possibility_from_labels([1, np.nan, None, -1, (0, 2)], 3, alpha=0.9)
    assert np.isnan(found[1:4]).all()
    assert_allclose(found[[0, 4]], [[0.1, 1, 0.1], [1, 0.1, 1]])


@given(UNIT)
def test_a_tag_takes_from_the_others_what_it_is_certain_of(tags):
    top = np.sort(tags, axis=1)
    tags = tags * np.where(top[:, [-2]] == 1, 0.5, 1)
    ours = possibility_from_tags(tags)
    for c in range(3):
        assert_allclose(1 - ours[:, c], np.delete(tags, c, axis=1).max(axis=1), atol=1e-12)


@given(UNIT, UNIT)
def test_combinations_are_triangular_norms(a, b):
    a, b = np.maximum(a, 0.01), np.maximum(b, 0.01)
    for how in ("min", "product"):
        both = combine_possibilities(a, b, how=how)
        assert_array_equal(both, combine_possibilities(b, a, how=how))
        assert np.all(both <= np.minimum(a, b))
        assert_array_equal(combine_possibilities(a, np.full_like(a, np.nan), how=how), a)
    assert_array_equal(combine_possibilities(a, a), a)


@given(UNIT)
def test_probabilities_are_dominated_by_the_possibility(values):
    values[:, 0] = 1
    for method in ("pignistic", "normalised"):
        shares = to_probability(values, method)
        assert_allclose(shares.sum(axis=1), 1)
        # the pignistic one is a probability that the possibility measure allows: P(A) <= Pi(A)
        if method == "pignistic":
            for keep in ([0], [1], [2], [0, 1], [0, 2], [1, 2]):
                assert np.all(shares[:, keep].sum(axis=1) <= values[:, keep].max(axis=1) + 1e-9)
        for i in range(len(values)):
            order = np.argsort(values[i])
            assert np.all(np.diff(shares[i, order]) >= -1e-12)


def test_names_survive():
    frame = pd.DataFrame({"a": [1.0, 0.2], "b": [0.5, np.nan]}, index=[7, 8])
    both = combine_possibilities(frame, frame[["b", "a"]])
    assert list(both) == ["a", "b"] and list(both.index) == [7, 8]
    shares = to_probability(frame)
    assert list(shares) == ["a", "b"]
    assert_allclose(shares, [[0.75, 0.25], [0.1, 0.9]])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: possibility_trapezoid([1], (2, 1), (1, 1)), "a <= b <= c"),
        (lambda: possibility_trapezoid([1], (-np.inf, 1), (0, 1)), "infinite only where"),
        (lambda: possibility_trapezoid([1], (0, 1), (0, 1), floor=1), "floor"),
        (lambda: possibility_certain([1, 0]), "booleans"),
        (lambda: possibility_certain([True], 0), "alpha"),
        (lambda: possibility_from_labels([3], 3), "row 0 has 3"),
        (lambda: possibility_from_labels([[]], 3), "empty collection"),
        (lambda: possibility_from_tags({"a": [0, 1], "b": [0, 1]}), "row 1, 1 such"),
        (lambda: possibility_from_tags({"a": [2], "b": [0]}), "between 0 and 1"),
        (lambda: combine_possibilities([[1, 0]], [[0, 1]]), "contradict"),
        (lambda: combine_possibilities([1], [1, 0]), "one shape"),
        (lambda: combine_possibilities(how="sum"), "how must be"),
        (lambda: to_probability([[1]], "x"), "method must be"),
    ],
)
def test_what_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
