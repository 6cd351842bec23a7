"""Numpy twins of the kernels in `gpu_sources`: the same arguments, to be read and compared.

A twin takes the macros of its kernel, then the kernel's arguments with numpy arrays in the place
of pointers, and fills the last of them. Legend: as there.
"""

from __future__ import annotations

import numpy as np
from scipy import special

from .links import IMPOSSIBLE, LINKS
from .reference import UNITS, class_pairs, log_softmax, log_sum_exp

NAMES = {link.code: name for name, link in LINKS.items()}


def standardise_rows(
    macros, X, row_stride, column_stride, columns, centre, inverse_scale, n, padded, q, design
):
    rows = design.reshape(padded, q)
    rows[:n, 0] = 1
    rows[:n, 1:] = (X[:n, columns].astype(np.float64) - centre) * inverse_scale
    rows[n:] = 0


def column_products(macros, design, left, right, padded, q, T, products):
    rows = design.reshape(padded, q)
    products.reshape(padded, T)[:] = rows[:, left] * rows[:, right]


def weighted_columns(macros, design, left, padded, q, m, J, weighted):
    rows, factors = design.reshape(-1, m, q), left.reshape(-1, J, m)
    weighted.reshape(-1, J, q, m)[:] = np.einsum("tjr,tra->tjar", factors, rows)


def hash_rows(macros, X, row_stride, column_stride, keys, n, p, hashes):
    bits = (np.ascontiguousarray(X[:n], dtype=np.float64) + 0.0).view(np.uint64)
    hashes[:] = (_mixed(bits ^ keys) - _mixed(keys)).sum(axis=1, dtype=np.uint64)


def _mixed(z):
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def softmax_glm_rows(
    macros,
    gate_design,
    expert_design,
    y,
    weight,
    offset,
    trials,
    params,
    n,
    padded,
    qg,
    qe,
    *outputs,
):
    K, family, link = (int(macros[name]) for name in ("K", "FAMILY", "LINK"))
    *places, entropies, U, V, partial = outputs
    W, B, dispersion, _ = np.split(params, np.cumsum([K * qg, K * qe, K]))
    w = np.ones(n) if weight is None else weight[:n]
    count = np.ones(n) if trials is None else trials[:n]
    eta = expert_design.reshape(-1, qe)[:n] @ B.reshape(K, qe).T
    eta = eta if offset is None else eta + offset[:n, None]
    unit = UNITS[family](eta, NAMES[link], y[:n, None], count[:, None], dispersion)
    density = np.maximum(unit.log_density, IMPOSSIBLE)
    gate, resp, sums = _responsibilities(gate_design, W.reshape(K, qg), n, density, w, entropies)
    extra = (w[:, None] * resp * unit.extra).sum(axis=0)
    weighted = w[:, None] * resp
    largest = 1e30 if V.dtype == np.float32 else np.inf
    _write(
        (padded, *places, U, V),
        (weighted - w[:, None] * gate, weighted * unit.score),
        (_products(gate, w), np.minimum(weighted * unit.information, largest)),
    )
    _write_sums(partial, np.concatenate([sums, extra]))


def softmax_multinomial_rows(
    macros, gate_design, expert_design, y, weight, params, n, padded, qg, qe, *outputs
):
    K, C = int(macros["K"]), int(macros["C"])
    *places, entropies, U, V, partial = outputs
    W, B = np.split(params, [K * qg])
    w = np.ones(n) if weight is None else weight[:n]
    codes = y[:n].astype(int)
    logits = expert_design.reshape(-1, qe)[:n] @ B.reshape(K * C, qe).T
    log_class = log_softmax(logits.reshape(n, K, C))
    density = log_class[np.arange(n), :, codes]
    gate, resp, sums = _responsibilities(gate_design, W.reshape(K, qg), n, density, w, entropies)
    prob, weighted = np.exp(log_class), w[:, None] * resp
    among = np.concatenate([_products(prob[:, k], weighted[:, k]) for k in range(K)], axis=1)
    score = weighted[:, :, None] * (np.eye(C)[codes][:, None, :] - prob)
    _write(
        (padded, *places, U, V),
        (weighted - w[:, None] * gate, score.reshape(n, K * C)),
        (_products(gate, w), among),
    )
    _write_sums(partial, sums)


def _responsibilities(gate_design, W, n, density, w, entropies):
    """Gate's probabilities, responsibilities, and the sums of w log p, entropies and masses."""
    log_gate = log_softmax(gate_design.reshape(-1, W.shape[1])[:n] @ W.T)
    joint = log_gate + density
    log_resp = log_softmax(joint)
    resp = np.exp(log_resp)
    soft, hard = -special.xlogy(resp, resp).sum(axis=1), -np.log(resp.max(axis=1))
    both = [w @ soft, w @ hard] if entropies else [0.0, 0.0]
    return np.exp(log_gate), resp, np.concatenate([[w @ log_sum_exp(joint)], both, w @ resp])


def _products(prob, w):
    """(n, P) w p_k p_l over the pairs k < l."""
    k, l = class_pairs(prob.shape[1])
    return w[:, None] * prob[:, k] * prob[:, l]


def _write(layout, sums, grams):
    """Left factors of gate and experts into U and V, zero behind the rows."""
    padded, m, *places, U, V = layout
    for out, values, (place, rows, *_) in (
        (U, sums[0], places[0:2]),
        (U, sums[1], places[2:4]),
        (V, grams[0], places[4:6]),
        (V, grams[1], places[6:8]),
    ):
        n, J = values.shape
        whole = np.zeros((padded, J))
        whole[:n] = values
        for tile in range(padded // m):
            start = place + tile * rows * m
            out[start : start + J * m] = whole[tile * m : (tile + 1) * m].T.ravel()


def _write_sums(partial, sums):
    partial.reshape(len(sums), -1)[:] = 0
    partial.reshape(len(sums), -1)[:, 0] = sums


TWINS = {
    twin.__name__: twin
    for twin in (
        standardise_rows,
        column_products,
        weighted_columns,
        hash_rows,
        softmax_glm_rows,
        softmax_multinomial_rows,
    )
}
