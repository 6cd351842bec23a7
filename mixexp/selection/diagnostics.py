"""What is shown of a fitted mixture: residuals, calibration, gate regions, lines and effects.

Every function returns a small frozen result, which `mixexp.plotting` draws.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from mixexp.selection.table_model import TableModel

Floats = NDArray[np.float64]
MANY_COLUMNS = 40  # beyond this only the columns with the strongest coefficients get an effect


@dataclass(frozen=True)
class Residuals:
    """Randomised quantile residuals (Dunn and Smyth 1996): standard normal under the model.

    Attributes
    ----------
    residuals, fitted, uniform, theoretical : ndarray of shape (n,)
        Residuals, predicted means, the probability transform, and the normal quantiles that belong
        to the sorted residuals.
    lower, upper : ndarray of shape (n,)
        Pointwise 95 % band of the sorted residuals under the model (order statistics).
    p_value : float
        Kolmogorov-Smirnov test of uniformity; optimistic, since the model was fitted to the rows.
    """

    residuals: Floats
    fitted: Floats
    uniform: Floats
    theoretical: Floats
    lower: Floats
    upper: Floats
    p_value: float


def quantile_residuals(
    cdf: Any, cdf_left: Any, fitted: Any, *, random_state: int | None = 0
) -> Residuals:
    """Residuals from the predictive distribution function at the observed targets.

    Parameters
    ----------
    cdf, cdf_left : array-like of shape (n,)
        ``P(Y <= y)`` and ``P(Y < y)``; where they differ (counts) a seeded uniform draw between
        them is taken.
    fitted : array-like of shape (n,)
        Predicted means.
    random_state : int or None
        Seed of the draw.
    """
    high, low = np.asarray(cdf, float), np.asarray(cdf_left, float)
    draw = np.random.default_rng(random_state).uniform(size=high.shape)
    uniform = np.clip(low + draw * (high - low), 1e-12, 1 - 1e-12)
    n = len(uniform)
    rank = np.arange(1, n + 1)
    band = [stats.norm.ppf(stats.beta.ppf(q, rank, n + 1 - rank)) for q in (0.025, 0.975)]
    return Residuals(
        residuals=stats.norm.ppf(uniform),
        fitted=np.asarray(fitted, float),
        uniform=uniform,
        theoretical=stats.norm.ppf((rank - 0.5) / n),
        lower=band[0],
        upper=band[1],
        p_value=float(stats.kstest(uniform, "uniform").pvalue),
    )


@dataclass(frozen=True)
class PITHistogram:
    """Histogram of the probability transform: flat under the model.

    ``share`` is the share of rows per bin over the share expected; ``lower`` and ``upper`` bound
    95 % of it under the model, bin by bin.
    """

    edges: Floats
    share: Floats
    lower: float
    upper: float


def pit_histogram(uniform: Any, bins: int | None = None) -> PITHistogram:
    """Histogram of uniform values; about one bin for every ten rows, between 5 and 20."""
    uniform = np.asarray(uniform, float)
    n = len(uniform)
    bins = bins or int(np.clip(n // 10, 5, 20))
    counts, edges = np.histogram(uniform, bins=bins, range=(0.0, 1.0))
    lower, upper = stats.binom.ppf([0.025, 0.975], n, 1.0 / bins) * bins / n
    return PITHistogram(edges, counts * bins / n, float(lower), float(upper))


@dataclass(frozen=True)
class ClassCalibration:
    """Predicted class probabilities against observed frequencies.

    Attributes
    ----------
    classes : tuple of str
    predicted, observed, error : tuple of ndarray
        For every class: mean prediction, observed frequency and its standard error in each bin.
    counts : tuple of ndarray
        Rows in each bin.
    confusion : ndarray of shape (C, C)
        Rows by true (row) and predicted (column) class.
    log_loss, accuracy : float
    """

    classes: tuple[str, ...]
    predicted: tuple[Floats, ...]
    observed: tuple[Floats, ...]
    error: tuple[Floats, ...]
    counts: tuple[Floats, ...]
    confusion: NDArray[np.int_]
    log_loss: float
    accuracy: float


def class_calibration(
    proba: Any, y: Any, classes: Sequence[Any], bins: int = 8
) -> ClassCalibration:
    """Calibration of class probabilities in bins of equal numbers of rows."""
    proba, names = np.asarray(proba, float), [str(c) for c in classes]
    codes = np.array([names.index(str(value)) for value in y])
    parts = [_bins(proba[:, c], codes == c, bins) for c in range(len(names))]
    confusion = np.zeros((len(names), len(names)), dtype=int)
    np.add.at(confusion, (codes, proba.argmax(axis=1)), 1)
    own = np.clip(proba[np.arange(len(codes)), codes], 1e-300, None)
    predicted, observed, error, counts = zip(*parts, strict=True)
    return ClassCalibration(
        classes=tuple(names),
        predicted=predicted,
        observed=observed,
        error=error,
        counts=counts,
        confusion=confusion,
        log_loss=float(-np.log(own).mean()),
        accuracy=float(np.trace(confusion) / len(codes)),
    )


def _bins(
    probability: Floats, hit: NDArray[np.bool_], bins: int
) -> tuple[Floats, Floats, Floats, Floats]:
    groups = np.array_split(np.argsort(probability, kind="stable"), min(bins, len(probability)))
    predicted = np.array([probability[g].mean() for g in groups])
    observed = np.array([hit[g].mean() for g in groups])
    counts = np.array([len(g) for g in groups], dtype=float)
    error = np.sqrt(np.maximum(predicted * (1 - predicted), 1e-12) / counts)
    return predicted, observed, error, counts


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


def line(
    model: TableModel, raw: pd.DataFrame, name: str, *, y: Any = None, component: Any = None,
    level: float = 0.9, size: int = 200,
) -> Line:  # fmt: skip
    """Mean, interval, experts and gate along one raw column."""
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
    from mixexp.selection.preprocess import as_years, column_kind

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
        Expert most responsible for each row.
    classes : tuple of str
    held : dict
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


def surface(
    model: TableModel, raw: pd.DataFrame, names: Sequence[str], component: Any, size: int = 70
) -> Surface:
    """Gate regions and level of the prediction over two numeric columns."""
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
    model: TableModel, raw: pd.DataFrame, *, limit: int = 6, size: int = 25, rows: int = 300
) -> list[PartialEffect]:
    """Effects of all raw columns on the prediction, largest range first, at most ``limit``."""
    names = [column.name for column in model.preprocessor.columns]
    if len(names) > MANY_COLUMNS:
        names, rows, size = _strongest(model, raw)[:MANY_COLUMNS], 60, 9
    step = max(1, len(raw) // rows)
    sample = raw.iloc[::step].reset_index(drop=True)
    effects = [_effect(model, raw, sample, name, size) for name in names]
    return sorted(effects, key=lambda effect: -effect.span)[:limit]


def _strongest(model: TableModel, raw: pd.DataFrame) -> list[str]:
    """Raw columns by the largest standardised coefficient of any of their model columns."""
    X = model.preprocessor.transform(raw)
    size = {name: 0.0 for name in X.columns}
    estimator = model.estimator
    for coef, names in (
        (estimator.coef_, estimator.expert_feature_names_),
        (estimator.gate_coef_, estimator.gate_feature_names_),
    ):
        largest = np.abs(coef).reshape(-1, len(names)).max(axis=0)
        for name, value in zip(names, largest, strict=True):
            size[name] = max(size[name], float(value * X[name].std()))
    columns = model.preprocessor.columns
    strength = {c.name: max((size[out] for out in c.outputs), default=0.0) for c in columns}
    return sorted(strength, key=lambda name: -strength[name])


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
