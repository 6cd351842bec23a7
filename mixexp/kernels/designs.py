"""Products with a design block, dense or sparse: predictors, weighted Gram matrices, sums."""

from __future__ import annotations

import numpy as np
from scipy import sparse

SMALL_PRODUCTS = 1_000_000  # elements of the table x_a x_b that many Gram matrices may share


def linear(X, coef):
    """Linear predictors (rows, K) of a dense or sparse design and coefficients (K, q)."""
    return np.asarray(X @ coef.T)


def weighted_grams(X, V):
    """sum_i V_ij x_i x_i' for the columns of V (rows, J): (J, q, q)."""
    if sparse.issparse(X):
        return np.stack([(X.T @ sparse.diags_array(v) @ X).toarray() for v in V.T])
    n, q = X.shape
    if V.shape[1] > q * q and n * q * q <= SMALL_PRODUCTS:
        products = (X[:, :, None] * X[:, None, :]).reshape(n, q * q)
        return (V.T @ products).reshape(-1, q, q)
    return np.stack([(X * v[:, None]).T @ X for v in V.T])


def weighted_sums(X, U):
    """sum_i U_ij x_i for the columns of U (rows, J): (J, q)."""
    return np.asarray((X.T @ U).T)
