"""Scores and the observed information of a fit: one additive pass over the rows.

Louis (1982, "Finding the observed information matrix when using the EM algorithm", JRSS B 44,
226-233): with complete-data scores s_ik and second derivatives H_ik, and responsibilities r_ik, the
observed information is - sum_i w_i { sum_k r_ik (H_ik + s_ik s_ik') - s_i s_i' },
s_i = sum_k r_ik s_ik. Where rows form groups, i runs over the groups, and s_ik and H_ik are sums
within them.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np

from ..em.blocked import BlockRows
from ..em.model import MoEModel
from ..em.params import MoEParams, tree_map
from ..em.rows import Rows
from ..em.threads import single_threaded_blas
from ..kernels.reference import log_softmax, log_sum_exp
from . import numerical
from .derivatives import BlockDerivatives

ENTRIES = 2_000_000  # of the scores of a block, (rows, K, d)


class Information(NamedTuple):
    """Sums over units (rows, or groups of rows), in the coordinates of `MoEModel.pack`.

    loglik () = sum w l_i; score (d,) = sum w s_i; observed (d, d): minus the second derivative;
    outer (d, d) = sum w s_i s_i'; squared (d, d) = sum w^2 s_i s_i'.
    """

    loglik: np.ndarray
    score: np.ndarray
    observed: np.ndarray
    outer: np.ndarray
    squared: np.ndarray


def information(model: MoEModel, params: MoEParams, rows: Rows) -> Information:
    """The sums over all rows."""
    return _sum(model, params, rows, block_information)


def row_scores(model: MoEModel, params: MoEParams, rows: Rows) -> np.ndarray:
    """(U, d) derivatives of the units' log-likelihoods, without their weights."""
    parts = []
    for block in rows.blocks(_block_size(model, params)):
        part = rows.take(block)
        if _normalised(model, part):
            parts.append(numerical.row_scores(model, params, part))
            continue
        one = BlockDerivatives(model, params, part)
        resp = np.exp(log_softmax(one.joint()))
        parts.append(np.einsum("nk,nkd->nd", resp, one.scores()))
    return np.concatenate(parts)


def cluster_outer(scores, weight, groups):
    """Outer products of the groups' sums of weighted scores, added up, and how many groups."""
    _, codes = np.unique(groups, return_inverse=True)
    sums = np.zeros((codes.max() + 1, scores.shape[1]))
    np.add.at(sums, codes, scores * weight[:, None])
    return sums.T @ sums, len(sums)


def block_information(model, params, rows) -> Information:
    """The sums over one block of rows."""
    if _normalised(model, rows):
        return _numerical_information(model, params, rows)
    one = BlockDerivatives(model, params, rows)
    joint, w = one.joint(), one.weight
    resp = np.exp(log_softmax(joint))
    scores = one.scores()
    mean = np.einsum("nk,nkd->nd", resp, scores)
    n, K, d = scores.shape
    # sum_k r s s' = (sqrt(r) s)' (sqrt(r) s), all experts in one product
    root = (np.sqrt(w[:, None] * resp)[:, :, None] * scores).reshape(n * K, d)
    outer = (mean * w[:, None]).T @ mean
    observed = -one.hessian(resp * w[:, None]) - root.T @ root + outer
    return Information(
        np.asarray(w @ log_sum_exp(joint) - model.log_units(rows)),
        w @ mean,
        observed,
        outer,
        (mean * w[:, None] ** 2).T @ mean,
    )


def _normalised(model, rows) -> bool:
    """Whether the likelihood is more than a sum over the experts."""
    return rows.prior is not None or model.expert.truncates(rows.y)


def _numerical_information(model, params, rows) -> Information:
    w = np.ones(rows.n) if rows.weight is None else rows.weight
    scores = numerical.row_scores(model, params, rows)
    return Information(
        np.asarray(w @ model.log_likelihood(params, rows)),
        w @ scores,
        -numerical.hessian(model, params, rows),
        (scores * w[:, None]).T @ scores,
        (scores * w[:, None] ** 2).T @ scores,
    )


def _block_size(model, params):
    d = model.pack(params).shape[-1]
    return int(max(64, min(8192, ENTRIES // (d * model.K))))


def _sum(model, params, rows, function):
    if isinstance(rows, BlockRows):
        return rows.reduce(functools.partial(_sum_here, model, params, function), _added)
    with single_threaded_blas():
        parts = (
            function(model, params, rows.take(block))
            for block in rows.blocks(_block_size(model, params))
        )
        return functools.reduce(_added, parts)


def _sum_here(model, params, function, rows):
    return _sum(model, params, rows, function)


def _added(left, right):
    return tree_map(np.add, left, right)
