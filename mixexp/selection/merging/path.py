"""Merging the experts of an over-fitted mixture: its dendrogram and the number that it suggests."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.utils.validation import check_is_fitted

from mixexp.selection.merging.steps import Floats, Parts, bend, by_entropy, by_measure

METHODS = ("measure", "entropy")


@dataclass(frozen=True)
class MergePath:
    """The experts of a fit, merged two by two down to one.

    Attributes
    ----------
    method : {"measure", "entropy"}
        How pairs were chosen.
    counts : ndarray of shape (K,)
        Numbers of experts, K, K - 1, ..., 1: one for each level of the path.
    merges : ndarray of shape (K - 1, 2)
        The pair merged at each step. Experts are 0..K-1; the result of step s is K + s.
    heights : ndarray of shape (K - 1,)
        What each merge cost: the distance of the pair, or the fall of the entropy.
    weights : ndarray of shape (K,)
        Mean gate probabilities of the experts.
    loglik : ndarray of shape (K,)
        Mean log-likelihood per unit of the merged mixture at each level. With "entropy" nothing
        but labels is merged, and it stays that of the fit.
    entropy : ndarray of shape (K,)
        Entropy of the merged responsibilities at each level.
    criterion : ndarray of shape (K - 1,)
        For ``counts[:-1]``, smaller is better: ``-(height + omega x loglik)``; with "entropy" the
        squared error of two straight pieces that meet there.
    n_experts : int
        The number that it chooses, at least 2.
    responsibilities : ndarray of shape (n, K)
        Of the fit.
    """

    method: str
    counts: NDArray[np.intp]
    merges: NDArray[np.intp]
    heights: Floats
    weights: Floats
    loglik: Floats
    entropy: Floats
    criterion: Floats
    n_experts: int
    responsibilities: Floats = field(repr=False)

    def labels(self, n_experts: int | None = None) -> NDArray[np.intp]:
        """(K,) group of every expert of the fit at a level of the path, the chosen by default."""
        total = len(self.counts)
        level = self.n_experts if n_experts is None else n_experts
        if level not in self.counts:
            raise ValueError(f"the path has 1 to {total} experts; got n_experts={level!r}.")
        group = np.arange(total)
        for step, pair in enumerate(self.merges[: total - level]):
            group[np.isin(group, pair)] = total + step
        _, first, inverse = np.unique(group, return_index=True, return_inverse=True)
        return np.argsort(np.argsort(first))[inverse]

    def start(self, n_experts: int | None = None) -> Floats:
        """(n, n_experts) responsibilities of the groups: a start for a fit of that size."""
        labels = self.labels(n_experts)
        return self.responsibilities @ np.eye(labels.max() + 1)[labels]

    def refit(self, model: Any, X: Any, y: Any, n_experts: int | None = None, **inputs: Any) -> Any:
        """A fit of the merged size that starts from the groups.

        Parameters
        ----------
        model : estimator
            Whose settings to use, such as the one that was merged.
        X, y : array-like
            The rows of `merge_path`, in the same order.
        n_experts : int, optional
            A level of the path; the chosen one by default.
        **inputs
            Row-wise inputs of ``fit``, such as ``sample_weight``.

        Returns
        -------
        estimator
            A fitted clone.
        """
        start = self.start(n_experts)
        new = clone(model).set_params(n_experts=start.shape[1], start=start).fit(X, y, **inputs)
        return new.set_params(start=clone(model).start)

    @property
    def linkage(self) -> Floats:
        """(K - 1, 4) matrix of `scipy.cluster.hierarchy`: pair, height, experts below.

        Heights are the largest so far ("measure": a merged pair may come closer to a third) or
        the entropy lost so far, so that they never fall.
        """
        draw = np.maximum.accumulate if self.method == "measure" else np.cumsum
        total = len(self.counts)
        below = [1] * total
        for pair in self.merges:
            below.append(below[pair[0]] + below[pair[1]])
        return np.column_stack([self.merges, draw(self.heights), below[total:]]).astype(float)


def merge_path(
    model: Any,
    X: Any,
    y: Any,
    *,
    method: str = "measure",
    omega: float | None = None,
    sample_weight: Any = None,
    offset: Any = None,
    exposure: Any = None,
    trials: Any = None,
) -> MergePath:
    """Merge the experts of a fitted mixture, the closest pair first, down to one.

    "measure" merges the mixing measure. The distance of two experts is ::

        w_i w_j / (w_i + w_j) (|b_i - b_j|^2 + sqrt(|a_i - a_j|^2 + |v_i - v_j|^2))

    with mean gate probabilities w, intercepts b at the centre of the columns, slopes a and
    dispersions v. Columns are standardised and a target with a unit is measured in dispersions
    (their weighted geometric mean), so that units do not matter. The merged gate is the sum of
    the two as functions of x, the merged expert their weighted mean. The number of experts
    minimises -(height + omega x mean log-likelihood of the merged mixture): experts in excess
    merge at little height. The theory is for softmax gates and Gaussian experts.

    "entropy" merges labels only: the pair whose union lowers the entropy of the responsibilities
    most. The number of experts is where the entropy, as a function of that number, bends: the
    best fit by two straight pieces. Several experts may then describe one group.

    Parameters
    ----------
    model : fitted MoERegressor or MoEClassifier
        With more experts than are believed in.
    X, y : array-like
        The rows of the fit.
    method : {"measure", "entropy"}, default="measure"
    omega : float, optional
        Weight of the log-likelihood; the default is log(n), n the sum of the weights.
    sample_weight, offset, exposure, trials : array-like of shape (n,), optional
        Row-wise inputs of the fit.

    Returns
    -------
    MergePath
        Heights, criterion, the chosen number, and starts for fits of any size on the path.

    Raises
    ------
    ValueError
        If there are too few experts to merge: two, or four for "entropy".

    References
    ----------
    Do, Do, McKinley, Terhorst and Nguyen (2024), "Dendrogram of mixing measures: learning latent
    hierarchy and model selection for finite mixture models", arXiv:2403.01684; for softmax gates
    arXiv:2510.12744. Baudry, Raftery, Celeux, Lo and Gottardo (2010), "Combining mixture
    components for clustering", Journal of Computational and Graphical Statistics 19, 332-353.
    """
    check_is_fitted(model)
    least = 2 if method == "measure" else 4
    if method not in METHODS:
        raise ValueError(f"method must be one of {METHODS}; got {method!r}.")
    if model.n_experts_ < least:
        raise ValueError(
            f"merging by {method!r} needs a fit with at least {least} experts; got "
            f"{model.n_experts_}. Fit more than you believe in."
        )
    inputs = {"offset": offset, "exposure": exposure, "trials": trials}
    parts = Parts.of(model, X, y, sample_weight, inputs)
    if method == "measure":
        steps = by_measure(parts)
        scale = np.log(parts.total) if omega is None else omega
        criterion = -(steps.heights + scale * steps.loglik[:-1])
    else:
        steps = by_entropy(parts)
        criterion = bend(steps.entropy)
    counts = np.arange(model.n_experts_, 0, -1)
    return MergePath(
        method=method,
        counts=counts,
        merges=steps.merges,
        heights=steps.heights,
        weights=parts.gate_weights,
        loglik=steps.loglik,
        entropy=steps.entropy,
        criterion=criterion,
        n_experts=int(counts[:-1][np.nanargmin(criterion)]),
        responsibilities=parts.responsibilities,
    )
