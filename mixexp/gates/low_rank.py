"""The gate of an inverse regression read forward: Gaussian classes of low rank plus diagonal."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .._component import Component
from ..kernels.reference import log_softmax
from ..scaling import design
from ..solvers.covariance import LOG_2PI
from .gaussian import _dense_parts


class LowRankParams(NamedTuple):
    """logit (K,); mean (K, p); scale (K, p) > 0; loading (K, p, r).

    The covariance of class k is diag(scale_k^2) + loading_k loading_k'.
    """

    logit: np.ndarray
    mean: np.ndarray
    scale: np.ndarray
    loading: np.ndarray


class LowRankGate(Component):
    """pi_k(x) proportional to pi_k N(x; c_k, diag(s_k^2) + U_k U_k'), for predictions alone.

    No M-step: the parameters come from a fitted inverse regression (`em.inverse`). Rows cost
    n p r, and no p x p matrix is made (Woodbury's identity and the determinant lemma).
    """

    joint = True
    uses_columns = True
    needs_independent_columns = False

    def design(self, X, columns, scaling):
        """(n, 1 + p) columns of X behind ones."""
        return design(X, columns, scaling)

    def log_classes(self, params, X):
        """(n, K) log densities of a design X (n, 1 + p)."""
        out = np.empty((X.shape[0], len(params.mean)))
        for rows, part in _dense_parts(X):
            for k in range(len(params.mean)):
                out[rows, k] = _log_density(
                    part[:, 1:] - params.mean[k], params.scale[k], params.loading[k]
                )
        return out

    def log_joint(self, params, X):
        """(n, K) log of pi_k N(x; ...)."""
        return self.log_classes(params, X) + log_softmax(params.logit)

    def log_prob(self, params, X):
        """(n, K) log gate probabilities."""
        return log_softmax(self.log_joint(params, X))

    def in_user_units(self, params):
        """Parameters as they are shown."""
        return params

    def rescale(self, params, columns, old, new):
        """The parameters where nothing changes; they live in the user's units.

        Raises
        ------
        ValueError
            For another standardisation.
        """
        old, new = old.of(columns), new.of(columns)
        same = np.array_equal(old.x_scale, new.x_scale)
        if not (same and np.array_equal(old.x_centre, new.x_centre)):
            raise ValueError("LowRankGate lives in the user's units and is not rescaled.")
        return params

    def sample(self, params, n, rng):
        """(n, p) draws of x and their classes (n,)."""
        weight = np.exp(log_softmax(params.logit))
        labels = rng.choice(len(weight), size=n, p=weight / weight.sum())
        own = rng.standard_normal((n, params.mean.shape[1])) * params.scale[labels]
        common = rng.standard_normal((n, params.loading.shape[2]))
        out = params.mean[labels] + own
        for k in np.unique(labels):
            out[labels == k] += common[labels == k] @ params.loading[k].T
        return out, labels

    def display(self, params, names):
        """Fitted attributes of estimators."""
        return {
            "gate_weights_": np.exp(log_softmax(params.logit)),
            "gate_means_": params.mean,
            "gate_scales_": params.scale,
            "gate_loadings_": params.loading,
        }

    def table(self, params, names):
        """Title, row names and values of a summary: at most twenty columns of x."""
        names, spread = names[:20], np.sqrt(params.scale**2 + (params.loading**2).sum(axis=2))
        rows = ["weight", *(f"mean {name}" for name in names), *(f"sd {name}" for name in names)]
        shown = len(names)
        weight = np.exp(log_softmax(params.logit))
        values = np.column_stack([weight, params.mean[:, :shown], spread[:, :shown]])
        return "Gate (Gaussian classes of x, low rank plus diagonal)", rows, values


def _log_density(E, scale, loading):
    """(n,) log N(e; 0, diag(scale^2) + loading loading')."""
    p, r = loading.shape
    white = E / scale
    scaled = loading / scale[:, None]
    factor = np.linalg.cholesky(np.eye(r) + scaled.T @ scaled)
    common = np.linalg.solve(factor, (white @ scaled).T)
    squares = np.einsum("np,np->n", white, white) - np.einsum("rn,rn->n", common, common)
    log_volume = np.log(scale).sum() + np.log(np.diagonal(factor)).sum()
    return -0.5 * squares - log_volume - 0.5 * p * LOG_2PI
