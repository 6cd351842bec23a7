"""The machinery of benchmarks/papers at tiny sizes: what is measured, chosen, written."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

from benchmarks.papers import (
    __main__ as command,
)
from benchmarks.papers import (
    _glome,
    _report,
    _style,
    blome_blocks,
    dendrogram,
    ethanol,
    glome_choice,
    glome_decay,
    lasso_oracle,
    lasso_path,
    lasso_table,
)
from mixexp import EM, GLoMERegressor
from mixexp.datasets import make_localised_regression
from mixexp.selection import SlopeHeuristic

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


# --- figures and reports -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "ours", "meets"),
    [
        (">= 2", 2.0, True),
        (">= 2", 1.9, False),
        ("<= 2", 2.1, False),
        ("in 1 2", 1.0, True),
        ("in 1 2", 2.1, False),
        (">= 2", np.nan, False),
        ("", 5.0, None),
    ],
)
def test_targets(target, ours, meets):
    assert _report.Fact("what", ours, "", target).meets is meets


def tiny_report(full):
    drawing, _ = _style.panels()
    facts = (_report.Fact("a", np.float64(1.5), "2", ">= 2"), _report.Fact("b", 1.0))
    return _report.Report("Title", {"lines": pd.DataFrame({"x": [1]})}, facts, drawing, ("note",))


def test_a_report_is_written_whole(tmp_path, capsys):
    _report.perform("name", tiny_report, True, tmp_path)
    content = json.loads((tmp_path / "name.json").read_text())
    assert content["full"] is True and content["notes"] == ["note"]
    assert [fact["meets"] for fact in content["facts"]] == [False, None]
    assert content["facts"][0]["ours"] == 1.5 and content["facts"][0]["published"] == "2"
    assert pd.read_csv(tmp_path / "name-lines.csv")["x"].tolist() == [1]
    assert (tmp_path / "name.png").stat().st_size > 1000
    assert "MISSES" in capsys.readouterr().out


def test_every_experiment_is_listed_and_unknown_ones_are_named(capsys):
    command.main(["--list"])
    shown = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in shown] == list(command.EXPERIMENTS)
    assert all(callable(command.load(name).run) for name in command.EXPERIMENTS)
    with pytest.raises(SystemExit):
        command.main(["nothing"])
    assert "unknown: nothing" in capsys.readouterr().err


def test_missing_data_do_not_end_the_run(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("MIXEXP_HDME_DATA", str(tmp_path))
    monkeypatch.setattr("benchmarks.papers._hdme.housing", missing)
    command.main(["lasso_objectives", "--out", str(tmp_path)])
    assert "left out: no case has its data" in capsys.readouterr().out


def missing():
    raise FileNotFoundError("gone")


# --- localised experts ---------------------------------------------------------------------------


@pytest.mark.parametrize("K", [1, 2])
def test_the_divergence_is_that_of_many_rows(K):
    """Far from the truth and near to it, from a twentieth of the rows."""
    X, y, truth = make_localised_regression(400, "lines", random_state=0, return_truth=True)
    model = GLoMERegressor(K, start=truth.z % K).fit(X, y)
    many, few = (_glome.Fresh.of(truth, n, n) for n in (400_000, 20_000))
    plain = many.log_prob - model.log_prob(many.X, many.y)
    error = plain.std() / np.sqrt(len(plain))
    found = _glome.divergence(model, few)
    assert abs(found - plain.mean()) < 3 * error + 0.05 * plain.mean()
    assert _glome.divergence(Same(truth), few) == 0


class Same:
    """A model that is the truth."""

    def __init__(self, truth):
        self.log_prob = truth.log_prob


@pytest.mark.parametrize("K", [1, 3, 6])
def test_a_single_start_ends_where_xllim_stops(K):
    """It stops at the third or a later iteration whose gain is a thousandth of the whole rise."""
    X, y = make_localised_regression(300, "parabolas", random_state=1)
    labels = _glome._partition(X, y, K, np.random.default_rng(0))
    model = _glome._single_start(X, y, K, labels)
    whole = EM(max_passes=_glome.MOST, tol=0, gradient_tol=0, acceleration=0)
    path = np.array(GLoMERegressor(K, start=labels, solver=whole).fit(X, y).objective_path_)
    values = path[1:]  # the first pass is the initialiser's
    rises = np.array([np.ptp(values[: i + 1]) for i in range(len(values))])
    small = np.flatnonzero(np.diff(values) <= 1e-3 * rises[1:]) + 1
    last = small[small >= 2][0]
    assert_allclose(model.loglik_, len(y) * values[last], rtol=1e-10)
    assert K == 1 or values[last] < path[-1]  # long before convergence


def test_partitions_are_nearest_random_rows():
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((50, 1)), rng.standard_normal(50)
    labels = _glome._partition(X, y, 5, np.random.default_rng(1))
    rows = np.column_stack([X, y])
    centres = rows[np.random.default_rng(1).choice(50, 5, replace=False)]
    apart = np.linalg.norm(rows[:, None] - centres, axis=2)
    assert np.array_equal(labels, apart.argmin(axis=1)) and len(np.unique(labels)) == 5


def test_choices_are_those_of_the_criteria():
    X, y = make_localised_regression(150, "lines", random_state=0)
    fits = _glome.single_starts(X, y, range(1, 13), np.random.default_rng(0))
    chosen = _glome.chosen_experts(fits)
    n_free, loglik = ([getattr(fit, name) for fit in fits] for name in ("n_free_", "loglik_"))
    bic = np.log(150) * np.array(n_free) - 2 * np.array(loglik)
    assert chosen["bic"] == 1 + np.argmin(bic)
    jump = SlopeHeuristic("djump").of(n_free, -np.array(loglik))
    assert chosen["djump"] == 1 + jump.chosen


def test_a_trial_of_the_choice_is_reproducible():
    one, kl = glome_choice.one_trial("lines", "single start", 200, 3, range(1, 4))
    again, _ = glome_choice.one_trial("lines", "single start", 200, 3, range(1, 4))
    assert one == pytest.approx(again, nan_ok=True)
    assert list(kl) == [1, 2, 3] and kl[2] < kl[1]
    assert one["kl bic"] == kl[one["bic"]]


def test_shares_are_percentages_of_the_trials():
    table = pd.DataFrame({"n": 9, "design": "lines", "optimiser": "search", "seed": range(4)})
    for criterion in _glome.CRITERIA:
        table[criterion] = [2.0, 2.0, 5.0, np.nan]
    shares = glome_choice.shares(table)
    assert shares["2"].tolist() == [50] * 4 and shares["5"].tolist() == [25] * 4


def test_slopes_of_exact_decays():
    table = pd.DataFrame(
        [{"n": n, "seed": seed, "way": 3 / n} for n in (100, 200, 400) for seed in range(3)]
    )
    found = glome_decay.slope(table, "way")
    assert_allclose([found["slope"], np.exp(found["level"])], [-1, 3])
    assert found["error"] < 1e-12


def test_the_true_number_of_experts_has_the_parametric_divergence():
    """2 n KL has about the number of free parameters of y given x, here at most eleven."""
    lines = [glome_decay.one_trial("lines", 1000, seed, range(1, 3)) for seed in range(3)]
    scaled = 2000 * np.mean([line["true number"] for line in lines])
    assert 2 < scaled < 22
    assert all(line["smallest of all"] > 0 for line in lines)


def test_both_directions_of_the_ethanol_data():
    (x, y), (v, u) = ethanol.data("x = E"), ethanol.data("x = NOx")
    assert np.array_equal(x[:, 0], u) and np.array_equal(y, v[:, 0]) and len(y) == 88
    line = ethanol.one_trial("x = E", "single start", 0, range(1, 5))
    assert 2 <= line["bic"] <= 4


# --- blocks, Lasso, dendrogram -------------------------------------------------------------------


def test_planted_blocks_are_planted_and_found():
    law = blome_blocks.truth(np.random.default_rng(0))
    assert np.all(law.residual_covariances[:, :4, 4:] == 0)
    assert_allclose(law.residual_covariances[:, 0, 1], 0.6)
    assert blome_blocks.one_trial(400, "bic", 0)["exact"] == 1


def test_the_oracle_is_maximum_likelihood_on_the_support():
    X, y, labels, fresh = lasso_oracle.draw(6, 0, n=400)
    model = lasso_oracle.oracle(X, y, labels)
    assert np.array_equal(model.coef_ != 0, lasso_oracle.SUPPORT)
    assert lasso_oracle.divergence(model, fresh) < 0.05
    assert lasso_oracle.norm(lasso_oracle.truth(6)) == 10.5


def test_the_strength_has_the_rate_of_the_theorem():
    at = lasso_oracle.strength
    assert_allclose(at(1, 100, 500) / at(1, 10, 500), np.sqrt(np.log(201) / np.log(21)))
    assert_allclose(at(1, 10, 2000), at(1, 10, 500) / 2)
    p = np.array([10, 100, 1000])
    means = pd.DataFrame({"p": p, "lasso": np.log(2 * p + 1) ** 0.7})
    assert_allclose(lasso_oracle.growth(means), 0.7)


def test_a_line_of_the_oracle_table():
    lines = lasso_oracle.one_trial(10, 0, n=300)
    assert [line["c"] for line in lines] == list(lasso_oracle.CONSTANTS)
    assert all(line["true slopes"] <= 4 and line["oracle"] > 0 for line in lines)
    # a stronger penalty keeps fewer slopes
    assert lines[0]["other slopes"] >= lines[-1]["other slopes"]


def test_outliers_are_a_share_of_the_rows():
    X, clean = dendrogram.draw(0.0, 0)
    again, dirty = dendrogram.draw(0.03, 0)
    assert np.array_equal(X, again)
    assert 0.015 < np.mean(clean != dirty) < 0.045
    assert np.abs(dirty).max() > np.abs(clean).max()


def test_a_path_says_which_columns_are_chosen(rng):
    X = rng.standard_normal((150, 3))
    y = np.where(X[:, 0] > 0, 2 + 2 * X[:, 1], -2) + 0.3 * rng.standard_normal(150)
    picked = lasso_path.chosen(lasso_path.path_of(X, y, 6))
    assert picked.shape == (2, 3)
    assert picked[0, 1] and picked[1, 0]


def test_methods_of_the_table_are_known_to_its_targets():
    methods = set(lasso_table.METHODS["gaussian"])
    assert set(lasso_table.REFERENCE) <= methods
    assert {method for method, _ in lasso_table.TARGETS} <= methods
    assert {what for _, what in lasso_table.TARGETS} <= set(lasso_table.FIGURES)


# --- claims --------------------------------------------------------------------------------------


@pytest.mark.slow
def test_slope_heuristics_choose_two_experts_where_two_are_true():
    trials = [glome_choice.one_trial("lines", "search", 1000, seed)[0] for seed in range(3)]
    assert [line["djump"] for line in trials] == [2, 2, 2]


@pytest.mark.slow
def test_the_divergence_of_the_true_number_falls_like_one_over_n():
    table = pd.DataFrame(
        [
            glome_decay.one_trial("lines", n, seed, range(1, 3))
            for n in (500, 4000)
            for seed in range(12)
        ]
    )
    assert -1.3 < glome_decay.slope(table, "true number")["slope"] < -0.7


@pytest.mark.slow
def test_the_lasso_error_grows_slowly_with_the_columns():
    table = pd.DataFrame(
        [line for p in (10, 100) for seed in range(4) for line in lasso_oracle.one_trial(p, seed)]
    )
    means = table.groupby(["c", "p"])[["lasso", "bound"]].mean().reset_index()
    assert (means["lasso"] < means["bound"]).all()
    middle = means[means["c"] == lasso_oracle.SEARCHED].set_index("p")["lasso"]
    assert middle[100] < 2 * middle[10]


@pytest.mark.slow
def test_the_dendrogram_is_robust_where_bic_is_not():
    lines = [dendrogram.one_trial("contaminated", "k-means", seed) for seed in range(6)]
    assert sum(line["dendrogram"] == 2 for line in lines) >= 5
    assert sum(line["bic"] > 2 for line in lines) >= 5
