"""The supporting sample: covariates on which divergences are averaged."""

from __future__ import annotations

import numpy as np
from scipy import sparse
from sklearn.utils.validation import check_array

SMALLEST = 2000
PER_PARAMETER = 10  # rows for each coefficient of the reduced gate


def default_size(n_experts: int, n_columns: int) -> int:
    """max(2000, 10 (K - 1) (p + 1)): ten rows for each coefficient of the gate.

    (K - 1) (p + 1) rows are the least that determine the gate. More rows than 2000 change little:
    what remains is the local fits' own error.
    """
    return max(SMALLEST, PER_PARAMETER * (n_experts - 1) * (n_columns + 1))


def check_support(support, fits, n_experts, seed) -> np.ndarray:
    """(S, p) rows of the support: those given, or so many drawn from the fits' moments.

    Raises
    ------
    ValueError
        If the rows have another number of columns, or are too few for the gate, or moments are
        needed that a fit does not hold.
    """
    p = fits[0].n_features
    least = (n_experts - 1) * (len(fits[0].gate_columns) + 1)
    if support is None or np.ndim(support) == 0:
        size = default_size(n_experts, len(fits[0].gate_columns)) if support is None else support
        if isinstance(size, bool) or not isinstance(size, int | np.integer) or size < 1:
            raise ValueError(
                f"support must be rows (S, {p}), a number of rows to draw, or None; got "
                f"{support!r}."
            )
        rows = draw_from_moments(fits, int(size), seed)
    else:
        rows = check_array(support, accept_sparse="csr", dtype=np.float64, input_name="support")
        rows = rows.toarray() if sparse.issparse(rows) else rows
    if rows.shape[1] != p:
        raise ValueError(f"support has {rows.shape[1]} columns; the local fits have {p}.")
    if len(rows) < least:
        raise ValueError(
            f"support has {len(rows)} rows, fewer than the {least} coefficients of the gate: give "
            f"at least {default_size(n_experts, len(fits[0].gate_columns))}."
        )
    return rows


def draw_from_moments(fits, size, seed) -> np.ndarray:
    """(size, p) rows of the mixture of normal laws with the partitions' means and covariances."""
    check_moments(fits, "support=None draws rows from")
    rng = np.random.default_rng(seed)
    share = np.array([fit.n_rows for fit in fits])
    counts = rng.multinomial(size, share / share.sum())
    parts = [
        rng.multivariate_normal(
            fit.moments.mean, fit.moments.covariance, count, check_valid="ignore", method="eigh"
        )
        for fit, count in zip(fits, counts, strict=True)
        if count
    ]
    return np.concatenate(parts)


def check_moments(fits, what) -> None:
    """Refuse fits without means and covariances; ``what`` says what asks for them."""
    without = [m for m, fit in enumerate(fits) if fit.moments is None]
    if without:
        raise ValueError(
            f"{what} the moments of the local fits, which those at positions {without[:5]} do not "
            "hold: use LocalFit.of(model, X) there, or give support= rows of covariates and "
            "weighting='sizes'."
        )
