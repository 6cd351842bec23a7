"""The degree of polynomial means: columns of monomials that an estimator adds for the experts."""

from __future__ import annotations

import numbers

import numpy as np
from scipy import sparse


def check_degree(degree) -> int:
    """The degree as an int.

    Raises
    ------
    ValueError
        If it is not an integer of at least 1.
    """
    if isinstance(degree, bool) or not isinstance(degree, numbers.Integral) or degree < 1:
        raise ValueError(f"degree must be an integer >= 1; got degree={degree!r}.")
    return int(degree)


def with_monomials(X, columns, degree: int):
    """X (n, p) followed by the monomials of degree 2 to ``degree`` in some of its columns.

    scikit-learn's `PolynomialFeatures` makes them; products are float64.
    """
    if degree == 1:
        return X
    chosen = X[:, columns].astype(np.float64)
    added = _polynomial(degree).fit(chosen).transform(chosen)[:, 1 + len(columns) :]
    if sparse.issparse(X):
        return sparse.csr_array(sparse.hstack([X, added], format="csr"))
    return np.hstack([X, added])


def monomial_names(names, degree: int) -> list[str]:
    """Names of the columns that `with_monomials` adds, such as "x0^2" and "x0 x1"."""
    if degree == 1:
        return []
    features = _polynomial(degree).fit(np.zeros((1, len(names))))
    return list(features.get_feature_names_out([str(name) for name in names])[1 + len(names) :])


def _polynomial(degree):
    from sklearn.preprocessing import PolynomialFeatures

    return PolynomialFeatures(degree)
