"""The fused numba kernel: softmax gate over multinomial experts, block by block.

Like `cpu`, of which it shares the steps in `blocks`. Every expert is a softmax model of its own,
so that its information consists of one weighted Gram matrix for every pair of classes.

Legend: S parameter sets, K experts, C classes, D = C (C - 1) / 2 pairs of classes, P pairs of
experts, q columns, T = q (q + 1) / 2 products.
"""

from __future__ import annotations

import functools

import numpy as np
from numba import from_dtype, types

from ._compile import entry_of_one_signature, helper
from .blocks import (
    SMALL_PRODUCT,
    add_gate,
    add_sums,
    block_width,
    column_products,
    copy_padded,
    fill,
    gate_weights,
    multiply,
    predictors,
    reciprocal,
    responsibilities,
    softmax_rows,
    standardise_rows,
    sum_of,
)
from .elementary import fast_log

ROOM = 48  # rows of weights that are multiplied with the products at a time


def uses_blas(q, K, C):
    """Whether some product of a block is large enough for BLAS."""
    sums = max(K * C * (C - 1) // 2, K * (K - 1) // 2) * (q * (q + 1) // 2)
    return sums > SMALL_PRODUCT or K * C * q > SMALL_PRODUCT // 2


@helper
def _codes(y_column, start, rows, out):
    """Class codes of rows start .. start + rows; the padding is of class 0."""
    for i in range(len(out)):
        out[i] = 0
    for i in range(rows):
        out[i] = int(y_column[start + i])


@helper
def _log_probability(eta, code, top, total, out):
    """Log probability of every row's class from the predictors (C, width) of one expert."""
    for i in range(len(out)):
        out[i] = eta[code[i], i] - top[i]
    for i in range(len(out)):
        out[i] -= fast_log(total[i])


@helper
def _class_rows(eta, code, top, total, probability, out):
    """Probabilities of all classes, and the log probability of every row's own, of one expert."""
    softmax_rows(eta, top, probability, total)
    _log_probability(eta, code, top, total, out)
    reciprocal(total)
    for c in range(eta.shape[0]):
        multiply(probability[c], total, probability[c])


@helper
def _residual(probability, resp, code, out):
    """out (C, width) = resp (indicator of the row's class - probability)."""
    for c in range(out.shape[0]):
        for i in range(out.shape[1]):
            out[c, i] = -resp[i] * probability[c, i]
    for i in range(out.shape[1]):
        out[code[i], i] += resp[i]


@helper
def _class_pair_sums(probability, resp, products, room, V, product, out):
    """Add the information (K D, T) of all experts; room (width,), V and product hold ROOM rows.

    probability (K C, width). The rows of weights are multiplied with the products whenever their
    room is full: its size does not grow with the square of the number of classes.
    """
    K = resp.shape[0]
    C = probability.shape[0] // K
    first, j = 0, 0
    for k in range(K):
        for c in range(C):
            multiply(resp[k], probability[k * C + c], room)
            for d in range(c + 1, C):
                multiply(room, probability[k * C + d], V[j])
                j += 1
                if j == V.shape[0]:
                    add_sums(V, products, product, out[first : first + j])
                    first, j = first + j, 0
    if j > 0:
        add_sums(V[:j], products, product[:j], out[first : first + j])


def _softmax_multinomial_chunk(
    X,
    gate_columns,
    gate_centre,
    gate_inverse_scale,
    expert_columns,
    expert_centre,
    expert_inverse_scale,
    same_columns,
    y_column,
    weight,
    W,
    B,
    start,
    stop,
    loglik,
    gate_score,
    gate_pairs,
    score,
    pairs,
    mass,
):
    """Add the statistics of rows start .. stop to the output arrays.

    y_column holds class codes below C; weight is empty where absent. W (S, K, qg);
    B (S, K C, qe). Outputs: loglik (S,), gate_score (S, K, qg), gate_pairs (S, P, Tg),
    score (S, K C, qe), pairs (S, K D, Te) packed as upper triangles, mass (S, K).
    """
    S, K, qg = W.shape
    KC, qe = B.shape[1:]
    C = KC // K
    P, Tg, Te = gate_pairs.shape[1], gate_pairs.shape[2], pairs.shape[2]
    width = block_width(stop - start)
    x_expert, products_expert = np.empty((qe, width)), np.empty((Te, width))
    x_gate = x_expert if same_columns else np.empty((qg, width))
    products_gate = products_expert if same_columns else np.empty((Tg, width))
    code, w = np.empty(width, np.intp), np.empty(width)
    logits, gate = np.empty((K, width)), np.empty((K, width))
    joint, resp = np.empty((K, width)), np.empty((K, width))
    eta, probability = np.empty((KC, width)), np.empty((KC, width))
    top, total = np.empty(width), np.empty(width)
    gate_top, gate_total = np.empty(width), np.empty(width)
    V, V_pairs = np.empty((ROOM, width)), np.empty((P, width))
    room, room_pairs = np.empty((ROOM, Te)), np.empty((P, Tg))
    room_score, room_gate_score = np.empty((KC, qe)), np.empty((K, qg))
    fill(1.0, w)

    for first in range(start, stop, width):
        rows = min(width, stop - first)
        standardise_rows(
            X, expert_columns, expert_centre, expert_inverse_scale, first, rows, x_expert
        )
        column_products(x_expert, products_expert)
        if not same_columns:
            standardise_rows(X, gate_columns, gate_centre, gate_inverse_scale, first, rows, x_gate)
            column_products(x_gate, products_gate)
        _codes(y_column, first, rows, code)
        if len(weight):
            copy_padded(weight, first, rows, 0.0, w)
        else:
            fill(0.0, w[rows:])
        for s in range(S):
            predictors(W[s], x_gate, logits)
            predictors(B[s], x_expert, eta)
            softmax_rows(logits, gate_top, gate, gate_total)
            for k in range(K):
                mine = probability[k * C : (k + 1) * C]
                _class_rows(eta[k * C : (k + 1) * C], code, top, total, mine, joint[k])
                add_gate(logits[k], gate_top, joint[k])
            loglik[s] += responsibilities(joint, gate, gate_total, w, top, total, resp)
            gate_weights(resp, gate, w, top, logits, V_pairs)
            for k in range(K):
                mine = probability[k * C : (k + 1) * C]
                _residual(mine, resp[k], code, eta[k * C : (k + 1) * C])
                mass[s, k] += sum_of(resp[k])
            add_sums(logits, x_gate, room_gate_score, gate_score[s])
            add_sums(V_pairs, products_gate, room_pairs, gate_pairs[s])
            add_sums(eta, x_expert, room_score, score[s])
            _class_pair_sums(probability, resp, products_expert, top, V, room, pairs[s])


@functools.cache
def softmax_multinomial_kernel(dtype):
    """`_softmax_multinomial_chunk` for X of one dtype, compiled or loaded at the first request."""
    rows = types.Array(types.float64, 1, "A", readonly=True)
    vector = types.Array(types.float64, 1, "C", readonly=True)
    columns = types.Array(types.intp, 1, "C", readonly=True)
    out = [types.Array(types.float64, ndim, "C") for ndim in range(4)]
    signature = (
        types.Array(from_dtype(np.dtype(dtype)), 2, "A", readonly=True),
        *(columns, vector, vector),
        *(columns, vector, vector),
        types.boolean,
        *(rows, rows),
        *(out[3], out[3]),
        *(types.intp, types.intp),
        *(out[1], out[3], out[3], out[3], out[3], out[2]),
    )
    return entry_of_one_signature(_softmax_multinomial_chunk, signature)


@helper
def _copy_columns(X, start, rows, out):
    """Rows start .. start + rows of X (n, q) as (q, width), then rows of zeros."""
    for a in range(out.shape[0]):
        for i in range(rows):
            out[a, i] = X[start + i, a]
        for i in range(rows, out.shape[1]):
            out[a, i] = 0.0


def _class_log_density(X, y, B, C):
    """Log probabilities (K, n) of the classes y (n,) under K experts, B (K C, q); X (n, q)."""
    n, q = X.shape
    K, width = B.shape[0] // C, block_width(n)
    x, code = np.empty((q, width)), np.empty(width, np.intp)
    eta, probability, value = np.empty((C, width)), np.empty((C, width)), np.empty(width)
    top, total = np.empty(width), np.empty(width)
    out = np.empty((K, n))
    for first in range(0, n, width):
        rows = min(width, n - first)
        _copy_columns(X, first, rows, x)
        _codes(y, first, rows, code)
        for k in range(K):
            predictors(B[k * C : (k + 1) * C], x, eta)
            softmax_rows(eta, top, probability, total)
            _log_probability(eta, code, top, total, value)
            for i in range(rows):
                out[k, first + i] = value[i]
    return out


def _class_statistics(X, y, resp, B, C):
    """Statistics of K experts under given weights resp (K, n): score, pairs and mass.

    They are shaped like the outputs of `_softmax_multinomial_chunk` for one parameter set.
    """
    n, q = X.shape
    K, T, D, width = B.shape[0] // C, q * (q + 1) // 2, C * (C - 1) // 2, block_width(n)
    x, products, code = np.empty((q, width)), np.empty((T, width)), np.empty(width, np.intp)
    eta, probability, value = np.empty((C, width)), np.empty((C, width)), np.empty(width)
    top, total, r = np.empty(width), np.empty(width), np.empty((1, width))
    V, room, room_score = np.empty((ROOM, width)), np.empty((ROOM, T)), np.empty((C, q))
    score, pairs, mass = np.zeros((K * C, q)), np.zeros((K * D, T)), np.zeros(K)
    for first in range(0, n, width):
        rows = min(width, n - first)
        _copy_columns(X, first, rows, x)
        column_products(x, products)
        _codes(y, first, rows, code)
        for k in range(K):
            copy_padded(resp[k], first, rows, 0.0, r[0])
            predictors(B[k * C : (k + 1) * C], x, eta)
            _class_rows(eta, code, top, total, probability, value)
            _residual(probability, r[0], code, eta)
            mass[k] += sum_of(r[0])
            add_sums(eta, x, room_score, score[k * C : (k + 1) * C])
            _class_pair_sums(probability, r, products, top, V, room, pairs[k * D : (k + 1) * D])
    return score, pairs, mass


_ROWS = types.Array(types.float64, 1, "A", readonly=True)
_MATRIX = types.Array(types.float64, 2, "A", readonly=True)
_WORK = types.Array(types.float64, 2, "C")


@functools.cache
def class_log_density():
    """`_class_log_density`, compiled or loaded at the first request."""
    return entry_of_one_signature(_class_log_density, (_MATRIX, _ROWS, _WORK, types.intp))


@functools.cache
def class_statistics():
    """`_class_statistics`, compiled or loaded at the first request."""
    signature = (_MATRIX, _ROWS, _WORK, _WORK, types.intp)
    return entry_of_one_signature(_class_statistics, signature)
