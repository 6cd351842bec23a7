"""Laws of whole fits under every registered penalty, on the gate and on every family."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from scipy import sparse
from scipy.special import logsumexp

import mixexp
from mixexp import EM, L1, L2, MCP, AdaptiveL1, GroupLasso, MoEClassifier, MoERegressor, SoftmaxGate
from mixexp._component import EXPERTS, PENALTIES
from tests.contracts.cases import TARGETS, build
from tests.penalties_of_ones_own import FusedExperts, Largest, Log

SOLVER = EM(max_passes=4000, tol=1e-15, gradient_tol=1e-8)
ALPHA = 0.04
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
FAMILIES = tuple(
    name
    for name in EXPERTS
    if "penalty" in build(name).get_params(deep=False) and build(name).takes_sparse_penalties
)
families = pytest.mark.parametrize("family", FAMILIES)
penalties = pytest.mark.parametrize("penalty", list(PENALTIES))


def pairs_of(penalties):
    """(family, penalty): a penalty without coordinate descent on a multinomial expert is slow."""
    return pytest.mark.parametrize(
        ("family", "penalty"),
        [
            pytest.param(
                family,
                penalty,
                id=f"{family}-{penalty}",
                marks=[pytest.mark.slow]
                if family == "multinomial" and not getattr(PENALTIES.get(penalty), "separable", 0)
                else [],
            )
            for family in FAMILIES
            for penalty in penalties
        ],
    )


every_pair = pairs_of(PENALTIES)
OWN = {"log": Log, "largest": Largest, "fused": FusedExperts}


class Data:
    """Rows of two regimes over p columns of unlike scale, of which few matter."""

    def __init__(self, family, n=150, p=5, seed=0):
        rng = np.random.default_rng(seed)
        self.family = family
        self.X = rng.standard_normal((n, p)) * np.geomspace(0.5, 4, p) + np.arange(p)
        z = (self.X - self.X.mean(axis=0)) / self.X.std(axis=0)
        self.first = (1.2 * z[:, 0] + rng.logistic(size=n) > 0).astype(int)
        mean = np.where(self.first, 1.6 + 0.5 * z[:, 1], 0.7 - 0.2 * z[:, 2])
        self.trials = rng.integers(3, 12, n).astype(float) if family == "binomial" else None
        self.y = TARGETS[family](rng, np.maximum(mean, 0.1), self.trials)

    @property
    def inputs(self):
        return {} if self.trials is None else {"trials": self.trials}


def part(family, penalty, **settings):
    return build(family, penalty=penalty, **settings)


def fit(data, gate=None, expert=None, X=None, K=2, start=None, solver=SOLVER, weight=None, **more):
    """A fit from the known regimes, by default without penalties."""
    expert = part(data.family, None) if expert is None else expert
    cls = MoEClassifier if expert.classifies else MoERegressor
    start = np.eye(K)[data.first] * 0.8 + 0.2 / K if start is None else start
    gate = SoftmaxGate() if gate is None else gate
    model = cls(K, gate=gate, expert=expert, start=start, solver=solver, **more)
    X = data.X if X is None else X
    return model.fit(X, data.y, sample_weight=weight, **data.inputs)


def both(data, make, **more):
    """A fit with the penalty that `make` builds, on the gate and on the experts."""
    settings = more.pop("settings", {})
    return fit(data, SoftmaxGate(penalty=make()), part(data.family, make(), **settings), **more)


def standardised(model, X, y, columns=slice(None)):
    """Slopes on standardised columns and target, from public attributes: gate, experts (K, J, p).

    J is the number of responses, or of classes.
    """
    spread = X.std(axis=0)
    unit = y.std(axis=0) if model._model_.expert.scales_target else 1.0
    expert = model.coef_ if model.coef_.ndim == 3 else model.coef_[:, None]
    unit = np.atleast_1d(unit)[:, None]
    return model.gate_coef_ * spread, expert * spread[columns] / unit


def scores_by_hand(model, data):
    """(gate (K, p + 1), experts (K, J, p + 1)) gradients of the mean log-likelihood in plain numpy.

    On standardised columns behind a column of ones, in the units of the standardised target.
    """
    n = len(data.X)
    Z = np.column_stack([np.ones(n), (data.X - data.X.mean(axis=0)) / data.X.std(axis=0)])
    prob = np.exp(data.X @ model.gate_coef_.T + model.gate_intercept_)
    prob /= prob.sum(axis=1, keepdims=True)
    density, error = DENSITIES[data.family](model, data)
    joint = np.log(prob) + density
    resp = np.exp(joint - logsumexp(joint, axis=1, keepdims=True))
    gate = (resp - prob).T @ Z / n
    experts = np.einsum("nk,nkj,nq->kjq", resp, error, Z) / n
    return gate, experts


def _gaussian(model, data):
    sigma, unit = np.asarray(model.dispersion_), data.y.std()
    left = data.y[:, None] - data.X @ model.coef_.T - model.intercept_
    return -0.5 * (left / sigma) ** 2 - np.log(sigma), (left * unit / sigma**2)[:, :, None]


def _poisson(model, data):
    eta = data.X @ model.coef_.T + model.intercept_
    return data.y[:, None] * eta - np.exp(eta), (data.y[:, None] - np.exp(eta))[:, :, None]


def _binomial(model, data):
    eta, m = data.X @ model.coef_.T + model.intercept_, data.trials[:, None]
    density = data.y[:, None] * eta - m * np.logaddexp(0, eta)
    return density, (data.y[:, None] - m / (1 + np.exp(-eta)))[:, :, None]


def _gamma(model, data):
    from scipy.special import gammaln

    eta, shape = data.X @ model.coef_.T + model.intercept_, np.asarray(model.dispersion_)
    y = data.y[:, None]
    density = shape * (np.log(shape) - eta + np.log(y) - y / np.exp(eta)) - gammaln(shape)
    return density, (shape * (y / np.exp(eta) - 1))[:, :, None]


def _multinomial(model, data):
    eta = np.einsum("np,kcp->nkc", data.X, model.coef_) + model.intercept_
    log_prob = eta - logsumexp(eta, axis=2, keepdims=True)
    code = data.y.astype(int)
    target = np.eye(eta.shape[2])[code]
    rows = np.arange(len(code))
    return log_prob[rows, :, code], target[:, None, :] - np.exp(log_prob)


DENSITIES = {
    "gaussian": _gaussian,
    "poisson": _poisson,
    "binomial": _binomial,
    "gamma": _gamma,
    "multinomial": _multinomial,
}


def violation(slopes, score, l1, l2=0.0, centred=False):
    """How far from the Lasso's optimality conditions; centred: a free multiplier a column.

    score - l2 b - level = l1 sign(b) at non-zero slopes, of size l1 at most at zero ones.
    """
    smooth = score - l2 * slopes
    low = np.where(slopes != 0, smooth - l1 * np.sign(slopes), smooth - l1)
    high = np.where(slopes != 0, smooth - l1 * np.sign(slopes), smooth + l1)
    if not centred:
        return max(low.max(), (-high).max(), 0)
    return max(np.max((low.max(axis=-2) - high.min(axis=-2)) / 2), 0)


@families
@pytest.mark.parametrize("penalty", ["l1", "elastic_net", "mcp", "scad"])
def test_converged_means_that_the_optimality_conditions_hold(family, penalty):
    """Recomputed from the rows and the public coefficients, for single-slope penalties."""
    if family not in DENSITIES:
        pytest.fail(f"add the density and score of {family!r} to DENSITIES")
    data = Data(family)
    model = both(data, lambda: PENALTIES[penalty](ALPHA))
    assert model.converged_ and model.certificate_ <= 1e-8
    gate, expert = standardised(model, data.X, data.y)
    gate_score, score = scores_by_hand(model, data)
    strength = PENALTIES[penalty](ALPHA).majoriser
    assert np.abs(gate_score[:, 0]).max() < 1e-7 and np.abs(score[..., 0]).max() < 1e-7
    assert violation(gate, gate_score[:, 1:], *strength(gate), centred=True) < 2e-7
    centred = EXPERTS[family].centres_slopes
    for one, its in zip(expert, score[..., 1:], strict=True):
        assert violation(one, its, *strength(one), centred=centred) < 2e-7
    assert np.any(gate == 0) or penalty == "elastic_net"


def ridge_by_hand(model):
    """What the tiny ridge of a multinomial expert takes from the objective."""
    strength = getattr(model._model_.expert, "ridge", 0.0)
    return 0.5 * strength * np.sum(model._params_.expert.coef**2)


@every_pair
def test_the_penalised_objective_never_falls_and_is_what_it_says(family, penalty):
    data, make = Data(family), lambda: PENALTIES[penalty](ALPHA)
    model = both(data, make)
    assert model.converged_, model.status_
    path = model.objective_path_
    assert np.all(np.diff(path) >= -1e-10 * (1 + np.abs(path[1:])))
    gate, expert = standardised(model, data.X, data.y)
    members = expert if model._model_.expert.centres_slopes else np.moveaxis(expert, 0, 1)
    by_hand = model.loglik_ / len(data.y) - make().value(gate) - make().value(members).sum()
    by_hand -= ridge_by_hand(model)
    assert_allclose(path[-1], by_hand, rtol=1e-7, atol=1e-7)


@every_pair
def test_slopes_of_classes_sum_to_zero(family, penalty):
    data = Data(family, n=100)
    model = both(data, lambda: PENALTIES[penalty](ALPHA), K=3, solver=EM(max_passes=15))
    assert_allclose(model.gate_coef_.sum(axis=0), 0, atol=1e-10)
    if family == "multinomial":
        assert_allclose(model.coef_.sum(axis=1), 0, atol=1e-10)


@families
@pytest.mark.parametrize("penalty", [name for name in PENALTIES if name != "l2"])
def test_columns_without_a_say_are_dropped_and_not_counted(family, penalty):
    data = Data(family)
    model = both(data, lambda: PENALTIES[penalty](5.0))
    assert not model.gate_coef_.any() and not model.coef_.any()
    none = fit(data, "constant", part(family, None), expert_features=[], start=model_start(data))
    assert model.n_free_ == none.n_free_
    if penalty != "elastic_net":
        assert_allclose(model.loglik_, none.loglik_, rtol=1e-6)


def model_start(data):
    return np.eye(2)[data.first] * 0.8 + 0.1


@every_pair
def test_a_strength_of_zero_is_the_unpenalised_fit(family, penalty):
    data = Data(family, n=100, p=3)
    none, zero = fit(data), both(data, lambda: PENALTIES[penalty](0))
    assert np.array_equal(none.coef_, zero.coef_)
    assert none.n_free_ == zero.n_free_


@pytest.mark.parametrize(
    "family", [pytest.param(f, marks=[pytest.mark.slow] * (f == "gamma")) for f in FAMILIES]
)
def test_labels_of_the_experts_do_not_matter(family):
    data = Data(family)
    random = np.random.default_rng(0).integers(0, 3, len(data.y))
    start = np.eye(3)[random] + np.eye(3)[data.first]
    order = [2, 0, 1]
    one = both(data, lambda: L1(ALPHA), K=3, start=start)
    other = both(data, lambda: L1(ALPHA), K=3, start=start[:, order])
    assert_allclose(other.objective_path_[-1], one.objective_path_[-1], rtol=1e-9)
    assert_allclose(other.gate_coef_, one.gate_coef_[order], atol=1e-5)
    assert_allclose(other.coef_, one.coef_[order], atol=1e-5)
    assert np.array_equal(other.gate_coef_ == 0, one.gate_coef_[order] == 0)


@pairs_of(["l1", "group_lasso"])
def test_a_weight_is_a_repetition(family, penalty):
    data, times = Data(family), np.random.default_rng(1).integers(0, 3, 150)
    index = np.repeat(np.arange(150), times)
    again = Data(family)
    again.X, again.y, again.first = data.X[index], data.y[index], data.first[index]
    again.trials = None if data.trials is None else data.trials[index]
    weighted = both(data, lambda: PENALTIES[penalty](ALPHA), weight=times.astype(float))
    repeated = both(again, lambda: PENALTIES[penalty](ALPHA))
    assert_allclose(weighted.coef_, repeated.coef_, atol=1e-6)
    assert_allclose(weighted.gate_coef_, repeated.gate_coef_, atol=1e-6)
    assert weighted.n_free_ == repeated.n_free_


@pairs_of(["l1", "mcp", "group_lasso"])
def test_sparse_columns_are_dense_columns(family, penalty):
    data = Data(family)
    data.X = data.X * (np.random.default_rng(2).random(data.X.shape) < 0.6)
    dense = both(data, lambda: PENALTIES[penalty](ALPHA))
    # from there: unlike steps on columns that are not centred may end in another optimum
    thin = both(data, lambda: PENALTIES[penalty](ALPHA), X=sparse.csr_array(data.X), start=dense)
    assert thin.converged_
    assert_allclose(thin.coef_, dense.coef_, rtol=1e-4, atol=1e-6)
    assert_allclose(thin.gate_coef_, dense.gate_coef_, rtol=1e-4, atol=1e-6)
    assert thin.n_free_ == dense.n_free_


# --- weights, columns of a part, shared slopes, several responses --------------------------------


@families
def test_weights_by_name_are_weights_by_place(family):
    data = Data(family)
    names = list("abcde")
    frame = pd.DataFrame(data.X, columns=names)
    array = both(data, lambda: L1(ALPHA, weights=[1, 0, 1, 1, 3]), X=frame)
    named = both(data, lambda: L1(ALPHA, weights={"b": 0, "e": 3}), X=frame)
    assert np.array_equal(array.coef_, named.coef_)
    assert np.array_equal(array.gate_coef_, named.gate_coef_)


@families
def test_an_unpenalised_column_stays_in_and_counts(family):
    data = Data(family)
    model = both(data, lambda: L1(5.0, weights=[1, 1, 1, 0, 1]))
    assert np.all(model.gate_coef_[:, 3] != 0) and np.all(model.coef_[..., 3] != 0)
    kept = np.arange(5) == 3
    assert not model.gate_coef_[:, ~kept].any() and not model.coef_[..., ~kept].any()
    alone = fit(data, X=data.X[:, kept])
    assert model.n_free_ == alone.n_free_
    assert_allclose(model.coef_[..., kept], alone.coef_, atol=1e-5)


def test_weights_follow_the_columns_of_their_part():
    data = Data("gaussian")
    frame = pd.DataFrame(data.X, columns=list("abcde"))
    model = fit(
        data,
        SoftmaxGate(penalty=L1(0.02, weights={"e": 0})),
        part("gaussian", L1(0.02, weights={"b": 0})),
        X=frame,
        gate_features=["e", "a"],
        expert_features=["d", "c", "b"],
    )
    again = fit(
        data,
        SoftmaxGate(penalty=L1(0.02, weights=[0, 1])),
        part("gaussian", L1(0.02, weights=[1, 1, 0])),
        gate_features=[4, 0],
        expert_features=[3, 2, 1],
    )
    assert_allclose(model.coef_, again.coef_, atol=1e-7)
    assert_allclose(model.gate_coef_, again.gate_coef_, atol=1e-7)
    assert model.coef_.shape == (2, 3) and model.gate_coef_.shape == (2, 2)


TIED = [name for name in FAMILIES if "tied" in build(name).get_params(deep=False)]


@pytest.mark.parametrize("penalty", ["l1", "mcp"])
@pytest.mark.parametrize("family", TIED)
def test_shared_slopes_under_a_penalty(family, penalty):
    data = Data(family)
    make = PENALTIES[penalty]
    gate = SoftmaxGate(penalty=L2(0.01))  # the groups of some families are far apart
    model = fit(data, gate, part(family, make(ALPHA), tied=[0, 2, 3]))
    assert model.converged_, model.status_
    shared = model.coef_[:, [0, 2, 3]]
    assert np.array_equal(shared[0], shared[1])
    assert np.any(model.coef_ == 0)
    # a shared slope's condition is the sum of the experts' ones
    _, slopes = standardised(model, data.X, data.y)
    _, score = scores_by_hand(model, data)
    slopes, score = slopes[:, 0], score[:, 0, 1:]
    l1, l2 = make(ALPHA).majoriser(slopes)
    tied = np.isin(np.arange(5), [0, 2, 3])
    assert violation(slopes[:, ~tied], score[:, ~tied], l1[:, ~tied], l2[:, ~tied]) < 2e-7
    total = score[:, tied].sum(axis=0)
    assert violation(slopes[0, tied], total, 2 * l1[0, tied], 2 * l2[0, tied]) < 2e-7
    own = int(np.count_nonzero(model.coef_[:, ~tied])) + int(np.count_nonzero(shared[0]))
    spread = 0 if model.dispersion_ is None else 2
    assert model.n_free_ == 2 + own + spread + (5 + 1)


def test_group_penalties_on_shared_slopes_are_refused():
    with pytest.raises(ValueError, match="GroupLasso on tied slopes is not available"):
        fit(Data("gaussian"), expert=part("gaussian", GroupLasso(0.1), tied="all"))


@pytest.mark.parametrize("penalty", list(PENALTIES))
def test_one_expert_with_two_responses_is_two_fits(penalty):
    """Group penalties span experts, not responses: with one expert these do not meet."""
    data = Data("gaussian")
    y = np.column_stack([data.y, np.roll(data.y, 1) + data.X[:, 3]])
    joint = MoERegressor(1, expert=part("gaussian", PENALTIES[penalty](0.1)), solver=SOLVER)
    joint.fit(data.X, y)
    for j in range(2):
        alone = MoERegressor(1, expert=part("gaussian", PENALTIES[penalty](0.1)), solver=SOLVER)
        assert_allclose(joint.coef_[:, j], alone.fit(data.X, y[:, j]).coef_, atol=1e-6)


# --- settings, files, errors ---------------------------------------------------------------------


@penalties
def test_a_file_holds_the_penalty(penalty, tmp_path):
    data = Data("gaussian")
    model = both(data, lambda: PENALTIES[penalty](ALPHA, weights=np.ones(5)))
    model.save(tmp_path / "model.mixexp")
    again = mixexp.load(tmp_path / "model.mixexp")
    assert np.array_equal(again.predict(data.X), model.predict(data.X))
    assert np.array_equal(again.coef_, model.coef_) and again.n_free_ == model.n_free_
    theirs, ours = again.gate.penalty.get_params(), model.gate.penalty.get_params()
    assert theirs.keys() == ours.keys() and theirs["alpha"] == ALPHA
    assert_allclose(theirs["weights"], ours["weights"])


def test_files_hold_what_only_some_penalties_have(tmp_path):
    data = Data("gaussian")
    frame = pd.DataFrame(data.X, columns=list("abcde"))
    adaptive, groups = (
        AdaptiveL1(0.02, initial=np.arange(1.0, 6)),
        GroupLasso(0.02, [["a", "c"], [1]]),
    )
    model = fit(data, SoftmaxGate(penalty=groups), part("gaussian", adaptive), X=frame)
    model.save(tmp_path / "model.mixexp")
    again = mixexp.load(tmp_path / "model.mixexp")
    assert again.gate.penalty.groups == [["a", "c"], [1]]
    assert_allclose(again.expert.penalty.initial, np.arange(1.0, 6))
    assert np.array_equal(again.predict(frame), model.predict(frame))


def test_nested_settings_reach_the_penalty():
    model = MoERegressor(gate=SoftmaxGate(penalty=L1(0.1)), expert=part("gaussian", MCP(0.2)))
    model.set_params(gate__penalty__alpha=0.5, expert__penalty__gamma=2.0)
    assert model.gate.penalty.alpha == 0.5 and model.expert.penalty.gamma == 2.0
    assert model.get_params()["expert__penalty__alpha"] == 0.2


@pytest.mark.parametrize(
    ("gate", "expert", "message"),
    [
        (L1(-0.1), None, "L1 needs a finite alpha >= 0; got alpha=-0.1"),
        (None, L1(0.1, weights=[1, 2]), "weights must be 5 numbers"),
        (L1(0.1, weights={"z": 1}), None, r"weights name the columns \['z'\]"),
        (GroupLasso(0.1, across=False), None, "use across=True on a gate"),
        (None, GroupLasso(0.1, groups=[["z"]]), r"groups name the columns \['z'\]"),
        (None, MCP(0.1, gamma=0.5), "MCP needs gamma > 1"),
    ],
    ids=["negative", "length", "name", "within", "group", "gamma"],
)
def test_settings_that_do_not_fit_are_named_before_the_fit(gate, expert, message):
    with pytest.raises(ValueError, match=message):
        fit(Data("gaussian"), SoftmaxGate(penalty=gate), part("gaussian", expert))


@pytest.mark.parametrize("value", [0.1, "l1", L1], ids=["number", "name", "class"])
def test_what_is_no_penalty_is_refused(value):
    with pytest.raises(TypeError, match="penalty must be None or a penalty such as L1"):
        fit(Data("gaussian"), expert=part("gaussian", value))


# --- a penalty of one's own ----------------------------------------------------------------------


@pairs_of(["log", "largest", "fused"])
def test_a_value_and_a_proximal_operator_are_enough(family, penalty):
    """On the gate and on every family, without a kernel; the certificate holds."""
    if penalty == "fused" and family == "multinomial":
        penalty = "largest"  # fusing two of three classes would not treat them alike
    data, make = Data(family), lambda: OWN[penalty](ALPHA)
    model = both(data, make)
    assert model.converged_, model.status_
    path = model.objective_path_
    assert np.all(np.diff(path) >= -1e-10 * (1 + np.abs(path[1:])))
    gate, expert = standardised(model, data.X, data.y)
    gate_score, score = scores_by_hand(model, data)
    left = make().centred_prox(gate + gate_score[:, 1:], 1.0) - gate
    assert np.abs(left).max() < 1e-7
    classes = model._model_.expert.centres_slopes
    if not classes:
        expert, score = np.moveaxis(expert, 0, 1), np.moveaxis(score, 0, 1)
    prox = make().centred_prox if classes else make().prox
    assert np.abs(prox(expert + score[..., 1:], 1.0) - expert).max() < 1e-7
    by_hand = model.loglik_ / len(data.y) - make().value(gate) - make().value(expert).sum()
    by_hand -= ridge_by_hand(model)
    assert_allclose(path[-1], by_hand, rtol=1e-7, atol=1e-7)


def test_fused_experts_share_some_slopes_and_not_others():
    data = Data("gaussian")
    model = fit(data, expert=part("gaussian", FusedExperts(0.1)))
    same = np.isclose(model.coef_[0], model.coef_[1], rtol=0, atol=1e-8)
    assert same.any() and not same.all()
