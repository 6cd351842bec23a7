"""`BLoMERegressor`: localised experts with blocks of correlated responses, found from the data."""

from __future__ import annotations

import numpy as np
import pandas as pd

from ..em.engines import engine_for
from ..em.fitting import fit_rows
from ..em.params import stack
from ..em.summary import FitSummary
from ..experts import MultivariateGaussianExpert
from ..solvers.blocks import structure_candidates
from .glome import GLoMERegressor


class BLoMERegressor(GLoMERegressor):
    """Localised mixture of experts with block-diagonal residual covariances, expert by expert.

    A `GLoMERegressor` with uncorrelated residuals is fitted first. The absolute residual
    correlations of each expert, thresholded at every level, give nested partitions of the
    responses; structures made of them are fitted in turn and compared by a criterion.

    Parameters
    ----------
    n_experts : int, default=2
    degree : int, default=1
        Degree of the experts' polynomial means.
    gate_covariance : {"full", "diagonal", "spherical"}, default="full"
    tied_gate_covariance : bool, default=False
    criterion : "bic" or Criterion, default="bic"
        What chooses the structure; an instance such as ``SlopeHeuristic()`` of
        `mixexp.selection` learns its penalty from the structures' fits.
    start : "default", MultiStart, fitted GLoMERegressor, or array
        Of the first fit.
    solver, warm_start, n_jobs, random_state
        As for `MoERegressor`.

    Attributes
    ----------
    blocks_ : list of K lists of lists of int
        The chosen partition of the responses for each expert.
    structures_ : pandas.DataFrame
        One row for each structure, from the finest on: n_free, loglik, score, regular, chosen, and
        blocks as text.

    The other attributes are those of `GLoMERegressor`.

    References
    ----------
    Nguyen, Nguyen, Chamroukhi and Forbes (2022), "A non-asymptotic approach for model selection
    via penalization in high-dimensional mixture of experts models", Electron. J. Stat. 16;
    Devijver, Gallopin and Perthame (2017), "Nonlinear network-based quantitative trait prediction
    from transcriptomic data", arXiv:1701.07899.

    Examples
    --------
    >>> import numpy as np
    >>> from mixexp import BLoMERegressor
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(300, 1))
    >>> noise = rng.normal(size=(300, 3))
    >>> noise[:, 1] += noise[:, 0]
    >>> model = BLoMERegressor(n_experts=1).fit(x, x + noise)
    >>> model.blocks_
    [[[0, 1], [2]]]
    """

    covariance = "diagonal"
    tied_covariance = False
    parametrisation = "forward"

    def __init__(
        self,
        n_experts=2,
        *,
        degree=1,
        gate_covariance="full",
        tied_gate_covariance=False,
        criterion="bic",
        start="default",
        solver=None,
        warm_start=False,
        n_jobs=None,
        random_state=None,
    ):
        self.n_experts = n_experts
        self.degree = degree
        self.gate_covariance = gate_covariance
        self.tied_gate_covariance = tied_gate_covariance
        self.criterion = criterion
        self.start = start
        self.solver = solver
        self.warm_start = warm_start
        self.n_jobs = n_jobs
        self.random_state = random_state

    def _fit_model(self, model, rows, *, start, given, callback, on_search, **settings):
        """The diagonal fit, then every structure from there; the best by the criterion."""
        if not (self.criterion == "bic" or hasattr(self.criterion, "scores")):
            raise ValueError(
                f"criterion must be 'bic' or a criterion of mixexp.selection; got "
                f"{self.criterion!r}."
            )
        first = fit_rows(
            model,
            rows,
            start=start,
            given=given,
            callback=callback,
            on_search=on_search,
            **settings,
        )
        models, fits, structures = [], [], self._structures(model, first, rows)
        for blocks in structures:
            expert = MultivariateGaussianExpert("block_diagonal", blocks=blocks, degree=self.degree)
            models.append(model._replace(expert=expert))
            begin = models[-1].rescale(first.params, model.scaling)
            fits.append(fit_rows(models[-1], rows, start=None, given=[begin], **settings))
        scores = self._scores([fit.summary for fit in fits])
        regular = np.array([fit.regular for fit in fits])
        best = int(np.argmin(np.where(regular | ~regular.any(), scores, np.inf)))
        self.structures_ = _structures_table(structures, fits, scores, best)
        return models[best], fits[best]._replace(optima=first.optima)

    def _structures(self, model, first, rows):
        """Candidates from the residual covariances under the diagonal fit."""
        full = model._replace(expert=MultivariateGaussianExpert("full", degree=self.degree))
        params = full.rescale(first.params, model.scaling)
        stats = engine_for(rows, full).run(full, stack([params])).statistics.expert
        mass = stats.mass[0]
        return structure_candidates(stats.outer[0] / np.maximum(mass, 1e-12)[:, None, None], mass)

    def _scores(self, summaries: list[FitSummary]):
        if self.criterion == "bic":
            return np.array([-2 * s.loglik + s.n_free * np.log(s.n_units) for s in summaries])
        return np.asarray(self.criterion.scores(summaries), dtype=float)

    def _set_coefficients(self):
        super()._set_coefficients()
        self.blocks_ = self._model_.expert.blocks

    def _extra(self):
        return {"structures": {name: list(col) for name, col in self.structures_.items()}}

    def _restore(self, extra):
        self.structures_ = pd.DataFrame(extra["structures"])


def _structures_table(structures, fits, scores, best) -> pd.DataFrame:
    records = [
        {
            "n_free": fit.summary.n_free,
            "loglik": fit.summary.loglik,
            "score": float(score),
            "regular": fit.regular,
            "chosen": i == best,
            "blocks": " | ".join(_text(partition) for partition in structure),
        }
        for i, (structure, fit, score) in enumerate(zip(structures, fits, scores, strict=True))
    ]
    return pd.DataFrame(records)


def _text(partition):
    return " ".join("{" + ",".join(map(str, block)) + "}" for block in partition)
