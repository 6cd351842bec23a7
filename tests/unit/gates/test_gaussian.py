"""The Gaussian gate: its chart and certificate, its structures, and the joint model it makes."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import sparse, stats
from sklearn.mixture import GaussianMixture

import mixexp.selection
from mixexp import EM, GaussianGate, MoERegressor, load
from mixexp._component import CRITERIA
from mixexp.em.engines import MemoryEngine
from mixexp.em.engines.batched import batched_pass
from mixexp.em.params import concatenate, stack, take, tree_map
from tests.contracts.cases import batch, model_of, problem, some_params

assert mixexp.selection  # importing it fills the registry of criteria
P = 3
SETTINGS = {
    "full": {},
    "diagonal": {"covariance": "diagonal"},
    "spherical": {"covariance": "spherical"},
    "blocks": {"covariance": "block_diagonal", "blocks": [[0, 2], [1]]},
}
structures = pytest.mark.parametrize("structure", SETTINGS)
tied_or_own = pytest.mark.parametrize("tied", [False, True], ids=["own", "tied"])
EXACT = EM(max_passes=3000, tol=1e-15, gradient_tol=1e-9)


def case_of(structure, tied=False, n=150, **settings):
    gate = GaussianGate(**SETTINGS[structure], tied_covariance=tied, **settings)
    return problem("gaussian", "gaussian", n=n, p=P)._replace(gate=gate)


def params_of(model, rows, seed=1):
    """Parameters away from the neutral ones, inside the structure."""
    params = some_params(model, rows, seed, spread=0.3)
    return take(model.unpack(model.pack(batch(params)), batch(params)), 0)


@structures
@tied_or_own
def test_the_gradient_is_that_of_the_joint_log_likelihood(structure, tied):
    case = case_of(structure, tied)
    model = model_of(case)
    params = params_of(model, case.rows)
    result = model.statistics(params, case.rows).statistics
    gradient = model.gradient(batch(params), batch(result))[0]

    def objective(vector):
        return model.log_likelihood(model.unpack(vector, params), case.rows).mean()

    vector, rng = model.pack(params), np.random.default_rng(0)
    for _ in range(8):  # directions, since tied coordinates move together
        direction = rng.standard_normal(vector.shape)
        # the chart's own projection of the direction: equal steps in shared coordinates
        moved = [model.pack(model.unpack(vector + s * 1e-6 * direction, params)) for s in (1, -1)]
        numeric = (objective(moved[0]) - objective(moved[1])) / 2e-6
        assert_allclose(gradient @ (moved[0] - moved[1]) / 2e-6, numeric, rtol=1e-5, atol=1e-7)


@structures
@tied_or_own
def test_a_fit_is_stationary_and_its_path_never_falls(structure, tied):
    case = case_of(structure, tied)
    model = MoERegressor(2, gate=case.gate, start=case.labels()).fit(case.rows.X, case.y)
    assert model.converged_ and model.certificate_ <= 1e-6
    assert np.diff(model.objective_path_).min(initial=0) >= -1e-11


@structures
@tied_or_own
def test_free_parameters(structure, tied):
    each = {"full": 6, "diagonal": 3, "spherical": 1, "blocks": 4}[structure]
    gate = case_of(structure, tied).gate
    wanted = 2 + 3 * P + each * (1 if tied else 3)
    assert gate.n_free(gate.initial(3, P + 1)) == wanted


@structures
@tied_or_own
def test_fitted_covariances_have_their_structure(structure, tied):
    case = case_of(structure, tied)
    model = MoERegressor(2, gate=case.gate, start=case.labels(), solver=EXACT)
    covariances = model.fit(case.rows.X, case.y).gate_covariances_
    scale = case.rows.X.std(axis=0)
    standard = covariances / np.outer(scale, scale)
    zeros = {
        "full": [],
        "diagonal": [(0, 1), (0, 2), (1, 2)],
        "spherical": [(0, 1), (0, 2), (1, 2)],
        "blocks": [(0, 1), (1, 2)],
    }[structure]
    for i, j in zeros:
        assert_allclose(covariances[:, i, j], 0, atol=1e-15)
    if structure == "spherical":
        assert_allclose(standard[:, 0, 0], standard[:, 1, 1], rtol=1e-12)
    assert np.allclose(covariances[0], covariances[1], rtol=1e-12, atol=0) == tied


def test_one_input_and_one_response_are_a_gaussian_mixture_of_the_pair():
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.normal(0, 1, 150), rng.normal(4, 0.7, 100)])
    y = np.where(np.arange(250) < 150, 1 + x, 3 - 2 * x) + 0.3 * rng.standard_normal(250)
    model = MoERegressor(2, gate="gaussian", solver=EXACT).fit(x[:, None], y)
    pairs = np.column_stack([x, y])
    mixture = GaussianMixture(2, reg_covar=0, tol=1e-12, max_iter=2000, n_init=5, random_state=0)
    mixture.fit(pairs)
    assert model.n_free_ == 6 * 2 - 1
    assert_allclose(model.loglik_, mixture.score_samples(pairs).sum(), rtol=1e-9)
    joint = model.joint_log_prob(x[:, None], y)
    assert_allclose(joint, mixture.score_samples(pairs), atol=1e-4)
    assert_allclose(joint.sum(), model.loglik_, rtol=1e-12)


@pytest.mark.parametrize("K", [1, 2, 5])
def test_one_input_and_one_response_have_6k_minus_1_parameters(K):
    case = problem("gaussian", "gaussian", p=1)
    params = model_of(case, K).initial(case.rows)
    assert model_of(case, K).n_free(params) == 6 * K - 1


def test_one_expert_is_counted_as_joint_too():
    case = case_of("full")
    model = MoERegressor(1, gate=case.gate).fit(case.rows.X, case.y)
    X, y = case.rows.X, case.y
    law = stats.multivariate_normal(X.mean(axis=0), np.cov(X.T, bias=True))
    plain = MoERegressor(1).fit(X, y)
    assert_allclose(model.loglik_, plain.loglik_ + law.logpdf(X).sum(), rtol=1e-12)
    assert_allclose(model.fit_summary_.conditional_loglik, plain.loglik_, rtol=1e-12)
    assert model.fit_summary_.joint and not plain.fit_summary_.joint


@pytest.mark.parametrize("criterion", CRITERIA)
def test_criteria_refuse_joint_beside_conditional(criterion):
    case = case_of("full")
    fits = [MoERegressor(1, gate=gate).fit(case.rows.X, case.y) for gate in ("softmax", case.gate)]
    with pytest.raises(ValueError, match="given x"):
        CRITERIA[criterion]().scores([fit.fit_summary_ for fit in fits])


@structures
def test_the_batched_pass_is_that_of_every_set(structure):
    case = case_of(structure)
    model = model_of(case, K=3)
    sets = [some_params(model, case.rows, seed, spread=0.3) for seed in (1, 2)]
    whole = batched_pass(model, case.rows, concatenate([batch(one) for one in sets]))
    each = stack([model.statistics(one, case.rows) for one in sets])
    tree_map(lambda a, b: assert_allclose(a, b, rtol=1e-10, atol=1e-10), whole, each)


def test_class_by_class_and_at_once_are_one_density(monkeypatch):
    case = case_of("full")
    model = model_of(case, K=3)
    params = some_params(model, case.rows, spread=0.3)
    at_once = model.log_likelihood(params, case.rows)
    monkeypatch.setattr("mixexp.solvers.covariance.AT_ONCE", 0)
    assert_allclose(model.log_likelihood(params, case.rows), at_once, rtol=1e-12)


@structures
def test_sparse_parts_change_nothing(structure, monkeypatch):
    case = case_of(structure)
    rows = case.rows._replace(X=sparse.csr_array(case.rows.X))
    model = model_of(case)
    params = some_params(model, case.rows, spread=0.3)
    flat = model._replace(scaling=model.scaling._replace(x_centre=np.zeros(P)))
    dense = MemoryEngine(case.rows, flat).run(flat, batch(params))
    monkeypatch.setattr("mixexp.scaling.SMALL", 0)
    monkeypatch.setattr("mixexp.gates.gaussian.ENTRIES", 40)
    thin = MemoryEngine(rows, flat).run(flat, batch(params))
    tree_map(lambda a, b: assert_allclose(a, b, rtol=1e-10, atol=1e-10), thin, dense)


def test_a_class_without_spread_leans_on_the_bound_and_says_so():
    rng = np.random.default_rng(0)
    x = np.concatenate([np.full(60, 2.0), rng.normal(0, 1, 140)])[:, None]
    y = np.where(x[:, 0] == 2.0, 5.0, x[:, 0]) + 0.1 * rng.standard_normal(200)
    labels = (x[:, 0] == 2.0).astype(int)
    with pytest.warns(Warning, match="lower bound"):
        model = MoERegressor(2, gate="gaussian", start=labels).fit(x, y)
    assert model.status_.name == "DEGENERATE" and not model.regular_
    assert model.certificate_ <= 1e-6
    assert_allclose(np.sqrt(model.gate_covariances_[1, 0, 0]), 5e-3 * x.std(), rtol=1e-6)


def test_draws_of_the_joint_model_have_its_moments():
    case = case_of("full")
    model = MoERegressor(2, gate=case.gate, start=case.labels()).fit(case.rows.X, case.y)
    X, y = model.sample_joint(20000, rng=0)
    spread = case.rows.X.std(axis=0)
    assert np.all(np.abs(X.mean(axis=0) - case.rows.X.mean(axis=0)) < 5 * spread / np.sqrt(20000))
    assert_allclose(np.cov(X.T, bias=True), np.cov(case.rows.X.T, bias=True), atol=0.06)
    assert abs(y.mean() - case.y.mean()) < 5 * case.y.std() / np.sqrt(20000)


def test_a_saved_joint_fit_comes_back(tmp_path):
    case = case_of("blocks")
    model = MoERegressor(2, gate=case.gate, start=case.labels()).fit(case.rows.X, case.y)
    model.save(tmp_path / "model")
    again = load(tmp_path / "model")
    assert again.fit_summary_ == model.fit_summary_
    assert np.array_equal(
        again.joint_log_prob(case.rows.X, case.y), model.joint_log_prob(case.rows.X, case.y)
    )
    assert "Gaussian classes" in again.summary()


def test_a_gate_that_does_not_model_x_has_no_joint_density():
    case = problem("softmax", "gaussian")
    model = MoERegressor(1).fit(case.rows.X, case.y)
    for call in (lambda: model.joint_log_prob(case.rows.X, case.y), lambda: model.sample_joint(3)):
        with pytest.raises(ValueError, match="gate='gaussian'"):
            call()


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"covariance": "banded"}, "block_diagonal"),
        ({"covariance": "block_diagonal"}, "blocks"),
        ({"covariance": "block_diagonal", "blocks": [[0, 1]]}, "each of the 3 positions"),
        ({"min_scale": 0.0}, "min_scale > 0"),
    ],
    ids=["structure", "no blocks", "wrong blocks", "bound"],
)
def test_wrong_settings_are_named(settings, match):
    case = case_of("full")
    with pytest.raises(ValueError, match=match):
        MoERegressor(2, gate=GaussianGate(**settings)).fit(case.rows.X, case.y)
