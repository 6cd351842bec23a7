"""`PathResult`: the fits of a path, as plain arrays and a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.base import clone

from mixexp._component import CRITERIA, Component, resolve
from mixexp.em.fitting import Fit
from mixexp.em.model import MoEModel
from mixexp.selection.path._chain import Strengths, at_strengths, with_strength
from mixexp.selection.path._setting import Setting
from mixexp.selection.path.relaxed import relax
from mixexp.selection.study.assemble import mean_and_error

SHOWN = ("aic", "bic", "mbic", "ebic")
# what a fit learns of its data before the parameters, beside those of scikit-learn
LEARNT = (
    "n_features_in_",
    "feature_names_in_",
    "classes_",
    "_n_outputs",
    "_gate_columns",
    "_expert_columns",
    "_monomials",
)
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class PathResult:
    """The outcome of `MoEPath`.

    Attributes
    ----------
    table : DataFrame
        One line for each fit: chain, alpha_gate, alpha_expert, objective (penalised, per unit
        weight), loglik, n_free, n_gate and n_expert (columns with a non-zero slope in any
        class or expert), the criteria (smaller is better), cv_loglik and cv_se (per row, larger
        is better; NaN without folds), certificate (largest violation of the optimality
        conditions), status, regular, source (where its start came from).
    coef : (T, K, ...) ndarray
        ``coef_`` of the fits on the user's scale; labels of experts follow the chain.
    gate_coef : (T, K, p) ndarray
    feature_names : dict of "gate" and "expert" to sequences of str
    column_scale : dict of "gate" and "expert" to (p,) ndarrays
        Standard deviations of the columns: slopes times these are comparable.
    cv_log_prob : (T, n) ndarray or None
        Out-of-fold log-densities.
    """

    table: pd.DataFrame
    coef: Floats
    gate_coef: Floats
    feature_names: Mapping[str, Sequence[str]]
    column_scale: Mapping[str, Floats]
    cv_log_prob: Floats | None
    _weight: Floats | None = field(repr=False)
    _template: Any = field(repr=False)
    _model: MoEModel = field(repr=False)
    _fits: Sequence[Fit] = field(repr=False)

    @classmethod
    def assemble(cls, setting: Setting, walks, scores) -> PathResult:
        """The result from the walks of the chains."""
        template, model, rows, chains = (
            setting.template,
            setting.model,
            setting.given,
            setting.chains,
        )
        fits = [fit for walked in walks for fit in walked.fits]
        if not fits:
            raise ValueError(
                "The fits have more than max_free parameters (or max_columns columns) at the "
                "strongest strengths already: give stronger penalties or larger limits; Gaussian "
                "experts with a penalty of their own may need scale_free=True."
            )
        places = [
            place
            for chain, walked in zip(chains, walks, strict=True)
            for place in chain[: len(walked.fits)]
        ]
        sources = [source for walked in walks for source in walked.sources]
        number = [c for c, walked in enumerate(walks) for _ in walked.fits]
        table = _table(places, fits, number, sources)
        cv = _held_out(rows.n, walks, scores)
        if cv is not None:
            scored = [mean_and_error(line, rows.weight) for line in cv]
            table["cv_loglik"], table["cv_se"] = np.array(scored).T
        fitted = [_fitted(template, model, place, fit) for place, fit in zip(places, fits)]
        names = {
            "gate": list(fitted[0].gate_feature_names_),
            "expert": list(fitted[0].expert_feature_names_),
        }
        scale = np.where(np.isfinite(model.scaling.x_scale), model.scaling.x_scale, 0.0)
        scales = {"gate": scale[model.gate_columns], "expert": scale[model.expert_columns]}
        return cls(
            table,
            np.stack([one.coef_ for one in fitted]),
            np.stack([one.gate_coef_ for one in fitted]),
            names,
            scales,
            cv,
            rows.weight,
            template,
            model,
            fits,
        )

    @property
    def support(self) -> NDArray[np.bool_]:
        """(T, K, p) non-zero slopes of the experts."""
        coef = self.coef
        extra = tuple(range(2, coef.ndim - 1))
        return (coef != 0).any(axis=extra) if extra else coef != 0

    @property
    def gate_support(self) -> NDArray[np.bool_]:
        """(T, K, p) non-zero slopes of the gate."""
        return self.gate_coef != 0

    def scores(self, criterion: Any) -> Floats:
        """(T,) scores of the fits, smaller is better.

        Parameters
        ----------
        criterion : str or Criterion
            "cv" is minus twice the cross-validated log-likelihood of all rows; other names are
            those of the registry, `SlopeHeuristic` among them.
        """
        if criterion == "cv":
            if self.cv_log_prob is None:
                raise ValueError("criterion='cv' needs a path with folds: MoEPath(..., cv=5).")
            weight = 1.0 if self._weight is None else self._weight
            return -2 * np.nansum(weight * self.cv_log_prob, axis=1)
        part = resolve(criterion, CRITERIA, "criterion")
        return part.scores([fit.summary for fit in self._fits])

    def best(self, criterion: Any = "bic", *, one_se: bool = False) -> int:
        """Line of the fit that the criterion chooses, a regular one where it can be.

        Likelihoods of the fitted rows flatter optima that are not regular: they are chosen only
        where the path has no other. Held-out rows do not, so that "cv" chooses such an optimum
        where every regular fit is worse by more than one paired standard error.

        Parameters
        ----------
        criterion : str or Criterion
            As in `scores`.
        one_se : bool
            With "cv": the fewest parameters among the fits within one paired standard error.
        """
        regular = self.table["regular"].to_numpy()
        scores = self.scores(criterion)
        scores = np.where(np.isnan(scores), np.inf, scores)
        if not np.isfinite(scores).any():
            raise ValueError(
                f"criterion={criterion!r} has no finite score on this path: choose by another, "
                "such as 'bic', or by the number of a line."
            )
        if criterion != "cv":
            if one_se:
                raise ValueError("one_se=True needs criterion='cv'.")
            usable = regular & np.isfinite(scores)
            return int(np.argmin(np.where(usable, scores, np.inf) if usable.any() else scores))
        within = self._within_one_error(int(np.argmin(scores)))
        pool = regular if (regular & within).any() else np.ones(len(regular), dtype=bool)
        best = int(np.argmin(np.where(pool, scores, np.inf)))
        if not one_se:
            return best
        near = pool & self._within_one_error(best)
        return int(np.argmin(np.where(near, self.table["n_free"], np.inf)))

    def _within_one_error(self, best: int) -> NDArray[np.bool_]:
        """(T,) fits whose held-out log-density is worse by one paired standard error at most."""
        assert self.cv_log_prob is not None
        gaps = [
            mean_and_error(self.cv_log_prob[best] - line, self._weight) for line in self.cv_log_prob
        ]
        within = np.array([mean <= error for mean, error in gaps])
        within[best] = True
        return within

    def model(self, choice: int | str | Component = "bic") -> Any:
        """The fitted estimator of a line, or of the line that a criterion chooses."""
        i = choice if isinstance(choice, int | np.integer) else self.best(choice)
        line = self.table.iloc[int(i)]
        place = Strengths(
            *(
                None if np.isnan(line[name]) else line[name]
                for name in ("alpha_gate", "alpha_expert")
            )
        )
        return _fitted(self._template, self._model, place, self._fits[int(i)])

    def relaxed(
        self,
        X: Any,
        y: Any,
        choice: int | str | Component = "bic",
        *,
        shrinkage: float = 0.0,
        sample_weight: Any = None,
        **inputs: Any,
    ) -> Any:
        """The estimator of a line, refitted on its support without its penalty; see `relax`.

        Parameters
        ----------
        X, y, shrinkage, sample_weight, **inputs
            As for `relax`; a result holds no rows.
        choice : int, str or Criterion
            As in `model`.
        """
        return relax(
            self.model(choice), X, y, shrinkage=shrinkage, sample_weight=sample_weight, **inputs
        )


def _table(places, fits, number, sources) -> pd.DataFrame:
    summaries = [fit.summary for fit in fits]
    columns = {
        "chain": number,
        "alpha_gate": [np.nan if place.gate is None else place.gate for place in places],
        "alpha_expert": [np.nan if place.expert is None else place.expert for place in places],
        "objective": [fit.objective_path[-1] for fit in fits],
        "loglik": [fit.summary.loglik for fit in fits],
        "n_free": [fit.summary.n_free for fit in fits],
        "n_gate": [_n_columns(fit.params.gate) for fit in fits],
        "n_expert": [_n_columns(fit.params.expert) for fit in fits],
    }
    for name in SHOWN:
        columns[name] = CRITERIA[name]().scores(summaries)
    columns |= {
        "cv_loglik": np.full(len(fits), np.nan),
        "cv_se": np.full(len(fits), np.nan),
        "certificate": [fit.certificate for fit in fits],
        "status": [fit.status.name for fit in fits],
        "regular": [fit.regular for fit in fits],
        "source": sources,
    }
    return pd.DataFrame(columns)


def _n_columns(params) -> int:
    used = params.coef[..., 1:] != 0
    return int(used.any(axis=tuple(range(used.ndim - 1))).sum())


def _held_out(n, walks, scores):
    """(T, n) log-densities of held-out rows; a fold that ended early gives its last fit."""
    if not scores or not scores[0]:
        return None
    lines = []
    for walked, folds in zip(walks, scores, strict=True):
        block = np.full((len(walked.fits), n), np.nan)
        if not all(values for _, values in folds):  # a fold without any fit: nothing to compare
            folds = []
        for test, values in folds:
            for i in range(len(walked.fits)):
                block[i, test] = values[min(i, len(values) - 1)]
        lines.append(block)
    return np.concatenate(lines)


def _fitted(template, model, place: Strengths, fit: Fit):
    """A fitted estimator with the strengths of a place."""
    # settings as a user would give them: those of the model are adapted to its rows already
    own = clone(template).set_params(
        gate=with_strength(template.gate, place.gate),
        expert=with_strength(template.expert, place.expert),
    )
    for name in LEARNT:
        if hasattr(template, name):
            setattr(own, name, getattr(template, name))
    own._store(at_strengths(model, place), fit)
    return own
