"""Starts over many columns: what the screens see, and what the trees divide."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import sparse

from mixexp import L1, GaussianExpert, MoERegressor, MultiStart, SoftmaxGate
from mixexp.em import wide, working_set
from mixexp.em.rows import design
from mixexp.em.starts.trees import products, tree_starts

FEW = MultiStart(n_starts=0.1, max_rounds=1)


def problem(p=60, sparse_columns=False, penalty=0.15):
    rng = np.random.default_rng(2)
    X = rng.standard_normal((150, p))
    side = X[:, 0] > 0
    y = np.where(side, -3 - 2 * X[:, 1], 3 + 2 * X[:, 1]) + 0.3 * rng.standard_normal(150)
    if sparse_columns:
        X = sparse.csr_array(np.where(np.abs(X) > 0.5, X, 0))
    template = MoERegressor(
        2,
        gate=SoftmaxGate(penalty=L1(0.05)),
        expert=GaussianExpert(penalty=L1(penalty), scale_free=True),
        start=FEW,
    )
    return template, X, y, side


def test_few_columns_or_no_sparse_penalty_are_not_wide():
    template, X, y, _ = problem()
    assert wide.is_wide(template._prepare(X, y, None)[0])
    assert not wide.is_wide(template._prepare(X[:, :10], y, None)[0])
    assert not wide.is_wide(MoERegressor(2)._prepare(X, y, None)[0])


@pytest.mark.parametrize("sparse_columns", [False, True], ids=["dense", "sparse"])
def test_products_are_those_of_the_whole_design(sparse_columns):
    template, X, y, _ = problem(sparse_columns=sparse_columns)
    model, rows = template._prepare(X, y, None)
    values = np.random.default_rng(0).standard_normal((150, 3))
    whole = design(rows.X, model.expert_columns, model.scaling)[:, 1:].T @ values
    found = products(rows, model.expert_columns, model.scaling, values)
    assert_allclose(found, np.asarray(whole), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("sparse_columns", [False, True], ids=["dense", "sparse"])
def test_a_tree_divides_by_the_gates_column(sparse_columns):
    template, X, y, side = problem(sparse_columns=sparse_columns)
    model, rows = template._prepare(X, y, None)
    starts = tree_starts(model, rows, rows.y, 0)
    agreement = np.mean((starts[0].responsibilities[:, 0] > 0.5) == side)
    assert max(agreement, 1 - agreement) > 0.8
    assert starts[0].gate[0] and starts[0].expert[1]
    for start in starts:
        assert_allclose(start.responsibilities.sum(axis=1), 1)


def test_the_screens_choose_the_planted_columns():
    template, X, y, _ = problem()
    model, rows = template._prepare(X, y, None)
    chosen = wide.screened(model, rows)
    assert chosen.gate[0]
    assert 1 <= chosen.expert.sum() <= 2 * wide.SCREENED


def test_a_wide_fit_is_stationary_on_all_columns_and_finds_the_plan():
    template, X, y, _ = problem()
    fitted = template.fit(X, y)
    assert fitted.converged_ and fitted.certificate_ <= 1e-4
    assert np.flatnonzero((fitted.coef_ != 0).any(axis=0)).tolist() == [1]
    assert 0 in np.flatnonzero(fitted.gate_coef_.any(axis=0))


def test_the_null_start_has_no_slope():
    template, X, y, _ = problem()
    model, rows = template._prepare(X, y, None)
    null = wide.null_start(model, rows, FEW, 0)
    support = working_set.support(model, null)
    assert not support.gate.any() and not support.expert.any()


def test_a_checkpoint_is_refused():
    from mixexp import EM

    template, X, y, _ = problem()
    template.set_params(solver=EM(checkpoint="somewhere"))
    with pytest.raises(ValueError, match="not available for sparse penalties on more than"):
        template.fit(X, y)
