"""The experts' posterior probabilities: whether the gate foretells them, and how sure they are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.utils.validation import check_is_fitted

from mixexp.explain._priors import refuse_priors

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class GateCalibration:
    """Gate probabilities against posterior probabilities, in bins of equal weight.

    Where the model holds, E[r_k | x] = pi_k(x): the mean of the responsibilities in a bin is that
    of the gate up to its standard error.

    Attributes
    ----------
    gate, posterior, error : tuple of ndarray
        For every expert: mean gate probability, mean responsibility, and the standard error of
        their difference in each bin.
    counts : tuple of ndarray
        Rows in each bin.
    z : tuple of ndarray
        Differences in standard errors.
    experts : tuple of str
        Names of the experts.
    """

    gate: tuple[Floats, ...]
    posterior: tuple[Floats, ...]
    error: tuple[Floats, ...]
    counts: tuple[Floats, ...]
    experts: tuple[str, ...] = ()

    @property
    def z(self) -> tuple[Floats, ...]:
        """Differences of posterior and gate in standard errors."""
        return tuple(
            (r - g) / np.maximum(e, 1e-300)
            for r, g, e in zip(self.posterior, self.gate, self.error, strict=True)
        )


def gate_calibration(
    model: Any, X: Any, y: Any, *, bins: int = 10, sample_weight: Any = None, **inputs: Any
) -> GateCalibration:
    """Whether the gate foretells who speaks: reliability of its probabilities.

    On the rows of the fit the differences are a little smaller than their standard errors say; a
    softmax gate balances them along each of its columns. On new rows they are a fair test of the
    whole model, since responsibilities depend on the experts as well.

    It is the law p(y | x) that is tested, also of a fit with ``expert_prior=``: given a prior
    that knows more than x the responsibilities need not be calibrated, so none is taken.

    Parameters
    ----------
    model : fitted MoERegressor or MoEClassifier
        With two experts at least.
    X : array-like of shape (n, p)
    y : array-like of shape (n,) or (n, m)
    bins : int, default=10
        Bins of the gate probability, of equal numbers of rows.
    sample_weight : array-like (n,) or None
    **inputs
        Row-wise inputs ``offset``, ``exposure``, ``trials``.

    Returns
    -------
    GateCalibration
    """
    check_is_fitted(model)
    if model.n_experts_ < 2:
        raise ValueError("gate_calibration needs at least two experts; a single one has no gate.")
    model._model_.check_ungrouped("gate_calibration")
    refuse_priors("gate_calibration", inputs)
    gate, posterior = model.gate_proba(X), model.responsibilities(X, y, **inputs)
    n = len(gate)
    if not 1 <= bins <= n:
        raise ValueError(f"bins must lie between 1 and the number of rows, {n}; got {bins!r}.")
    weight = np.ones(n) if sample_weight is None else np.asarray(sample_weight, dtype=float)
    found = [_binned(gate[:, k], posterior[:, k], weight, bins) for k in range(gate.shape[1])]
    means, posterior_means, spread, counts = (tuple(part) for part in zip(*found, strict=True))
    names = tuple(model._expert_labels())
    return GateCalibration(means, posterior_means, spread, counts, names)


def _binned(
    gate: Floats, posterior: Floats, weight: Floats, bins: int
) -> tuple[Floats, Floats, Floats, Floats]:
    groups = [g for g in np.array_split(np.argsort(gate, kind="stable"), bins) if weight[g].sum()]
    share = [weight[g] / weight[g].sum() for g in groups]
    means = [
        np.array([s @ values[g] for s, g in zip(share, groups, strict=True)])
        for values in (gate, posterior)
    ]
    # the responsibilities' own spread: their variance given x has no closed form
    spread = [
        np.sqrt(s**2 @ (posterior[g] - gate[g]) ** 2) for s, g in zip(share, groups, strict=True)
    ]
    counts = np.array([len(g) for g in groups], dtype=float)
    return means[0], means[1], np.array(spread), counts


@dataclass(frozen=True)
class RowUncertainty:
    """How sure it is which expert a row belongs to.

    Attributes
    ----------
    uncertainty : ndarray of shape (n,)
        One less the largest responsibility.
    entropy : ndarray of shape (n,)
        Of the responsibilities, in nats.
    assigned : ndarray of shape (n,)
        The expert most responsible.
    experts : DataFrame
        One row per expert: ``rows`` (sum of weights) assigned to it; ``share``, its mean gate
        probability; ``mean_posterior`` of the rows assigned to it (above 0.7 is usual for useful
        classes; Nagin, 2005); ``odds``, those of a right assignment against those by the share
        alone (above 5 is usual); ``entropy``, its part of the total.
    total_entropy : float
        Weighted sum of the rows' entropies: what ICL adds.
    separation : float
        1 - total_entropy / (n log K): one for classes without overlap, zero for none.
    """

    uncertainty: Floats
    entropy: Floats
    assigned: NDArray[np.intp]
    experts: pd.DataFrame
    total_entropy: float
    separation: float


def row_uncertainty(
    model: Any, X: Any, y: Any, *, sample_weight: Any = None, **inputs: Any
) -> RowUncertainty:
    """Classification uncertainty of every row, by expert and in total.

    Nagin (2005), "Group-based modeling of development", section 5.4; Celeux and Soromenho (1996),
    Journal of Classification 13, 195-212.

    Parameters
    ----------
    model : fitted MoERegressor or MoEClassifier
    X : array-like of shape (n, p)
    y : array-like of shape (n,) or (n, m)
    sample_weight : array-like (n,) or None
    **inputs
        Row-wise inputs ``offset``, ``exposure``, ``trials``.

    Returns
    -------
    RowUncertainty
    """
    resp, gate = model.responsibilities(X, y, **inputs), model.gate_proba(X)
    n, K = resp.shape
    weight = np.ones(n) if sample_weight is None else np.asarray(sample_weight, dtype=float)
    parts = -np.where(resp > 0, resp * np.log(np.maximum(resp, 1e-300)), 0.0)
    assigned = resp.argmax(axis=1)
    largest = resp[np.arange(n), assigned]
    own = weight[:, None] * (assigned[:, None] == np.arange(K))
    rows = own.sum(axis=0)
    posterior = np.divide(largest @ own, rows, out=np.full(K, np.nan), where=rows > 0)
    share = weight @ gate / weight.sum()
    with np.errstate(divide="ignore", invalid="ignore"):
        odds = posterior / (1 - posterior) * (1 - share) / share
    total = float(weight @ parts.sum(axis=1))
    table = pd.DataFrame(
        {
            "rows": rows, "share": share, "mean_posterior": posterior, "odds": odds,
            "entropy": weight @ parts,
        },
        index=pd.Index(model._expert_labels()),
    )  # fmt: skip
    separation = 1.0 if K == 1 else 1 - total / (weight.sum() * np.log(K))
    return RowUncertainty(1 - largest, parts.sum(axis=1), assigned, table, total, separation)
