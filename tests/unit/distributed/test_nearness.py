"""When a combined model is said to be worse than the fits it combines: arithmetic of the rule."""

from __future__ import annotations

import numpy as np
import pytest

from mixexp import MoEClassifier, MoERegressor
from mixexp.distributed import LocalFit
from mixexp.distributed.aggregate import _template
from mixexp.distributed.large import on_support
from mixexp.distributed.nearness import Loss, loss_of_fits
from tests.unit.distributed.partitioned import classification, regression

OWN = np.array([-1.0, -2.0, -3.0])


def loss(combined, sampling=0.01):
    return Loss(OWN, np.array(combined), np.full(3, 1 / 3), np.full(3, sampling))


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (loss([-4.0, -4.5, -5.0]), True),
        (loss([-2.0, -2.9, -3.9]), False),  # -2.93 is above the worst of the fits
        (loss([-4.0, -4.5, -5.0], sampling=0.3), False),  # 2.5 is less than ten times 0.3
        (loss([-9.0, -2.03, -3.03]), False),  # for the middle one 0.03 is little
    ],
    ids=["below all fits", "above one", "within sampling error", "one fit apart"],
)
def test_disagreement_is_below_all_fits_beyond_sampling_and_typical(given, says):
    assert given.is_disagreement is says
    assert given.value == pytest.approx(np.mean(OWN - given.combined))
    assert given.ratio == pytest.approx(given.value / given.sampling[0])


@pytest.mark.parametrize("classes", [False, True])
def test_fits_that_agree_lose_half_a_unit_for_every_free_parameter(classes):
    if classes:
        X, y, z = classification(300, 0)
        model = MoEClassifier(2, start=z)
    else:
        X, y, z = regression(300, 0, K=2)
        model = MoERegressor(2, start=z)
    fit = LocalFit.of(model.fit(X, y), X)
    mixture = on_support([fit, fit], 2, X, _template(None, fit, 2), "gate")
    n_free = (X.shape[1] + 1) * (1 + 2 * (len(fit.classes) - 1 if classes else 1))
    n_free += 0 if classes else 2  # scales
    found = loss_of_fits(mixture, mixture.local[0], 0)
    np.testing.assert_allclose(found.sampling, n_free / (2 * 300))
    np.testing.assert_allclose(found.own, found.combined)
