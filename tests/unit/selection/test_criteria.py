"""Criteria against their formulas."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.testing import assert_allclose

from mixexp import L1, GaussianExpert, MoEClassifier, MoERegressor, SoftmaxGate
from mixexp._component import CRITERIA
from mixexp.cli import CRITERIA as CLI_CRITERIA
from mixexp.em.summary import FitSummary, counts
from mixexp.selection import (
    AIC,
    AIC3,
    BIC,
    CAIC,
    EBIC,
    ICL,
    NEC,
    AICc,
    ModifiedBIC,
    criteria_table,
)
from mixexp.selection.criteria.information import differences, weights

FITS = [
    FitSummary(-100.0, 4, 50.0, 0.0, 0.0),
    FitSummary(-80.0, 9, 50.0, 3.0, 1.5),
]
# 8 of 20 slopes are not zero, and 5 parameters are no slopes
SPARSE = FitSummary(
    -90.0, 13, 50.0, 1.0, 0.5, n_experts=2, n_slopes=8, n_candidates=20
)  # fmt: skip
LADDER = [
    FitSummary(-100.0 + 40 * (k > 1) + 2 * k, 3 * k, 50.0, 0.1 * (k - 1), 0.05 * (k - 1), k)
    for k in range(1, 15)
]


def test_aic() -> None:
    assert_allclose(AIC().scores(FITS), [208.0, 178.0])


def test_aicc_adds_its_term() -> None:
    assert_allclose(AICc().scores(FITS), [208 + 2 * 4 * 5 / 45, 178 + 2 * 9 * 10 / 40])


def test_aicc_is_infinite_without_room() -> None:
    assert AICc().scores([FitSummary(-1.0, 9, 10.0, 0.0, 0.0)])[0] == np.inf


def test_bic_counts_units() -> None:
    assert_allclose(BIC().scores(FITS), [200 + 4 * np.log(50), 160 + 9 * np.log(50)])


def test_aic3_and_caic_charge_one_more_for_each_parameter() -> None:
    d = np.array([4, 9])
    assert_allclose(AIC3().scores(FITS) - AIC().scores(FITS), d)
    assert_allclose(CAIC().scores(FITS) - BIC().scores(FITS), d)


@pytest.mark.parametrize(("entropy", "extra"), [("soft", [0, 6]), ("hard", [0, 3])])
def test_icl_is_bic_plus_twice_the_entropy(entropy: str, extra: list[float]) -> None:
    assert_allclose(ICL(entropy).scores(FITS), BIC().scores(FITS) + extra)


def test_icl_refuses_other_entropies() -> None:
    with pytest.raises(ValueError, match="'soft' or 'hard'"):
        ICL("warm").scores(FITS)


@pytest.mark.parametrize("gamma", [None, 0.5, 1.0])
def test_without_zeros_sparse_criteria_are_bic(gamma: float | None) -> None:
    criterion = ModifiedBIC() if gamma is None else EBIC(gamma)
    full = [fit._replace(n_slopes=7, n_candidates=7) for fit in FITS]
    assert_allclose(criterion.scores(FITS), BIC().scores(FITS))
    assert_allclose(criterion.scores(full), BIC().scores(FITS))


def test_modified_bic_counts_what_is_left() -> None:
    assert_allclose(ModifiedBIC().scores([SPARSE]), 180 + 13 * np.log(50))
    assert_allclose(ModifiedBIC("slopes").scores([SPARSE]), 180 + 8 * np.log(50))


def test_modified_bic_of_slopes_needs_their_number() -> None:
    with pytest.raises(ValueError, match="Fit it again"):
        ModifiedBIC("slopes").scores(FITS)
    with pytest.raises(ValueError, match="'all' or 'slopes'"):
        ModifiedBIC("some").scores(FITS)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0])
def test_ebic_charges_for_the_choice(gamma: float) -> None:
    choice = 2 * gamma * math.log(math.comb(20, 8))
    assert_allclose(EBIC(gamma).scores([SPARSE]), ModifiedBIC().scores([SPARSE]) + choice)


def test_ebic_refuses_a_gamma_outside_its_range() -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        EBIC(2.0).scores([SPARSE])


def test_nec_is_overlap_over_gain_and_one_for_one_expert() -> None:
    scores = NEC().scores(LADDER)
    assert scores[0] == 1.0
    assert_allclose(scores[1:], [0.1 * k / (40 + 2 * k) for k in range(1, 14)])


def test_nec_is_infinite_where_nothing_is_gained() -> None:
    worse = LADDER[3]._replace(loglik=-200.0)
    assert NEC().scores([LADDER[0], worse])[1] == np.inf


@pytest.mark.parametrize("fits", [LADDER[1:], LADDER[:1] + LADDER], ids=["none", "two"])
def test_nec_needs_one_fit_with_one_expert(fits) -> None:
    with pytest.raises(ValueError, match="exactly one fit with one expert"):
        NEC().scores(fits)


@pytest.mark.parametrize("name", sorted(CRITERIA))
def test_every_criterion_rewards_likelihood_and_explains_itself(name: str) -> None:
    criterion = CRITERIA[name]()
    better = [*LADDER[:5], LADDER[5]._replace(loglik=LADDER[5].loglik + 1e-3), *LADDER[6:]]
    worse, gained = (criterion.scores(fits)[5] for fits in (LADDER, better))  # type: ignore[attr-defined]
    assert gained < worse
    assert criterion.label and criterion.meaning  # type: ignore[attr-defined]
    assert criterion.scope in ("fit", "chain", "collection")  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", sorted(CRITERIA))
def test_scores_on_the_deviance_scale_move_with_the_deviance(name: str) -> None:
    """A constant added to all log-likelihoods (another unit of y) changes no difference."""
    criterion = CRITERIA[name]()
    moved = [fit._replace(loglik=fit.loglik + 7.0) for fit in LADDER]
    shift = criterion.scores(moved) - criterion.scores(LADDER)  # type: ignore[attr-defined]
    assert_allclose(shift, -14.0 if criterion.deviance else 0.0, atol=1e-9)  # type: ignore[attr-defined]


def test_command_line_offers_every_criterion() -> None:
    assert set(CLI_CRITERIA) == {*CRITERIA, "cv"}


def test_table_of_criteria_has_a_column_for_each() -> None:
    table = criteria_table(LADDER)
    assert [part.label for part in CRITERIA.values()] == list(table.columns[3:])
    assert_allclose(table["BIC"], BIC().scores(LADDER))
    short = criteria_table(LADDER[1:4])
    assert "NEC" not in short and "BIC" in short
    with pytest.raises(ValueError, match="one fit with one expert"):
        criteria_table(LADDER[1:4], ["nec"])
    with pytest.raises(ValueError, match="at least one fit"):
        criteria_table([])


def test_a_fit_counts_its_parameters(rng) -> None:
    X = rng.normal(size=(60, 3))
    y = X[:, 0] + rng.normal(size=60)
    summary = MoERegressor(3, gate_features=[0, 1]).fit(X, y).fit_summary_
    assert summary.n_experts == 3
    assert summary.n_candidates == summary.n_slopes == 2 * 2 + 3 * 3
    assert summary.n_free == 2 * 3 + 3 * 5


def test_zeros_are_not_counted(rng) -> None:
    X = rng.normal(size=(60, 3))
    expert, gate = GaussianExpert(penalty=L1(0.05)), SoftmaxGate(penalty=L1(0.05))
    model = MoERegressor(2, expert=expert, gate=gate).fit(X, X[:, 0] + rng.normal(size=60))
    gate_coef, coef = model._params_.gate.coef.copy(), model._params_.expert.coef.copy()
    gate_coef[:], coef[:] = [[1.0], [-1.0]], 1.0
    gate_coef[:, 2], coef[0, 0, 1:3] = 0, 0
    sparse = model._params_._replace(
        gate=model._params_.gate._replace(coef=gate_coef),
        expert=model._params_.expert._replace(coef=coef),
    )
    assert counts(model._model_, sparse) == {"n_experts": 2, "n_slopes": 6, "n_candidates": 9}
    assert model._model_.n_free(sparse) == 6 + 1 + 2 + 2  # intercepts and scales are always there


@pytest.mark.parametrize("tied", [None, [1], "all"], ids=["free", "one", "all"])
def test_slopes_of_tied_and_multinomial_experts_add_up(rng, tied) -> None:
    X = rng.normal(size=(80, 2))
    model = MoERegressor(2, expert=GaussianExpert(tied=tied)).fit(X, X.sum(1) + rng.normal(size=80))
    counted = model.fit_summary_
    assert counted.n_free - counted.n_candidates == 1 + 2 + 2  # intercepts and scales
    classes = MoEClassifier(2).fit(X, rng.integers(3, size=80)).fit_summary_
    assert classes.n_free - classes.n_candidates == 1 + 2 * 2
    assert classes.n_slopes == classes.n_candidates


def test_weights_sum_to_one_over_finite_scores() -> None:
    found = weights([10.0, np.nan, 12.0, np.inf])
    assert_allclose(found, [1 / (1 + np.exp(-1)), 0, np.exp(-1) / (1 + np.exp(-1)), 0])
    assert_allclose(differences([10.0, 12.5]), [0.0, 2.5])
