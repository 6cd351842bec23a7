"""The driver: monotone, the same in a batch as alone, and quick away from saddles."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from mixexp.em.driver import EM
from mixexp.em.engines import MemoryEngine
from mixexp.em.params import take
from mixexp.em.status import Status
from mixexp.experts import GammaExpert, GaussianExpert, PoissonExpert
from mixexp.gates import ConstantGate, SoftmaxGate
from tests.unit.em.test_evaluate import problem

CASES = {
    "gaussian": (GaussianExpert(), SoftmaxGate()),
    "gaussian-constant": (GaussianExpert(tied_scale=True), ConstantGate()),
    "poisson": (PoissonExpert(), SoftmaxGate()),
}


@pytest.mark.parametrize("acceleration", [0, 1, 8])
@pytest.mark.parametrize("name", CASES)
def test_objective_never_falls(name, acceleration):
    rows, model, start = problem(*CASES[name], 3, seed=3)
    engine = MemoryEngine(rows, model)
    result = EM(max_passes=150, acceleration=acceleration).run(model, start, engine)
    path = np.array(result.path)
    assert (np.diff(path, axis=0) >= -1e-10 * (1 + np.abs(path[1:]))).all()


def test_objective_is_that_of_the_returned_parameters():
    rows, model, start = problem(GaussianExpert(), SoftmaxGate(), 2)
    engine = MemoryEngine(rows, model)
    result = EM().run(model, start, engine)
    again = engine.run(model, result.params).loglik / engine.total_weight
    assert_allclose(again - model.penalty(result.params), result.objective, rtol=1e-9)


def test_a_start_runs_the_same_in_a_batch_as_alone():
    rows, model, start = problem(GaussianExpert(), SoftmaxGate(), 3)
    engine = MemoryEngine(rows, model)
    together = EM(max_passes=40).run(model, start, engine)
    for s in range(5):
        alone = EM(max_passes=40).run(model, take(start, slice(s, s + 1)), engine)
        assert_allclose(together.objective[s], alone.objective[0], rtol=1e-12)


def test_acceleration_leaves_a_saddle():
    # nearly equal experts: plain EM needs hundreds of passes to tell them apart
    rows, model, start = problem(PoissonExpert(), SoftmaxGate(), 2, S=1, seed=4)
    engine = MemoryEngine(rows, model)
    plain = EM(acceleration=0, tol=1e-10, max_passes=5000).run(model, start, engine)
    mixed = EM(tol=1e-10).run(model, start, engine)
    assert mixed.objective[0] >= plain.objective[0] - 1e-6
    assert mixed.n_pass < plain.n_pass / 2
    assert mixed.status[0] is Status.CONVERGED


def test_composed_family_runs_too():
    rows, model, start = problem(GammaExpert(), SoftmaxGate(), 2)
    result = EM(max_passes=60).run(model, start, MemoryEngine(rows, model, fused=False))
    assert np.isfinite(result.objective).all()
