"""The family of docs/adding_a_family.rst holds the laws of every family, and recovers a truth."""

from __future__ import annotations

import runpy
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import stats

from mixexp import MoERegressor
from mixexp._component import EXPERTS

EXAMPLE = Path(__file__).resolve().parents[1] / "examples" / "geometric_expert.py"


@pytest.fixture(scope="module")
def expert(tmp_path_factory):
    """The family alone, as the page shows it; its registry row is taken out again."""
    text = EXAMPLE.read_text(encoding="utf-8")
    code = text.split("# begin of the family\n")[1].split("# end of the family")[0]
    file = tmp_path_factory.mktemp("family") / "geometric.py"
    file.write_text(code, encoding="utf-8")
    names = runpy.run_path(str(file), run_name="geometric")
    yield names["GeometricExpert"]()
    EXPERTS.pop("geometric")


@pytest.fixture
def problem(expert, rng):
    """Rows and parameters of two experts."""
    X = np.column_stack([np.ones(60), rng.normal(size=(60, 2))])
    y = rng.integers(0, 9, size=(60, 1)).astype(float)
    resp = rng.dirichlet(np.ones(2), size=60)
    params = expert.initial(2, 3, y, np.ones(60), None, None)
    params = params._replace(coef=params.coef + 0.3 * rng.normal(size=params.coef.shape))
    return SimpleNamespace(X=X, y=y, resp=resp, weight=np.ones(60), params=params)


def test_density_is_that_of_scipy_and_sums_to_one(expert, problem):
    mean = expert.mean(problem.params, problem.X, None, None)[:, :, 0]
    wanted = stats.geom.logpmf(problem.y + 1, 1 / (1 + mean))
    assert_allclose(expert.log_density(problem.params, problem.X, problem.y, None, None), wanted)
    counts = np.arange(4000.0)[:, None]
    one_row = np.repeat(problem.X[:1], len(counts), axis=0)
    total = np.exp(expert.log_density(problem.params, one_row, counts, None, None)).sum(axis=0)
    assert_allclose(total, 1)


def _surrogate(expert, problem, vector):
    params = expert.unpack(vector, problem.params)
    density = expert.log_density(params, problem.X, problem.y, None, None)
    return (problem.resp * density).sum() / problem.weight.sum()


def test_gradient_is_the_derivative(expert, problem):
    stats_ = expert.statistics(
        problem.params, problem.X, problem.y, problem.resp, problem.weight, None, None
    )
    gradient = expert.gradient(problem.params, stats_)
    point = expert.pack(problem.params)
    for j, step in enumerate(1e-5 * np.eye(len(point))):
        up = _surrogate(expert, problem, point + step)
        down = _surrogate(expert, problem, point - step)
        assert_allclose(gradient[j], (up - down) / 2e-5, rtol=1e-6, atol=1e-9)


def test_information_is_the_variance_of_the_score(expert):
    eta = np.array([[-1.0], [0.0], [1.5]])
    y = np.arange(3000.0)
    probability = stats.geom.pmf(y + 1, 1 / (1 + np.exp(eta)))
    unit = expert.unit(eta, y, None, None)
    assert_allclose((probability * unit.score).sum(axis=1), 0, atol=1e-12)
    assert_allclose((probability * unit.score**2).sum(axis=1), unit.information[:, 0])


def test_statistics_add(expert, problem):
    def of(part):
        return expert.statistics(
            problem.params,
            problem.X[part],
            problem.y[part],
            problem.resp[part],
            problem.weight[part],
            None,
            None,
        )

    for whole, *parts in zip(of(slice(None)), of(slice(25)), of(slice(25, None))):
        assert_allclose(sum(parts), whole, atol=1e-12)


def test_quantile_inverts_the_distribution_function(expert):
    mean = np.array([0.2, 1.0, 7.0])
    for probability in (0.05, 0.5, 0.93):
        value = expert.quantile(probability, mean, None, None)
        assert np.all(expert.cdf(value, mean, None, None) >= probability)
        assert np.all(expert.cdf(value - 1, mean, None, None) < probability)


def test_recovers_the_truth_and_takes_an_exposure(expert, rng):
    X = rng.uniform(-2, 2, size=(3000, 1))
    exposure = rng.uniform(0.5, 2, size=3000)
    left = X[:, 0] < 0
    mean = exposure * np.exp(np.where(left, 2 + X[:, 0], 0.5 - X[:, 0]))
    y = rng.geometric(1 / (1 + mean)) - 1
    given = MoERegressor(2, expert="geometric", start=left.astype(int))
    model = given.fit(X, y, exposure=exposure)
    order = np.argsort(model.coef_[:, 0])
    assert_allclose(model.coef_[order, 0], [-1, 1], atol=0.25)
    assert_allclose(model.intercept_[order], [0.5, 2], atol=0.25)
    assert np.all(np.diff(model.objective_path_) >= -1e-9)
