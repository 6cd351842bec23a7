"""Stability selection: planted columns are found again and again, and the bounds hold."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.optimize import linprog

from mixexp import L1, GaussianExpert, MoEClassifier, MoERegressor, StabilitySelection
from mixexp.em.rows import Rows
from mixexp.selection.path._bounds import unimodal, worst_case
from mixexp.selection.path._halves import complementary_halves
from mixexp.selection.path._selected import Selected, used_together, within
from mixexp.selection.path._setting import setting
from tests.unit.selection.path.planted import FEW, planted, small_path

PAIRS, MOST = 6, 6


def small_stability(estimator=None, **settings):
    """A selection that is quick to fit."""
    quick = {"n_pairs": 2, "penalties_expert": 4, "searches": 0, "random_state": 0}
    return StabilitySelection(estimator or MoERegressor(2, start=FEW), **quick | settings)


@pytest.fixture(scope="module")
def data():
    return planted(200, 30)


@pytest.fixture(scope="module")
def fitted(data):
    settings = {"n_pairs": PAIRS, "penalties_expert": 8, "searches": 1, "ratio": 0.2}
    return small_stability(max_columns=MOST, **settings).fit(*data)


@pytest.fixture(scope="module")
def result(fitted):
    return fitted.result_


@pytest.mark.slow
def test_planted_columns_are_selected_and_noise_stays_within_the_bound(result):
    assert {"x0", "x1", "x2"} <= set(result.selected())
    bound = result.bounds().loc["Meinshausen-Bühlmann", "bound"]
    assert_allclose(bound, MOST**2 / (0.5 * 30))
    assert len(set(result.selected()) - {"x0", "x1", "x2"}) <= bound
    assert result.table["any"].iloc[3:].max() < result.table["any"].iloc[:3].min()
    assert "x0" in result.selected("gate") and {"x1", "x2"} <= set(result.selected("expert"))


def test_no_half_selects_more_columns_than_allowed(result):
    assert result.n_selected["any"].shape == (2 * PAIRS,)
    assert result.n_selected["any"].max() <= MOST
    assert result.n_used() == MOST
    reached = result.strengths["reached"]
    assert reached.iloc[0] == 1 and reached.is_monotonic_decreasing and reached.iloc[-1] < 1


def test_experts_of_the_halves_are_numbered_as_those_of_all_rows(result, fitted):
    """x2 has a slope in one expert alone; halves whose experts were swapped would mix the two."""
    path = fitted.path_
    place = path.best("bic")
    owner = np.flatnonzero(path.coef[place][:, 2])
    assert len(owner) == 1
    shares = result.by_expert[place, :, 2]
    assert shares[owner[0]] >= 0.8 and shares[1 - owner[0]] <= 0.2


def test_frequencies_of_parts_fit_together(result):
    either, expert, gate = (result.frequency[part] for part in ("any", "expert", "gate"))
    assert np.all(either >= np.maximum(expert, gate)) and np.all(either <= expert + gate)
    assert np.all(expert >= result.by_expert.max(axis=1) - 1e-12)
    assert_allclose(result.table["any"], either.max(axis=0))
    assert_allclose(result.table["expert 2"], result.by_expert[:, 1].max(axis=0))
    assert_array_equal(np.round(2 * PAIRS * either, 9) % 1, 0)


def test_selected_follows_the_threshold(result):
    largest = result.table["any"]
    for threshold in (0.55, 0.75, 1.0):
        wanted = largest.index[largest >= threshold].tolist()
        assert result.selected(threshold=threshold) == wanted
    assert result.table["selected"].sum() == len(result.selected())
    with pytest.raises(ValueError, match="no bound holds below"):
        result.selected(threshold=0.5)
    with pytest.raises(ValueError, match="part must be"):
        result.selected("experts")


def test_what_is_printed(result):
    text = str(result)
    assert text == repr(result)
    assert f"{PAIRS} pairs of halves, 8 strengths, threshold 0.75" in text
    assert "a half selects at most 6" in text and "2.4 (worst case)" in text
    assert "x0" in text.split("selected\n")[-1] and "and 18 more columns" in text


@pytest.mark.slow
def test_order_and_repetition_do_not_matter(data):
    X, y = data[0][:80, :6], data[1][:80]
    weight = np.where(np.arange(80) % 4 == 0, 2, 1)
    order = np.random.default_rng(0).permutation(np.repeat(np.arange(80), weight))
    weighted = small_stability().fit(X, y, weight).result_
    repeated = small_stability().fit(X[order], y[order]).result_
    assert 0 < weighted.frequency["any"].mean() < 1
    assert_array_equal(repeated.frequency["any"], weighted.frequency["any"])
    assert_array_equal(repeated.by_expert, weighted.by_expert)


@pytest.mark.slow
def test_processes_and_seeds(data):
    X, y = data[0][:80, :6], data[1][:80]
    alone, shared, other = (
        small_stability(n_jobs=n_jobs, random_state=seed).fit(X, y).result_
        for n_jobs, seed in ((None, 0), (2, 0), (None, 1))
    )
    assert_array_equal(shared.by_expert, alone.by_expert)
    assert_array_equal(shared.frequency["gate"], alone.frequency["gate"])
    assert np.any(other.frequency["any"] != alone.frequency["any"])


def test_only_columns_that_a_penalty_decides_about_are_counted(data):
    X = data[0][:100, :7].copy()
    X[:, 3] = 1.0
    weights = [1, 0, 1, 1, np.inf, 1, 1]
    expert = GaussianExpert(penalty=L1(weights=weights), scale_free=True)
    template = MoERegressor(2, expert=expert, gate_features=[0, 3], start=FEW)
    result = small_stability(template, max_columns=3).fit(X, data[1][:100]).result_
    assert result.names["expert"] == ["x0", "x2", "x5", "x6"]
    assert result.names["gate"] == ["x0"]
    assert result.names["any"] == ["x0", "x2", "x5", "x6"]
    assert result.table["gate"].isna().tolist() == [False, True, True, True]
    assert result.by_expert.shape == (4, 2, 4)
    assert result.n_selected["any"].max() > 0


@pytest.mark.slow
@pytest.mark.parametrize("gate", ["softmax", "constant"])
def test_a_gate_without_a_penalty_is_not_counted(data, gate):
    X, y = data[0][:100, :5], data[1][:100]
    template = MoERegressor(2, gate=gate, start=FEW)
    result = small_stability(template, penalties_gate=None).fit(X, y).result_
    assert result.names["gate"] == [] and result.selected("gate") == []
    assert result.bounds("gate")["bound"].tolist() == [0, 0, 0]
    assert result.table["gate"].isna().all() and result.table["expert"].max() > 0


def test_two_dimensions_share_the_limit(data):
    X, y = data[0][:100, :10], data[1][:100]
    settings = {"penalties_expert": [0.3, 0.2, 0.1], "penalties_gate": [0.1, 0.02]}
    result = small_stability(max_columns=3, **settings).fit(X, y).result_
    assert result.frequency["any"].shape == (6, 10)
    assert result.strengths["chain"].tolist() == [0, 0, 0, 1, 1, 1]
    assert result.n_selected["any"].max() <= 3


def test_classes(data):
    X = data[0][:120, :8]
    noise = np.random.default_rng(5).logistic(size=len(X))
    labels = np.where(2 * X[:, 1] + noise > 0, "yes", "no")
    template = MoEClassifier(1, start=FEW)
    result = small_stability(template, n_pairs=5, max_columns=2).fit(X, labels).result_
    assert result.selected() == ["x1"]
    assert result.by_expert.shape == (4, 1, 8)


def test_selections_end_before_the_limit_and_stay(data):
    X, y = data[0][:, :4], data[1]
    model = setting(small_path(), X, y, None, {}).model
    gate = np.zeros((4, 4), dtype=bool)
    gate[1:, 0] = True
    expert = np.zeros((4, 2, 4), dtype=bool)
    expert[1, 1, 1] = True
    expert[2, 0, 2] = True  # x1 has left, but was selected before
    expert[3, :, 3] = True
    one = Selected(gate, expert, np.ones(4, dtype=bool))
    assert used_together([one], model).tolist() == [0, 2, 3, 4]
    cut = within([one], model, 2)
    assert cut.reached.tolist() == [True, True, False, False]
    assert_array_equal(cut.expert, expert[[0, 1, 1, 1]])
    assert_array_equal(cut.gate, gate[[0, 1, 1, 1]])
    nothing = within([one._replace(reached=np.zeros(4, dtype=bool), gate=~gate)], model, 2)
    assert not nothing.gate.any() and not nothing.expert.any()


def test_halves_are_complementary():
    rng = np.random.default_rng(0)
    rows = Rows(rng.standard_normal((21, 2)), rng.standard_normal((21, 1)))
    pairs = complementary_halves(rows, 3, classes=False, seed=0)
    for first, second in pairs:
        assert len(first) == len(second) == 10
        assert not set(first) & set(second)
    assert len({tuple(half) for pair in pairs for half in pair}) == 6


def test_equal_rows_go_together_and_classes_are_balanced():
    X = np.repeat(np.arange(10.0), 2)[:, None]
    labels = np.repeat(np.arange(10) % 2, 2).astype(float)[:, None]
    weight = np.ones(20)
    weight[:2] = 0
    for halves in complementary_halves(Rows(X, labels, weight), 4, classes=True, seed=1):
        for half in halves:
            assert len(half) == 8 and 0 not in half and 1 not in half
            assert_array_equal(half[::2] + 1, half[1::2])
        # four distinct rows of one class, five of the other
        assert all(int(labels[half].sum()) // 2 in (2, 3) for half in halves)


def test_too_few_rows_are_refused():
    with pytest.raises(ValueError, match="at least 4 distinct rows; got 3"):
        complementary_halves(Rows(np.eye(3), np.ones((3, 1))), 2, classes=False, seed=0)


def largest_tail(theta, threshold, B):
    """The largest probability that pairs agree often enough, over all unimodal laws."""
    share = np.arange(B + 1) / B
    enough = (share >= 2 * threshold - 1 - 1e-12).astype(float)
    best = 0.0
    for mode in range(B + 1):
        rising = np.where(np.arange(B) < mode, 1.0, -1.0)[:, None]
        steps = rising * (np.eye(B + 1)[:-1] - np.eye(B + 1)[1:])
        found = linprog(
            -enough,
            A_ub=np.vstack([share, steps]),
            b_ub=np.append(theta**2, np.zeros(B)),
            A_eq=np.ones((1, B + 1)),
            b_eq=[1.0],
        )
        best = max(best, -found.fun) if found.status == 0 else best  # 2: no law of so low a mean
    return best


@pytest.mark.parametrize("threshold", [0.6, 0.7, 0.75, 0.85, 1.0])
@pytest.mark.parametrize("theta", [0.05, 0.2])
def test_unimodal_bound_is_that_of_the_worst_unimodal_law(theta, threshold):
    """Shah and Samworth (2013), proof of theorem 2: a share of agreement of mean theta^2."""
    p, B = 100, 20
    assert_allclose(
        unimodal(theta * p, p, threshold, B), p * largest_tail(theta, threshold, B), rtol=1e-6
    )


def test_bounds():
    assert_allclose(worst_case(10, 1000, 0.9), 0.125)
    assert unimodal(10, 1000, 0.9, 50) < worst_case(10, 1000, 0.9)
    # frequencies are multiples of 1 / 100: between two of them nothing changes
    assert unimodal(10, 1000, 0.895, 50) == unimodal(10, 1000, 0.9, 50)
    assert np.isnan(unimodal(60, 100, 0.9, 50)) and np.isnan(unimodal(1, 100, 0.51, 50))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"n_pairs": 0}, "n_pairs must be a whole number of at least 1; got 0"),
        ({"n_pairs": 2.5}, "n_pairs must be a whole number"),
        ({"max_columns": 0}, "max_columns must be a whole number of at least 1; got 0"),
        ({"max_columns": True}, "max_columns must be a whole number"),
        ({"threshold": 0.5}, r"threshold must be a number in \(0.5, 1\].* got 0.5"),
        ({"threshold": 1.2}, "threshold must be a number in"),
        ({"threshold": "high"}, "threshold must be a number in"),
        ({"penalties_expert": [-1.0]}, "penalties_expert must be positive strengths"),
    ],
)
def test_settings_that_mean_nothing(data, settings, message):
    with pytest.raises(ValueError, match=message):
        small_stability(**settings).fit(data[0][:, :3], data[1])
