"""What the fused kernels do with one block of rows: standardise, predict, softmax, add sums.

Blocks hold columns as rows (q, width): every inner loop runs over contiguous rows of the data.
Each step is a function of few arrays, since LLVM vectorises a loop only where it can check that
its arrays do not overlap. All weighted Gram matrices of a block are one product V P', where P
holds the distinct products x_a x_b: symmetry halves the work.

Legend: K experts, P pairs of experts, q columns, J rows of weights.
"""

from __future__ import annotations

import numpy as np

from ._compile import helper
from .elementary import fast_exp, fast_log
from .families import IMPOSSIBLE

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
def standardise_rows(X, columns, centre, inverse_scale, start, rows, out):
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
def copy_padded(source, start, rows, padding, out):
    """Rows start .. start + rows, then the padding."""
    for i in range(rows):
        out[i] = source[start + i]
    for i in range(rows, len(out)):
        out[i] = padding


@helper
def fill(value, out):
    for i in range(len(out)):
        out[i] = value


@helper
def add(a, out):
    for i in range(len(out)):
        out[i] += a[i]


@helper
def shift_and_scale(centre, factor, out):
    for i in range(len(out)):
        out[i] = (out[i] - centre) * factor


@helper
def multiply(a, b, out):
    for i in range(len(out)):
        out[i] = a[i] * b[i]


@helper
def column_products(x, out):
    """All distinct products x_a x_b, a <= b, in the order of the upper triangle."""
    t = 0
    for a in range(x.shape[0]):
        for b in range(a, x.shape[0]):
            multiply(x[a], x[b], out[t])
            t += 1


@helper
def add_scaled(row, factor, out):
    for i in range(len(out)):
        out[i] += factor * row[i]


@helper
def predictors(coef, x, out):
    """out (K, width) = coef (K, q) x (q, width)."""
    if coef.size > SMALL_PRODUCT // 2:
        np.dot(coef, x, out)
        return
    for k in range(coef.shape[0]):
        fill(coef[k, 0], out[k])
        for a in range(1, coef.shape[1]):
            add_scaled(x[a], coef[k, a], out[k])


@helper(reorder=True)
def dot(a, b):
    total = 0.0
    for i in range(len(a)):
        total += a[i] * b[i]
    return total


@helper(reorder=True)
def sum_of(a):
    total = 0.0
    for i in range(len(a)):
        total += a[i]
    return total


@helper
def add_sums(V, x, product, out):
    """out (J, q) += V (J, width) x' (width, q); `product` (J, q) is room for BLAS."""
    if out.size > SMALL_PRODUCT:
        np.dot(V, x.T, product)
        for j in range(out.shape[0]):
            add(product[j], out[j])
        return
    for j in range(V.shape[0]):
        for a in range(x.shape[0]):
            out[j, a] += dot(V[j], x[a])


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
def softmax_rows(logits, top, probability, total):
    """exp(logits - max) over the first axis, the max and the sum of every row."""
    if logits.shape[0] == 2:  # one exponential: the larger class has exp(0)
        _softmax_two(logits[0], logits[1], top, probability[0], probability[1], total)
        return
    fill(-np.inf, top)
    fill(0.0, total)
    for k in range(logits.shape[0]):
        _running_max(logits[k], top)
    for k in range(logits.shape[0]):
        _exponentials(logits[k], top, probability[k])
        add(probability[k], total)


@helper
def add_gate(logit, gate_top, joint):
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
def reciprocal(out):
    for i in range(len(out)):
        out[i] = 1.0 / out[i]


@helper
def _gate_residual(resp, w, gate, out):
    for i in range(len(out)):
        out[i] = resp[i] - w[i] * gate[i]


@helper
def responsibilities(joint, gate, gate_total, w, top, total, resp):
    """Weighted responsibilities of a block; returns its log-likelihood.

    joint (K, width) lacks the gate's normaliser gate_total, by which gate becomes probabilities;
    top and total (width,) are room.
    """
    softmax_rows(joint, top, resp, total)
    value = dot(w, top)
    _log_ratio(total, gate_total, top)
    value += dot(w, top)
    _divide(w, total)
    reciprocal(gate_total)
    for k in range(joint.shape[0]):
        multiply(gate[k], gate_total, gate[k])
        multiply(resp[k], total, resp[k])
    return value


@helper
def gate_weights(resp, gate, w, room, residual, V_pairs):
    """What the rows weigh in the gate's score (K, width) and information (P, width)."""
    j = 0
    for k in range(gate.shape[0]):
        _gate_residual(resp[k], w, gate[k], residual[k])
        multiply(w, gate[k], room)
        for l in range(k + 1, gate.shape[0]):
            multiply(room, gate[l], V_pairs[j])
            j += 1


@helper
def logs(y, out):
    for i in range(len(out)):
        out[i] = fast_log(y[i])
