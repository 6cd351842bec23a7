"""Precisions I + sum_i A_i' W_i A_i of all random effects, factorised by elimination.

The groups of the first factor do not meet each other in a row: its part is a matrix of small blocks
and is eliminated block by block. What is left, the Schur complement of the other factors, is dense.
So one factor costs blocks alone, and several cost the cube of all effects but the first factor's.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy import linalg, sparse

JOINT = 2000  # effects of several factors up to which the covariances of all of them are kept
LARGEST = 100_000_000  # entries of the dense table between the first factor and the others


class NotPositive(Exception):
    """The matrix is not positive definite; ``components`` (mask) are those where it is not."""

    def __init__(self, components):
        super().__init__("not positive definite")
        self.components = components


class Precision(NamedTuple):
    """A factorised precision H.

    first (G_0, D_0, D_0): inverses of the first factor's blocks; carried (M_0, M): those times the
    block between the factors, or None; others (M, M): inverse of the Schur complement, or None;
    logs: (G_l, D_l) twice the logarithms of the Cholesky diagonals, whose sum is log |H|.
    """

    first: np.ndarray
    carried: np.ndarray | None
    others: np.ndarray | None
    logs: tuple[np.ndarray, ...]


def _positions(problem):
    """(n, D_l) places of the effects of the later factors in the Schur complement, and its size."""
    places, start = [], 0
    for code, (G, D) in zip(problem.codes[1:], problem.shapes[1:], strict=True):
        places.append(start + code[:, None] * D + np.arange(D))
        start += G * D
    return places, start


def check_size(shapes) -> None:
    """Refuse tables between factors that no memory holds."""
    first, others = shapes[0][0] * shapes[0][1], sum(G * D for G, D in shapes[1:])
    if others * max(first, others) > LARGEST:
        raise ValueError(
            f"groups: {first} random effects of the largest factor and {others} of the others are "
            "too many for this version, which needs a dense table between them. Leave out a factor "
            "or random slopes, or merge small groups."
        )


def factorise(problem, loadings, W) -> Precision:
    """Factorise I + A' W A; W (n, J, J).

    Raises
    ------
    NotPositive
    """
    A = loadings[0]
    G, D = problem.shapes[0]
    blocks = blocks_of(problem, A, W)
    root = _block_roots(problem, blocks)
    first = np.linalg.inv(blocks)
    logs = [2 * np.log(np.einsum("gdd->gd", root))]
    if len(loadings) == 1:
        return Precision(first, None, None, tuple(logs))
    weighted = [W @ A for A in loadings]
    places, M = _positions(problem)
    between = _scatter(problem, A, weighted[1:], places, M)
    later = _later(loadings[1:], weighted[1:], places, M)
    inverse = sparse.bsr_array((first, np.arange(G), np.arange(G + 1)), shape=(G * D, G * D))
    carried = (inverse @ between).toarray()
    schur = later - np.asarray(between.T @ carried)
    try:
        lower = np.linalg.cholesky(0.5 * (schur + schur.T))
    except np.linalg.LinAlgError:
        raise NotPositive(np.ones(problem.n_components, dtype=bool)) from None
    others = linalg.cho_solve((lower, True), np.eye(M))
    diagonal, start = 2 * np.log(np.diag(lower)), 0
    for G_l, D_l in problem.shapes[1:]:
        logs.append(diagonal[start : start + G_l * D_l].reshape(G_l, D_l))
        start += G_l * D_l
    return Precision(first, carried, others, tuple(logs))


def blocks_of(problem, A, W):
    """(G_0, D_0, D_0) blocks of the first factor: I + sum_i A_i' W_i A_i over a group's rows."""
    G, D = problem.shapes[0]
    local = np.swapaxes(A, 1, 2) @ (W @ A)
    blocks = np.asarray(problem.indicators[0] @ local.reshape(problem.n, -1)).reshape(G, D, D)
    return 0.5 * (blocks + np.swapaxes(blocks, 1, 2)) + np.eye(D)


def _block_roots(problem, blocks):
    try:
        return np.linalg.cholesky(blocks)
    except np.linalg.LinAlgError:
        lowest = np.linalg.eigvalsh(np.nan_to_num(blocks, posinf=1e300, neginf=-1e300))[:, 0]
        bad = lowest <= max(1e-10, lowest.min())
        mask = np.zeros(problem.n_components, dtype=bool)
        mask[problem.components[0][bad]] = True
        raise NotPositive(mask) from None


def _scatter(problem, A, weighted, places, M):
    """(M_0, M) sparse block between the first factor and the others."""
    G, D = problem.shapes[0]
    rows = problem.codes[0][:, None] * D + np.arange(D)
    values, i, j = [], [], []
    for WA, place in zip(weighted, places, strict=True):
        local = np.swapaxes(A, 1, 2) @ WA
        values.append(local.ravel())
        i.append(np.broadcast_to(rows[:, :, None], local.shape).ravel())
        j.append(np.broadcast_to(place[:, None, :], local.shape).ravel())
    entries = np.concatenate(values), (np.concatenate(i), np.concatenate(j))
    return sparse.coo_array(entries, shape=(G * D, M)).tocsr()


def _later(loadings, weighted, places, M):
    """(M, M) block of the later factors."""
    out = np.eye(M)
    for A, row in zip(loadings, places, strict=True):
        for WA, column in zip(weighted, places, strict=True):
            local = np.swapaxes(A, 1, 2) @ WA
            entries = (
                local.ravel(),
                (
                    np.broadcast_to(row[:, :, None], local.shape).ravel(),
                    np.broadcast_to(column[:, None, :], local.shape).ravel(),
                ),
            )
            out += sparse.coo_array(entries, shape=(M, M)).toarray()
    return out


def solve(problem, precision: Precision, right) -> tuple[np.ndarray, ...]:
    """H^-1 times effects (G_l, D_l)."""
    first = np.einsum("gab,gb->ga", precision.first, right[0])
    if precision.carried is None or precision.others is None:
        return (first,)
    later = np.concatenate([part.ravel() for part in right[1:]])
    moved = precision.others @ (later - precision.carried.T @ right[0].ravel())
    out, start = [first - (precision.carried @ moved).reshape(first.shape)], 0
    for part in right[1:]:
        out.append(moved[start : start + part.size].reshape(part.shape))
        start += part.size
    return tuple(out)


class Draws(NamedTuple):
    """Draws from N(0, H^-1): roots (G_0, D_0, D_0) of the first factor's inverse blocks, and (M, M)
    of the others' covariance, or None."""

    precision: Precision
    first: np.ndarray
    others: np.ndarray | None

    @classmethod
    def of(cls, precision: Precision) -> Draws:
        others = precision.others
        root = None if others is None else np.linalg.cholesky(0.5 * (others + others.T))
        return cls(precision, np.linalg.cholesky(precision.first), root)

    def draw(self, problem, rng) -> tuple[np.ndarray, ...]:
        """Effects (G_l, D_l) of all factors."""
        shape = self.first.shape[:2]
        first = np.einsum("gab,gb->ga", self.first, rng.standard_normal(shape))
        if self.others is None or self.precision.carried is None:
            return (first,)
        later = self.others @ rng.standard_normal(len(self.others))
        out, start = [first - (self.precision.carried @ later).reshape(shape)], 0
        for G, D in problem.shapes[1:]:
            out.append(later[start : start + G * D].reshape(G, D))
            start += G * D
        return tuple(out)


def covariances(problem, precision: Precision) -> tuple[np.ndarray, ...]:
    """(G_l, D_l, D_l) blocks of H^-1 on its diagonal."""
    if precision.carried is None or precision.others is None:
        return (precision.first,)
    G, D = problem.shapes[0]
    carried = precision.carried.reshape(G, D, -1)
    spread = (precision.carried @ precision.others).reshape(G, D, -1)
    out, start = [precision.first + spread @ np.swapaxes(carried, 1, 2)], 0
    for G_l, D_l in problem.shapes[1:]:
        own = precision.others[start : start + G_l * D_l, start : start + G_l * D_l]
        g = np.arange(G_l)
        out.append(own.reshape(G_l, D_l, G_l, D_l)[g, :, g, :])
        start += G_l * D_l
    return tuple(out)


def joint_covariance(problem, precision: Precision) -> np.ndarray | None:
    """(N, N) H^-1 of the effects of several factors; None for one factor, or more than `JOINT`."""
    first, carried, others, _ = precision
    if carried is None or others is None or len(carried) + len(others) > JOINT:
        return None
    between = -carried @ others
    own = linalg.block_diag(*first) - between @ carried.T
    return np.block([[own, between], [between.T, others]])


def row_covariances(problem, precision: Precision, loadings):
    """Rows of H^-1 A_i' at the row's own groups, (n, D_l, J) per factor, and A_i H^-1 A_i'."""
    transposed = [np.swapaxes(A, 1, 2) for A in loadings]
    code = problem.codes[0]
    own = covariances(problem, precision)
    out = [own[0][code] @ transposed[0]]
    if precision.carried is not None and precision.others is not None:
        G, D = problem.shapes[0]
        spread = (precision.carried @ precision.others).reshape(G, D, -1)
        places, _ = _positions(problem)
        for l, place in enumerate(places, 1):
            cross = -spread[code[:, None, None], np.arange(D)[:, None], place[:, None, :]]
            out[0] = out[0] + cross @ transposed[l]
            part = np.swapaxes(cross, 1, 2) @ transposed[0]
            for m, other in enumerate(places, 1):
                part = part + precision.others[place[:, :, None], other[:, None, :]] @ transposed[m]
            out.append(part)
    V = sum(A @ P for A, P in zip(loadings, out, strict=True))
    return tuple(out), 0.5 * (V + np.swapaxes(V, 1, 2))
