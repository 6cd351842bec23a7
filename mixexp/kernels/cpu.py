"""The fused numba kernel: softmax gate over Gaussian and other GLM experts, block by block.

One call handles a chunk of rows for S parameter sets, without the interpreter lock, so that
chunks may run in Python threads. The steps of a block are in `blocks`.

Legend: S parameter sets, K experts, P pairs of classes, q columns, T = q (q + 1) / 2 products.
"""

from __future__ import annotations

import functools

import numpy as np
from numba import from_dtype, types

from ._compile import entry_of_one_signature
from .blocks import (
    SMALL_PRODUCT,
    add,
    add_gate,
    add_sums,
    block_width,
    column_products,
    copy_padded,
    dot,
    fill,
    gate_weights,
    logs,
    multiply,
    predictors,
    responsibilities,
    shift_and_scale,
    softmax_rows,
    standardise_rows,
    sum_of,
)
from .families import family_rows


def uses_blas(q, K):
    """Whether some product of a block is large enough for BLAS."""
    products = max(K, K * (K - 1) // 2) * (q * (q + 1) // 2)
    return products > SMALL_PRODUCT or K * q > SMALL_PRODUCT // 2


def _softmax_glm_chunk(
    X,
    gate_columns,
    gate_centre,
    gate_inverse_scale,
    expert_columns,
    expert_centre,
    expert_inverse_scale,
    same_columns,
    y_column,
    y_centre,
    y_inverse_scale,
    weight,
    offset,
    trials,
    family,
    link,
    W,
    B,
    dispersion,
    constant,
    start,
    stop,
    loglik,
    gate_score,
    gate_pairs,
    gram,
    score,
    mass,
    extra,
):
    """Add the statistics of rows start .. stop to the output arrays.

    W (S, K, qg), B (S, K, qe), dispersion and constant (S, K); weight, offset and trials are
    empty where absent. Outputs: loglik (S,), gate_score (S, K, qg), gate_pairs (S, P, Tg),
    gram (S, K, Te) packed as upper triangles, score (S, K, qe), mass and extra (S, K).
    """
    S, K, qg = W.shape
    qe = B.shape[2]
    P, Tg, Te = gate_pairs.shape[1], gate_pairs.shape[2], gram.shape[2]
    width = block_width(stop - start)
    x_expert, products_expert = np.empty((qe, width)), np.empty((Te, width))
    x_gate = x_expert if same_columns else np.empty((qg, width))
    products_gate = products_expert if same_columns else np.empty((Tg, width))
    y, log_y, w = np.empty(width), np.zeros(width), np.empty(width)
    m, shift = np.empty(width), np.empty(width)
    logits, eta, gate = np.empty((K, width)), np.empty((K, width)), np.empty((K, width))
    joint, resp = np.empty((K, width)), np.empty((K, width))
    unit_score, unit_extra = np.empty((K, width)), np.zeros((K, width))
    unit_information = np.ones((K, width))
    top, total = np.empty(width), np.empty(width)
    gate_top, gate_total = np.empty(width), np.empty(width)
    V_gram, V_pairs = np.empty((K, width)), np.empty((P, width))
    room_gram, room_pairs = np.empty((K, Te)), np.empty((P, Tg))
    room_score, room_gate_score = np.empty((K, qe)), np.empty((K, qg))
    fill(1.0, w)
    fill(1.0, m)
    constant_information = (family == 0 and link == 0) or (family == 3 and link == 1)

    for first in range(start, stop, width):
        rows = min(width, stop - first)
        standardise_rows(
            X, expert_columns, expert_centre, expert_inverse_scale, first, rows, x_expert
        )
        column_products(x_expert, products_expert)
        if not same_columns:
            standardise_rows(X, gate_columns, gate_centre, gate_inverse_scale, first, rows, x_gate)
            column_products(x_gate, products_gate)
        # the padding is a possible row of no weight
        copy_padded(y_column, first, rows, y_centre + 1.0 / y_inverse_scale, y)
        shift_and_scale(y_centre, y_inverse_scale, y)
        if len(weight):
            copy_padded(weight, first, rows, 0.0, w)
        else:
            fill(0.0, w[rows:])
        if len(trials):
            copy_padded(trials, first, rows, 1.0, m)
        if len(offset):
            copy_padded(offset, first, rows, 0.0, shift)
        if family == 3:
            logs(y, log_y)
        for s in range(S):
            predictors(W[s], x_gate, logits)
            predictors(B[s], x_expert, eta)
            softmax_rows(logits, gate_top, gate, gate_total)
            for k in range(K):
                if len(offset):
                    add(shift, eta[k])
                family_rows(
                    family,
                    link,
                    eta[k],
                    y,
                    log_y,
                    m,
                    dispersion[s, k],
                    constant[s, k],
                    joint[k],
                    unit_score[k],
                    unit_information[k],
                    unit_extra[k],
                )
                add_gate(logits[k], gate_top, joint[k])
            loglik[s] += responsibilities(joint, gate, gate_total, w, top, total, resp)
            gate_weights(resp, gate, w, top, logits, V_pairs)
            for k in range(K):
                if not constant_information:
                    multiply(resp[k], unit_information[k], V_gram[k])
                multiply(resp[k], unit_score[k], eta[k])
                mass[s, k] += sum_of(resp[k])
                extra[s, k] += dot(resp[k], unit_extra[k])
            add_sums(eta, x_expert, room_score, score[s])
            add_sums(logits, x_gate, room_gate_score, gate_score[s])
            add_sums(resp if constant_information else V_gram, products_expert, room_gram, gram[s])
            add_sums(V_pairs, products_gate, room_pairs, gate_pairs[s])


@functools.cache
def softmax_glm_kernel(dtype):
    """`_softmax_glm_chunk` for X of one dtype, compiled or loaded at the first request.

    Its arrays of rows may have any layout and may be read-only: one version serves all.
    """
    rows = types.Array(types.float64, 1, "A", readonly=True)
    vector = types.Array(types.float64, 1, "C", readonly=True)
    columns = types.Array(types.intp, 1, "C", readonly=True)
    out = [types.Array(types.float64, ndim, "C") for ndim in range(4)]
    signature = (
        types.Array(from_dtype(np.dtype(dtype)), 2, "A", readonly=True),
        *(columns, vector, vector),
        *(columns, vector, vector),
        types.boolean,
        *(rows, types.float64, types.float64),
        *(rows, rows, rows),
        *(types.intp, types.intp),
        *(out[3], out[3], out[2], out[2]),
        *(types.intp, types.intp),
        *(out[1], out[3], out[3], out[3], out[3], out[2], out[2]),
    )
    return entry_of_one_signature(_softmax_glm_chunk, signature)
