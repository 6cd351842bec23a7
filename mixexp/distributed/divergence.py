"""Expected transportation divergences between mixtures of experts.

T_c(f, g) = E_x inf_P sum_lk P_lk(x) c(f_l(. | x), g_k(. | x)) over the plans with marginals
pi^f(x) and pi^g(x); without the second marginal the plan moves each f_l to its nearest g_k
(Chamroukhi and Pham, 2023, arXiv:2312.09877, sections 3 and 4).
"""

from __future__ import annotations

import numpy as np
from scipy import sparse
from scipy.optimize import linprog

ENTRIES = 1 << 16  # of a block of costs: what stays in a cache
POINTS = 250  # support rows in one linear programme


def nearest(family, values, reduced, n_reduced):
    """(S, L) index of the reduced expert nearest to each local one, and the divergences to it."""
    cost = family.cost(values, reduced, 0)
    place = np.zeros(cost.shape, dtype=np.int16)
    for k in range(1, n_reduced):
        other = family.cost(values, reduced, k)
        closer = other < cost
        place[closer] = k
        np.minimum(cost, other, out=cost)
    return place, cost


def costs(family, values, reduced, n_reduced):
    """(S, L, K) all divergences at all rows."""
    return np.stack([family.cost(values, reduced, k) for k in range(n_reduced)], axis=2)


def mean_costs(family, values, reduced, n_reduced):
    """(L, K) divergences averaged over the support, each expert against each."""
    columns = [family.cost(values, reduced, k).mean(axis=0) for k in range(n_reduced)]
    return np.stack(columns, axis=1)


def relaxed(family, weight, values, reduced, n_reduced) -> float:
    """E_x sum_l pi_l(x) min_k c_lk(x): the divergence without the second marginal."""
    total = 0.0
    for block in row_blocks(weight):
        _, cost = nearest(family, values.rows(block), reduced.rows(block), n_reduced)
        total += float((weight[block] * cost).sum())
    return total / len(weight)


def transportation(family, weight, values, other_weight, other) -> float:
    """T_c with both marginals: one linear programme for each row of the support, exactly."""
    K, total = other_weight.shape[1], 0.0
    for start in range(0, len(weight), POINTS):
        block = slice(start, start + POINTS)
        cost = costs(family, values.rows(block), other.rows(block), K)
        total += _transport(cost, weight[block], other_weight[block])
    return total / len(weight)


def _transport(cost, source, target) -> float:
    """Sum over rows of the optimal transport costs; cost (S, L, K)."""
    S, L, K = cost.shape
    rows, one = np.arange(S * L * K), np.ones(S * L * K)
    i, l, k = np.unravel_index(rows, (S, L, K))
    leaving = sparse.csr_array((one, (i * L + l, rows)), shape=(S * L, S * L * K))
    arriving = sparse.csr_array((one, (i * K + k, rows)), shape=(S * K, S * L * K))
    # one of a row's constraints follows from the others, and rounding may contradict it
    free = np.arange(S * K) % K != K - 1
    constraints = sparse.vstack([leaving, arriving[free]])
    given = np.concatenate(
        [source.ravel(), (target * (source.sum(1) / target.sum(1))[:, None]).ravel()[free]]
    )
    found = linprog(cost.ravel(), A_eq=constraints, b_eq=given, bounds=(0, None), method="highs")
    if not found.success:
        raise RuntimeError(f"The transport problem was not solved: {found.message}")
    return float(found.fun)


def row_blocks(weight):
    """Slices of the support whose arrays of (rows, L) stay small."""
    size = max(16, ENTRIES // weight.shape[1])
    return [slice(start, start + size) for start in range(0, len(weight), size)]
