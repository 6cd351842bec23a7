"""Classes of a gate are placed by the rows' values, whatever their order."""

from __future__ import annotations

import numpy as np
import pytest

from mixexp.em.model import PLACED, MoEModel
from mixexp.em.rows import Rows
from mixexp.em.starts.keys import hash_rows
from mixexp.experts import GaussianExpert
from mixexp.gates import LaplaceGate
from mixexp.scaling import Scaling


@pytest.mark.parametrize("n", [1000, 2 * PLACED + 1])
def test_the_order_of_the_rows_changes_no_bit_of_the_centres(n):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(n, 2)), rng.normal(size=(n, 1))
    X[1::5], y[1::5] = X[::5][: len(X[1::5])], y[::5][: len(y[1::5])]  # equal rows, other labels
    weight, resp = rng.uniform(0.5, 2, n), rng.dirichlet(np.ones(3), size=(1, n))
    scaling = Scaling(np.zeros(2), np.ones(2), np.zeros(1), np.ones(1))
    rows = Rows(X, y, weight=weight)
    columns = np.arange(2)
    gate = LaplaceGate().for_columns(X, columns, weight, 3)
    model = MoEModel(gate, GaussianExpert(), 3, columns, columns, scaling)
    order = rng.permutation(n)
    placed = [
        model._placed(model.initial(part), part, resp[0][index], hash_rows(part))
        for part, index in ((rows, np.arange(n)), (rows.take(order), order))
    ]
    assert np.array_equal(placed[0].gate.coef, placed[1].gate.coef)
    assert np.ptp(placed[0].gate.coef[:, 1:], axis=0).min() > 0
