"""What the local fits lose by being combined: does the mixture still say what they say?

If the rows of partition m followed its local fit f_m, the combined law f would lose
KL(f_m || f) of log-likelihood a row. Local fits of d parameters to n_m rows that agree but for
sampling error lose about d / (2 n_m) each. Where they divide the data in different ways the loss is
many times that, and f may be a worse law of y than any one of them, however small the divergence is
that the reduction minimises: that one leaves the gate out.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..em.params import MoEParams
from ..kernels.reference import log_softmax
from .large import LargeMixture

ROWS = 2000  # of the support at most, times two draws of y for each local fit ...
LEAST, ALL = 250, 16000  # ... and fewer, but so many, where all fits together would take more
SAMPLING = 10.0  # times the loss of fits that agree, below which nothing is said ...
TYPICAL = 6.0  # ... nor where the middle one loses less: then it is a few that stand apart
ROUNDING = 0.01  # of log-likelihood a row, likewise: errors of the draws


class Loss(NamedTuple):
    """Expected log-likelihoods a row, with y from the local fits.

    own : (M,) array
        Of each fit under itself.
    combined : (M,) array
        Of the combined mixture under each fit.
    share : (M,) array
        Weights of the fits on the support.
    sampling : (M,) array
        The loss of fits that agree: their parameters over twice their rows.
    """

    own: np.ndarray
    combined: np.ndarray
    share: np.ndarray
    sampling: np.ndarray

    @property
    def value(self) -> float:
        """Mean Kullback-Leibler divergence from the local fits to the combined mixture."""
        return float(self.share @ (self.own - self.combined))

    @property
    def ratio(self) -> float:
        """The loss in units of that of fits that agree."""
        return self.value / float(self.share @ self.sampling)

    @property
    def is_disagreement(self) -> bool:
        """Whether the result is below all fits, and by far more than sampling error."""
        below = self.share @ self.combined < self.own.min() - ROUNDING
        typical = np.median((self.own - self.combined) / self.sampling)
        return bool(below and self.ratio > SAMPLING and typical > TYPICAL)

    def __str__(self):
        return (
            f"The combined model may be worse than every local fit: if y followed these, it would "
            f"lose {self.value:.2g} of log-likelihood a row, {self.ratio:.0f} "
            "times what fits that agree lose. The fits divide the data in different ways, of which "
            "no combination is good. Fit the partitions again from a common start (start=pilot, a "
            "model that all receive), with more starts (MultiStart(n_starts=...)) or another "
            "number of experts; leave out fits that agree with no others (robust=True); or keep "
            "one of the fits (method='middle') and improve it by EM over all partitions (refine, "
            "step='em')."
        )


def loss_of_fits(mixture: LargeMixture, params: MoEParams, seed: int) -> Loss | None:
    """What a combined mixture, on the large one's scale, loses; None where it cannot be compared.

    It cannot where a local fit has more experts than the result is to have.
    """
    if max(fit.n_experts for fit in mixture.fits) > mixture.K:
        return None
    M = len(mixture.fits)
    part, rng = mixture.thinned(min(ROWS, max(LEAST, ALL // M))), np.random.default_rng(seed)
    family, combined = part.family, family_law(part, params)
    sums, share = np.empty((2, M)), np.empty(M)
    for m, local in enumerate(part.local):
        here = part.weight[:, part.of(m)]
        origin = here.sum(axis=1)
        share[m] = origin.mean()
        own = family_law(part, local)
        targets = family.targets(own[1], np.exp(own[0]), rng)
        for i, law in enumerate((own, combined)):
            sums[i, m] = origin @ family.log_density(targets, *law) / max(origin.sum(), 1e-300)
    sampling = np.array([_n_free(fit) / (2 * fit.n_rows) for fit in part.fits])
    return Loss(sums[0], sums[1], share, sampling)


def family_law(mixture, params):
    """(S, K) log gate probabilities and the experts' values on the support."""
    log_gate = log_softmax(mixture.X_gate @ params.gate.coef.T)
    return log_gate, mixture.family.values(params.expert, mixture.X)


def _n_free(fit):
    """Free parameters of a local fit: of its gate and its experts."""
    J, scale = fit.coef.shape[1], 0 if fit.scale is None else fit.scale.size
    own = fit.coef.size if fit.scale is not None else fit.coef.size * (J - 1) // J
    return fit.gate_coef[1:].size + own + scale
