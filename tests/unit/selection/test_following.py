"""Paths of strengths: which cells follow which, and what following must not change."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose
from sklearn.model_selection import ParameterGrid

from mixexp import L1, L2, ElasticNet, GaussianExpert, MoERegressor, MultiStart
from mixexp.selection import SelectionStudy
from mixexp.selection.study.following import paths, strength_of
from mixexp.selection.study.study import cells_of

GRID = {"expert__penalty": [0.003, 0.03, 0.3], "gate__penalty": [0, 0.01, 0.1]}


def test_without_following_every_cell_searches():
    steps = paths(list(ParameterGrid(GRID)), follow=False)
    assert [step.neighbours for path in steps for step in path] == [()] * 9


def test_a_path_spreads_from_the_middle_to_nearest_cells():
    cells = list(ParameterGrid(GRID))
    (path,) = paths(cells, follow=True)
    assert cells[path[0].cell] == {"expert__penalty": 0.03, "gate__penalty": 0.01}
    seen = {path[0].cell}
    for step in path[1:]:
        assert step.neighbours and set(step.neighbours) <= seen
        for other in step.neighbours:  # one strength differs, by one place
            changed = [key for key in GRID if cells[step.cell][key] != cells[other][key]]
            assert len(changed) == 1
        seen.add(step.cell)
    assert seen == set(range(9))


def test_of_two_middles_the_stronger_searches():
    strengths = [0.1, 3, 0.3, 1]
    (path,) = paths([{"expert__penalty": strength} for strength in strengths], follow=True)
    assert [strengths[step.cell] for step in path] == [1, 3, 0.3, 0.1]


def test_other_settings_and_the_order_of_the_grid():
    family = [{"expert": [e], "expert__penalty": [1, 0.1, 10]} for e in ("gaussian", "gamma")]
    cells = list(ParameterGrid(family))
    found = paths(cells, follow=True)
    assert [cells[path[0].cell]["expert__penalty"] for path in found] == [1, 1]
    assert [{cells[s.cell]["expert"] for s in p} for p in found] == [{"gaussian"}, {"gamma"}]


def test_kinds_of_penalties_are_paths_of_their_own():
    chosen = [0, 0.1, L2(0.2), L1(0.1), L1(0.2), ElasticNet(0.1), ElasticNet(0.1, l1_ratio=0.9)]
    found = paths([{"expert__penalty": value} for value in chosen], follow=True)
    assert [sorted(step.cell for step in path) for path in found] == [[0, 1, 2], [3, 4], [5], [6]]


@pytest.mark.parametrize(
    "value, strength",
    [(None, 0.0), (0.1, 0.1), (L2(0.2), 0.2), (L1(0.3), 0.3), ("l2", None), (True, None)],
    ids=["none", "number", "L2", "L1", "name", "bool"],
)
def test_strength_of(value, strength):
    assert strength_of(value) == strength


@pytest.fixture(scope="module")
def bent():
    rng = np.random.default_rng(0)
    X = rng.uniform(-2, 2, size=(90, 1))
    y = np.where(X[:, 0] < 0, 1 + 2 * X[:, 0], 1 - 2 * X[:, 0]) + 0.2 * rng.normal(size=90)
    return X, y


@pytest.mark.slow
def test_following_ends_where_searching_does(bent):
    grid = {"n_experts": [2], "expert__penalty": [0.003, 0.03], "gate__penalty": [0.01, 0.1]}
    template = MoERegressor(start=MultiStart(n_starts=0.1, max_rounds=1))
    tables = [
        SelectionStudy(template, grid, "cv", cv=2, follow=follow, random_state=0)
        .fit(*bent)
        .result_.table
        for follow in (False, True)
    ]
    for column in ("loglik", "cv_loglik"):  # one sharp optimum: every way leads there
        assert_allclose(*[table[column] for table in tables], rtol=1e-4)
    assert tables[0]["label"].tolist() == tables[1]["label"].tolist()


def test_followers_do_not_search(bent, monkeypatch):
    searches = []
    search = MultiStart.search

    def counted(self, *arguments, **keywords):
        searches.append(self.n_starts)
        return search(self, *arguments, **keywords)

    monkeypatch.setattr(MultiStart, "search", counted)
    template = MoERegressor(start=MultiStart(n_starts=0.1, max_rounds=1))
    grid = {"n_experts": [1, 2, 3], **GRID}
    study = SelectionStudy(template, grid, cv=None, follow=True).fit(*bent)
    assert searches == [0.1] * 3  # one for each number of experts, all with the template's effort
    assert all(model.start.n_starts == 0.1 for model in study.result_.models.values())
    assert len(cells_of(grid, template)) == 9


def test_a_fit_with_fewer_experts_goes_on_with_its_own_search(bent, monkeypatch):
    small = MoERegressor(1, start=MultiStart(n_starts=0.1, max_rounds=1)).fit(*bent)
    plain = MoERegressor(1, expert=GaussianExpert()).fit(*bent)
    used = []
    search = MultiStart.search
    monkeypatch.setattr(
        MultiStart,
        "search",
        lambda self, *a, **k: used.append(self.n_starts) or search(self, *a, **k),
    )
    MoERegressor(2, start=small).fit(*bent)
    MoERegressor(2, start=plain).fit(*bent)
    assert used == [0.1, 1.0]


def test_only_one_cell_of_a_path_fits_more_experts_than_the_rows_can_hold(bent):
    X, y = bent[0][:14], bent[1][:14]  # three experts of 3 parameters: 6 rows each
    grid = {"n_experts": [1, 2, 3], "expert__penalty": [0.01, 0.1]}
    template = MoERegressor(start=MultiStart(n_starts=0.1, max_rounds=1))
    table = SelectionStudy(template, grid, cv=None, follow=True).fit(X, y).result_.table
    crowded = table[table["n_experts"] == 3].set_index("cell")["status"]
    assert crowded["expert penalty 0.01"] == "FAILED"
    assert crowded["expert penalty 0.1"] == "DEGENERATE"
    assert not (table.loc[table["n_experts"] < 3, "status"] == "FAILED").any()
