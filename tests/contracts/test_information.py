"""Laws of inference: scores and the observed information are derivatives of the log-likelihood."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose

from mixexp.em.params import tree_map
from mixexp.inference.information import information, row_scores
from tests.contracts.cases import model_of, pairs, problem, some_params
from tests.contracts.test_statistics import central_gradient


def setting(gate, family, link):
    case = problem(gate, family, link, n=30)
    weight = np.random.default_rng(5).uniform(0.5, 2, 30)
    rows = case.rows._replace(weight=weight)
    model = model_of(case)
    if not (model.gate.smooth and model.expert.smooth):
        pytest.skip("not smooth, and inference says so")
    return model, some_params(model, rows), rows


@pairs
def test_scores_are_derivatives_of_the_rows_log_likelihoods(gate, family, link):
    model, params, rows = setting(gate, family, link)

    def rowwise(vector):
        return model.log_likelihood(model.unpack(vector, params), rows)

    numeric = central_gradient(rowwise, model.pack(params)).T
    scores = row_scores(model, params, rows)
    # unpack projects on the free directions (logits are centred): compare along them
    project = central_gradient(lambda v: model.pack(model.unpack(v, params)), model.pack(params))
    assert_allclose(scores @ project.T, numeric, rtol=1e-5, atol=1e-6)


@pairs
def test_information_is_minus_the_second_derivative(gate, family, link):
    model, params, rows = setting(gate, family, link)
    vector = model.pack(params)
    project = central_gradient(lambda v: model.pack(model.unpack(v, params)), vector).T

    def score(moved):
        return information(model, model.unpack(moved, params), rows).score @ project

    observed = information(model, params, rows).observed
    numeric = -central_gradient(score, vector, 1e-5)
    size = np.abs(observed).max()
    assert_allclose(project.T @ observed @ project, numeric, rtol=1e-5, atol=1e-5 * size)


@pairs
def test_sums_add_over_blocks(gate, family, link):
    model, params, rows = setting(gate, family, link)
    halves = [information(model, params, rows.take(slice(*ends))) for ends in ((0, 11), (11, 30))]
    tree_map(
        lambda a, b, whole: assert_allclose(a + b, whole, rtol=1e-9, atol=1e-9),
        *halves,
        information(model, params, rows),
    )
