"""Criteria against their formulas."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose

from mixexp._component import CRITERIA
from mixexp.em.summary import FitSummary
from mixexp.selection import AIC, BIC, ICL, AICc
from mixexp.selection.criteria import differences, weights

FITS = [
    FitSummary(-100.0, 4, 50.0, 0.0, 0.0),
    FitSummary(-80.0, 9, 50.0, 3.0, 1.5),
]


def test_aic() -> None:
    assert_allclose(AIC().scores(FITS), [208.0, 178.0])


def test_aicc_adds_its_term() -> None:
    assert_allclose(AICc().scores(FITS), [208 + 2 * 4 * 5 / 45, 178 + 2 * 9 * 10 / 40])


def test_aicc_is_infinite_without_room() -> None:
    assert AICc().scores([FitSummary(-1.0, 9, 10.0, 0.0, 0.0)])[0] == np.inf


def test_bic_counts_units() -> None:
    assert_allclose(BIC().scores(FITS), [200 + 4 * np.log(50), 160 + 9 * np.log(50)])


@pytest.mark.parametrize(("entropy", "extra"), [("soft", [0, 6]), ("hard", [0, 3])])
def test_icl_is_bic_plus_twice_the_entropy(entropy: str, extra: list[float]) -> None:
    assert_allclose(ICL(entropy).scores(FITS), BIC().scores(FITS) + extra)


def test_icl_refuses_other_entropies() -> None:
    with pytest.raises(ValueError, match="'soft' or 'hard'"):
        ICL("warm").scores(FITS)


@pytest.mark.parametrize("name", sorted(CRITERIA))
def test_every_criterion_rewards_likelihood_and_explains_itself(name: str) -> None:
    criterion = CRITERIA[name]()
    better = FITS[0]._replace(loglik=-90.0)
    worse, gained = criterion.scores([FITS[0], better])  # type: ignore[attr-defined]
    assert gained < worse
    assert criterion.label and criterion.meaning  # type: ignore[attr-defined]


def test_weights_sum_to_one_over_finite_scores() -> None:
    found = weights([10.0, np.nan, 12.0, np.inf])
    assert_allclose(found, [1 / (1 + np.exp(-1)), 0, np.exp(-1) / (1 + np.exp(-1)), 0])
    assert_allclose(differences([10.0, 12.5]), [0.0, 2.5])
