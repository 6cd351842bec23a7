"""What is shown of a fitted mixture: gate regions, lines and effects.

Every function returns a small frozen result, which `mixexp.plotting` draws.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.utils.validation import check_consistent_length

from mixexp.explain._as_table import as_table_model
from mixexp.tables.model import TableModel

Floats = NDArray[np.float64]
MANY_COLUMNS = 40  # beyond this only the columns with the strongest coefficients get an effect


@dataclass(frozen=True)
class Line:
    """The model along one column, the others held at typical values.

    Attributes
    ----------
    name : str
        The column.
    grid : ndarray
        Its values: floats, or category names.
    mean : ndarray of shape (m,) or (m, C)
        Predicted mean, or class probabilities.
    lower, upper : ndarray of shape (m,) or None
        Predictive interval.
    experts : ndarray of shape (m, K) or None
        Means of the experts.
    gate : ndarray of shape (m, K)
        Gate probabilities.
    held : dict
        Values of the other columns.
    x, y, component : ndarray or None
        Observed values of the column, targets (per unit of exposure or trial) and the expert most
        responsible for each row.
    level : float
        Level of the interval.
    classes : tuple of str
    """

    name: str
    grid: Any
    mean: Floats
    gate: Floats
    held: dict[str, Any]
    lower: Floats | None = None
    upper: Floats | None = None
    experts: Floats | None = None
    x: Any = None
    y: Any = None
    component: Any = None
    level: float = 0.9
    classes: tuple[str, ...] = ()

    @property
    def categorical(self) -> bool:
        """Whether the column holds categories."""
        return np.asarray(self.grid).dtype.kind not in "fiu"


def fit_line(
    model: Any, X: Any, name: str, *, y: Any = None, component: Any = None,
    level: float = 0.9, size: int = 200, **inputs: Any,
) -> Line:  # fmt: skip
    """Mean, interval, experts and gate along one column, the others at typical values.

    Parameters
    ----------
    model : MoERegressor, MoEClassifier or TableModel
        Fitted, for one target.
    X : array-like or data frame of shape (n, p)
        The rows of the fit; raw ones for a `TableModel`. Columns without names, or with others
        than texts, are x0, x1, ...
    name : str
        The column.
    y : array-like of shape (n,), optional
        Targets to be shown, per unit of exposure or trial; not where they are intervals, or an
        offset makes rows incomparable.
    component : array-like of shape (n,), optional
        Expert most responsible for each row, as its colour; found where y is given.
    level : float
        Of the interval.
    size : int
        Values of the column.
    **inputs
        ``offset``, ``exposure``, ``trials`` and ``groups`` of the fit, for y and component.

    Returns
    -------
    Line
        What `plot_fit_lines` draws.
    """
    model, raw = as_table_model(model, X, [name])
    y, component = _shown(model, raw, y, component, inputs)
    grid, table, held = _slice(model, raw, name, size)
    classes = tuple(str(c) for c in getattr(model.estimator, "classes_", ()))
    common: dict[str, Any] = {
        "name": name, "grid": grid, "gate": model.gate(table), "held": held,
        "x": raw[name].to_numpy(), "y": y, "component": component, "classes": classes,
    }  # fmt: skip
    if model.classifies:
        return Line(mean=model.class_probabilities(table), **common)
    interval = model.interval(table, level)
    return Line(
        mean=model.mean(table), lower=interval[:, 0], upper=interval[:, 1],
        experts=model.experts(table), level=level, **common,
    )  # fmt: skip


def _shown(model: TableModel, raw: pd.DataFrame, y: Any, component: Any, inputs: Any) -> Any:
    """Targets as they are drawn, and the expert most responsible for each row."""
    if y is not None and component is None:
        X = model.preprocessor.transform(raw)
        component = model.estimator.responsibilities(X, y, **inputs).argmax(axis=1)
    check_consistent_length(raw, y, component)
    return per_unit(y, inputs), component


def per_unit(y: Any, inputs: Mapping[str, Any]) -> Any:
    """Targets per unit of exposure or trial; None where they are no numbers of one scale."""
    comparable = y is not None and inputs.get("offset") is None
    # intervals are no array and would refuse to be one
    if not comparable or np.ndim(y) != 1 or np.ndim(getattr(y, "values", y)) == 2:
        return None
    y = np.asarray(y)
    if y.dtype.kind not in "fiu":
        return None
    units = [inputs[name] for name in ("exposure", "trials") if inputs.get(name) is not None]
    return y / np.asarray(units[0]) if units else y


def _slice(
    model: TableModel, raw: pd.DataFrame, name: str, size: int
) -> tuple[Any, pd.DataFrame, dict[str, Any]]:
    """Grid of one column, the table along it, and what the others are held at."""
    grid = _grid(model, raw, name, size)
    typical = {c.name: _typical(raw[c.name], c.kind) for c in model.preprocessor.columns}
    held = {key: value for key, value in typical.items() if key != name}
    table = pd.DataFrame({key: [value] * len(grid) for key, value in typical.items()})
    table[name] = grid
    return _display(grid), table, held


def _typical(column: pd.Series[Any], kind: str) -> Any:
    present = column.dropna()
    if kind == "categorical":
        return present.mode().iloc[0] if len(present) else None
    if kind == "date":
        return present.sort_values().iloc[len(present) // 2]
    return float(pd.to_numeric(present).median())


def _grid(model: TableModel, raw: pd.DataFrame, name: str, size: int) -> Any:
    kind = next(c.kind for c in model.preprocessor.columns if c.name == name)
    present = raw[name].dropna()
    if kind == "categorical":
        return present.value_counts().index[:12].to_numpy(dtype=object)
    if kind == "date":
        return present.sort_values().iloc[np.linspace(0, len(present) - 1, size).astype(int)]
    values = pd.to_numeric(present).to_numpy(dtype=float)
    return np.linspace(values.min(), values.max(), size)


def _widened(grid: Any) -> Any:
    """A little beyond the data, so that points on the border are seen whole."""
    margin = 0.03 * (grid[-1] - grid[0])
    return np.linspace(grid[0] - margin, grid[-1] + margin, len(grid))


def _display(grid: Any) -> Any:
    """Grid values for an axis: numbers, years, or names."""
    from mixexp.tables.preprocess import as_years, column_kind

    series = pd.Series(grid)
    if column_kind(series) == "date":
        return as_years(series).to_numpy()
    return series.to_numpy() if series.dtype.kind in "fiu" else np.asarray(grid, dtype=str)


@dataclass(frozen=True)
class Surface:
    """The model over two numeric columns.

    Attributes
    ----------
    names : tuple of str
    grid : tuple of two ndarrays
    gate : ndarray of shape (m1, m2, K)
        Gate probabilities; the first axis is the first column.
    level : ndarray of shape (m1, m2)
        Predicted mean, or the probability of the likeliest class.
    best_class : ndarray of shape (m1, m2) or None
        Likeliest class.
    points : ndarray of shape (n, 2)
    component : ndarray of shape (n,)
        Expert most responsible for each row, or the gate's favourite where no target was given.
    classes : tuple of str
    held : dict
    y_range : tuple of float or None
        Smallest and largest target.
    """

    names: tuple[str, str]
    grid: tuple[Floats, Floats]
    gate: Floats
    level: Floats
    best_class: NDArray[np.intp] | None
    points: Floats
    component: NDArray[np.intp]
    classes: tuple[str, ...]
    held: dict[str, Any]
    y_range: tuple[float, float] | None = None


def gate_surface(
    model: Any, X: Any, names: Sequence[str], *, y: Any = None, component: Any = None,
    size: int = 70, **inputs: Any,
) -> Surface:  # fmt: skip
    """Gate regions and level of the prediction over two numeric columns.

    Parameters
    ----------
    model, X, y, component, **inputs
        As in `fit_line`; without y and component a row has the colour of the gate's favourite.
    names : two str
        The columns.
    size : int
        Values of each.

    Returns
    -------
    Surface
        What `plot_gate_regions` draws.
    """
    if isinstance(names, str) or len(set(names)) != 2 or len(names) != 2:
        raise ValueError(f"names must be two different columns; got {names!r}.")
    model, raw = as_table_model(model, X, names)
    y, component = _shown(model, raw, y, component, inputs)
    component = model.gate(raw).argmax(axis=1) if component is None else component
    first, second = (_widened(_grid(model, raw, name, size)) for name in names)
    _, table, held = _slice(model, raw, names[0], size * size)
    table[names[0]], table[names[1]] = np.repeat(first, size), np.tile(second, size)
    held.pop(names[1], None)
    gate = model.gate(table).reshape(size, size, -1)
    best = None
    if model.classifies:
        proba = model.class_probabilities(table)
        level, best = proba.max(axis=1), proba.argmax(axis=1).reshape(size, size)
    else:
        level = model.mean(table)
    points = raw[list(names)].apply(pd.to_numeric).to_numpy(dtype=float)
    return Surface(
        (names[0], names[1]), (np.asarray(first), np.asarray(second)), gate,
        level.reshape(size, size), best, points, np.asarray(component),
        tuple(str(c) for c in getattr(model.estimator, "classes_", ())), held,
        None if y is None else (float(np.min(y)), float(np.max(y))),
    )  # fmt: skip


@dataclass(frozen=True)
class PartialEffect:
    """Average prediction when one column is set to each grid value in every row (Friedman 2001).

    ``mean`` has shape (m,), or (m, C) for classes; ``gate`` (m, K) is the average gate; ``span`` is
    the largest range of ``mean``, by which effects are ordered.
    """

    name: str
    grid: Any
    mean: Floats
    gate: Floats
    span: float
    classes: tuple[str, ...] = ()
    rug: Any = None

    @property
    def categorical(self) -> bool:
        """Whether the column holds categories."""
        return np.asarray(self.grid).dtype.kind not in "fiu"


def partial_effects(
    model: Any, X: Any, *, limit: int = 6, size: int = 25, rows: int = 300
) -> list[PartialEffect]:
    """Effects of the columns on the prediction, largest range first.

    Parameters
    ----------
    model, X
        As in `fit_line`.
    limit : int
        Number of effects.
    size : int
        Values of a column.
    rows : int
        About as many rows are averaged over.

    Returns
    -------
    list of PartialEffect
        What `plot_partial_effects` draws, one by one.
    """
    if min(limit, size, rows) < 1:
        raise ValueError("limit, size and rows must be at least one.")
    model, raw = as_table_model(model, X)
    names = [column.name for column in model.preprocessor.columns]
    if len(names) > MANY_COLUMNS:
        names, rows, size = _strongest(model, raw)[:MANY_COLUMNS], 60, 9
    step = max(1, len(raw) // rows)
    sample = raw.iloc[::step].reset_index(drop=True)
    effects = [_effect(model, raw, sample, name, size) for name in names]
    return sorted(effects, key=lambda effect: -effect.span)[:limit]


def _strongest(model: TableModel, raw: pd.DataFrame) -> list[str]:
    """Raw columns by the largest standardised coefficient of any of their model columns."""
    known = model.preprocessor.feature_names
    X = pd.DataFrame(np.asarray(model.preprocessor.transform(raw)), columns=known)
    size = dict.fromkeys(known, 0.0)
    estimator = model.estimator
    for coef, names in (
        (estimator.coef_, estimator.expert_feature_names_),
        (_gate_slopes(estimator), estimator.gate_feature_names_),
    ):
        if not len(names):  # a constant gate
            continue
        largest = np.abs(coef).reshape(-1, len(names)).max(axis=0)
        for name, value in zip(names, largest, strict=True):
            if name in size:  # not a monomial
                size[name] = max(size[name], float(value * X[name].std()))
    columns = model.preprocessor.columns
    strength = {c.name: max((size[out] for out in c.outputs), default=0.0) for c in columns}
    return sorted(strength, key=lambda name: -strength[name])


def _gate_slopes(estimator):
    """(K, p) slopes of the gate's log odds; for Gaussian classes those at their mean variances."""
    if hasattr(estimator, "gate_coef_"):
        return estimator.gate_coef_
    if hasattr(estimator, "gate_nodes_"):
        return np.concatenate([node.coef for node in estimator.gate_nodes_])
    if not hasattr(estimator, "gate_means_"):  # a gate that is no function of slopes
        return np.zeros((1, len(estimator.gate_feature_names_)))
    weight, means = estimator.gate_weights_, estimator.gate_means_
    variances = weight @ np.einsum("kaa->ka", estimator.gate_covariances_)
    return (means - weight @ means) / variances


def _effect(
    model: TableModel, raw: pd.DataFrame, sample: pd.DataFrame, name: str, size: int
) -> PartialEffect:
    grid = _grid(model, raw, name, size)
    values = list(grid)
    table = pd.concat([sample] * len(values), ignore_index=True)
    table[name] = np.repeat(np.asarray(values, dtype=object), len(sample))
    table[name] = table[name].infer_objects()
    predict = model.class_probabilities if model.classifies else model.mean
    shape = (len(values), len(sample), -1)
    mean = np.asarray(predict(table), float).reshape(shape).mean(axis=1)
    gate = model.gate(table).reshape(shape).mean(axis=1)
    span = float((mean.max(axis=0) - mean.min(axis=0)).max())
    classes = tuple(str(c) for c in getattr(model.estimator, "classes_", ()))
    mean = mean if model.classifies else mean[:, 0]
    return PartialEffect(name, _display(grid), mean, gate, span, classes, raw[name].to_numpy())
