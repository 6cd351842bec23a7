"""Structured covariances: their maximisers under a lower bound, their chart, and its gradient.

A covariance travels as its factor: (..., K, d) standard deviations for the structures without
correlations, (..., K, d, d) lower Cholesky factors for the others. What makes an estimate is its
moment, sum_i r_ik e_i e_i' of centred rows, or the diagonal of that. The chart is the Cholesky
factor with the logarithm of its diagonal (Pinheiro and Bates, 1996, Statistics and Computing 6,
289-296), so that every vector is a covariance.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.linalg import solve_triangular

STRUCTURES = ("full", "diagonal", "spherical", "block_diagonal")
AT_ONCE = 2_000_000  # entries (rows, classes, columns) that are made at once
LOG_2PI = float(np.log(2 * np.pi))
ROUNDING = 1e-8  # relative distance from the bound that is rounding
NEAR = 1e-6  # relative distance from the bound at which a fit leans on it


class Covariance(NamedTuple):
    """A structure of K covariances of d dimensions.

    Attributes
    ----------
    kind : {"full", "diagonal", "spherical", "block_diagonal"}
    tied : bool
        One covariance for all K.
    lowest : float
        Least standard deviation along any direction; estimates are exact where it is inactive.
    mask : (d, d) or (K, d, d) bool array, or None
        For "block_diagonal": the pairs inside a block, the diagonal included.
    """

    kind: str
    tied: bool = False
    lowest: float = 1e-3
    mask: np.ndarray | None = None

    @property
    def dense(self) -> bool:
        """Whether there are correlations, and factors are matrices."""
        return self.kind in ("full", "block_diagonal")

    # --- estimates --------------------------------------------------------------------------

    def unit(self, K, d):
        """Factors of the identity."""
        return np.tile(np.eye(d), (K, 1, 1)) if self.dense else np.ones((K, d))

    def estimate(self, moment, mass, old):
        """Maximisers of the Gaussian likelihood under the bound (batched).

        The eigenvalues of the unbounded maximiser are raised to the bound, which is the maximiser
        under it, since the likelihood is concave in each. An empty expert keeps its ``old``.

        Parameters
        ----------
        moment : (..., K, d, d) or (..., K, d)
        mass : (..., K)
        """
        covariance, occupied = self._free(moment, mass)
        axes = (..., None, None) if self.dense else (..., None)
        if self.dense:
            unit = np.eye(covariance.shape[-1])
            factor = _bounded_factor(np.where(occupied[axes], covariance, unit), self.lowest)
        else:
            factor = np.sqrt(np.maximum(covariance, self.lowest**2))
        return factor if occupied.all() else np.where(occupied[axes], factor, old)

    def _free(self, moment, mass):
        """Maximisers without the bound, and which experts have rows: moments per mass, pooled."""
        if self.tied:
            axis = -3 if self.dense else -2
            moment = np.broadcast_to(moment.sum(axis=axis, keepdims=True), moment.shape)
            mass = np.broadcast_to(mass.sum(axis=-1, keepdims=True), mass.shape)
        occupied = mass > 1e-12 * mass.sum(axis=-1, keepdims=True)
        divisor = np.where(occupied, mass, 1.0)
        if self.dense:
            covariance = moment / divisor[..., None, None]
            return covariance if self.mask is None else covariance * self.mask, occupied
        variance = np.maximum(moment / divisor[..., None], 0)
        if self.kind == "spherical" and variance.shape[-1]:
            variance = np.broadcast_to(variance.mean(axis=-1, keepdims=True), variance.shape)
        return variance, occupied

    # --- the chart --------------------------------------------------------------------------

    def pack(self, factor):
        """(..., K, size) unconstrained coordinates."""
        if not self.dense:
            return np.log(factor)
        d = factor.shape[-1]
        logged = factor.copy()
        diagonal = np.arange(d)
        logged[..., diagonal, diagonal] = np.log(factor[..., diagonal, diagonal])
        rows, columns = np.tril_indices(d)
        return logged[..., rows, columns]

    def size(self, d) -> int:
        """Coordinates of one covariance in the chart."""
        return d * (d + 1) // 2 if self.dense else d

    def unpack(self, vector, d):
        """Factors inside the bound from (..., K, size) coordinates."""
        if self.tied:
            vector = np.broadcast_to(vector.mean(axis=-2, keepdims=True), vector.shape)
        if not self.dense:
            if self.kind == "spherical" and d:
                vector = np.broadcast_to(vector.mean(axis=-1, keepdims=True), vector.shape)
            return np.exp(np.clip(vector, np.log(self.lowest), 300))
        factor = np.zeros((*vector.shape[:-1], d, d))
        rows, columns = np.tril_indices(d)
        factor[..., rows, columns] = vector
        diagonal = np.arange(d)
        factor[..., diagonal, diagonal] = np.exp(
            np.clip(factor[..., diagonal, diagonal], -300, 300)
        )
        if self.mask is not None:
            factor = factor * self.mask
        return self.project(factor)

    def project(self, factor):
        """The nearest factors inside the bound."""
        if not self.dense:
            return np.maximum(factor, self.lowest)
        if _above(covariance_of(factor), self.lowest):
            return factor
        return _bounded_factor(covariance_of(factor), self.lowest)

    def gradient(self, factor, moment, mass):
        """(..., K, size) gradient of sum_i r_ik log N(e_i; 0, covariance) in the chart.

        The moment is first brought inside the bound: at a maximum on the bound the gradient is
        then zero, as it is elsewhere.
        """
        free, occupied = self._free(moment, mass)
        if not self.dense:
            bounded = np.maximum(free, self.lowest**2)
            gradient = mass[..., None] * (bounded / factor**2 - 1)
        else:
            if not _above(free, self.lowest):
                clipped = _clipped(free, self.lowest)
                free = np.where(occupied[..., None, None], clipped, free)
            gradient = _factor_gradient(factor, free, mass)
            if self.mask is not None:
                gradient = gradient * self.mask
            rows, columns = np.tril_indices(factor.shape[-1])
            gradient = gradient[..., rows, columns]
        if self.tied:
            gradient = np.broadcast_to(gradient.mean(axis=-2, keepdims=True), gradient.shape)
        if self.kind == "spherical" and gradient.shape[-1]:
            gradient = np.broadcast_to(gradient.mean(axis=-1, keepdims=True), gradient.shape)
        return gradient

    # --- what it amounts to -----------------------------------------------------------------

    def bounded(self, factor):
        """(..., K) bool: the covariance leans on its bound."""
        if factor.shape[-1] == 0:
            return np.zeros(factor.shape[:-2] if self.dense else factor.shape[:-1], dtype=bool)
        if not self.dense:
            return factor.min(axis=-1) <= self.lowest * (1 + NEAR)
        least = np.linalg.eigvalsh(covariance_of(factor))[..., 0]
        return least <= self.lowest**2 * (1 + NEAR)

    def n_free(self, K, d) -> int:
        """Free parameters of all K covariances together."""
        if self.kind == "spherical":
            each = np.full(K, min(d, 1))
        elif self.kind == "diagonal":
            each = np.full(K, d)
        elif self.mask is None:
            each = np.full(K, d * (d + 1) // 2)
        else:
            mask = np.broadcast_to(self.mask, (K, d, d))
            each = (mask.sum(axis=(1, 2)) + d) // 2
        return int(each[0] if self.tied else each.sum())

    def rows_needed(self, d) -> int:
        """Rows without which an estimate is singular: the largest block and one more."""
        if self.kind == "spherical":
            return 2
        if self.mask is not None:
            return int(self.mask.sum(axis=-1).max()) + 1
        return d + 1 if self.kind == "full" else 2

    def rescaled(self, factor, ratio):
        """Factors of the covariances of rows whose columns are multiplied by ``ratio`` (d,)."""
        return factor * (ratio[:, None] if self.dense else ratio)

    def matrices(self, factor):
        """(..., K, d, d) covariances."""
        return (
            covariance_of(factor)
            if self.dense
            else factor[..., None] ** 2 * np.eye(factor.shape[-1])
        )

    def log_densities(self, E, factor):
        """(n,) log N(e; 0, covariance) of centred rows E (n, d) under one factor."""
        d = E.shape[1]
        if not self.dense:
            squares = ((E / factor) ** 2).sum(axis=1)
            return -0.5 * squares - np.log(factor).sum() - 0.5 * d * LOG_2PI
        white = solve_triangular(factor, E.T, lower=True, check_finite=False)
        log_volume = np.log(np.diagonal(factor)).sum()
        return -0.5 * np.einsum("dn,dn->n", white, white) - log_volume - 0.5 * d * LOG_2PI

    def log_classes(self, Z, mean, factor):
        """(n, K) log N(z; mean_k, covariance_k): one product for small tables, else class by class.

        Parameters
        ----------
        mean : (K, d)
        factor : (K, d, d) or (K, d)
        """
        n, d = Z.shape
        K = len(mean)
        if not self.dense or n * K * d > AT_ONCE or d == 0:
            each = [self.log_densities(Z - mean[k], factor[k]) for k in range(K)]
            return np.stack(each, axis=1)
        inverse = np.linalg.inv(factor)
        white = Z @ inverse.reshape(K * d, d).T - np.einsum("kab,kb->ka", inverse, mean).ravel()
        squares = np.einsum("nkd,nkd->nk", *[white.reshape(n, K, d)] * 2)
        log_volume = np.log(np.diagonal(factor, axis1=-2, axis2=-1)).sum(axis=-1)
        return -0.5 * squares - log_volume - 0.5 * d * LOG_2PI

    def solve(self, factor, vector):
        """covariance^-1 vector, of shapes (..., K, d)."""
        if not self.dense:
            return vector / factor**2
        inverse = np.linalg.inv(factor)
        return np.einsum("...ba,...bc,...c->...a", inverse, inverse, vector, optimize=True)

    def draw(self, factor, labels, rng):
        """(n, d) centred draws, row i from covariance labels[i]."""
        z = rng.standard_normal((len(labels), factor.shape[-1]))
        if not self.dense:
            return z * factor[labels]
        out = np.empty_like(z)
        for k in np.unique(labels):
            out[labels == k] = z[labels == k] @ factor[k].T
        return out


def covariance_of(factor):
    """(..., d, d) matrices of lower Cholesky factors."""
    return factor @ np.swapaxes(factor, -1, -2)


def block_mask(blocks, d: int):
    """(d, d) mask of a partition of 0..d-1, or (K, d, d) of a list of K partitions.

    Raises
    ------
    ValueError
        If the blocks do not list every position once.
    """
    if blocks is None:
        raise ValueError(
            'covariance="block_diagonal" needs blocks: lists of positions, such as '
            "blocks=[[0, 1], [2]]."
        )
    if len(blocks) and len(blocks[0]) and not np.isscalar(blocks[0][0]):
        return np.stack([block_mask(partition, d) for partition in blocks])
    label = np.full(d, -1)
    listed = [int(i) for block in blocks for i in block]
    if sorted(listed) != list(range(d)):
        raise ValueError(
            f"blocks must list each of the {d} positions 0..{d - 1} once; got "
            f"{[list(block) for block in blocks]!r}."
        )
    for b, block in enumerate(blocks):
        label[list(block)] = b
    return label[:, None] == label[None, :]


def check_structure(kind, owner: str) -> str:
    if kind not in STRUCTURES:
        raise ValueError(f"{owner} has the covariances {list(STRUCTURES)}; got {kind!r}.")
    return kind


def _above(covariance, lowest) -> bool:
    """Whether all covariances lie above the bound."""
    d = covariance.shape[-1]
    if d == 1:
        return bool((covariance >= lowest**2 * (1 - ROUNDING)).all())
    try:
        np.linalg.cholesky(covariance - lowest**2 * (1 - ROUNDING) * np.eye(d))
    except np.linalg.LinAlgError:
        return False
    return True


def _clipped(covariance, lowest):
    """Covariances with their eigenvalues raised to the bound."""
    values, vectors = np.linalg.eigh(covariance)
    values = np.maximum(values, lowest**2)
    return (vectors * values[..., None, :]) @ np.swapaxes(vectors, -1, -2)


def _bounded_factor(covariance, lowest):
    if not _above(covariance, lowest):
        covariance = _clipped(covariance, lowest)
    return np.linalg.cholesky(covariance)


def _factor_gradient(factor, covariance, mass):
    """(..., d, d) gradient of -mass (log det L + trace(L^-1 C L^-T) / 2), log of L's diagonal."""
    inverse = np.linalg.inv(factor)
    transposed = np.swapaxes(inverse, -1, -2)
    gradient = np.tril(transposed @ (inverse @ covariance @ transposed))
    diagonal = np.arange(factor.shape[-1])
    own = factor[..., diagonal, diagonal]
    gradient[..., diagonal, diagonal] = gradient[..., diagonal, diagonal] * own - 1
    return mass[..., None, None] * gradient
