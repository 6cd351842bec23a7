"""Censored, grouped and truncated targets."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import stats

import mixexp
from mixexp import MoERegressor, intervals
from mixexp._component import EXPERTS
from mixexp.em.params import stack, take
from mixexp.experts import DistributionalExpert, IntervalExpert, rowwise
from tests.contracts.cases import LENGTHY, problem

ROWWISE = [name for name in EXPERTS if issubclass(EXPERTS[name], DistributionalExpert)]
GLM = ["gaussian", "poisson", "binomial", "gamma"]
FAMILIES = [
    pytest.param(name, marks=[pytest.mark.slow] if name in LENGTHY else [])
    for name in [*GLM, *ROWWISE]
    if getattr(EXPERTS[name], "smooth", True) and not EXPERTS[name].classifies
]


def two_lines(n=600, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.uniform(-1, 1, n)
    second = rng.random(n) < 1 / (1 + np.exp(-3 * x))
    y = np.where(second, 2 + x, -1 - 2 * x) + rng.standard_normal(n) * np.where(second, 0.5, 0.3)
    return x[:, None], y


def some_intervals(y, discrete=False, truncated=False):
    """A third seen, a third in intervals, the others above or below a value."""
    order = np.arange(len(y)) % 6
    width = 2.0 if discrete else 0.3 * y.std()
    lower, upper = y.copy(), y.copy()
    inside = (order == 2) | (order == 3)
    lower[inside] = y[inside] - (1.0 if discrete else 0.4 * width)
    upper[inside] = lower[inside] + width
    above, below = order == 4, order == 5
    lower[above], upper[above] = y[above] - (1.0 if discrete else 0.0), np.inf
    lower[below] = -np.inf
    low = np.full(len(y), -np.inf)
    if truncated:
        low[::4] = y.min() - (2.0 if discrete else 0.2 * width)
        lower = np.where(np.isneginf(lower), low, lower)
    return intervals(lower, upper, truncated_below=low)


def model_of(name, y_of=some_intervals, gate="softmax", **settings):
    """A model, parameters and rows of intervals of a family."""
    case = problem("softmax", name)
    inputs = case.inputs
    y = case.y
    estimator = MoERegressor(2, gate=gate, expert=name, start=case.labels())
    gate, expert, rows = estimator._checked(
        case.rows.X, y_of(y, discrete=EXPERTS[name]().discrete, **settings), None, **inputs
    )
    model = estimator._model(gate, expert, rows)
    rng = np.random.default_rng(1)
    template = model.initial(rows)
    vector = model.pack(template) + 0.05 * rng.standard_normal(model.pack(template).shape)
    return model, model.unpack(vector, template), rows


def numeric_gradient(model, params, rows):
    template, vector = stack([params]), model.pack(stack([params]))[0]

    def value(moved):
        return model.log_likelihood(take(model.unpack(moved[None], template), 0), rows).sum()

    out = []
    for j in range(len(vector)):
        step = np.zeros(len(vector))
        step[j] = 1e-5
        out.append((value(vector + step) - value(vector - step)) / 2e-5)
    return np.array(out)


@pytest.mark.parametrize("truncated", [False, True])
@pytest.mark.parametrize("name", FAMILIES)
def test_the_statistics_hold_the_gradient_of_the_likelihood(name, truncated):
    model, params, rows = model_of(name, truncated=truncated)
    assert model.expert.truncates(rows.y) == truncated
    result = model.statistics(params, rows)
    assert_allclose(result.loglik, model.log_likelihood(params, rows).sum(), rtol=1e-12)
    gradient = rows.n * model.gradient(stack([params]), stack([result.statistics]))[0]
    wanted = numeric_gradient(model, params, rows)
    assert_allclose(gradient, wanted, atol=2e-5 * (1 + np.abs(wanted).max()))


@pytest.mark.parametrize("gate", ["constant", "hierarchical", "sigmoid"])
def test_gates_count_the_rows_that_truncation_hid(gate):
    model, params, rows = model_of("gaussian", gate=gate, truncated=True)
    result = model.statistics(params, rows)
    gradient = rows.n * model.gradient(stack([params]), stack([result.statistics]))[0]
    wanted = numeric_gradient(model, params, rows)
    assert_allclose(gradient, wanted, atol=2e-5 * (1 + np.abs(wanted).max()))


def test_gates_that_model_the_columns_refuse_truncation():
    with pytest.raises(ValueError, match="GaussianGate models the columns"):
        model_of("gaussian", gate="gaussian", truncated=True)


@pytest.mark.parametrize("name", FAMILIES)
def test_intervals_of_values_are_the_values(name):
    case = problem("softmax", name)
    model, params, _ = model_of(name)
    plain = model._replace(expert=model.expert.family)
    values = intervals(case.y).values
    assert_allclose(
        model.log_prob(params, case.rows._replace(y=values)),
        plain.log_prob(params, case.rows),
        rtol=1e-12,
    )


@pytest.mark.parametrize("name", FAMILIES)
def test_the_probability_of_an_interval_is_that_of_its_parts(name):
    model, params, rows = model_of(name)
    whole = rows.y.copy()
    middle = np.floor(rows.y[:, 0]) if model.expert.discrete else rows.y[:, 0]
    middle = np.where(np.isfinite(middle), middle, rows.y[:, 1])
    low, high = middle - 2, middle + 3
    parts = []
    for lower, upper in ((low, middle), (middle, high), (low, high), (high, np.inf)):
        whole[:, 0], whole[:, 1] = lower, upper
        parts.append(np.exp(model.log_prob(params, rows._replace(y=whole.copy()))))
    assert_allclose(parts[0] + parts[1], parts[2], atol=1e-12)
    whole[:, 0], whole[:, 1] = -np.inf, high
    below = np.exp(model.log_prob(params, rows._replace(y=whole)))
    assert_allclose(below + parts[3], 1.0, atol=1e-9)


def test_a_normal_mixture_against_scipy():
    X, y = two_lines()
    lower, upper = np.where(y > 2, 2.0, y), np.where(y > 2, np.inf, y)
    target = intervals(lower, upper, truncated_below=-3.0)
    model = MoERegressor(2, start=(X[:, 0] > 0).astype(int)).fit(X, target)
    law = stats.norm(model.intercept_ + X * model.coef_[:, 0], model.scale_)
    pi = model.gate_proba(X)
    seen = (pi * law.pdf(y[:, None])).sum(1)
    hidden = (pi * law.sf(2.0)).sum(1)
    admitted = (pi * law.sf(-3.0)).sum(1)
    wanted = np.log(np.where(y > 2, hidden, seen) / admitted)
    assert_allclose(model.log_prob(X, target), wanted, rtol=1e-10)
    assert_allclose(model.loglik_, wanted.sum(), rtol=1e-12)


@pytest.mark.parametrize(
    ("name", "law", "of"),
    [
        ("weibull", stats.weibull_min, lambda m: (m.shape_[0], 0, np.exp(m.intercept_[0]))),
        ("lognormal", stats.lognorm, lambda m: (m.scale_[0], 0, np.exp(m.intercept_[0]))),
        ("gamma", stats.gamma, lambda m: (m.shape_[0], 0, np.exp(m.intercept_[0]) / m.shape_[0])),
    ],
)
def test_one_expert_against_scipy_on_censored_data(name, law, of):
    rng = np.random.default_rng(3)
    y = 2 * rng.weibull(1.5, 300)
    limit = rng.uniform(1, 4, 300)
    target = intervals(np.minimum(y, limit), np.where(y > limit, np.inf, y))
    model = MoERegressor(1, gate="constant", expert=name, expert_features=[]).fit(
        np.zeros((300, 1)), target
    )
    data = stats.CensoredData(uncensored=y[y <= limit], right=limit[y > limit])
    wanted = law.fit(data, floc=0)
    assert_allclose(of(model), wanted, rtol=2e-3, atol=1e-12)
    reached = law(*wanted).logpdf(y[y <= limit]).sum() + law(*wanted).logsf(limit[y > limit]).sum()
    assert model.loglik_ >= reached - 1e-6


@pytest.mark.slow
def test_truncation_and_censoring_are_undone():
    X, y = two_lines(2000)
    kept = y > -0.5
    cut = np.minimum(y[kept], 2.5)
    target = intervals(cut, np.where(cut == 2.5, np.inf, cut), truncated_below=-0.5)
    model = MoERegressor(2).fit(X[kept], target)
    order = np.argsort(model.intercept_)
    assert_allclose(model.intercept_[order], [-1, 2], atol=0.15)
    assert_allclose(model.coef_[order, 0], [-2, 1], atol=0.25)
    assert_allclose(model.scale_[order], [0.3, 0.5], atol=0.06)
    assert np.all(np.diff(model.objective_path_) > -1e-12)
    tree = MoERegressor(2, gate="hierarchical").fit(X[kept], target)
    assert_allclose(tree.loglik_, model.loglik_, rtol=1e-6)  # a tree of one split is a softmax
    naive = MoERegressor(2).fit(X[kept], cut)
    assert np.abs(np.sort(naive.intercept_) - [-1, 2]).max() > 0.2  # what ignoring it costs


@pytest.mark.parametrize("truncated", [False, True])
def test_standard_errors_are_those_of_the_likelihood(truncated):
    X, y = two_lines()
    low = -2.0 if truncated else None
    kept = y > -2.0
    cut = np.minimum(y[kept], 2.0)
    target = intervals(cut, np.where(cut == 2.0, np.inf, cut), truncated_below=low)
    model = MoERegressor(2, start=(X[kept][:, 0] > 0).astype(int)).fit(X[kept], target)
    result = model.inference(X[kept], target)
    inner, template = model._model_, stack([model._params_])
    vector, rows = inner.pack(template)[0], model._rows(X[kept], target)
    gate = slice(0, 4)

    def value(moved):
        return inner.log_likelihood(take(inner.unpack(moved[None], template), 0), rows).sum()

    h, d = 1e-4, len(vector)
    H = np.empty((d, d))
    for i in range(d):
        for j in range(d):
            signs = [(1, 1), (1, -1), (-1, 1), (-1, -1)]
            ends = [value(vector + h * (a * np.eye(d)[i] + b * np.eye(d)[j])) for a, b in signs]
            H[i, j] = (ends[0] - ends[1] - ends[2] + ends[3]) / (4 * h * h)
    # the experts' block, given that the gate's coefficients are only determined as differences
    spread = np.linalg.pinv(-H, rcond=1e-8)
    slope = np.sqrt(np.diag(spread))[gate.stop :]
    got = result.bse[[name for name in result.bse.index if "log(scale)" in name]]
    assert_allclose(got, slope[[2, 5]], rtol=2e-3)


def test_methods_that_need_values_say_so_and_files_keep_the_family(tmp_path):
    X, y = two_lines(300)
    target = intervals(np.minimum(y, 2), np.where(y > 2, np.inf, y))
    model = MoERegressor(2, expert="student", start=(X[:, 0] > 0).astype(int)).fit(X, target)
    with pytest.raises(TypeError, match="intervals"):
        model.score(X, target)
    with pytest.raises(TypeError, match="intervals"):
        mixexp.SelectionStudy(MoERegressor(), {"n_experts": [1, 2]}).fit(X, target)
    model.save(tmp_path / "model.mixexp")
    loaded = mixexp.load(tmp_path / "model.mixexp")
    assert_allclose(loaded.log_prob(X, target), model.log_prob(X, target))
    assert_allclose(loaded.predict(X), model.predict(X))
    assert "Student" in model.summary() and "as intervals" in model.summary()


def test_rows_can_be_taken_as_by_cross_validation():
    from sklearn.model_selection import KFold, cross_val_score

    X, y = two_lines(200)
    target = intervals(np.minimum(y, 2), np.where(y > 2, np.inf, y))
    scores = cross_val_score(
        MoERegressor(2),
        X,
        target,
        cv=KFold(2),
        scoring=lambda model, X, y: model.log_prob(X, y).mean(),
    )
    assert np.isfinite(scores).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([1.0, 2.0], [0.5, 3.0]), "row 0.*upper end below"),
        (([1.0, np.nan], None), "row 1.*NaN"),
        (([1.0, -np.inf], [1.0, np.inf]), "row 1.*says nothing"),
        (([1.0, np.inf], None), "row 1.*infinite value"),
        (([1.0, 2.0], [1.0, 2.0, 3.0]), "upper needs 2 values"),
    ],
)
def test_unusable_ends_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        intervals(*arguments)


def test_rows_outside_their_truncation_are_refused():
    with pytest.raises(ValueError, match="row 1.*truncated to"):
        intervals([2.0, 0.5], truncated_below=1.0)


def test_intervals_without_probability_are_refused():
    X = np.zeros((3, 1))
    with pytest.raises(ValueError, match=r"takes values in .*row 1"):
        MoERegressor(1, expert="gamma").fit(X, intervals([1.0, -3.0, 2.0], [1.0, -1.0, 2.0]))
    with pytest.raises(ValueError, match="no row has a value"):
        MoERegressor(1).fit(X, intervals([1.0, 2.0, 3.0], [np.inf] * 3))
    with pytest.raises(ValueError, match="does not take intervals"):
        rowwise(EXPERTS["gaussian"](tied_scale=True))
    assert isinstance(rowwise(EXPERTS["gaussian"]()), DistributionalExpert)
    assert not isinstance(rowwise(EXPERTS["student"]()), IntervalExpert)
