"""The fused numba kernel: softmax gate over Gaussian and other GLM experts, block by block.

One call handles a chunk of rows for S parameter sets, without the interpreter lock, so that
chunks may run in Python threads. Blocks hold columns as rows (q, BLOCK): every inner loop runs
over contiguous rows of the data, and LLVM vectorises it. All weighted Gram matrices of a block
are one product V P', where P holds the distinct products x_a x_b: symmetry halves the work.

Legend: S parameter sets, K experts, P pairs of classes, q columns, T = q (q + 1) / 2 products.
"""

from __future__ import annotations

import math

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

BLOCK = 256
IMPOSSIBLE = -1e30
HALF_LOG_2PI = 0.9189385332046727

_ROUND = 6755399441055744.0  # 1.5 * 2^52: adding it rounds to an integer held in the low bits
_LOG2_E = 1.4426950408889634
_LN2_HIGH = 6.93147180369123816490e-01
_LN2_LOW = 1.90821492927058770002e-10


@intrinsic
def _float_bits(typingctx, value):
    def codegen(context, builder, signature, args):
        return builder.bitcast(args[0], ir.IntType(64))

    return types.int64(types.float64), codegen


@intrinsic
def _bits_float(typingctx, value):
    def codegen(context, builder, signature, args):
        return builder.bitcast(args[0], ir.DoubleType())

    return types.float64(types.int64), codegen


@njit(cache=True, nogil=True, fastmath={"contract"})
def fast_exp(x):
    """exp(x) within 2 ulp, free of branches so that it vectorises; x below -708 gives 0."""
    bounded = max(min(x, 709.0), -708.0)
    shifted = bounded * _LOG2_E + _ROUND
    n = shifted - _ROUND
    t = (bounded - n * _LN2_HIGH) - n * _LN2_LOW
    p = 1.6059043836821613e-10  # 1 / 13!
    p = p * t + 2.08767569878681e-09
    p = p * t + 2.505210838544172e-08
    p = p * t + 2.755731922398589e-07
    p = p * t + 2.7557319223985893e-06
    p = p * t + 2.48015873015873e-05
    p = p * t + 1.984126984126984e-04
    p = p * t + 1.388888888888889e-03
    p = p * t + 8.333333333333333e-03
    p = p * t + 4.1666666666666664e-02
    p = p * t + 1.6666666666666666e-01
    p = p * t + 0.5
    p = p * t + 1.0
    p = p * t + 1.0
    power = _bits_float((_float_bits(shifted) << 52) + 0x3FF0000000000000)
    return p * power if x > -708.0 else 0.0


@njit(cache=True, nogil=True)
def _log_ndtr(x):
    """Log of the standard normal distribution function, accurate in the lower tail."""
    if x > -5.0:
        return (
            math.log(0.5 * math.erfc(-x / math.sqrt(2.0)))
            if x < 5.0
            else math.log1p(-0.5 * math.erfc(x / math.sqrt(2.0)))
        )
    # Mills ratio by its continued fraction (Abramowitz and Stegun 26.2.14)
    tail = -x
    for step in range(60, 0, -1):
        tail = -x + step / tail
    return -0.5 * x * x - HALF_LOG_2PI - math.log(tail)


@njit(cache=True, nogil=True)
def _mean_and_slope(link, eta):
    """Mean and its derivative; NaN outside the link's range."""
    if link == 0:
        return eta, 1.0
    if link == 1:
        mean = math.exp(min(eta, 700.0))
        return mean, mean
    if link == 2:
        mean = 1.0 / (1.0 + math.exp(-eta)) if eta > -700.0 else math.exp(eta)
        return mean, mean * (1.0 / (1.0 + math.exp(min(eta, 700.0))))
    if link == 3:
        return 0.5 * math.erfc(-eta / math.sqrt(2.0)), math.exp(-0.5 * eta * eta - HALF_LOG_2PI)
    if link == 4:
        rate = math.exp(min(eta, 700.0))
        return -math.expm1(-rate), math.exp(eta - rate)
    if eta <= 0.0:
        return np.nan, np.nan
    return 1.0 / eta, -1.0 / (eta * eta)


@njit(cache=True, nogil=True)
def _binomial_logs(link, eta):
    """log p, log(1 - p) and log |dp / deta|."""
    if link == 2:
        soft = math.log1p(math.exp(-abs(eta)))
        log_p = min(eta, 0.0) - soft
        log_q = -max(eta, 0.0) - soft
        return log_p, log_q, log_p + log_q
    if link == 3:
        return _log_ndtr(eta), _log_ndtr(-eta), -0.5 * eta * eta - HALF_LOG_2PI
    if link == 4:
        rate = math.exp(min(eta, 700.0))
        log_p = math.log(-math.expm1(-rate)) if rate > 1e-8 else eta - 0.5 * rate
        return log_p, -rate, eta - rate
    mean, slope = _mean_and_slope(link, eta)
    if not (0.0 < mean < 1.0):
        return np.nan, np.nan, np.nan
    return math.log(mean), math.log1p(-mean), math.log(abs(slope))


@njit(cache=True, nogil=True)
def _glm_unit(family, link, eta, y, log_y, trials, dispersion, constant):
    """Log density less the row's part, score, information and extra of one row and expert.

    `constant` is the part of the log density that depends on the dispersion alone.
    """
    if family == 0:
        mean, slope = _mean_and_slope(link, eta)
        residual = y - mean
        scaled = residual / dispersion
        value = constant - 0.5 * scaled * scaled
        score, information, extra = residual * slope, slope * slope, residual * residual
    elif family == 1:
        mean, slope = _mean_and_slope(link, eta)
        if link == 1:
            value, score, information = y * eta - mean, y - mean, mean
        elif mean > 0.0:
            ratio = slope / mean
            value, score, information = (
                y * math.log(mean) - mean,
                (y - mean) * ratio,
                slope * ratio,
            )
        else:
            value, score, information = np.nan, 0.0, 0.0
        extra = 0.0
    elif family == 2:
        log_p, log_q, log_slope = _binomial_logs(link, eta)
        failures = trials - y
        value = y * log_p + failures * log_q
        score = y * math.exp(log_slope - log_p) - failures * math.exp(log_slope - log_q)
        information = trials * math.exp(2.0 * log_slope - log_p - log_q)
        extra = 0.0
    else:
        mean, slope = _mean_and_slope(link, eta)
        if link == 1:
            log_ratio, relative = log_y - eta, 1.0
        elif mean > 0.0:
            log_ratio, relative = log_y - math.log(mean), slope / mean
        else:
            log_ratio, relative = np.nan, 0.0
        ratio = math.exp(min(log_ratio, 700.0))
        value = constant + dispersion * (log_ratio - ratio) - log_y
        score, information = (ratio - 1.0) * relative, relative * relative
        extra = log_ratio - ratio + 1.0
    if not math.isfinite(value):
        return IMPOSSIBLE, 0.0, 0.0, 0.0
    return value, score, information, extra


@njit(cache=True, nogil=True)
def _standardise(X, columns, centre, inverse_scale, start, rows, out):
    """Rows start .. start + rows of the chosen columns, standardised, as (q, BLOCK)."""
    for i in range(rows):
        out[0, i] = 1.0
    for i in range(rows, out.shape[1]):
        out[0, i] = 0.0
    for a in range(len(columns)):
        column, shift, factor = columns[a], centre[a], inverse_scale[a]
        for i in range(rows):
            out[a + 1, i] = (X[start + i, column] - shift) * factor
        for i in range(rows, out.shape[1]):
            out[a + 1, i] = 0.0


@njit(cache=True, nogil=True)
def _products(x, out):
    """All distinct products x_a x_b, a <= b, in the order of the upper triangle."""
    t = 0
    for a in range(x.shape[0]):
        for b in range(a, x.shape[0]):
            for i in range(x.shape[1]):
                out[t, i] = x[a, i] * x[b, i]
            t += 1


@njit(cache=True, nogil=True, fastmath={"contract"})
def _gaussian_identity(mean, y, sigma, constant, value, residual, extra):
    for i in range(len(y)):
        e = y[i] - mean[i]
        residual[i] = e
        extra[i] = e * e
        value[i] = constant - 0.5 * (e / sigma) * (e / sigma)


@njit(cache=True, nogil=True, fastmath={"contract"})
def _exponentials(value, top, out):
    for i in range(len(top)):
        out[i] = fast_exp(value[i] - top[i])


@njit(cache=True, nogil=True)
def _running_max(value, top):
    for i in range(len(top)):
        top[i] = max(top[i], value[i])


@njit(cache=True, nogil=True, fastmath={"reassoc", "contract"})
def _dot(a, b):
    total = 0.0
    for i in range(len(a)):
        total += a[i] * b[i]
    return total


@njit(cache=True, nogil=True)
def _softmax_rows(logits, top, probability, total):
    """exp(logits - max) over the first axis, the max and the sum of every row."""
    K = logits.shape[0]
    top[:] = logits[0]
    for k in range(1, K):
        _running_max(logits[k], top)
    total[:] = 0.0
    for k in range(K):
        _exponentials(logits[k], top, probability[k])
        for i in range(len(total)):
            total[i] += probability[k, i]


@njit(cache=True, nogil=True)
def softmax_glm_chunk(
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
    n_pairs = K * (K - 1) // 2
    Tg, Te = qg * (qg + 1) // 2, qe * (qe + 1) // 2
    x_expert = np.empty((qe, BLOCK))
    products_expert = np.empty((Te, BLOCK))
    x_gate = x_expert if same_columns else np.empty((qg, BLOCK))
    products_gate = products_expert if same_columns else np.empty((Tg, BLOCK))
    y, log_y, w, m, shift = (
        np.zeros(BLOCK),
        np.zeros(BLOCK),
        np.zeros(BLOCK),
        np.zeros(BLOCK),
        np.zeros(BLOCK),
    )
    logits, eta, gate, joint, resp = (
        np.empty((K, BLOCK)),
        np.empty((K, BLOCK)),
        np.empty((K, BLOCK)),
        np.empty((K, BLOCK)),
        np.empty((K, BLOCK)),
    )
    unit_score, unit_information, unit_extra = (
        np.empty((K, BLOCK)),
        np.ones((K, BLOCK)),
        np.empty((K, BLOCK)),
    )
    top, total, gate_top, gate_total = (
        np.empty(BLOCK),
        np.empty(BLOCK),
        np.empty(BLOCK),
        np.empty(BLOCK),
    )
    V = np.empty((K + n_pairs, BLOCK))
    V_product = np.empty((K + n_pairs, Te))
    expert_product = np.empty((K, Te))
    gate_product = np.empty((n_pairs, Tg))
    score_product = np.empty((K, qe))
    gate_score_product = np.empty((K, qg))
    plain_gaussian = family == 0 and link == 0

    for first in range(start, stop, BLOCK):
        rows = min(BLOCK, stop - first)
        _standardise(X, expert_columns, expert_centre, expert_inverse_scale, first, rows, x_expert)
        _products(x_expert, products_expert)
        if not same_columns:
            _standardise(X, gate_columns, gate_centre, gate_inverse_scale, first, rows, x_gate)
            _products(x_gate, products_gate)
        for i in range(rows):
            y[i] = (y_column[first + i] - y_centre) * y_inverse_scale
            w[i] = weight[first + i] if len(weight) else 1.0
            m[i] = trials[first + i] if len(trials) else 1.0
            shift[i] = offset[first + i] if len(offset) else 0.0
            if family == 3:
                log_y[i] = math.log(y[i])
        for i in range(rows, BLOCK):
            y[i], w[i], m[i], shift[i], log_y[i] = 1.0, 0.0, 1.0, 0.0, 0.0
        for s in range(S):
            np.dot(W[s], x_gate, logits)
            np.dot(B[s], x_expert, eta)
            if len(offset):
                for k in range(K):
                    for i in range(BLOCK):
                        eta[k, i] += shift[i]
            _softmax_rows(logits, gate_top, gate, gate_total)
            for k in range(K):
                if plain_gaussian:
                    _gaussian_identity(
                        eta[k],
                        y,
                        dispersion[s, k],
                        constant[s, k],
                        joint[k],
                        unit_score[k],
                        unit_extra[k],
                    )
                else:
                    for i in range(rows):
                        (
                            joint[k, i],
                            unit_score[k, i],
                            unit_information[k, i],
                            unit_extra[k, i],
                        ) = _glm_unit(
                            family,
                            link,
                            eta[k, i],
                            y[i],
                            log_y[i],
                            m[i],
                            dispersion[s, k],
                            constant[s, k],
                        )
                    for i in range(rows, BLOCK):
                        joint[k, i] = 0.0
                        unit_score[k, i], unit_information[k, i], unit_extra[k, i] = 0.0, 0.0, 0.0
                for i in range(BLOCK):
                    joint[k, i] = max(joint[k, i], IMPOSSIBLE) + logits[k, i] - gate_top[i]
            _softmax_rows(joint, top, resp, total)
            value = 0.0
            for i in range(rows):
                value += w[i] * (top[i] + math.log(total[i] / gate_total[i]))
            loglik[s] += value
            for i in range(BLOCK):
                gate_total[i] = 1.0 / gate_total[i]
                total[i] = w[i] / total[i]
            for k in range(K):
                for i in range(BLOCK):
                    gate[k, i] *= gate_total[i]
                    resp[k, i] *= total[i]
                    logits[k, i] = resp[k, i] - w[i] * gate[k, i]
                    V[k, i] = resp[k, i] * unit_information[k, i]
                    eta[k, i] = resp[k, i] * unit_score[k, i]
                total_mass = 0.0
                for i in range(BLOCK):
                    total_mass += resp[k, i]
                mass[s, k] += total_mass
                extra[s, k] += _dot(resp[k], unit_extra[k])
            j = K
            for k in range(K):
                for l in range(k + 1, K):
                    for i in range(BLOCK):
                        V[j, i] = w[i] * gate[k, i] * gate[l, i]
                    j += 1
            np.dot(eta, x_expert.T, score_product)
            score[s] += score_product
            np.dot(logits, x_gate.T, gate_score_product)
            gate_score[s] += gate_score_product
            if same_columns:
                np.dot(V, products_expert.T, V_product)
                gram[s] += V_product[:K]
                gate_pairs[s] += V_product[K:]
            else:
                np.dot(V[:K], products_expert.T, expert_product)
                gram[s] += expert_product
                if n_pairs:
                    np.dot(V[K:], products_gate.T, gate_product)
                    gate_pairs[s] += gate_product
