"""All that a report shows of the chosen model, computed once."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from mixexp._component import EXPERTS, public_repr_class, resolve
from mixexp.explain.calibration import (
    ClassCalibration,
    PITHistogram,
    Residuals,
    class_calibration,
    pit_histogram,
    residuals_of_cdf,
)
from mixexp.explain.diagnosis import Diagnosis, diagnose
from mixexp.explain.effects import (
    Line,
    PartialEffect,
    Surface,
    fit_line,
    gate_surface,
    partial_effects,
    per_unit,
)
from mixexp.tables.model import TableModel
from mixexp.tables.prepare import Prepared

SHOWN_ROWS = 5000


@dataclass(frozen=True)
class Explanation:
    """Figures' contents and tables of a chosen model.

    Attributes
    ----------
    lines, effects, gate_effects : list
        Lines for one or two raw columns; partial effects on prediction and gate otherwise.
    surface : Surface or None
        For two numeric columns.
    residuals, pit, calibration : Residuals, PITHistogram, ClassCalibration or None
    experts : DataFrame or dict of str to DataFrame
        Coefficients by name: one column per expert; for classes one table per expert.
    gate : DataFrame
        Gate coefficients by name, one column per expert.
    sizes : DataFrame
        Effective rows, share and dispersion of every expert.
    diagnosis : Diagnosis
        Standard errors, calibration of the gate, influence and leverage, of all rows.
    shown_rows : int
        Rows used for the figures.
    """

    experts: Any
    gate: pd.DataFrame
    sizes: pd.DataFrame
    lines: list[Line] = field(default_factory=list)
    effects: list[PartialEffect] = field(default_factory=list)
    gate_effects: list[PartialEffect] = field(default_factory=list)
    surface: Surface | None = None
    residuals: Residuals | None = None
    pit: PITHistogram | None = None
    calibration: ClassCalibration | None = None
    diagnosis: Diagnosis | None = None
    shown_rows: int = 0


def explain(model: TableModel, prepared: Prepared, *, random_state: int | None = 0) -> Explanation:
    """Compute what a report shows; on at most `SHOWN_ROWS` rows, evenly spaced.

    Parameters
    ----------
    model : TableModel
        The chosen model.
    prepared : Prepared
        The rows it was fitted to.
    random_state : int or None
        Seed of the randomised residuals.
    """
    rows = _evenly(len(prepared.y))
    raw, y = prepared.raw.iloc[rows].reset_index(drop=True), prepared.y[rows]
    X = prepared.X.iloc[rows].reset_index(drop=True)
    inputs = {k: v[rows] for k, v in prepared.inputs.items() if k != "sample_weight"}
    estimator = model.estimator
    component = estimator.responsibilities(X, y, **inputs).argmax(axis=1)
    given = prepared.inputs.get("sample_weight")
    weight = None if given is None else given[rows]
    parts: dict[str, Any] = _checks(model, X, y, weight, inputs, random_state)
    parts |= _pictures(model, raw, per_unit(y, inputs), component)
    return Explanation(
        experts=expert_table(estimator),
        gate=gate_table(estimator),
        sizes=size_table(estimator, prepared),
        diagnosis=diagnose(model.estimator, prepared.X, prepared.y, **prepared.inputs),
        shown_rows=len(rows),
        **parts,
    )


def _evenly(n_rows: int) -> Any:
    return np.unique(np.linspace(0, n_rows - 1, min(n_rows, SHOWN_ROWS)).astype(int))


def _checks(
    model: TableModel,
    X: Any,
    y: Any,
    weight: Any,
    inputs: dict[str, Any],
    random_state: int | None,
) -> dict[str, Any]:
    estimator = model.estimator
    if model.classifies:
        proba = estimator.predict_proba(X)
        calibration = class_calibration(proba, y, estimator.classes_, sample_weight=weight)
        return {"calibration": calibration}
    inputs = {k: v for k, v in inputs.items() if k != "groups"}
    residuals = residuals_of_cdf(
        estimator.cdf(X, y, **inputs),
        estimator.cdf_left(X, y, **inputs),
        np.asarray(estimator.predict(X, **inputs)).ravel(),
        random_state=random_state,
    )
    pit = pit_histogram(residuals.uniform, sample_weight=weight)
    return {"residuals": residuals, "pit": pit}


def _pictures(model: TableModel, raw: pd.DataFrame, y: Any, component: Any) -> dict[str, Any]:
    columns = model.preprocessor.columns
    if len(columns) > 2:
        effects = partial_effects(model, raw, limit=len(columns))
        by_gate = sorted(effects, key=lambda e: -float(np.ptp(e.gate, axis=0).max()))
        several = model.estimator.n_experts_ > 1
        return {"effects": effects[:6], "gate_effects": by_gate[:4] if several else []}
    parts: dict[str, Any] = {
        "lines": [fit_line(model, raw, c.name, y=y, component=component) for c in columns]
    }
    if len(columns) == 2 and all(c.kind == "numeric" for c in columns):
        complete = raw.notna().all(axis=1).to_numpy()
        parts["surface"] = gate_surface(
            model, raw[complete], [c.name for c in columns], y=y, component=component[complete]
        )
    return parts


def expert_table(estimator: Any) -> Any:
    """Coefficients of the experts by feature name, intercept first."""
    names = ["intercept", *map(str, estimator.expert_feature_names_)]
    values = np.concatenate([estimator.intercept_[..., None], estimator.coef_], axis=-1)
    columns = [f"expert {k + 1}" for k in range(estimator.n_experts_)]
    if values.ndim == 2:
        return pd.DataFrame(values.T, index=names, columns=columns)
    classes = [str(c) for c in estimator.classes_]
    return {
        title: pd.DataFrame(values[k].T, index=names, columns=classes)
        for k, title in enumerate(columns)
    }


def gate_table(estimator: Any) -> pd.DataFrame:
    """Gate coefficients by feature name, intercept first; of a Gaussian gate its classes."""
    columns = [f"expert {k + 1}" for k in range(estimator.n_experts_)]
    if not hasattr(estimator, "gate_coef_"):
        _, names, values = estimator._gate_table()
        return pd.DataFrame(values.T, index=names, columns=columns)
    names = ["intercept", *map(str, estimator.gate_feature_names_)]
    values = np.column_stack([estimator.gate_intercept_, estimator.gate_coef_]).T
    return pd.DataFrame(values, index=names, columns=columns)


def size_table(estimator: Any, prepared: Prepared) -> pd.DataFrame:
    """Effective rows (sums of weighted responsibilities), shares and dispersions."""
    inputs = {k: v for k, v in prepared.inputs.items() if k != "sample_weight"}
    weight = prepared.inputs.get("sample_weight", np.ones(len(prepared.y)))
    rows = weight @ estimator.responsibilities(prepared.X, prepared.y, **inputs)
    table = pd.DataFrame({"effective rows": rows, "share": rows / rows.sum()})
    table.index = pd.Index([f"expert {k + 1}" for k in range(estimator.n_experts_)])
    dispersion = getattr(estimator, "dispersion_", None)
    if dispersion is not None:
        family = public_repr_class(resolve(estimator.expert, EXPERTS, "expert"))
        name = "shape" if family == "gamma" else "standard deviation"
        table["dispersion"] = np.asarray(dispersion, float).reshape(len(table), -1)[:, 0]
        table = table.rename(columns={"dispersion": name})
    return table
