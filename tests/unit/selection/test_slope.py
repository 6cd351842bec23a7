"""Slope heuristics: laws of lines, plateaus and jumps, and where capushe's defects are mended."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

from mixexp import MoERegressor
from mixexp._component import resolve
from mixexp.em.summary import FitSummary
from mixexp.selection import CRITERIA, SelectionStudy, SlopeHeuristic, SlopeNote
from mixexp.selection.slope.regressions import (
    BISQUARE,
    CAPUSHE,
    CONVERGED,
    HUBER,
    NORMAL_MAD,
    suffix_lines,
)
from mixexp.selection.study.choice import scores_of

METHODS = ("ddse", "djump")


def ladder(seed: int = 0, models: int = 40, kappa: float = 0.5, noise: float = 0.004):
    """Complexities and contrasts: bias up to complexity 12, then a line of slope -kappa / 100."""
    rng = np.random.default_rng(seed)
    complexity = np.arange(1.0, models + 1)
    bias = 3.0 * np.maximum(0, 1 - complexity / 12) ** 2
    return complexity, bias - kappa * complexity / 100 + noise * rng.normal(size=models)


@pytest.mark.parametrize("least", [2, 4])
def test_ordinary_lines_are_least_squares(least: int) -> None:
    x, y = ladder(models=90)
    lines = suffix_lines(x**2, y, "ols", least, CONVERGED)
    assert len(lines.slopes) == 90 - least + 1
    for i in (0, 31, 32, 33, 80, 90 - least):
        slope, intercept = np.polyfit((x**2)[i:], y[i:], 1)
        assert_allclose([lines.intercepts[i], lines.slopes[i]], [intercept, slope], rtol=1e-7)


@pytest.mark.parametrize("weights", ["bisquare", "huber"])
@pytest.mark.parametrize("seed", range(3))
def test_robust_lines_solve_their_equations(weights: str, seed: int) -> None:
    """At an M-estimate the weighted residuals are orthogonal to the columns."""
    x, g = ladder(seed, models=70, noise=0.02)
    g[[20, 50]] += 1.0
    lines = suffix_lines(x, -g, weights, 4, CONVERGED)
    for i in (0, 10, 40, 60, 66):
        residual = -g[i:] - lines.intercepts[i] - lines.slopes[i] * x[i:]
        size = np.abs(residual) * NORMAL_MAD / np.median(np.abs(residual))
        weight = (
            (1 - np.minimum(1, size / BISQUARE) ** 2) ** 2
            if weights == "bisquare"
            else np.minimum(1, HUBER / np.maximum(size, 1e-300))
        )
        scale = weight @ np.abs(residual)
        assert abs(weight @ residual) <= 1e-6 * scale
        assert abs((weight * residual) @ (x[i:] - x[i:].mean())) <= 1e-6 * scale * np.ptp(x[i:])
    assert lines.converged.all()


def test_twenty_reweightings_need_not_be_enough() -> None:
    """capushe stops after 20; the lines here go on to the solution."""
    x, g = ladder(1, models=70, noise=0.02)
    short, whole = (suffix_lines(x, -g, "bisquare", 4, stop) for stop in (CAPUSHE, CONVERGED))
    assert not short.converged.all()
    assert np.max(np.abs(short.slopes - whole.slopes)) > 1e-6 * np.abs(whole.slopes).max()


@pytest.mark.parametrize("regression", ["bisquare", "huber", "ols"])
def test_an_exact_line_is_found_exactly(regression: str) -> None:
    complexity, contrast = ladder(noise=0.0)
    found = SlopeHeuristic(regression=regression).of(complexity, contrast)
    assert_allclose(found.kappa_hat, 0.005, rtol=1e-8)
    assert_allclose(found.slopes[12:], 0.005, rtol=1e-8)


@pytest.mark.parametrize("method", METHODS)
def test_units_and_order_do_not_matter(method: str) -> None:
    complexity, contrast = ladder()
    plain = SlopeHeuristic(method).of(complexity, contrast)
    scaled = SlopeHeuristic(method).of(complexity, 7.0 * contrast + 3.0)
    assert scaled.chosen == plain.chosen
    assert_allclose(scaled.kappa_hat, 7.0 * plain.kappa_hat, rtol=1e-7)
    wide = SlopeHeuristic(method).of(complexity, contrast, 10.0 * complexity)
    assert wide.chosen == plain.chosen
    assert_allclose(wide.kappa_hat, plain.kappa_hat / 10.0, rtol=1e-7)
    shuffled = np.random.default_rng(0).permutation(len(complexity))
    moved = SlopeHeuristic(method).of(complexity[shuffled], contrast[shuffled])
    assert shuffled[moved.chosen] == plain.chosen


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("seed", range(5))
def test_the_chosen_model_minimises_the_penalised_contrast(method: str, seed: int) -> None:
    complexity, contrast = ladder(seed)
    found = SlopeHeuristic(method).of(complexity, contrast)
    assert found.chosen == np.argmin(contrast + found.kappa_opt * complexity)
    assert found.kappa_opt == 2.0 * found.kappa_hat


@pytest.mark.parametrize("seed", range(5))
def test_the_path_of_the_jump_is_that_of_a_grid(seed: int) -> None:
    complexity, contrast = ladder(seed)
    found = SlopeHeuristic("djump").of(complexity, contrast)
    inside = np.concatenate([(found.kappa[1:] + found.kappa[:-1]) / 2, [2 * found.kappa[-1]]])
    wanted = [np.argmin(contrast + kappa * complexity) for kappa in inside]
    assert list(found.models) == wanted
    assert found.jumps[found.jump] == max(found.jumps)
    assert_allclose(found.jumps.sum(), complexity[found.models[0]] - complexity[found.models[-1]])


@pytest.mark.parametrize("method", METHODS)
def test_scores_choose_what_the_result_chooses(method: str) -> None:
    complexity, contrast = ladder()
    n = 200.0
    fits = [
        FitSummary(-n * g, int(c), n, 0.0, 0.0) for c, g in zip(complexity, contrast, strict=True)
    ]
    heuristic = SlopeHeuristic(method)
    scores, found = heuristic.scores(fits), heuristic.result(fits)
    assert np.argmin(scores) == found.chosen
    deviance = np.array([-2 * fit.loglik for fit in fits])
    # kappa_opt is in units of AIC's constant: AIC is the score with kappa_opt = 1
    assert_allclose(scores, deviance + 2 * found.kappa_opt * complexity)


def test_a_shape_replaces_the_complexity() -> None:
    complexity, contrast = ladder()
    fits = [
        FitSummary(-200 * g, int(c), 200.0, 0.0, 0.0)
        for c, g in zip(complexity, contrast, strict=True)
    ]
    shape = SlopeHeuristic("djump", shape=lambda d: d * (2.5 + np.log(200 / d))).result(fits)
    direct = SlopeHeuristic("djump").of(
        complexity, contrast, complexity * (2.5 + np.log(200 / complexity)) / 200
    )
    assert_allclose(shape.kappa, direct.kappa)
    with pytest.raises(ValueError, match="must not fall"):
        SlopeHeuristic(shape=lambda d: -d).result(fits)


def test_of_equal_penalties_only_the_best_model_enters_the_lines() -> None:
    complexity, contrast = ladder()
    doubled = np.concatenate([complexity, complexity]), np.concatenate([contrast + 1.0, contrast])
    plain, found = SlopeHeuristic().of(complexity, contrast), SlopeHeuristic().of(*doubled)
    assert_allclose(found.slopes, plain.slopes)
    assert found.chosen == plain.chosen + len(complexity)


# --- where capushe's defects are mended --------------------------------------------------------


def test_interval_of_the_last_plateau_has_its_last_slope() -> None:
    complexity, contrast = ladder(noise=0.02)
    mended = SlopeHeuristic(share=0.02).of(complexity, contrast)
    copied = SlopeHeuristic(share=0.02, compat="capushe").of(complexity, contrast)
    for found in (mended, copied):
        assert found.plateaus[found.plateau].stop == len(found.slopes)
    last = mended.slopes[mended.plateaus[-1].start :]
    assert mended.slope_interval == (last.min(), last.max())
    kept = copied.slopes[copied.plateaus[-1].start : -1]
    if copied.plateaus[-1].length > 1:
        assert copied.slope_interval == (kept.min(), kept.max())


def test_two_points_at_the_end_do_not_decide() -> None:
    """Ten models whose last two drop: in capushe the lines through two and three points make a
    plateau of length two, 15 % of nine, and that decides.
    """
    complexity = np.arange(1.0, 11.0)
    contrast = 2.0 * np.maximum(0, 1 - complexity / 4) ** 2 - 0.01 * complexity
    contrast[8:] -= [0.2, 0.5]
    copied = SlopeHeuristic(compat="capushe").of(complexity, contrast)
    mended = SlopeHeuristic().of(complexity, contrast)
    assert copied.plateaus[copied.plateau].start == 7 and copied.chosen == 1
    assert mended.plateaus[mended.plateau].length == 4 and mended.chosen == 2


def test_jump_area_holds_the_jump_that_ends_it() -> None:
    """capushe's window ends before that jump, so one large jump alone gives it no area."""
    complexity = np.arange(1.0, 21.0)
    kappas = np.linspace(3.0, 1.0, 19)
    kappas[10:15] = 1.5  # five models leave the hull at once
    contrast = np.concatenate([[0.0], -np.cumsum(np.sort(kappas)[::-1])])
    found = SlopeHeuristic("djump", area=0.01).of(complexity, contrast)
    copied = SlopeHeuristic("djump", area=0.01, compat="capushe").of(complexity, contrast)
    assert_allclose(found.area[1], found.kappa_hat)
    assert_allclose(found.kappa_hat, 1.5)
    assert abs(copied.area[1] - 1.5) > 0.01
    assert SlopeHeuristic("djump").of(complexity, contrast).area is None


def test_rounding_does_not_decide_ties() -> None:
    """Two models tie exactly; adding a constant to all contrasts changes their rounding alone."""
    complexity = np.arange(1.0, 26.0)
    contrast = 0.5 * np.maximum(0, 7 - complexity) * np.maximum(0, 8 - complexity) - complexity / 2
    choices = set()
    for shift in np.arange(30) / 7:
        found = SlopeHeuristic(factor=3).of(complexity, contrast + shift)
        choices.add((found.chosen, SlopeNote.TIED_MODELS in found.notes))
    assert choices == {(5, True)}


def test_of_equal_jumps_the_last_is_taken() -> None:
    complexity = np.arange(1.0, 13.0)
    contrast = np.concatenate([[0.0], -np.cumsum(np.arange(11.0, 0.0, -1.0))])
    found = SlopeHeuristic("djump").of(complexity, contrast)
    assert found.jump == len(found.jumps) - 1
    assert SlopeNote.TIED_JUMPS in found.notes


@pytest.mark.parametrize("method", METHODS)
def test_too_few_models_are_refused(method: str) -> None:
    complexity, contrast = ladder(models=9)
    with pytest.raises(ValueError, match="at least 10 models.*got 9.*longer ladder"):
        SlopeHeuristic(method).of(complexity, contrast)
    SlopeHeuristic(method).of(*ladder(models=10))
    with pytest.raises(ValueError, match="at least 11"):
        SlopeHeuristic("djump", compat="capushe").of(*ladder(models=10))


# --- notes and errors --------------------------------------------------------------------------


def test_missing_models_are_left_out_and_named() -> None:
    complexity, contrast = ladder()
    contrast[5] = np.nan
    found = SlopeHeuristic().of(complexity, contrast)
    assert SlopeNote.LEFT_OUT in found.notes and 5 not in found.table.order


def test_a_ladder_that_ends_too_early_is_named() -> None:
    complexity = np.arange(1.0, 13.0)
    found = SlopeHeuristic("djump").of(complexity, -np.sqrt(complexity) - 3.0 * (complexity > 11))
    assert found.chosen == 11 or SlopeNote.LARGEST_CHOSEN not in found.notes
    rising = SlopeHeuristic().of(complexity, 0.1 * complexity)
    assert SlopeNote.NEGATIVE_SLOPES in rising.notes
    assert SlopeNote.NEGATIVE_CHOSEN in rising.notes


def test_no_jump_is_an_error() -> None:
    with pytest.raises(ValueError, match="no dimension jump"):
        SlopeHeuristic("djump").of(np.arange(1.0, 13.0), np.arange(12.0))


def test_no_long_plateau_is_an_error() -> None:
    with pytest.raises(ValueError, match="Lower share"):
        SlopeHeuristic(share=1.0).of(*ladder(noise=0.05))


@pytest.mark.parametrize(
    "settings",
    [{"method": "x"}, {"regression": "x"}, {"compat": "x"}, {"factor": 0.5}, {"share": 2.0},
     {"least_points": 1}, {"area": -1.0}, {"threshold": -1.0}, {"least_length": -1}],
    ids=lambda s: next(iter(s)),
)  # fmt: skip
def test_settings_outside_their_range_are_named(settings: dict) -> None:
    with pytest.raises(ValueError, match=next(iter(settings))):
        SlopeHeuristic(**settings).of(*ladder())


def test_lengths_must_agree_and_thresholds_be_met() -> None:
    complexity, contrast = ladder()
    with pytest.raises(ValueError, match="one length"):
        SlopeHeuristic().of(complexity, contrast[1:])
    with pytest.raises(ValueError, match="threshold=0.5 lies outside"):
        SlopeHeuristic("djump", threshold=0.5).of(complexity, contrast)
    found = SlopeHeuristic("djump", threshold=20.0).of(complexity, contrast)
    assert complexity[found.models[found.jump + 1]] < 20 <= complexity[found.models[found.jump]]


def test_fits_must_share_their_data() -> None:
    fits = [FitSummary(-100.0 + k, k, 50.0 + k, 0.0, 0.0) for k in range(1, 13)]
    with pytest.raises(ValueError, match="same data"):
        SlopeHeuristic().scores(fits)


# --- in a study --------------------------------------------------------------------------------


def study_lines(name: str):
    """Two chains of 14 fits, one fit irregular, one failed."""
    complexity, contrast = ladder(models=14)
    summaries, rows = [], []
    for cell in ("a", "b"):
        for k, (c, g) in enumerate(zip(complexity, contrast, strict=True), start=1):
            summary = FitSummary(-200 * g - (cell == "b"), int(c), 200.0, 0.1, 0.0, k)
            summaries.append(summary)
            rows.append({"cell": cell, "regular": True, "loglik": summary.loglik})
    table = pd.DataFrame(rows)
    table.loc[20, "regular"], table.loc[27, "loglik"] = False, np.nan
    part = resolve(name, CRITERIA, "criterion")
    return table, summaries, scores_of(table, summaries, part)


def test_a_study_learns_the_penalty_from_its_regular_fits() -> None:
    _, summaries, scores = study_lines("slope")
    assert list(np.flatnonzero(np.isnan(scores))) == [20, 27]
    used = [summaries[i] for i in np.flatnonzero(np.isfinite(scores))]
    assert_allclose(scores[np.isfinite(scores)], SlopeHeuristic().scores(used))


def test_a_study_compares_overlap_with_the_single_expert_of_the_same_chain() -> None:
    _, _, scores = study_lines("nec")
    first, second = scores[:14], scores[14:27]
    assert first[0] == second[0] == 1.0
    assert_allclose(second[1:], first[1:13])  # the constant of the second chain cancels


def test_a_study_says_before_fitting_that_its_grid_is_too_short() -> None:
    study = SelectionStudy(MoERegressor(), {"n_experts": range(1, 9)}, "slope", cv=None)
    with pytest.raises(ValueError, match="'slope' needs at least 10 fits; the grid has 8"):
        study.fit(np.zeros((3, 1)), np.zeros(3))
