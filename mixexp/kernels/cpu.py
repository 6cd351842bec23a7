"""The fused numba kernel: softmax gate over Gaussian and other GLM experts, block by block.

One call handles a chunk of rows for S parameter sets, without the interpreter lock, so that
chunks may run in Python threads. Blocks hold columns as rows (q, width): every inner loop runs
over contiguous rows of the data. Each step is a function of few arrays, since LLVM vectorises a
loop only where it can check that its arrays do not overlap. All weighted Gram matrices of a
block are one product V P', where P holds the distinct products x_a x_b: symmetry halves the work.

Legend: S parameter sets, K experts, P pairs of classes, q columns, T = q (q + 1) / 2 products.
"""

from __future__ import annotations

import functools

import numpy as np
from numba import from_dtype, types

from ._compile import entry_of_one_signature, helper
from .elementary import fast_exp, fast_log
from .families import IMPOSSIBLE, family_rows

BLOCK = 256  # rows of a block, at most
LANES = 8
SMALL_PRODUCT = 128  # entries of a matrix product below which a call of BLAS costs more than it


@helper
def block_width(rows):
    """Rows of a block: equal blocks, no larger than BLOCK, in whole vector registers."""
    blocks = max(1, -(-rows // BLOCK))
    width = -(-rows // blocks)
    return max(LANES, -(-width // LANES) * LANES)


@helper
def _standardise(X, columns, centre, inverse_scale, start, rows, out):
    """Rows start .. start + rows of the chosen columns, standardised, as (q, width).

    Eight rows at a time: they are read along, and every column written, in whole cache lines.
    """
    whole = rows // LANES * LANES
    for i in range(out.shape[1]):
        out[0, i] = 1.0 if i < rows else 0.0
    for first in range(0, whole, LANES):
        for a in range(len(columns)):
            column, shift, factor = columns[a], centre[a], inverse_scale[a]
            for i in range(LANES):
                out[a + 1, first + i] = (X[start + first + i, column] - shift) * factor
    for a in range(len(columns)):
        for i in range(whole, rows):
            out[a + 1, i] = (X[start + i, columns[a]] - centre[a]) * inverse_scale[a]
        for i in range(rows, out.shape[1]):
            out[a + 1, i] = 0.0


@helper
def _copy_padded(source, start, rows, padding, out):
    """Rows start .. start + rows, then the padding."""
    for i in range(rows):
        out[i] = source[start + i]
    for i in range(rows, len(out)):
        out[i] = padding


@helper
def _fill(value, out):
    for i in range(len(out)):
        out[i] = value


@helper
def _add(a, out):
    for i in range(len(out)):
        out[i] += a[i]


@helper
def _shift_and_scale(centre, factor, out):
    for i in range(len(out)):
        out[i] = (out[i] - centre) * factor


@helper
def _multiply(a, b, out):
    for i in range(len(out)):
        out[i] = a[i] * b[i]


@helper
def _products(x, out):
    """All distinct products x_a x_b, a <= b, in the order of the upper triangle."""
    t = 0
    for a in range(x.shape[0]):
        for b in range(a, x.shape[0]):
            _multiply(x[a], x[b], out[t])
            t += 1


@helper
def _add_scaled(row, factor, out):
    for i in range(len(out)):
        out[i] += factor * row[i]


@helper
def _predictors(coef, x, out):
    """out (K, width) = coef (K, q) x (q, width)."""
    if coef.size > SMALL_PRODUCT // 2:
        np.dot(coef, x, out)
        return
    for k in range(coef.shape[0]):
        _fill(coef[k, 0], out[k])
        for a in range(1, coef.shape[1]):
            _add_scaled(x[a], coef[k, a], out[k])


@helper(reorder=True)
def _dot(a, b):
    total = 0.0
    for i in range(len(a)):
        total += a[i] * b[i]
    return total


@helper(reorder=True)
def _sum(a):
    total = 0.0
    for i in range(len(a)):
        total += a[i]
    return total


@helper
def _add_sums(V, x, product, out):
    """out (J, q) += V (J, width) x' (width, q); `product` (J, q) is room for BLAS."""
    if out.size > SMALL_PRODUCT:
        np.dot(V, x.T, product)
        for j in range(out.shape[0]):
            _add(product[j], out[j])
        return
    for j in range(V.shape[0]):
        for a in range(x.shape[0]):
            out[j, a] += _dot(V[j], x[a])


@helper
def _running_max(value, top):
    for i in range(len(top)):
        top[i] = max(top[i], value[i])


@helper
def _exponentials(value, top, out):
    for i in range(len(top)):
        out[i] = fast_exp(value[i] - top[i])


@helper
def _softmax_two(first, second, top, first_out, second_out, total):
    for i in range(len(top)):
        smaller = fast_exp(-abs(first[i] - second[i]))
        top[i] = max(first[i], second[i])
        first_out[i] = 1.0 if first[i] >= second[i] else smaller
        second_out[i] = smaller if first[i] >= second[i] else 1.0
        total[i] = 1.0 + smaller


@helper
def _softmax_rows(logits, top, probability, total):
    """exp(logits - max) over the first axis, the max and the sum of every row."""
    if logits.shape[0] == 2:  # one exponential: the larger class has exp(0)
        _softmax_two(logits[0], logits[1], top, probability[0], probability[1], total)
        return
    _fill(-np.inf, top)
    _fill(0.0, total)
    for k in range(logits.shape[0]):
        _running_max(logits[k], top)
    for k in range(logits.shape[0]):
        _exponentials(logits[k], top, probability[k])
        _add(probability[k], total)


@helper
def _add_gate(logit, gate_top, joint):
    """Log density plus log gate, up to the gate's normaliser."""
    for i in range(len(joint)):
        joint[i] = max(joint[i], IMPOSSIBLE) + (logit[i] - gate_top[i])


@helper
def _log_ratio(total, gate_total, out):
    for i in range(len(out)):
        out[i] = fast_log(total[i] / gate_total[i])


@helper
def _divide(a, out):
    for i in range(len(out)):
        out[i] = a[i] / out[i]


@helper
def _reciprocal(out):
    for i in range(len(out)):
        out[i] = 1.0 / out[i]


@helper
def _gate_residual(resp, w, gate, out):
    for i in range(len(out)):
        out[i] = resp[i] - w[i] * gate[i]


@helper
def _logs(y, out):
    for i in range(len(out)):
        out[i] = fast_log(y[i])


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
    _fill(1.0, w)
    _fill(1.0, m)
    constant_information = (family == 0 and link == 0) or (family == 3 and link == 1)

    for first in range(start, stop, width):
        rows = min(width, stop - first)
        _standardise(X, expert_columns, expert_centre, expert_inverse_scale, first, rows, x_expert)
        _products(x_expert, products_expert)
        if not same_columns:
            _standardise(X, gate_columns, gate_centre, gate_inverse_scale, first, rows, x_gate)
            _products(x_gate, products_gate)
        # the padding is a possible row of no weight
        _copy_padded(y_column, first, rows, y_centre + 1.0 / y_inverse_scale, y)
        _shift_and_scale(y_centre, y_inverse_scale, y)
        if len(weight):
            _copy_padded(weight, first, rows, 0.0, w)
        else:
            _fill(0.0, w[rows:])
        if len(trials):
            _copy_padded(trials, first, rows, 1.0, m)
        if len(offset):
            _copy_padded(offset, first, rows, 0.0, shift)
        if family == 3:
            _logs(y, log_y)
        for s in range(S):
            _predictors(W[s], x_gate, logits)
            _predictors(B[s], x_expert, eta)
            _softmax_rows(logits, gate_top, gate, gate_total)
            for k in range(K):
                if len(offset):
                    _add(shift, eta[k])
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
                _add_gate(logits[k], gate_top, joint[k])
            _softmax_rows(joint, top, resp, total)
            loglik[s] += _dot(w, top)
            _log_ratio(total, gate_total, top)
            loglik[s] += _dot(w, top)
            _divide(w, total)
            _reciprocal(gate_total)
            for k in range(K):
                _multiply(gate[k], gate_total, gate[k])
                _multiply(resp[k], total, resp[k])
                _gate_residual(resp[k], w, gate[k], logits[k])
                if not constant_information:
                    _multiply(resp[k], unit_information[k], V_gram[k])
                _multiply(resp[k], unit_score[k], eta[k])
                mass[s, k] += _sum(resp[k])
                extra[s, k] += _dot(resp[k], unit_extra[k])
            j = 0
            for k in range(K):
                _multiply(w, gate[k], top)
                for l in range(k + 1, K):
                    _multiply(top, gate[l], V_pairs[j])
                    j += 1
            _add_sums(eta, x_expert, room_score, score[s])
            _add_sums(logits, x_gate, room_gate_score, gate_score[s])
            _add_sums(resp if constant_information else V_gram, products_expert, room_gram, gram[s])
            _add_sums(V_pairs, products_gate, room_pairs, gate_pairs[s])


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
