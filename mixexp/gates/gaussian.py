"""Gaussian gate: a joint model of x, whose classes are normal laws (localised experts)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy import sparse

from .._component import GATES, register
from ..kernels.designs import weighted_grams
from ..kernels.reference import log_softmax
from ..solvers import centred
from ..solvers.covariance import Covariance, block_mask, check_structure
from .base import Gate

ENTRIES = 1_000_000  # entries of a sparse design that are made dense at a time


class GaussianGateParams(NamedTuple):
    """logit (K,): centred log weights; mean (K, p); factor (K, p, p) or (K, p): of the covariances.

    Factors are those of `solvers.covariance`; means and factors are on standardised columns.
    """

    logit: np.ndarray
    mean: np.ndarray
    factor: np.ndarray


class GaussianGateStatistics(NamedTuple):
    """Weighted moments of (1, x): exact, whatever the parameters.

    first (K, q) = sum w r (1, x); second (K, p, p) = sum w r x x', or its diagonal (K, p);
    weight () = sum w.
    """

    first: np.ndarray
    second: np.ndarray
    weight: np.ndarray


@register(GATES, "gaussian")
class GaussianGate(Gate):
    """pi_k(x) proportional to pi_k N(x; c_k, Gamma_k), with x modelled jointly.

    The objective is the log-likelihood of (x, y), so that weights, centres and covariances have
    closed-form M-steps and a fit needs no gate solver. Columns that are constant, or (where the
    covariances have correlations) exact linear combinations of the columns before them, have no
    density and are left out of the gate.

    Parameters
    ----------
    covariance : {"full", "diagonal", "spherical", "block_diagonal"}, default="full"
        Structure of Gamma_k on the standardised columns: "spherical" has one variance for all
        of them.
    tied_covariance : bool, default=False
        One covariance for all classes; the gate's log odds are then linear in x.
    blocks : list of lists of int, or None
        For "block_diagonal": a partition of the positions among the gate's columns.
    min_scale : float, default=5e-3
        Least standard deviation of a class along any direction of the standardised columns.
        Without a bound the likelihood has no maximum. Where it is inactive the fit is exact
        maximum likelihood; a fit that leans on it says so.

    References
    ----------
    Xu, Jordan and Hinton (1995), "An alternative model for mixtures of experts", NIPS 7;
    Nguyen, Nguyen, Chamroukhi and Forbes (2022), "A non-asymptotic approach for model selection
    via penalization in high-dimensional mixture of experts models", Electron. J. Stat. 16.
    """

    joint = True

    def __init__(self, covariance="full", tied_covariance=False, blocks=None, min_scale=5e-3):
        self.covariance = covariance
        self.tied_covariance = tied_covariance
        self.blocks = blocks
        self.min_scale = min_scale

    def structure(self, p) -> Covariance:
        """The covariances' structure for p columns."""
        kind = check_structure(self.covariance, type(self).__name__)
        if not self.min_scale > 0:
            raise ValueError(f"GaussianGate needs min_scale > 0; got {self.min_scale!r}.")
        mask = block_mask(self.blocks, p) if kind == "block_diagonal" else None
        return Covariance(kind, bool(self.tied_covariance), float(self.min_scale), mask)

    @property
    def needs_independent_columns(self):  # type: ignore[override]
        return self.covariance in ("full", "block_diagonal")

    def initial(self, K, q):
        p = q - 1
        return GaussianGateParams(np.zeros(K), np.zeros((K, p)), self.structure(p).unit(K, p))

    def log_joint(self, params, X):
        """(n, K) log of pi_k N(x; c_k, Gamma_k), on the standardised columns."""
        return self.log_classes(params, X) + log_softmax(params.logit)

    def log_classes(self, params, X):
        """(n, K) log N(x; c_k, Gamma_k), on the standardised columns."""
        K, p = params.mean.shape
        structure = self.structure(p)
        out = np.empty((X.shape[0], K))
        for rows, part in _dense_parts(X):
            out[rows] = structure.log_classes(part[:, 1:], params.mean, params.factor)
        return out

    def log_prob(self, params, X):
        return log_softmax(self.log_joint(params, X))

    def statistics(self, params, X, resp, weight):
        K, p = params.mean.shape
        dense = self.structure(p).dense
        first = np.zeros((K, p + 1))
        second = np.zeros((K, p, p) if dense else (K, p))
        for rows, part in _dense_parts(X):
            r = resp[rows]
            if dense:
                moments = weighted_grams(part, r)
                first += moments[:, 0]
                second += moments[:, 1:, 1:]
            else:
                first += r.T @ part
                second += r.T @ part[:, 1:] ** 2
        return GaussianGateStatistics(first, second, np.asarray(weight.sum()))

    def m_step(self, params, stats):
        mass = stats.first[..., 0]
        total = stats.weight[..., None]
        occupied = (mass > 1e-12 * total)[..., None]
        mean = stats.first[..., 1:] / np.where(occupied, mass[..., None], 1.0)
        mean = np.where(occupied, mean, params.mean)
        structure = self.structure(mean.shape[-1])
        moment = _about(structure, stats, mean)
        # an empty class keeps a probability that no row can notice
        logit = np.log(np.maximum(mass, 1e-12 * total))
        return GaussianGateParams(
            centred(logit[..., None])[..., 0],
            mean,
            structure.estimate(moment, mass, params.factor),
        )

    def gradient(self, params, stats):
        mass, total = stats.first[..., 0], stats.weight[..., None]
        structure = self.structure(params.mean.shape[-1])
        moment = _about(structure, stats, params.mean)
        logit = mass - total * np.exp(log_softmax(params.logit))
        shift = stats.first[..., 1:] - mass[..., None] * params.mean
        mean = structure.solve(params.factor, shift)
        factor = structure.gradient(params.factor, moment, mass)
        return np.concatenate([logit, _flat(mean), _flat(factor)], axis=-1) / total

    def penalty_value(self, params):
        return np.zeros(params.logit.shape[:-1])

    def pack(self, params):
        structure = self.structure(params.mean.shape[-1])
        parts = params.logit, _flat(params.mean), _flat(structure.pack(params.factor))
        return np.concatenate(parts, axis=-1)

    def unpack(self, vector, params):
        K, p = params.mean.shape[-2:]
        structure, lead = self.structure(p), vector.shape[:-1]
        logit = centred(vector[..., :K, None])[..., 0]
        mean = vector[..., K : K + K * p].reshape(*lead, K, p)
        factor = vector[..., K + K * p :].reshape(*lead, K, structure.size(p))
        return GaussianGateParams(logit, mean, structure.unpack(factor, p))

    def contrasts(self, params, names, reference):
        """Centred log weights, centres, and the entries of the covariances' factors."""
        K, p = params.mean.shape
        size = self.structure(p).pack(params.factor).shape[-1]
        labels = [f"gate {k}: log weight" for k in range(K)]
        labels += [f"gate {k}: centre of {names[j]}" for k in range(K) for j in range(p)]
        labels += [f"gate {k}: factor[{a}]" for k in range(K) for a in range(size)]
        return labels, np.eye(len(labels))

    def n_free(self, params):
        K, p = params.mean.shape
        return K - 1 + K * p + self.structure(p).n_free(K, p)

    def bounded(self, params):
        return self.structure(params.mean.shape[-1]).bounded(params.factor)

    def rows_needed(self, params):
        p = params.mean.shape[-1]
        return self.structure(p).rows_needed(p)

    def shift(self, stats, step):
        return stats

    def split(self, params, k, share):
        logit, mean, factor = (np.concatenate([leaf, leaf[k : k + 1]]) for leaf in params)
        logit[-1] += np.log(share)
        logit[k] += np.log1p(-share)
        return GaussianGateParams(logit - logit.mean(), mean, factor)

    def flatten(self, params, share):
        """Centres and covariances drawn towards those of all classes together."""
        weight = np.exp(log_softmax(params.logit))
        structure = self.structure(params.mean.shape[-1])
        middle = weight @ params.mean
        apart = params.mean - middle
        own = structure.matrices(params.factor) if structure.dense else params.factor**2
        between = apart[:, :, None] * apart[:, None, :] if structure.dense else apart**2
        whole = np.tensordot(weight, own + between, 1)
        mixed = share * own + (1 - share) * whole
        factor = np.linalg.cholesky(mixed) if structure.dense else np.sqrt(mixed)
        return GaussianGateParams(params.logit, middle + share * apart, structure.project(factor))

    def rescale(self, params, columns, old, new):
        old, new = old.of(columns), new.of(columns)
        # a column that is constant in one sample has no unit there
        old_scale, new_scale = (
            np.where(np.isinf(scaling.x_scale), other.x_scale, scaling.x_scale)
            for scaling, other in ((old, new), (new, old))
        )
        both = np.isinf(old_scale)
        old_scale, new_scale = np.where(both, 1.0, old_scale), np.where(both, 1.0, new_scale)
        mean = (params.mean * old_scale + old.x_centre - new.x_centre) / new_scale
        structure = self.structure(params.mean.shape[-1])
        factor = structure.rescaled(params.factor, old_scale / new_scale)
        return GaussianGateParams(params.logit, mean, factor)

    def sample(self, params, n, rng):
        """(n, p) draws of x on the gate's columns, and their classes (n,)."""
        weight = np.exp(log_softmax(params.logit))
        labels = rng.choice(len(weight), size=n, p=weight / weight.sum())
        structure = self.structure(params.mean.shape[-1])
        return params.mean[labels] + structure.draw(params.factor, labels, rng), labels

    def display(self, params, names):
        structure = self.structure(params.mean.shape[-1])
        return {
            "gate_weights_": np.exp(log_softmax(params.logit)),
            "gate_means_": params.mean,
            "gate_covariances_": structure.matrices(params.factor),
        }

    def table(self, params, names):
        structure = self.structure(params.mean.shape[-1])
        spread = np.sqrt(np.einsum("kaa->ka", structure.matrices(params.factor)))
        rows = ["weight", *(f"mean {name}" for name in names), *(f"sd {name}" for name in names)]
        weight = np.exp(log_softmax(params.logit))
        title = f"Gate (Gaussian classes of x, {self.covariance} covariance)"
        return title, rows, np.column_stack([weight, params.mean, spread])


def _about(structure, stats, mean):
    """Moments about ``mean`` from those about zero."""
    mass, first = stats.first[..., 0], stats.first[..., 1:]
    if not structure.dense:
        return stats.second - 2 * mean * first + mass[..., None] * mean**2
    cross = mean[..., :, None] * first[..., None, :]
    outer = mean[..., :, None] * mean[..., None, :]
    return stats.second - cross - np.swapaxes(cross, -1, -2) + mass[..., None, None] * outer


def _flat(array):
    return array.reshape(*array.shape[:-2], -1)


def _dense_parts(X):
    """(slice, dense rows) pairs; a sparse design is made dense a part at a time."""
    if not sparse.issparse(X):
        yield slice(None), X
        return
    step = max(1, ENTRIES // X.shape[1])
    for start in range(0, X.shape[0], step):
        rows = slice(start, start + step)
        yield rows, X[rows].toarray()
