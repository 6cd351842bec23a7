"""Laws of groups of rows that share one expert, for every pair of gate and family.

p(group) = sum_k pi_k(x) prod_i f_k(y_i | x_i), the gate's columns being one value in a group.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest
from numpy.testing import assert_allclose

from mixexp.em.engines import MemoryEngine
from mixexp.em.engines.batched import batched_pass, runs_batched
from mixexp.em.model import MoEModel
from mixexp.em.params import MoEParams, concatenate, tree_map
from mixexp.em.rows import Rows
from mixexp.inference.information import information, row_scores
from tests.contracts.cases import batch, model_of, pairs, problem, some_params
from tests.contracts.test_engines import assert_same_pass
from tests.contracts.test_statistics import central_gradient

K = 3


class Grouped(NamedTuple):
    model: MoEModel
    params: MoEParams
    rows: Rows


def grouped(gate, family, link, n=60, weighted=True) -> Grouped:
    """A panel of groups of one to five rows; the gate sees the first column, experts see both."""
    rng = np.random.default_rng(7)
    case = problem(gate, family, link, n=n)
    sizes = rng.integers(1, 6, n)
    codes = np.repeat(np.arange(n), sizes)[:n]
    first = np.searchsorted(codes, codes)
    X = case.rows.X.copy()
    X[:, 0] = X[first, 0]
    weight = rng.uniform(0.5, 2, n)[first] if weighted else None
    rows = case.rows._replace(X=X, weight=weight, group=codes)
    case = case._replace(rows=rows)
    model = model_of(case, K)
    if case.gate.uses_columns:
        columns = np.array([0])
        own = case.gate.for_columns(rows.unit_X, columns, rows.unit_weight, K)
        model = model._replace(gate=own, gate_columns=columns)
    return Grouped(model, some_params(model, rows), rows)


def by_hand(model, params, rows):
    """(G,) log p(group), row by row in plain Python; of a joint gate with log p(x)."""
    scaling = model.scaling
    density = (
        model.expert.log_density(
            params.expert,
            model.expert_design(rows.X),
            scaling.target(rows.y),
            model.scaled_offset(rows),
            rows.trials,
        )
        - np.log(scaling.y_scale).sum()
    )
    gate = model.gate.log_joint(params.gate, model.gate_design(rows.X)) - model._log_x_unit
    out = []
    for code in np.unique(rows.group):
        mine = np.flatnonzero(rows.group == code)
        terms = [
            np.exp(gate[mine[0], k]) * np.prod([np.exp(density[i, k]) for i in mine])
            for k in range(model.K)
        ]
        out.append(np.log(sum(terms)))
    return np.array(out)


@pairs
def test_the_likelihood_is_that_of_the_formula(gate, family, link):
    model, params, rows = grouped(gate, family, link)
    wanted = by_hand(model, params, rows)
    assert_allclose(model.log_likelihood(params, rows), wanted, rtol=1e-9, atol=1e-9)
    total = MemoryEngine(rows, model).run(model, batch(params)).loglik[0]
    assert_allclose(total, rows.unit_weight @ wanted, rtol=1e-10)


@pairs
def test_groups_of_one_row_are_rows(gate, family, link):
    model, params, rows = grouped(gate, family, link)
    single = rows._replace(group=np.arange(rows.n))
    params = concatenate([batch(params), batch(some_params(model, rows, 2))])
    plain = MemoryEngine(rows._replace(group=None), model, fused=False)
    assert_same_pass(
        MemoryEngine(single, model).run(model, params), plain.run(model, params), rtol=1e-11
    )


@pairs
def test_the_gradient_is_that_of_the_objective(gate, family, link):
    model, params, rows = grouped(gate, family, link)
    engine, template = MemoryEngine(rows, model), batch(params)

    def objective(vector):
        own = model.unpack(vector[None], template)
        return engine.run(model, own).loglik / engine.total_weight - model.penalty(own)

    numeric = central_gradient(objective, model.pack(params))[:, 0]
    exact = model.gradient(template, engine.run(model, template).statistics)[0]
    project = central_gradient(lambda v: model.pack(model.unpack(v, params)), model.pack(params))
    assert_allclose(project @ exact, numeric, rtol=1e-4, atol=2e-6)


@pairs
def test_statistics_add_over_blocks_of_whole_groups(gate, family, link):
    model, params, rows = grouped(gate, family, link)
    parts = [model.statistics(params, rows.take(block)) for block in rows.blocks(7)]
    assert len(parts) > 3
    total = parts[0]
    for part in parts[1:]:
        total = tree_map(np.add, total, part)
    assert_same_pass(total, model.statistics(params, rows))


@pairs
def test_all_sets_at_once_equal_one_by_one(gate, family, link):
    model, params, rows = grouped(gate, family, link)
    several = concatenate([batch(some_params(model, rows, seed)) for seed in (1, 2, 3)])
    assert runs_batched(model, rows, several)
    each = [
        MemoryEngine(rows, model).run(model, batch(some_params(model, rows, s))) for s in (1, 2, 3)
    ]
    assert_same_pass(batched_pass(model, rows, several), concatenate(each))
    alone = [batch_of(model.statistics(some_params(model, rows, s), rows)) for s in (1, 2, 3)]
    assert_same_pass(batched_pass(model, rows, several), concatenate(alone))


def batch_of(result):
    return tree_map(lambda leaf: np.asarray(leaf)[None], result)


@pairs
def test_weight_two_equals_the_group_twice(gate, family, link):
    model, params, rows = grouped(gate, family, link, weighted=False)
    count = np.random.default_rng(3).integers(0, 3, rows.n_units)
    weighted = rows._replace(weight=rows.spread(count.astype(float)))
    copies = [rows.take(rows.spread(count) > c)._replace(weight=None) for c in (0, 1)]
    repeated = Rows(
        *(
            None if a is None else np.concatenate([a, b])
            for a, b in zip(copies[0], copies[1], strict=True)
        )
    )
    repeated = repeated._replace(group=np.r_[copies[0].group, copies[1].group + rows.n])
    results = [MemoryEngine(own, model).run(model, batch(params)) for own in (weighted, repeated)]
    assert_same_pass(*results, rtol=1e-11)
    assert weighted.total_weight == repeated.n_units


@pairs
def test_scores_and_information_are_derivatives_of_the_groups_log_likelihoods(gate, family, link):
    model, params, rows = grouped(gate, family, link, n=24)
    if not (model.gate.smooth and model.expert.smooth):
        pytest.skip("not smooth, and inference says so")
    vector = model.pack(params)
    project = central_gradient(lambda v: model.pack(model.unpack(v, params)), vector)

    def groupwise(moved):
        return model.log_likelihood(model.unpack(moved, params), rows)

    numeric = central_gradient(groupwise, vector).T
    scores = row_scores(model, params, rows)
    assert_allclose(scores @ project.T, numeric, rtol=1e-5, atol=1e-6)

    def score(moved):
        return information(model, model.unpack(moved, params), rows).score @ project.T

    sums = information(model, params, rows)
    numeric = -central_gradient(score, vector, 1e-5)
    size = np.abs(sums.observed).max()
    assert_allclose(project @ sums.observed @ project.T, numeric, rtol=1e-5, atol=1e-5 * size)
    weight = rows.unit_weight
    assert_allclose(sums.loglik, weight @ by_hand(model, params, rows), rtol=1e-10)
    assert_allclose(sums.squared, (scores * weight[:, None] ** 2).T @ scores, rtol=1e-9, atol=1e-9)
