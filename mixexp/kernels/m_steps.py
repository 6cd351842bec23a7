"""The M-steps of whole models, compiled and batched: points in, their images and gradients out.

Numpy twins: the methods `unpack`, `m_step` and `gradient` of the gates and the experts.

Legend: S points of d coordinates, K experts, C classes, q columns, T = q (q + 1) / 2 entries of
a packed upper triangle.
"""

from __future__ import annotations

import math

import numpy as np

from ._compile import entry, helper
from .elementary import HALF_LOG_2PI
from .small import (
    add_centred_ridge,
    add_pair,
    copy,
    newton_in_place,
    quadratic_change_of,
    unpack_into,
)


@helper
def _centred(point, C, q, coef, inside):
    """Coefficients (C, q) of the first C q coordinates, centred over the classes."""
    for a in range(q):
        mean = 0.0
        for c in range(C):
            mean += point[c * q + a]
        mean /= C
        for c in range(C):
            coef[c, a] = point[c * q + a] - mean
            inside[c * q + a] = coef[c, a]


@entry
def softmax_glm_split(points, K, qg, qe, scaled, lowest, ratio):
    """Parameters of points (S, d) = (gate's K qg, experts' K qe, log scales' K where scaled).

    Returns W (S, K, qg) centred over the classes, B (S, K, qe), sigma (S, K) within its bounds,
    the log density's constant (S, K) and the points of these parameters.
    """
    S = len(points)
    W, B = np.empty((S, K, qg)), np.empty((S, K, qe))
    sigma, constant, inside = np.ones((S, K)), np.zeros((S, K)), points.copy()
    for s in range(S):
        _centred(points[s], K, qg, W[s], inside[s])
        for k in range(K):
            for a in range(qe):
                B[s, k, a] = points[s, K * qg + k * qe + a]
        if not scaled:
            continue
        first = K * (qg + qe)
        largest = 0.0
        for k in range(K):
            sigma[s, k] = math.exp(min(max(points[s, first + k], -300.0), 300.0))
            largest = max(largest, sigma[s, k])
        for k in range(K):
            sigma[s, k] = max(sigma[s, k], max(lowest, ratio * largest))
            inside[s, first + k] = math.log(sigma[s, k])
            constant[s, k] = -HALF_LOG_2PI - inside[s, first + k]
    return W, B, sigma, constant, inside


@helper
def _softmax_image(B, score, packed, weight, ridge, intercept_ridge, image, gradient):
    """Newton step of a centred softmax model (C, q) into image (C q,) and the gradient.

    Returns the penalty.
    """
    C, q = B.shape
    size = (C - 1) * q
    penalty = 0.0
    right, step, curvature = np.empty(C * q), np.zeros(C * q), np.empty(q)
    for a in range(q):
        strength = ridge if a > 0 else intercept_ridge
        curvature[a] = weight * strength
        for c in range(C):
            right[c * q + a] = score[c, a] - curvature[a] * B[c, a]
            gradient[c * q + a] = right[c * q + a] / weight
            penalty += 0.5 * strength * B[c, a] * B[c, a]
    if C > 1:
        system, block = np.zeros((size, size)), np.empty((q, q))
        pair = 0
        for c in range(C - 1):
            for d in range(c + 1, C):
                unpack_into(packed[pair], block)
                add_pair(system, block, c, d, C)
                pair += 1
        add_centred_ridge(system, curvature, C)
        newton_in_place(system, right[:size], step[:size])
    for a in range(q):
        mean = 0.0
        for c in range(C):
            mean += step[c * q + a]
        mean /= C
        for c in range(C):
            image[c * q + a] = B[c, a] + step[c * q + a] - mean
    return penalty


@helper
def _shares(W, score, weight, image):
    """Exact M-step of a gate without columns into image (K,): the shares of the experts."""
    K = len(W)
    largest, total, mean = W[0, 0], 0.0, 0.0
    for k in range(K):
        largest = max(largest, W[k, 0])
    for k in range(K):
        image[k] = math.exp(W[k, 0] - largest)
        total += image[k]
    for k in range(K):
        # an empty class keeps a probability that no row can notice
        share = max(image[k] / total * weight + score[k, 0], 1e-12 * weight)
        image[k] = math.log(share)
        mean += image[k]
    for k in range(K):
        image[k] -= mean / K


@helper
def _gate_image(W, score, packed, weight, ridge, closed_form, image, gradient):
    """M-step of the gate into image (K qg,) and the gradient; returns the penalty."""
    penalty = _softmax_image(W, score, packed, weight, ridge, 0.0, image, gradient)
    if closed_form:
        _shares(W, score, weight, image)
    return penalty


@helper
def _expert_image(B, variance, score, packed, weight, ridge, image, gradient):
    """Newton step of one expert into image (qe,) and the gradient.

    Returns the penalty and the fall of the dispersion-free deviance by the local quadratic.
    """
    q = len(B)
    penalty = 0.0
    gram, system = np.empty((q, q)), np.empty((q, q))
    right, step = np.empty(q), np.empty(q)
    unpack_into(packed, gram)
    copy(gram, system)
    for a in range(q):
        strength = ridge if a > 0 else 0.0
        right[a] = score[a] - weight * strength * variance * B[a]
        system[a, a] += weight * strength * variance
        gradient[a] = score[a] / (variance * weight) - strength * B[a]
        penalty += 0.5 * strength * B[a] * B[a]
    newton_in_place(system, right, step)
    for a in range(q):
        image[a] = B[a] + step[a]
    return penalty, quadratic_change_of(gram, score, step)


@helper
def _scale_gradient(sigma, mass, extra, weight, lowest, ratio, gradient):
    """Gradient with respect to log sigma (K,), zero where a bound may balance it."""
    largest = sigma.max()
    floor, ratio_floor = max(lowest, ratio * largest), ratio * largest
    pulled = sigma.min() <= ratio_floor * (1.0 + 1e-9)
    for k in range(len(sigma)):
        at_bound = sigma[k] <= floor * (1.0 + 1e-9) or (pulled and sigma[k] == largest)
        value = extra[k] / (sigma[k] * sigma[k]) - mass[k]
        gradient[k] = 0.0 if at_bound else value / weight


@entry
def softmax_glm_image(
    W,
    B,
    sigma,
    gate_score,
    gate_pairs,
    gram,
    score,
    mass,
    extra,
    weight,
    gate_ridge,
    expert_ridge,
    closed_form,
    scaled,
    exact,
    lowest,
    ratio,
):
    """The M-step and the gradient of S parameter sets from the statistics of `cpu`.

    `closed_form`: the gate has no columns; `scaled`: the family has a scale sigma (else it is
    one); `exact`: the coefficients' step changes the residual sum of squares as its quadratic
    says (identity link).
    Returns image and gradient (S, d), the penalty (S,), and sigma (S, K) before its bounds; the
    image holds its log within the lower one.
    """
    S, K, qg = W.shape
    qe = B.shape[2]
    d = K * (qg + qe) + (K if scaled else 0)
    image, gradient, penalty = np.empty((S, d)), np.empty((S, d)), np.empty(S)
    new_sigma = np.ones((S, K))
    for s in range(S):
        total = _gate_image(
            W[s],
            gate_score[s],
            gate_pairs[s],
            weight,
            gate_ridge,
            closed_form,
            image[s],
            gradient[s],
        )
        for k in range(K):
            first = K * qg + k * qe
            part, fall = _expert_image(
                B[s, k],
                sigma[s, k] ** 2,
                score[s, k],
                gram[s, k],
                weight,
                expert_ridge,
                image[s, first : first + qe],
                gradient[s, first : first + qe],
            )
            total += part
            if scaled:
                squares = max(extra[s, k] - (fall if exact else 0.0), 0.0)
                occupied = mass[s, k] > 1e-12 * weight
                value = math.sqrt(squares / mass[s, k]) if occupied else sigma[s, k]
                new_sigma[s, k] = value
                image[s, K * (qg + qe) + k] = math.log(max(value, lowest))
        penalty[s] = total
        if scaled:
            _scale_gradient(
                sigma[s], mass[s], extra[s], weight, lowest, ratio, gradient[s, K * (qg + qe) :]
            )
    return image, gradient, penalty, new_sigma


@entry
def softmax_multinomial_split(points, K, C, qg, qe):
    """Parameters of points (S, d) = (gate's K qg, experts' K C qe).

    Returns W (S, K, qg) and B (S, K C, qe), centred over the experts and over the classes of each
    expert, and the points of these parameters.
    """
    S = len(points)
    W, B, inside = np.empty((S, K, qg)), np.empty((S, K * C, qe)), np.empty_like(points)
    for s in range(S):
        _centred(points[s], K, qg, W[s], inside[s])
        for k in range(K):
            first = K * qg + k * C * qe
            _centred(points[s, first:], C, qe, B[s, k * C : (k + 1) * C], inside[s, first:])
    return W, B, inside


@entry
def softmax_multinomial_image(
    W,
    B,
    gate_score,
    gate_pairs,
    score,
    pairs,
    weight,
    gate_ridge,
    expert_ridge,
    intercept_ridge,
    closed_form,
):
    """The M-step and the gradient of S parameter sets from the statistics of `multinomial`.

    Returns image and gradient (S, d) and the penalty (S,).
    """
    S, K, qg = W.shape
    KC, qe = B.shape[1:]
    C, D = KC // K, pairs.shape[1] // K
    d = K * qg + KC * qe
    image, gradient, penalty = np.empty((S, d)), np.empty((S, d)), np.empty(S)
    for s in range(S):
        total = _gate_image(
            W[s],
            gate_score[s],
            gate_pairs[s],
            weight,
            gate_ridge,
            closed_form,
            image[s],
            gradient[s],
        )
        for k in range(K):
            first = K * qg + k * C * qe
            total += _softmax_image(
                B[s, k * C : (k + 1) * C],
                score[s, k * C : (k + 1) * C],
                pairs[s, k * D : (k + 1) * D],
                weight,
                expert_ridge,
                intercept_ridge,
                image[s, first:],
                gradient[s, first:],
            )
        penalty[s] = total
    return image, gradient, penalty
