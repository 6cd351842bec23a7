"""Which optima are regular."""

from __future__ import annotations

import numpy as np
import pytest

from mixexp.em.model import MoEModel
from mixexp.em.params import MoEParams, stack
from mixexp.em.regular import is_regular
from mixexp.em.rows import Rows, Scaling
from mixexp.experts import GaussianExpert, PoissonExpert
from mixexp.experts.glm import GLMParams
from mixexp.gates import SoftmaxGate, SoftmaxParams
from mixexp.penalties import L1


def model(expert, K=2):
    columns = np.arange(1)
    return MoEModel(SoftmaxGate(), expert, K, columns, columns, Scaling.identity(1, 1))


def params(*sigma):
    K = len(sigma)
    coef = GLMParams(np.zeros((K, 1, 2)), np.array(sigma)[:, None])
    return MoEParams(SoftmaxParams(np.zeros((K, 2))), coef)


@pytest.mark.parametrize(
    ("mass", "units", "expected"),
    [
        ([10.0, 190.0], 200, True),  # 5 % exactly
        ([9.9, 190.1], 200, False),
        ([5.9, 44.1], 50, False),  # under twice the three parameters
        ([6.0, 44.0], 50, True),
        ([60.0, 99_940.0], 100_000, True),  # 50 rows are always enough
    ],
)
def test_smallest_expert(mass, units, expected):
    p = params(1.0, 1.0)
    assert bool(is_regular(model(GaussianExpert()), p, np.array(mass), units)) is expected
    assert (
        is_regular(model(GaussianExpert()), stack([p, p]), np.array([mass] * 2), units).tolist()
        == [expected] * 2
    )


def test_a_scale_on_its_bound_is_irregular():
    p = params(0.01, 1.0)
    assert not is_regular(model(GaussianExpert()), p, np.array([50.0, 50.0]), 100)


def test_counts_may_have_smaller_experts():
    mass = np.array([4.0, 196.0])
    assert is_regular(model(PoissonExpert()), params(1.0, 1.0), mass, 200)
    assert not is_regular(model(PoissonExpert()), params(1.0, 1.0), mass - [0.1, -0.1], 200)


def test_of_penalised_slopes_those_that_are_left_alone_need_rows():
    p = params(1.0, 1.0)
    coef = np.zeros((2, 1, 5))
    coef[0, 0, 1:3], coef[1, 0, 1:5] = 1.0, 1.0  # two slopes, and four
    p = p._replace(expert=p.expert._replace(coef=coef))
    mass = np.array([11.0, 189.0])  # 5 % and 2 x (1 + 1 + 4) lie around

    def with_weights(weights):
        expert = GaussianExpert(penalty=L1(0.1, weights=weights))
        return is_regular(model(expert)._replace(expert_columns=np.arange(4)), p, mass, 200)

    assert with_weights(None)
    assert with_weights([0, 0, 1, 1])  # 2 x (1 + 1 + 2)
    assert not with_weights(np.zeros(4))
    assert not with_weights([[1, 1, 1, 1], [0, 0, 0, 0]])


def test_one_expert_is_regular():
    assert is_regular(model(GaussianExpert(), K=1), params(1.0), np.array([3.0]), 3)


def test_units_are_rows_under_fractional_weights():
    X = np.zeros((10, 1))
    assert Rows(X, X).counted_units == 10
    assert Rows(X, X, np.full(10, 3.0)).counted_units == 30
    assert Rows(X, X, np.full(10, 0.1)).counted_units == 10
    assert Rows(X, X, np.eye(10)[0] * 0.5).counted_units == 1
