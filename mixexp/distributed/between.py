"""The transportation divergence between two mixtures of experts, for users."""

from __future__ import annotations

import numpy as np
from scipy import sparse
from sklearn.utils.validation import check_array

from ..em.rows import Scaling, design
from ..em.threads import single_threaded_blas
from ..kernels.reference import log_softmax
from .divergence import relaxed, transportation
from .families import FAMILIES
from .local import LocalFit, difference


def transport_divergence(one, other, X, *, marginals: str = "both") -> float:
    """Expected transportation divergence T_c from one mixture of experts to another.

    At each x the experts' laws of y are moved from ``one`` to ``other`` at the least cost, where
    moving an expert costs the Kullback-Leibler divergence at x; the gates say how much there is to
    move and where it must arrive. The mean is over the rows of X.

    Parameters
    ----------
    one, other : LocalFit, or fitted MoERegressor or MoEClassifier
        Of the same columns and responses, and of one family. Numbers of experts may differ, and the
        columns that gates and experts see.
    X : (S, p) array
    marginals : {"both", "first"}
        "first" leaves the gate of ``other`` out: each expert goes to the nearest, which is what the
        reduction minimises. It is never larger.

    Returns
    -------
    float
        Zero where the mixtures are equal; not symmetric.

    Raises
    ------
    ValueError
        If the models are not comparable, or X has another number of columns.

    References
    ----------
    Chamroukhi and Pham (2023), "Distributed learning of mixtures of experts", arXiv:2312.09877.
    """
    fits = [fit if isinstance(fit, LocalFit) else LocalFit.of(fit) for fit in (one, other)]
    first, second = fits
    apart = difference(first, second, laws_only=True)
    if apart:
        raise ValueError(
            f"The models are not comparable: they differ in {apart}. Fit both to the same columns "
            "and the same target."
        )
    if marginals not in ("both", "first"):
        raise ValueError(f"marginals must be 'both' or 'first'; got {marginals!r}.")
    X = check_array(X, accept_sparse="csr", dtype=np.float64, input_name="X")
    X = X.toarray() if sparse.issparse(X) else X
    if X.shape[1] != first.n_features:
        raise ValueError(f"X has {X.shape[1]} columns; the models have {first.n_features}.")
    if first.family == "multinomial":
        classes = np.unique(np.concatenate([fit.classes for fit in fits]))
        fits = [fit.with_classes(classes) for fit in fits]
    family = FAMILIES[first.family]
    with single_threaded_blas():
        (weight, values), (other_weight, others) = (_at(fit, family, X) for fit in fits)
        if marginals == "first":
            return relaxed(family, weight, values, others, other_weight.shape[1])
        return transportation(family, weight, values, other_weight, others)


def _at(fit, family, X):
    """Gate probabilities (S, K) and the experts' values at the rows of X."""
    plain = Scaling.identity(fit.n_features, 1)
    logits = design(X, fit.gate_columns, plain) @ fit.gate_coef.T
    return np.exp(log_softmax(logits)), family.values(
        fit.params.expert, design(X, fit.expert_columns, plain)
    )
