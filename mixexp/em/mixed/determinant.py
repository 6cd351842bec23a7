"""The determinant in Laplace's approximation, without its poles.

In a mixture the information H of a group's effects is that of the complete data, H_c, less what is
missing because the experts of the rows are unknown. Relative to H_c its eigenvalues lambda are at
most one; one expert has none below. Where two modes merge, one of them goes to zero, and with it
-log |H| / 2 to infinity: a likelihood would be maximised by steering groups into such points. So
log lambda is continued below `LOWEST` by its tangent, which is bounded at a mode.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy import sparse

from .precision import NotPositive, blocks_of

LOWEST = 0.5  # share of the complete information down to which the determinant is exact
DENSE = 800  # random effects of several factors up to which their matrix is made dense


class Determinant(NamedTuple):
    """log |H|, bounded, and its derivatives where it is not held by the effects themselves.

    value; information and complete: per factor, rows (n, D_l, J) of F A_i' with F the derivative by
    H or by H_c, which are H^-1 and zero where the value is exact; V and V_complete (n, J, J): A_i F
    A_i'; covariances (G_l, D_l, D_l): blocks of the derivative by H; bounded: eigenvalues in whose
    place the tangent stands; joint: the whole derivative by H, or None where there is one factor.
    """

    value: float
    information: tuple[np.ndarray, ...]
    complete: tuple[np.ndarray, ...]
    V: np.ndarray
    V_complete: np.ndarray
    covariances: tuple[np.ndarray, ...]
    bounded: int
    joint: np.ndarray | None = None


def bounded_log(x):
    """log x, and below `LOWEST` its tangent there; and the derivative."""
    low = x < LOWEST
    inside = np.where(low, LOWEST, x)
    return np.log(inside) + np.where(low, x / LOWEST - 1, 0.0), 1 / inside


def determinant(problem, loadings, W, complete) -> Determinant:
    """Bounded log |H| of all random effects.

    Raises
    ------
    NotPositive
        If the complete information is not finite.
    """
    if len(loadings) == 1:
        return _of_blocks(problem, loadings[0], W, complete)
    return _dense(problem, loadings, W, complete)


def is_bounded(problem) -> bool:
    """Whether `determinant` is affordable."""
    return len(problem.shapes) == 1 or sum(G * D for G, D in problem.shapes) <= DENSE


def _derivatives(problem, H, H_c):
    """Value, the derivatives by H and H_c, of one matrix or of a stack of them, and the number of
    eigenvalues below `LOWEST`."""
    try:
        root = np.linalg.cholesky(H_c)
    except np.linalg.LinAlgError:
        raise NotPositive(np.ones(problem.n_components, dtype=bool)) from None
    inverse = np.linalg.inv(root)
    relative = inverse @ H @ np.swapaxes(inverse, -1, -2)
    values, vectors = np.linalg.eigh(0.5 * (relative + np.swapaxes(relative, -1, -2)))
    logs, slopes = bounded_log(values)
    diagonal = np.diagonal(root, axis1=-2, axis2=-1)
    outer = np.swapaxes(inverse, -1, -2) @ vectors

    def between(weights):
        return (outer * weights[..., None, :]) @ np.swapaxes(outer, -1, -2)

    value = float(logs.sum() + 2 * np.log(diagonal).sum())
    low = int(np.count_nonzero(values < LOWEST))
    return value, between(slopes), between(1 - slopes * values), low


def _of_blocks(problem, A, W, complete) -> Determinant:
    H, H_c = blocks_of(problem, A, W), blocks_of(problem, A, complete)
    value, by_H, by_H_c, low = _derivatives(problem, H, H_c)
    code, transposed = problem.codes[0], np.swapaxes(A, 1, 2)
    P, P_c = by_H[code] @ transposed, by_H_c[code] @ transposed
    return Determinant(value, (P,), (P_c,), A @ P, A @ P_c, (by_H,), low)


def _dense(problem, loadings, W, complete) -> Determinant:
    n, J = problem.n, loadings[0].shape[1]
    places, start = [], 0
    for code, (G, D) in zip(problem.codes, problem.shapes, strict=True):
        places.append(start + code[:, None] * D + np.arange(D))
        start += G * D
    columns = np.concatenate(places, axis=1)
    values = np.concatenate(loadings, axis=2)
    i = np.broadcast_to(np.arange(n * J).reshape(n, J, 1), values.shape)
    j = np.broadcast_to(columns[:, None, :], values.shape)
    entries = values.ravel(), (i.ravel(), j.ravel())
    Phi = sparse.coo_array(entries, shape=(n * J, start)).tocsr()

    def information(W):
        blocks = sparse.bsr_array((W, np.arange(n), np.arange(n + 1)), shape=(n * J, n * J))
        H = (Phi.T @ (blocks @ Phi)).toarray()
        return 0.5 * (H + H.T) + np.eye(start)

    value, by_H, by_H_c, low = _derivatives(problem, information(W), information(complete))
    P, V = _rows(by_H, places, loadings)
    P_c, V_c = _rows(by_H_c, places, loadings)
    own, start = [], 0
    for G, D in problem.shapes:
        part = by_H[start : start + G * D, start : start + G * D].reshape(G, D, G, D)
        own.append(part[np.arange(G), :, np.arange(G), :])
        start += G * D
    return Determinant(value, P, P_c, V, V_c, tuple(own), low, by_H)


def _rows(F, places, loadings):
    """F A_i' at the rows' own groups, per factor, and A_i F A_i'."""
    transposed = [np.swapaxes(A, 1, 2) for A in loadings]
    P = tuple(
        sum(
            F[place[:, :, None], other[:, None, :]] @ right
            for other, right in zip(places, transposed, strict=True)
        )
        for place in places
    )
    return P, sum(A @ part for A, part in zip(loadings, P, strict=True))
