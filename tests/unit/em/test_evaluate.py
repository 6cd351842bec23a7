"""The compiled evaluation of the EM map equals the composed one."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from mixexp.em.engines import MemoryEngine
from mixexp.em.evaluate import _CompiledGLM, _CompiledMultinomial, _Composed, evaluator
from mixexp.em.model import MoEModel
from mixexp.em.params import take
from mixexp.em.rows import Rows
from mixexp.experts import (
    BinomialExpert,
    GammaExpert,
    GaussianExpert,
    MultinomialExpert,
    PoissonExpert,
)
from mixexp.gates import ConstantGate, SoftmaxGate
from mixexp.penalties import L2
from mixexp.scaling import Scaling

CASES = {
    "gaussian": (GaussianExpert(), SoftmaxGate(), 3),
    "gaussian-log": (GaussianExpert(link="log"), SoftmaxGate(), 2),
    "gaussian-one": (GaussianExpert(), SoftmaxGate(), 1),
    "gaussian-penalised": (GaussianExpert(penalty=L2(0.1)), SoftmaxGate(penalty=L2(0.03)), 4),
    "gaussian-bounded": (GaussianExpert(min_scale=0.4, max_ratio=0.9), SoftmaxGate(), 3),
    "poisson": (PoissonExpert(penalty=L2(0.1)), SoftmaxGate(), 2),
    "binomial": (BinomialExpert(), SoftmaxGate(), 3),
    "gaussian-constant": (GaussianExpert(), ConstantGate(), 3),
    "poisson-constant": (PoissonExpert(), ConstantGate(), 2),
    "multinomial": (MultinomialExpert(), SoftmaxGate(), 3),
    "multinomial-one": (MultinomialExpert(), SoftmaxGate(), 1),
    "multinomial-constant": (MultinomialExpert(), ConstantGate(), 2),
    "multinomial-penalised": (
        MultinomialExpert(penalty=L2(0.1), ridge=1e-3),
        SoftmaxGate(penalty=L2(0.03)),
        4,
    ),
}


def problem(expert, gate, K, n=400, S=5, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 3))
    y = rng.poisson(np.exp(0.3 * X[:, 0] + 0.5 * (X[:, 1] > 0)))
    y = y + 0.5 * isinstance(expert, GammaExpert)
    y = np.minimum(y, 3) if isinstance(expert, MultinomialExpert) else y
    trials = y + 3.0 if isinstance(expert, BinomialExpert) else None
    rows = Rows(X, y[:, None].astype(float), weight=rng.uniform(0.5, 2, n), trials=trials)
    scaling = Scaling(np.zeros(3), np.ones(3), np.zeros(1), np.ones(1))
    columns = (np.array([0, 2]), np.arange(3)) if K == 2 else (np.arange(3), np.arange(3))
    if not gate.uses_columns:
        columns = (np.array([], dtype=int), columns[1])
    model = MoEModel(gate, expert, K, *columns, scaling)
    start = model.from_responsibilities(rows, rng.dirichlet(np.ones(K), size=(S, n)))
    return rows, model, start


@pytest.mark.parametrize("name", CASES)
def test_compiled_equals_composed(name):
    rows, model, start = problem(*CASES[name])
    engine = MemoryEngine(rows, model)
    compiled = evaluator(model, engine, take(start, slice(0, 1)))
    composed = _Composed(model, engine, take(start, slice(0, 1)))
    assert isinstance(compiled, _CompiledGLM | _CompiledMultinomial)
    point = model.pack(start)
    for _ in range(4):
        got, expected = compiled(point), composed(point)
        for one, other in zip(got, expected, strict=True):
            assert_allclose(one, other, rtol=1e-10, atol=1e-10)
        point = got.image


@pytest.mark.parametrize("expert", [GaussianExpert(tied_scale=True), GaussianExpert(tied="all")])
def test_other_m_steps_are_composed(expert):
    rows, model, start = problem(expert, SoftmaxGate(), 2)
    engine = MemoryEngine(rows, model)
    assert isinstance(evaluator(model, engine, take(start, slice(0, 1))), _Composed)


def test_a_class_beyond_the_coefficients_is_refused():
    rows, model, start = problem(MultinomialExpert(), SoftmaxGate(), 2)
    engine = MemoryEngine(rows._replace(y=rows.y + 4), model)
    with pytest.raises(ValueError, match="class code 7 for experts of 4 classes"):
        engine.run(model, start)


def test_large_systems_are_composed():
    rows, model, start = problem(MultinomialExpert(), SoftmaxGate(), 2)
    rows = rows._replace(y=np.arange(rows.n)[:, None] % 10.0)
    start = model.from_responsibilities(rows, np.full((2, rows.n, 2), 0.5))
    assert isinstance(evaluator(model, MemoryEngine(rows, model), start), _Composed)
