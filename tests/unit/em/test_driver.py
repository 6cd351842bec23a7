"""The driver: monotone, the same in a batch as alone, and quick away from saddles."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from mixexp.em.accelerate import LEAP, nearer, off_saddle
from mixexp.em.driver import EM
from mixexp.em.engines import MemoryEngine
from mixexp.em.params import take
from mixexp.em.status import Status
from mixexp.experts import GammaExpert, GaussianExpert, PoissonExpert
from mixexp.gates import ConstantGate, SoftmaxGate
from mixexp.penalties import L2
from tests.contracts.cases import model_of
from tests.contracts.cases import problem as contract_problem
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


@pytest.mark.parametrize("growth", [-0.3, 0.5])
def test_past_steps_know_a_saddle(growth):
    rng = np.random.default_rng(0)
    basis = np.linalg.qr(rng.standard_normal((6, 6)))[0]
    jacobian = basis @ np.diag([growth, -0.01, -0.2, -0.5, -0.9, -1.0]) @ basis.T
    steps = np.zeros((8, 6))
    steps[:6] = rng.standard_normal((6, 6)) * 10.0 ** -np.arange(6)[:, None]
    gradient = rng.standard_normal(6)
    step = off_saddle(steps, steps @ jacobian.T, gradient)
    if growth < 0:
        assert step is None
        return
    assert step @ gradient > 0
    assert_allclose(np.abs(step @ basis[:, 0]), LEAP, rtol=1e-6)
    assert off_saddle(np.zeros((8, 6)), np.zeros((8, 6)), gradient) is None


def test_mixing_does_not_end_at_a_saddle():
    # five units of log-likelihood below the maximum that EM leads to
    case = contract_problem("gaussian", "hurdle_poisson")
    X = np.where(np.abs(case.rows.X) < 0.3, 0, case.rows.X)
    rows = case.rows._replace(X=X)
    model = model_of(case._replace(rows=rows))
    engine = MemoryEngine(rows, model)
    start = model.from_responsibilities(rows, np.eye(2)[case.labels()][None])
    plain = EM(acceleration=0, max_passes=1000).run(model, start, engine)
    mixed = EM().run(model, start, engine)
    assert mixed.objective[0] >= plain.objective[0] - 1e-6
    assert mixed.status[0] is Status.CONVERGED


def test_mixes_that_fail_come_nearer_to_the_image():
    image, residual = np.zeros((4, 3)), np.full((4, 3), 1e-3)
    proposal = np.full((4, 3), 2.0)
    moved = nearer(proposal, image, residual, np.array([0, 1, 3, 8]))
    assert np.array_equal(moved[:2], proposal[:2])
    assert_allclose(moved[2:] / residual[2:], [[256.0] * 3, [0.25] * 3])


def test_a_parameter_on_its_way_to_infinity_is_not_left_to_plain_em():
    """A probability of zeros that falls by a quarter of a per cent in every step of EM."""
    case = contract_problem("softmax", "hurdle_poisson")
    case.expert.set_params(penalty=L2(0.1))
    model = model_of(case)
    start = model.from_responsibilities(case.rows, np.eye(2)[case.labels()][None])
    result = EM(max_passes=500).run(model, start, MemoryEngine(case.rows, model))
    assert result.status[0] is Status.CONVERGED
