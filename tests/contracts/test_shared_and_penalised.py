"""Laws of shared coefficients and scales, of the L2 penalty, and of threads in whole fits."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose

from mixexp import EM, L2, MoEClassifier, MoERegressor
from mixexp._component import EXPERTS
from mixexp.em.engines import MemoryEngine
from mixexp.em.params import take
from tests.contracts.cases import batch, build, families, model_of, pairs, parts, problem

SOLVER = EM(max_passes=3000, tol=1e-15, gradient_tol=1e-8)
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def fit(case, solver=SOLVER):
    cls = MoEClassifier if case.expert.classifies else MoERegressor
    model = cls(2, gate=case.gate, expert=case.expert, start=case.labels(), solver=solver)
    return model.fit(case.rows.X, case.y, **({} if case.expert.classifies else case.inputs))


def settings_of(family):
    return build(family).get_params(deep=False)


TIED = [name for name in EXPERTS if "tied" in settings_of(name)]
SCALED = [
    (name, option)
    for name in EXPERTS
    for option in settings_of(name)
    if option in ("tied_scale", "tied_shape")
]


@pytest.mark.parametrize("tied", ["all", [1]], ids=str)
@pytest.mark.parametrize("family", TIED)
def test_tied_slopes_are_equal_over_the_experts(family, tied):
    model = fit(problem("softmax", family, tied=tied))
    columns = [0, 1] if tied == "all" else tied
    assert_allclose(model.coef_[0, columns], model.coef_[1, columns], rtol=1e-10)


@pytest.mark.parametrize("family", TIED)
def test_untied_slopes_stay_free(family):
    model = fit(problem("softmax", family, tied=[1]))
    assert not np.isclose(model.coef_[0, 0], model.coef_[1, 0])


@pytest.mark.parametrize(("family", "option"), SCALED)
def test_tied_dispersions_are_equal_over_the_experts(family, option):
    model = fit(problem("softmax", family, **{option: True}))
    assert_allclose(model.dispersion_[0], model.dispersion_[1], rtol=1e-12)


@pytest.mark.parametrize("family", TIED)
def test_tied_coefficients_are_counted_once(family):
    free = fit(problem("softmax", family)).n_free_
    assert fit(problem("softmax", family, tied=[1])).n_free_ == free - 1
    assert fit(problem("softmax", family, tied="all")).n_free_ == free - 2


@pytest.mark.parametrize(("family", "option"), SCALED)
def test_a_tied_dispersion_is_counted_once(family, option):
    free = fit(problem("softmax", family)).n_free_
    assert fit(problem("softmax", family, **{option: True})).n_free_ == free - 1


def shared(vector, params, expert):
    """The vector with tied coefficients and dispersions averaged over the experts."""
    moved = expert.unpack(vector, params)
    coef, dispersion = moved.coef.copy(), moved.dispersion
    tied = expert._tied(coef.shape[-1])
    coef[..., tied] = coef[..., tied].mean(axis=0, keepdims=True)
    if any(getattr(expert, name, False) for name in ("tied_scale", "tied_shape")):
        dispersion = np.exp(np.log(dispersion).mean(axis=0, keepdims=True)) * np.ones_like(
            dispersion
        )
    return moved._replace(coef=coef, dispersion=dispersion)


CASES = [(name, {"tied": "all"}) for name in TIED] + [(name, {o: True}) for name, o in SCALED]


@pytest.mark.parametrize(("family", "settings"), CASES, ids=str)
def test_no_shared_step_from_a_tied_fit_goes_up(family, settings):
    case = problem("softmax", family, **settings)
    fitted = fit(case)
    model, params = fitted._model_, fitted._params_
    best = model.log_prob(params, case.rows).mean()
    rng = np.random.default_rng(0)
    vector = model.expert.pack(params.expert)
    for size in (1e-3, 1e-2):
        for _ in range(20):
            step = size * rng.standard_normal(vector.shape)
            moved = shared(vector + step, params.expert, model.expert)
            value = model.log_prob(params._replace(expert=moved), case.rows).mean()
            assert value <= best + 1e-9


@pytest.mark.parametrize("family", TIED)
def test_a_tied_fit_is_below_the_free_one_and_above_one_expert(family):
    tied, free = fit(problem("softmax", family, tied="all")), fit(problem("softmax", family))
    case = problem("softmax", family, tied="all")
    one = MoERegressor(1, expert=family).fit(case.rows.X, case.y, **case.inputs)
    assert one.loglik_ - 1e-6 <= tied.loglik_ <= free.loglik_ + 1e-3


# --- the L2 penalty ------------------------------------------------------------------------------


def penalised(gate, family, alpha=0.1):
    case = problem(gate, family)
    for part in (case.gate, case.expert):
        if "penalty" in part.get_params(deep=False):
            part.set_params(penalty=L2(alpha))
    return case


def ridge_by_hand(model, case, alpha):
    """The quadratic penalties, from the public attributes.

    alpha / 2 times the squared standardised slopes, and the family's own small ridge, which
    covers the intercepts of classes.
    """
    X = case.rows.X
    spread = X.std(axis=0)
    unit = case.y.std() if case.expert.scales_target else 1.0
    total = 0.0
    if "penalty" in case.expert.get_params(deep=False):
        total += np.sum((model.coef_ * spread / unit) ** 2)
    if "penalty" in case.gate.get_params(deep=False):
        columns = model._gate_columns
        if hasattr(model, "gate_nodes_"):
            shrunk = [node.coef * spread[columns] for node in model.gate_nodes_]
        elif hasattr(model, "gate_centres_"):
            shrunk = [(model.gate_centres_ - X.mean(axis=0)[columns]) / spread[columns]]
        else:
            shrunk = [model.gate_coef_ * spread[columns]]
        for slopes in shrunk:
            middle = slopes.mean(axis=0) if case.gate.centres_slopes else 0.0
            total += np.sum((slopes - middle) ** 2)
    ridge = getattr(model._model_.expert, "ridge", 0.0)
    intercepts = model.intercept_ + model.coef_ @ X.mean(axis=0) if ridge else 0.0
    return 0.5 * (alpha * total + ridge * np.sum(intercepts**2))


@parts
def test_the_objective_is_the_mean_log_likelihood_less_the_penalty(gate, family):
    case = penalised(gate, family)
    model = fit(case)
    by_hand = model.loglik_ / case.rows.n - ridge_by_hand(model, case, 0.1)
    assert_allclose(model.objective_path_[-1], by_hand, rtol=1e-7)


@pairs
def test_a_penalised_fit_is_a_stationary_point(gate, family, link):
    case = problem(gate, family, link)
    if "penalty" in case.expert.get_params(deep=False):
        case.expert.set_params(penalty=L2(0.1))
    model = fit(case, EM(max_passes=3000))
    assert model.converged_, model.status_
    assert model.certificate_ <= 1e-6


@parts
def test_a_stronger_penalty_means_smaller_slopes(gate, family):
    weak, strong = (penalised(gate, family, alpha) for alpha in (0.01, 1.0))
    size = [ridge_by_hand(fit(case), case, 1.0) for case in (weak, strong)]
    assert size[1] < size[0]


@parts
def test_a_strength_means_the_same_at_any_number_of_rows(gate, family):
    case = penalised(gate, family)
    index = np.repeat(np.arange(case.rows.n), 3)
    thrice = case._replace(rows=case.rows.take(index))
    assert_allclose(fit(thrice).coef_, fit(case).coef_, rtol=1e-5, atol=1e-6)


# --- threads -------------------------------------------------------------------------------------


@families
def test_a_fit_does_not_depend_on_the_number_of_threads(family, link):
    case = problem("softmax", family, link, n=17000)
    model = model_of(case)
    labels = np.eye(2)[case.labels()] * 0.8 + 0.1
    start = model.from_responsibilities(case.rows, labels[None])
    runs = [
        EM(max_passes=5).run(model, start, MemoryEngine(case.rows, model, n_jobs))
        for n_jobs in (1, 2)
    ]
    assert np.array_equal(model.pack(runs[0].params), model.pack(runs[1].params))


def test_n_jobs_of_the_estimator_changes_no_bit():
    case = problem("softmax", "gaussian", n=17000)
    fits = [
        MoERegressor(2, start=case.labels(), solver=EM(max_passes=8), n_jobs=n_jobs)
        for n_jobs in (1, 2)
    ]
    one, two = (model.fit(case.rows.X, case.y) for model in fits)
    assert np.array_equal(one.coef_, two.coef_)
    assert np.array_equal(one.objective_path_, two.objective_path_)
    assert np.array_equal(take(batch(one._params_), 0).gate.coef, two._params_.gate.coef)
