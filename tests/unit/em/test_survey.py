"""The survey of blocks: its sum of keys says what the rows are, however they are cut."""

from __future__ import annotations

import functools

import numpy as np
import pytest

from mixexp.em.rows import Rows
from mixexp.em.survey import Survey, Surveyor


@pytest.fixture
def rows():
    rng = np.random.default_rng(0)
    X, y = rng.integers(0, 4, (200, 3)).astype(float), rng.integers(0, 9, (200, 1)).astype(float)
    return Rows(
        X, y, rng.uniform(0.5, 2, 200), rng.normal(size=200), rng.integers(9, 20, 200) * 1.0
    )


def keys(rows, *cuts):
    parts = np.split(np.arange(rows.n), cuts)
    return functools.reduce(Survey.merged, [Surveyor(False)(rows.take(p)) for p in parts]).keys


def test_the_sum_of_keys_depends_on_neither_cuts_nor_order(rows):
    order = np.random.default_rng(1).permutation(rows.n)
    assert keys(rows) == keys(rows, 1, 120) == keys(rows.take(order), 77) < 2**64


def test_what_is_absent_equals_its_neutral_value(rows):
    bare = Rows(rows.X, rows.y)
    assert keys(bare) == keys(Rows(rows.X, rows.y, np.ones(200), np.zeros(200)))


@pytest.mark.parametrize("part", ["X", "y", "weight", "offset", "trials"])
def test_every_part_is_bound_to_its_row(rows, part):
    value = getattr(rows, part)
    assert keys(rows) != keys(rows._replace(**{part: np.roll(value, 1, axis=0)}))
    changed = value.copy()
    changed[3] = np.nextafter(changed[3], 100)
    assert keys(rows) != keys(rows._replace(**{part: changed}))


def test_two_equal_rows_do_not_cancel(rows):
    one, two, three = (rows.take(np.repeat(5, n)) for n in (1, 2, 3))
    assert len({keys(one), keys(two), keys(three)}) == 3


def test_without_counting_there_are_no_keys(rows):
    bare = Surveyor(False, counts=False)
    assert bare(rows).keys is None
    assert bare(rows).merged(bare(rows)).keys is None
