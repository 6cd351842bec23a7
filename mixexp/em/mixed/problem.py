"""Rows, groups and parameters of a mixture of experts with random effects.

Legend: n rows, K experts, J = 2 K predictors of a row (logits, then experts'); factor l has G_l
groups with D_l standard normal effects u each. The effects of a group on the predictors of a row
are B_i R u, with B_i (J, D_l) of ones and columns of X and R (D_l, D_l) lower triangular: R R' is
the covariance of the group's effects, and R = 0 is the model without them.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy import sparse

from .families import Family


class MixedParams(NamedTuple):
    """gate (K - 1, q_gate): logits against the last expert; expert (K, q); log_dispersion (K,);
    roots: one (D_l, D_l) matrix R per factor."""

    gate: np.ndarray
    expert: np.ndarray
    log_dispersion: np.ndarray
    roots: tuple[np.ndarray, ...]


class Problem(NamedTuple):
    """Everything but the parameters; rows are sorted by the groups of the first factor.

    Attributes
    ----------
    family : Family
    X_gate, X_expert : (n, q) designs, ones first
    y, offset, trials : (n,)
    codes : one (n,) array of group numbers per factor
    indicators : one (G_l, n) sparse matrix per factor
    designs : one (n, J, D_l) array B per factor
    free : one (D_l, D_l) mask per factor of the free entries of R
    component : (n,) number of the connected component of a row
    components : one (G_l,) array per factor
    n_components : int
        Groups of different factors are connected where they share a row; components are
        independent given the parameters.
    """

    family: Family
    X_gate: np.ndarray
    X_expert: np.ndarray
    y: np.ndarray
    offset: np.ndarray
    trials: np.ndarray
    codes: tuple[np.ndarray, ...]
    indicators: tuple[sparse.csr_array, ...]
    designs: tuple[np.ndarray, ...]
    free: tuple[np.ndarray, ...]
    component: np.ndarray
    components: tuple[np.ndarray, ...]
    n_components: int

    @property
    def n(self) -> int:
        return len(self.y)

    @property
    def K(self) -> int:
        return self.designs[0].shape[1] // 2

    @property
    def shapes(self) -> tuple[tuple[int, int], ...]:
        """(G_l, D_l) of every factor."""
        return tuple(
            (one.shape[0], B.shape[2]) for one, B in zip(self.indicators, self.designs, strict=True)
        )

    @property
    def active(self) -> np.ndarray:
        """Positions of the predictors that some effect moves."""
        return np.flatnonzero(sum(np.abs(B).max(axis=(0, 2)) for B in self.designs) > 0)

    # --- parameters -------------------------------------------------------------------------

    def pack(self, params: MixedParams) -> np.ndarray:
        """The free parameters: diagonals of R by their logarithms."""
        blocks = [params.gate.ravel(), params.expert.ravel()]
        if self.family.has_dispersion:
            blocks.append(params.log_dispersion)
        for root, free in zip(params.roots, self.free, strict=True):
            logs = root.copy()
            d = np.arange(len(root))
            logs[d, d] = np.log(root[d, d])
            blocks.append(logs[free])
        return np.concatenate(blocks)

    def unpack(self, vector: np.ndarray) -> MixedParams:
        K, qg, q = self.K, self.X_gate.shape[1], self.X_expert.shape[1]
        sizes = [(K - 1) * qg, K * q, K * self.family.has_dispersion]
        sizes += [int(free.sum()) for free in self.free]
        blocks = np.split(vector, np.cumsum(sizes)[:-1])
        roots = []
        for values, free in zip(blocks[3:], self.free, strict=True):
            root = np.zeros(free.shape)
            root[free] = values
            d = np.arange(len(root))
            root[d, d] = np.exp(root[d, d])
            roots.append(root)
        log_dispersion = blocks[2] if self.family.has_dispersion else np.zeros(K)
        return MixedParams(
            blocks[0].reshape(K - 1, qg), blocks[1].reshape(K, q), log_dispersion, tuple(roots)
        )

    def pack_gradient(self, params, by_eta, by_log_dispersion, by_roots) -> np.ndarray:
        """Gradient in the order of `pack` from those by the rows' predictors and by the roots."""
        K = self.K
        blocks = [
            (by_eta[:, : K - 1].T @ self.X_gate).ravel(),
            (by_eta[:, K:].T @ self.X_expert).ravel(),
        ]
        if self.family.has_dispersion:
            blocks.append(by_log_dispersion)
        for gradient, root, free in zip(by_roots, params.roots, self.free, strict=True):
            scaled = gradient.copy()
            d = np.arange(len(root))
            scaled[d, d] *= root[d, d]
            blocks.append(scaled[free])
        return np.concatenate(blocks)

    # --- effects ----------------------------------------------------------------------------

    def fixed(self, params: MixedParams) -> np.ndarray:
        """(n, J) predictors without the random effects."""
        eta = np.zeros((self.n, 2 * self.K))
        eta[:, : self.K - 1] = self.X_gate @ params.gate.T
        eta[:, self.K :] = self.X_expert @ params.expert.T + self.offset[:, None]
        return eta

    def loadings(self, params: MixedParams) -> tuple[np.ndarray, ...]:
        """(n, J, D_l) derivatives A = B R of the predictors by the effects of the row's groups."""
        return tuple(B @ R for B, R in zip(self.designs, params.roots, strict=True))

    def zeros(self) -> tuple[np.ndarray, ...]:
        """Effects (G_l, D_l) of all factors, all zero."""
        return tuple(np.zeros(shape) for shape in self.shapes)

    def moved(self, loadings, effects) -> np.ndarray:
        """(n, J) what the effects add to the predictors."""
        return sum(
            np.einsum("njd,nd->nj", A, u[code])
            for A, u, code in zip(loadings, effects, self.codes, strict=True)
        )

    def gathered(self, loadings, by_eta) -> tuple[np.ndarray, ...]:
        """(G_l, D_l) sums over the rows of a group of A_i' times (n, J)."""
        return tuple(
            np.asarray(one @ np.einsum("njd,nj->nd", A, by_eta))
            for one, A in zip(self.indicators, loadings, strict=True)
        )

    def by_component(self, row_values, effect_values=None) -> np.ndarray:
        """(n_components,) sums of values of rows, and of (G_l, D_l) values of effects."""
        total = np.bincount(self.component, row_values, self.n_components)
        if effect_values is not None:
            for values, owner in zip(effect_values, self.components, strict=True):
                total = total + np.bincount(owner, values.sum(axis=1), self.n_components)
        return total


def connect(codes, sizes):
    """Connected components of the groups: of rows (n,), of groups per factor, and their number."""
    if len(codes) == 1:
        return codes[0], (np.arange(sizes[0]),), sizes[0]
    starts = np.concatenate([[0], np.cumsum(sizes)])
    ones = np.ones(len(codes[0]))
    edges = [(codes[0], starts[l] + codes[l]) for l in range(1, len(codes))]
    i, j = (np.concatenate(ends) for ends in zip(*edges, strict=True))
    graph = sparse.coo_array(
        (np.tile(ones, len(edges)), (i, j)), shape=(starts[-1], starts[-1])
    ).tocsr()
    count, labels = sparse.csgraph.connected_components(graph, directed=False)
    own = tuple(labels[starts[l] : starts[l + 1]] for l in range(len(codes)))
    return own[0][codes[0]], own, int(count)


def indicator(code, size) -> sparse.csr_array:
    """(size, n) matrix whose product with rows' values sums them by group."""
    n = len(code)
    return sparse.csr_array((np.ones(n), (code, np.arange(n))), shape=(size, n))
