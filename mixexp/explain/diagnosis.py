"""Every check of a fit at once, and why those that could not be made were not."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from mixexp.explain._checks import check_rowwise
from mixexp.explain.calibration import (
    ClassCalibration,
    PITHistogram,
    Residuals,
    class_calibration,
    pit_histogram,
)
from mixexp.explain.influence import Influence, influence
from mixexp.explain.leverage import Leverage, leverage
from mixexp.explain.posterior import (
    GateCalibration,
    RowUncertainty,
    gate_calibration,
    row_uncertainty,
)
from mixexp.explain.residuals import Worm, quantile_residuals, worms
from mixexp.inference import InferenceResult

INFLUENCE_ROWS = 1000  # seconds grow with the square of the rows
LEVERAGE_ROWS = 5000
UNWEIGHTED = (
    "residuals are those of the rows: their band and p-value count every row once; pit and worm "
    "take the weights"
)


@dataclass(frozen=True)
class Diagnosis:
    """What can be said of a fit; each part is None where it was refused.

    Attributes
    ----------
    inference : InferenceResult or None
        Estimates with standard errors.
    residuals : Residuals or None
        Randomised quantile residuals of the rows; not of classes or several responses.
    pit : PITHistogram or None
    worm : Worm or None
        Of all rows.
    classes : ClassCalibration or None
        Of a classifier.
    gate : GateCalibration or None
    uncertainty : RowUncertainty or None
    influence : Influence or None
    leverage : Leverage or None
    refused : mapping of str to str
        The reason for each part, by its name above, that does not exist at this fit or was left
        out. Parts that have no meaning for the kind of model are not listed.
    notes : tuple of str
        What to know of the parts that were made.
    """

    inference: InferenceResult | None = None
    residuals: Residuals | None = None
    pit: PITHistogram | None = None
    worm: Worm | None = None
    classes: ClassCalibration | None = None
    gate: GateCalibration | None = None
    uncertainty: RowUncertainty | None = None
    influence: Influence | None = None
    leverage: Leverage | None = None
    refused: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        made = [name for name in PARTS if getattr(self, name) is not None]
        lines = [f"Diagnosis: {', '.join(made)}"]
        lines += [f"no {name}: {why}" for name, why in self.refused.items()]
        return "\n".join(lines + list(self.notes))


PARTS = (
    "inference", "residuals", "pit", "worm", "classes", "gate", "uncertainty", "influence",
    "leverage",
)  # fmt: skip


def diagnose(
    model: Any, X: Any, y: Any = None, *, sample_weight: Any = None, groups: Any = None,
    covariance: str = "observed", random_state: int | None = 0, most_rows: int | None = None,
    **inputs: Any,
) -> Diagnosis:  # fmt: skip
    """Standard errors, residuals, calibration, influence, leverage and certainty of a fit.

    Parameters
    ----------
    model : fitted MoERegressor or MoEClassifier
        One expert or more. Of a formula's model see `FormulaMoE.diagnose`.
    X : array-like of shape (n, p)
        The rows of the fit.
    y : array-like of shape (n,) or (n, m)
        Required; a dataset, which has it, is refused by name.
    sample_weight : array-like (n,) or None
        As in the fit.
    groups : array-like (n,) or None
        As in the fit.
    covariance : str
        Of the standard errors; see `MoERegressor.inference`.
    random_state : int or None
        Seed of the residuals of counts.
    most_rows : int or None
        Rows up to which influence and leverage are computed; None is 1,000 and 5,000.
    **inputs
        Row-wise inputs ``offset``, ``exposure``, ``trials``.

    Returns
    -------
    Diagnosis
        A part that this fit does not have is None, with its reason in ``refused``.

    Raises
    ------
    ValueError
        If the model is not fitted or of another kind, or X and y are not rows for it.
    """
    instead = (
        "Of a formula's model call model.diagnose(frame); of random effects see model.summary() "
        "and model.variance_components_."
    )
    check_rowwise(model, "diagnose", instead)
    model._rows(X, y, **_without(inputs))  # what cannot be rows of the fit is refused here
    if y is None:
        raise ValueError("diagnose needs y, the target of the fit, beside X.")
    both = {"sample_weight": sample_weight} | inputs
    grouped = {} if groups is None else {"groups": groups}
    n = np.shape(X)[0]
    several = model.n_experts_ > 1
    tasks: dict[str, Callable[[], Any]] = {
        "inference": lambda: model.inference(
            X, y, covariance=covariance, **_groups_for(model, grouped, covariance), **both
        )
    }
    if hasattr(model, "classes_"):
        tasks["classes"] = lambda: class_calibration(
            model.predict_proba(X), np.asarray(y), model.classes_, sample_weight=sample_weight
        )
    else:
        tasks["residuals"] = lambda: quantile_residuals(
            model, X, y, random_state=random_state, **_without(inputs)
        )
        tasks["leverage"] = lambda: _few(
            "leverage", n, most_rows or LEVERAGE_ROWS, lambda: leverage(model, X, y, **both)
        )
    if several:
        tasks["gate"] = lambda: gate_calibration(
            model, X, y, bins=min(10, n), sample_weight=sample_weight, **_without(inputs)
        )
        tasks["uncertainty"] = lambda: row_uncertainty(model, X, y, **both, **grouped)
    tasks["influence"] = lambda: _few(
        "influence", n, most_rows or INFLUENCE_ROWS, lambda: influence(model, X, y, **both)
    )
    found, refused = _run(tasks)
    residuals = found.get("residuals")
    if residuals is None:
        return Diagnosis(**found, refused=refused)
    weight = {"sample_weight": sample_weight}
    tasks = {
        "pit": lambda: pit_histogram(residuals.uniform, **weight),
        "worm": lambda: worms(residuals, **weight)[0],
    }
    more, why = _run(tasks)
    notes = () if sample_weight is None else (UNWEIGHTED,)
    return Diagnosis(**found, **more, refused=refused | why, notes=notes)


def _run(tasks: Mapping[str, Callable[[], Any]]) -> tuple[dict[str, Any], dict[str, str]]:
    """Results and reasons. A ValueError is how every part says that a fit does not have it."""
    found: dict[str, Any] = {}
    refused: dict[str, str] = {}
    for name, task in tasks.items():
        try:
            found[name] = task()
        except (ValueError, np.linalg.LinAlgError) as error:
            refused[name] = str(error)
    return found, refused


def _few(what: str, n: int, most: int, task: Callable[[], Any]) -> Any:
    if n > most:
        raise ValueError(
            f"{what} is left out beyond {most:,} rows, where it takes long; here are {n:,}. "
            f"mixexp.explain.{what}(model, X, y) computes it."
        )
    return task()


def _groups_for(model: Any, grouped: dict[str, Any], covariance: str) -> dict[str, Any]:
    """Groups of the fit are its units; other groups are clusters of a covariance."""
    takes = model._model_.grouped or covariance in ("cluster", "bootstrap")
    return grouped if takes else {}


def _without(inputs: dict[str, Any]) -> dict[str, Any]:
    """The law of y given x knows no priors on the experts."""
    return {k: v for k, v in inputs.items() if k not in ("expert_prior", "possibilities")}
