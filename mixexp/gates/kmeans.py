"""Gate of two-step methods: k-means on the gate's columns divides the rows, before the fit."""

from __future__ import annotations

import numpy as np
from scipy import sparse
from sklearn.base import clone
from sklearn.cluster import KMeans
from threadpoolctl import threadpool_limits

from .._component import GATES, Component, register
from ..kernels.reference import log_softmax
from ..scaling import moments
from .known import KnownGate, places


class KMeansPartition(Component):
    """Centres of k-means on standardised columns: what a fitted `KMeansGate` knows of its rows.

    Parameters
    ----------
    centre, scale : (p,) arrays
        Weighted means and standard deviations of the gate's columns.
    centres : (K, p) array
        On the standardised columns, in lexicographic order.
    """

    def __init__(self, centre, scale, centres):
        self.centre = centre
        self.scale = scale
        self.centres = centres

    def distances(self, X):
        """(n, K) squared distances of rows (n, p), in the user's units, from the centres."""
        z = (X - self.centre) / self.scale
        return np.column_stack([((z - centre) ** 2).sum(axis=1) for centre in self.centres])


@register(GATES, "kmeans")
class KMeansGate(KnownGate):
    """pi_k(x) by the distances of x from centres of k-means, which EM leaves alone.

    The two-step method: x alone divides the rows, and the experts are fitted to the parts; the
    statistical twin of routing to the nearest centroid. The columns are standardised; constant
    ones, and exact linear combinations of those before them, are left out. The centres are found
    once before the fit, from the distinct rows and their weights, and are functions of x alone:
    they are no free parameters, and inference on the experts is that given the gate.

    Parameters
    ----------
    temperature : float, default=0.0
        0: every row belongs to its nearest centre. Else probabilities proportional to
        exp(-d_k^2 / temperature), d_k the distance of the standardised columns from centre k;
        2 s^2 makes them those of spherical Gaussian classes of variance s^2 and equal size.
    n_init : int, default=10
        Starts of k-means.
    random_state : int, default=0
    partition : KMeansPartition or None
        Known centres; None finds them.

    References
    ----------
    MacQueen (1967), "Some methods for classification and analysis of multivariate observations",
    Proc. 5th Berkeley Symposium 1, 281-297.
    """

    uses_distances = True
    needs_independent_columns = True

    def __init__(self, temperature=0.0, n_init=10, random_state=0, partition=None):
        self.temperature = temperature
        self.n_init = n_init
        self.random_state = random_state
        self.partition = partition

    @property
    def learns_from_rows(self):  # type: ignore[override]
        return self.partition is None

    def for_rows(self, n_distinct):
        tau = self.temperature
        number = isinstance(tau, int | float | np.number) and not isinstance(tau, bool | np.bool_)
        if not number or not (np.isfinite(tau) and tau >= 0):
            raise ValueError(
                f"KMeansGate needs a temperature >= 0; got {tau!r}. 0 gives every row to its "
                "nearest centre; the larger it is the softer the gate."
            )
        return self

    def for_columns(self, X, columns, weight, K):
        if self.partition is None:
            found = _partition(X[:, columns], weight, K, self.n_init, self.random_state)
            return clone(self).set_params(partition=found)
        if np.shape(self.partition.centres) != (K, len(columns)):
            raise ValueError(
                f"KMeansGate: the partition has (centres, columns) = "
                f"{np.shape(self.partition.centres)}; the model needs {(K, len(columns))}. Leave "
                "partition=None to find one."
            )
        return self

    def probabilities(self, X):
        distances = self.partition.distances(X)
        if self.temperature == 0:
            return np.eye(distances.shape[1])[distances.argmin(axis=1)]
        return np.exp(log_softmax(-distances / self.temperature))

    def display(self, params, names):
        own = self.partition
        scale = np.where(np.isfinite(own.scale), own.scale, 0.0)
        return {"gate_centers_": own.centre + own.centres[places(params)] * scale}

    def table(self, params, names):
        centres = self.display(params, names)["gate_centers_"]
        rows = [f"centre {name}" for name in names] or ["class"]
        values = centres if len(names) else places(params)[:, None]
        return "Gate (k-means of x alone, not estimated with the experts)", rows, values


def _partition(X, weight, K, n_init, seed) -> KMeansPartition:
    """From the distinct rows in their order and the sums of their weights, whatever the rows'."""
    X = X.toarray() if sparse.issparse(X) else np.asarray(X)
    X = X.astype(np.float64)
    weight = np.ones(len(X)) if weight is None else weight
    X, weight = X[weight > 0], weight[weight > 0]
    if X.shape[1]:
        X, index = np.unique(X, axis=0, return_inverse=True)
        weight = np.bincount(np.ravel(index), weights=weight / weight.sum())
    else:
        X, weight = X[:1], weight[:1]
    centre, scale = moments(X, weight)
    z = (X - centre) / scale
    if K == 1:
        return KMeansPartition(centre, scale, np.zeros((1, z.shape[1])))
    if len(z) < K:
        raise ValueError(
            f"KMeansGate: {len(z)} distinct rows of the gate's columns cannot be divided into {K} "
            "classes. Choose fewer experts, or other columns by gate_features."
        )
    with threadpool_limits(limits=1):
        found = KMeans(K, n_init=n_init, random_state=seed).fit(z, sample_weight=weight)
    centres = found.cluster_centers_
    return KMeansPartition(centre, scale, centres[np.lexsort(centres.T[::-1])])
