"""What the printed table of a fit says of families, their further parameters and the starts."""

from __future__ import annotations

import re

import numpy as np
import pytest

from mixexp import MoERegressor, intervals

rng = np.random.default_rng(0)
X = rng.normal(size=(200, 1))
y = np.exp(0.3 * X[:, 0] + 0.4 * rng.normal(size=200))


def row(text: str, name: str) -> list[float]:
    line = next(line for line in text.splitlines() if line.startswith(name))
    return [float(value) for value in line.removeprefix(name).split()]


@pytest.mark.parametrize(
    ("expert", "names"),
    [("lognormal", ["scale"]), ("skew_normal", ["scale", "slant"]), ("weibull", ["shape"])],
)
def test_further_parameters_are_rows_of_the_table(expert, names):
    model = MoERegressor(1, expert=expert).fit(X, y)
    for name in names:
        assert row(str(model), name) == pytest.approx(getattr(model, f"{name}_"), rel=1e-4)


def test_families_of_a_list_show_their_own_parameters():
    model = MoERegressor(2, expert=["lognormal", "gamma"], gate="constant").fit(X, y)
    text = str(model)
    assert text.startswith("MoERegressor: 2 x (LognormalExpert, GammaExpert), ConstantGate")
    assert row(text, "scale") == pytest.approx([model.scale_[0]], rel=1e-4)
    assert row(text, "shape") == pytest.approx([model.shape_[1]], rel=1e-4)


def test_intervals_are_said_once():
    model = MoERegressor(1, expert=["gaussian"]).fit(X, intervals(y, y + 0.1))
    head = str(model).splitlines()[0]
    assert "(GaussianExpert), some of its rows as intervals" in head


def test_gaussian_tables_keep_their_rows():
    text = str(MoERegressor(2, gate="constant").fit(X, y))
    names = [
        line.split("  ")[0] for line in text.split("Experts\n")[1].split("\n\n")[0].split("\n")
    ]
    assert names[1:] == ["(intercept)", "x0", "std. deviation", "rows"]


def test_one_optimum_is_one():
    text = str(MoERegressor(1).fit(X, y))
    assert re.search(r"starts met one optimum; the best one \d+ time", text)
