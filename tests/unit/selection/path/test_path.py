"""Paths: every point is stationary on all columns, the grid begins where slopes do, and choice."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.model_selection import KFold

from mixexp import (
    L1,
    L2,
    MCP,
    GaussianExpert,
    GroupLasso,
    MoEClassifier,
    MoEPath,
    MoERegressor,
    SoftmaxGate,
)
from mixexp.em import wide, working_set
from mixexp.selection.path._chain import Strengths, at_strengths, noise_ratio, zero_strengths
from mixexp.selection.path._setting import SOLVER, setting
from tests.unit.selection.path.planted import FEW, planted, small_path, violation

FOLDS = KFold(2, shuffle=True, random_state=0)


@pytest.fixture(scope="module")
def data():
    return planted(100, 40)


@pytest.fixture(scope="module")
def many():
    """More columns than rows."""
    return planted(60, 80, seed=1)


@pytest.fixture(scope="module")
def result(data):
    return small_path(cv=FOLDS, ratio=0.1).fit(*data).result_


@pytest.fixture(scope="module")
def many_result(many):
    return small_path(ratio=0.2).fit(*many).result_


def test_every_point_is_stationary_on_all_columns(result, data, many_result, many):
    for found, (X, y) in ((result, data), (many_result, many)):
        for i, line in found.table.iterrows():
            strengths = line["alpha_gate"], line["alpha_expert"]
            assert violation(found.model(i), X, y, *strengths) <= 2e-5
    assert len(many_result.table) >= 3


def test_the_objective_is_the_mean_log_likelihood_less_the_penalties(result, data):
    X, y = data
    for i, line in result.table.iterrows():
        model = result.model(i)
        unit = X.std(axis=0)
        cost = line["alpha_gate"] * np.abs(model.gate_coef_ * unit).sum()
        slopes = model.coef_ * unit / model.dispersion_[:, None]
        cost += line["alpha_expert"] * np.abs(slopes).sum()
        # the objective is per standardised target
        mean = model.log_prob(X, y).mean()
        assert_allclose(line["loglik"], mean * len(y), rtol=1e-9)
        assert_allclose(line["objective"], mean - cost, rtol=1e-8)


def test_the_planted_columns_enter_first(result):
    best = result.best("bic")
    assert result.support[best].any(axis=0)[:3].tolist() == [False, True, True]
    assert result.gate_support[best].any(axis=0)[0]
    assert result.table["n_expert"][best] <= 8  # of 40, on a grid of five strengths
    sizes = (result.support | result.gate_support).any(axis=1).sum(axis=1)
    assert sizes[0] == 0 and np.all(np.diff(sizes) >= 0)


def test_the_largest_strengths_are_exact(data):
    X, y = data
    path = small_path()
    given = setting(path, X, y, None, {})
    model, rows = given.model, given.given
    null = wide.null_start(model, rows, FEW, 0)
    largest = zero_strengths(model, rows, null)
    above, below = (
        small_path(
            penalties_expert=[factor * largest.expert],
            penalties_gate=[factor * largest.gate],
            searches=0,
        )
        .fit(X, y)
        .result_.model(0)
        for factor in (1.0001, 0.99)
    )
    assert not above.coef_.any() and not above.gate_coef_.any()
    strengths = 1.0001 * largest.gate, 1.0001 * largest.expert
    assert violation(above, X, y, *strengths) <= 1e-5
    assert below.coef_.any() or below.gate_coef_.any()
    # a little below the largest, the fit without slopes is no longer stationary
    assert violation(above, X, y, 1.1 * largest.gate, 0.99 * largest.expert) > 1e-3
    assert violation(above, X, y, 0.99 * largest.gate, 1.1 * largest.expert) > 1e-4


def test_no_cold_fit_is_higher(result, data):
    place = result.best("bic")
    line = result.table.loc[place]
    cold = MoERegressor(
        2,
        gate=SoftmaxGate(penalty=L1(line["alpha_gate"])),
        expert=GaussianExpert(penalty=L1(line["alpha_expert"]), scale_free=True),
        start=FEW,
    ).fit(*data)
    assert_allclose(line["objective"], cold.objective_path_[-1], atol=1e-6)


def test_labels_follow_the_chain(result, data):
    """The same expert has the negative slope on x1 wherever there are slopes on x1."""
    slopes = result.coef[:, :, 1]
    split = (slopes[:, 0] * slopes[:, 1]) < 0
    assert split.sum() >= 3
    signs = np.sign(slopes[split])
    assert_array_equal(signs, np.broadcast_to(signs[-1], signs.shape))


def test_held_out_log_densities_are_those_of_a_fit_by_hand(data):
    X, y = data
    place = Strengths(0.1, 0.3)
    path = small_path(
        penalties_expert=[place.expert], penalties_gate=[place.gate], searches=0, cv=FOLDS
    )
    found = path.fit(X, y).result_
    given = setting(path, X, y, None, {})
    model, rows = given.model, given.given
    for train, test in FOLDS.split(X):
        part = rows.take(train)
        null = wide.null_start(model, part, FEW, 0)
        one = at_strengths(model, place)
        run = working_set.run(one, part, null, SOLVER)
        assert_allclose(
            found.cv_log_prob[0, test], one.log_prob(run.params, rows.take(test)), atol=1e-3
        )


def test_cross_validated_scores_are_sums_of_held_out_log_densities(result):
    assert_allclose(result.table["cv_loglik"], result.cv_log_prob.mean(axis=1))
    assert_allclose(result.scores("cv"), -2 * result.cv_log_prob.sum(axis=1))
    error = result.cv_log_prob.std(axis=1, ddof=1) / np.sqrt(result.cv_log_prob.shape[1])
    assert_allclose(result.table["cv_se"], error)


def test_one_standard_error_takes_fewer_parameters(result):
    best, smaller = result.best("cv"), result.best("cv", one_se=True)
    free = result.table["n_free"]
    assert free[smaller] <= free[best]
    gap = result.cv_log_prob[best] - result.cv_log_prob[smaller]
    assert gap.mean() <= gap.std(ddof=1) / np.sqrt(len(gap))


def test_two_dimensions(data):
    X, y = data
    found = small_path(penalties_expert=[0.3, 0.2], penalties_gate=[0.1, 0.05, 0.2], searches=0)
    found = found.fit(X, y)
    table = found.result_.table
    pairs = table[["alpha_gate", "alpha_expert"]].to_numpy().tolist()
    assert pairs == [[g, e] for g in (0.2, 0.1, 0.05) for e in (0.3, 0.2)]
    assert table["chain"].tolist() == [0, 0, 1, 1, 2, 2]
    assert found.result_.coef.shape == (6, 2, 40)


def test_the_gates_penalty_may_stay(data):
    template = MoERegressor(2, gate=SoftmaxGate(penalty=L1(0.07)), start=FEW)
    path = MoEPath(template, penalties_expert=[0.2], penalties_gate=None, searches=0).fit(*data)
    assert path.result_.table["alpha_gate"].isna().all()
    assert path.result_.model(0).gate.penalty.alpha == 0.07
    assert violation(path.result_.model(0), *data, 0.07, 0.2) <= 2e-5


def test_a_constant_gate_leaves_a_path_of_the_experts(data):
    """The mixture of regressions of Stadler, Buhlmann and van de Geer (2010)."""
    X, y = data
    template = MoERegressor(2, gate="constant", start=FEW)
    found = MoEPath(template, penalties_expert=4, ratio=0.2, searches=1).fit(X, y).result_
    assert found.table["alpha_gate"].isna().all() and not found.table["n_gate"].any()
    assert found.table["n_expert"].iloc[0] == 0 and found.table["n_expert"].iloc[-1] > 0
    Z = (X - X.mean(axis=0)) / X.std(axis=0)
    for i, alpha in enumerate(found.table["alpha_expert"]):
        model = found.model(i)
        residual = (y[:, None] - model.intercept_ - X @ model.coef_.T) / model.dispersion_
        gradient = (model.responsibilities(X, y) * residual).T @ Z / len(y)
        stuck = np.maximum(np.abs(gradient) - alpha, 0)
        free = np.abs(gradient - alpha * np.sign(model.coef_))
        assert np.where(model.coef_ == 0, stuck, free).max() <= 2e-5


def test_saturation_ends_a_chain(many):
    X, y = many
    found = small_path(penalties_expert=8, ratio=0.02, max_free=14).fit(X, y).result_.table
    assert 1 <= len(found) < 8
    assert (found["n_free"] <= 14).all()


def test_a_search_among_saturated_fits_moves_to_the_weakest_place_reached():
    """The walk down follows noise into saturation, long before the place of the one search."""
    found = small_path(penalties_expert=12, ratio=0.1, searches=1).fit(*planted(100, 200, seed=3))
    table, support = found.result_.table, found.result_.support
    assert "search" in set(table["source"])
    best = found.result_.best("ebic")
    assert support[best].any(axis=0)[1:3].all() and table["n_expert"][best] <= 4


def test_a_path_that_is_saturated_from_its_beginning_is_refused(many):
    with pytest.raises(ValueError, match="at the strongest strengths already"):
        small_path(penalties_expert=[0.05], penalties_gate=[0.02], max_free=9).fit(*many)


def test_weights_and_offsets_pass(data):
    X, y = data
    weight = np.random.default_rng(3).integers(0, 3, len(y)).astype(float)
    offset = 3 * X[:, 3]
    settings = {"penalties_expert": [0.25], "searches": 0}
    found = small_path(**settings).fit(X, y + offset, weight, offset=offset).result_
    line = found.table.loc[0]
    strengths = line["alpha_gate"], line["alpha_expert"]
    assert violation(found.model(0), X, y + offset, *strengths, weight, offset) <= 2e-5
    again = np.repeat(np.arange(len(y)), weight.astype(int))
    repeated = small_path(**settings).fit(X[again], (y + offset)[again], offset=offset[again])
    assert_allclose(repeated.result_.table["alpha_gate"], line["alpha_gate"], rtol=1e-6)
    assert_allclose(repeated.result_.coef, found.coef, atol=1e-4)


def test_classes(data):
    X = data[0]
    rng = np.random.default_rng(5)
    score = np.where(X[:, 0] > 0, 3 * X[:, 1], -3 * X[:, 1])
    labels = np.where(score + rng.logistic(size=len(X)) > 0, "yes", "no")
    path = MoEPath(
        MoEClassifier(2, start=FEW), penalties_expert=4, ratio=0.3, searches=0, random_state=0, cv=2
    ).fit(X, labels)
    found = path.result_
    assert found.coef.shape[1:] == (2, 2, 40) and found.support.shape[1:] == (2, 40)
    assert found.table["certificate"].max() <= 1e-4
    assert found.table["n_expert"].iloc[0] == 0 and found.table["n_expert"].iloc[-1] > 0
    chosen = found.model(len(found.table) - 1)
    assert set(chosen.predict(X)) <= {"yes", "no"}
    assert np.isfinite(found.table["cv_loglik"]).all()


@pytest.mark.parametrize("penalty", [MCP(gamma=3), GroupLasso()], ids=["mcp", "group"])
def test_other_penalties(data, penalty):
    expert = GaussianExpert(penalty=penalty, scale_free=penalty.separable)
    template = MoERegressor(2, gate=SoftmaxGate(penalty=L1()), expert=expert, start=FEW)
    # groups cannot be scale-free: with few columns they do not end in interpolation
    X, y = data[0] if penalty.separable else data[0][:, :6], data[1]
    path = MoEPath(template, penalties_expert=4, ratio=0.1, searches=0).fit(X, y)
    table = path.result_.table
    assert table["certificate"].max() <= 1e-4
    assert table["n_expert"].iloc[0] == 0 and table["n_expert"].iloc[-1] > 0
    used = path.result_.model(0).expert.penalty
    assert type(used) is type(penalty)
    assert used.alpha == table["alpha_expert"].iloc[0]
    if isinstance(penalty, GroupLasso):  # a column is in all experts or in none
        support = path.result_.support
        assert_array_equal(support[:, 0], support[:, 1])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"penalties_expert": [0.1, -1]}, "penalties_expert must be positive strengths"),
        ({"penalties_expert": []}, "penalties_expert must be positive strengths"),
        ({"penalties_expert": True}, "penalties_expert must be positive strengths"),
        ({"penalties_expert": 0}, "penalties_expert must be at least 1"),
        ({"ratio": 1.5}, r"ratio must be None or a number in \(0, 1\)"),
        ({"penalties_gate": "couple"}, "penalties_gate must be 'coupled'"),
        ({"penalties_gate": [0.0]}, "penalties_gate must be positive strengths"),
    ],
    ids=["negative", "empty", "bool", "none", "ratio", "typo", "gate"],
)
def test_settings_that_mean_nothing(data, settings, message):
    with pytest.raises(ValueError, match=message):
        small_path(**settings).fit(data[0][:, :3], data[1])


def test_a_penalty_that_sets_nothing_to_zero_has_no_path(data):
    template = MoERegressor(2, expert=GaussianExpert(penalty=L2(0.1)))
    with pytest.raises(ValueError, match=r"such as L1\(\); got L2"):
        MoEPath(template).fit(*data)


@pytest.mark.parametrize("gate", [None, "coupled"])
def test_a_gate_that_models_the_columns_is_sent_to_a_study(data, gate):
    with pytest.raises(ValueError, match="no GaussianGate .* in a study"):
        MoEPath(MoERegressor(2, gate="gaussian"), penalties_gate=gate).fit(*data)


def test_a_start_of_ones_own_is_refused(data):
    labels = (data[1] > 0).astype(int)
    with pytest.raises(ValueError, match="start must be 'default' or MultiStart"):
        MoEPath(MoERegressor(2, start=labels)).fit(*data)


def test_criteria_without_their_means_are_refused(many_result):
    with pytest.raises(ValueError, match="needs a path with folds"):
        many_result.best("cv")
    with pytest.raises(ValueError, match="needs criterion='cv'"):
        many_result.best("bic", one_se=True)


def test_a_chosen_model_is_an_estimator_that_can_be_saved(result, data, tmp_path):
    from mixexp import load

    model = result.model("bic")
    model.save(tmp_path / "model.mixexp")
    assert_array_equal(load(tmp_path / "model.mixexp").predict(data[0]), model.predict(data[0]))
    assert_allclose(result.coef[result.best("bic")], model.coef_)


def test_polynomial_experts_have_names_along_the_path():
    X, y = planted(80, 3)
    template = MoERegressor(2, expert=GaussianExpert(degree=2), start=FEW)
    found = MoEPath(template, penalties_expert=[0.3], searches=0).fit(X, y).result_
    assert "x0^2" in found.feature_names["expert"]
    assert len(found.feature_names["expert"]) == found.coef.shape[-1]


@pytest.mark.parametrize("free", [True, False], ids=["scale-free", "plain"])
def test_the_coupled_ratio_is_that_of_the_errors_of_both_gradients(free):
    """Seen in 300 columns of noise, in the units in which the penalties see the slopes."""
    X = np.random.default_rng(0).standard_normal((200, 300))
    y = np.where(np.arange(200) % 3 == 0, -2.0, 2.0) + 0.2 * planted(200, 3)[1]
    template = MoERegressor(2, expert=GaussianExpert(penalty=L1(), scale_free=free), start=FEW)
    given = setting(MoEPath(template), X, y, None, {})
    gradient = working_set.all_gradients(given.model, given.rows, given.null).expert
    error = np.sqrt(200 * np.mean(gradient**2))
    found = noise_ratio(given.model, given.rows, given.null)
    assert_allclose(found, np.sqrt(0.25) / error, rtol=0.1)


def test_the_coupled_ratio_counts_weights_as_repetitions(data):
    X, y = data
    given = setting(small_path(), X, y, None, {})
    model, rows = given.model, given.given
    null = wide.null_start(model, rows, FEW, 0)
    twice = rows._replace(weight=np.full(len(y), 2.0))
    assert_allclose(noise_ratio(model, twice, null), noise_ratio(model, rows, null))


@pytest.mark.slow
def test_held_out_rows_choose_a_fit_that_is_not_regular_only_where_it_is_much_better(result):
    table = result.table.assign(regular=np.arange(len(result.table)) == 0)
    noise = np.random.default_rng(0).standard_normal(result.cv_log_prob.shape[1])
    for gap, chosen in ((0.01, 0), (3.0, 1)):
        lines = np.full_like(result.cv_log_prob, -10.0)
        lines[0] = noise
        lines[1] = gap  # better by `gap` on average, with a paired standard error of 0.1
        found = replace(result, table=table, cv_log_prob=lines)
        assert found.best("cv") == chosen
    assert replace(result, table=table).best("bic") == 0


def test_the_weakest_strength_depends_on_the_columns(data, many):
    for (X, y), ratio in ((data, 0.01), (many, 0.05)):
        (chain,) = setting(MoEPath(MoERegressor(2, start=FEW)), X, y, None, {}).chains
        assert_allclose(chain[-1].expert / chain[0].expert, ratio)


@pytest.mark.slow
def test_weaker_places_are_reached_behind_saturated_ones():
    """Above its true optimum a path in many columns may only know fits near interpolation."""
    X, y = planted(60, 2000, seed=3)
    path = MoEPath(MoERegressor(2, start=FEW), penalties_expert=20, ratio=0.1, random_state=0)
    found = path.fit(X, y).result_
    assert found.table["certificate"].max() <= 1e-4
    reached = found.support.any(axis=1)[:, 1] & found.gate_support.any(axis=1)[:, 0]
    assert reached.any()
