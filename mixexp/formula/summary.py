"""Tables of a fit by term: experts and gate."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

INTERCEPT = "(intercept)"


def coefficient_table(estimator: Any) -> pd.DataFrame:
    """Experts (and responses or classes) down, the intercept and the columns across."""
    coef, intercept = np.asarray(estimator.coef_), np.asarray(estimator.intercept_)
    index: pd.Index = pd.RangeIndex(estimator.n_experts_, name="expert")
    if coef.ndim == 3:
        classes = getattr(estimator, "classes_", None)
        inner = range(coef.shape[1]) if classes is None else list(classes)
        names = ["expert", "response" if classes is None else "class"]
        index = pd.MultiIndex.from_product([index, inner], names=names)
    columns = [INTERCEPT, *map(str, estimator.expert_feature_names_)]
    values = np.column_stack([intercept.reshape(-1, 1), coef.reshape(len(index), -1)])
    return pd.DataFrame(values, index=index, columns=columns)


def gate_table(estimator: Any) -> pd.DataFrame:
    """Experts down, the gate's coefficients (or its other numbers) across."""
    _, columns, values = estimator._gate_table()
    index = pd.RangeIndex(estimator.n_experts_, name="expert")
    return pd.DataFrame(np.asarray(values), index=index, columns=list(columns))


def parameter_table(estimator: Any) -> pd.DataFrame:
    """Experts down, the parameters besides the coefficients across: scales, shapes, inflation.

    A parameter with columns of its own has ``name: column`` for each. Matrices are left out.
    """
    K, expert = estimator.n_experts_, estimator._model_.expert
    found: dict[str, np.ndarray] = {}
    dispersion = estimator.dispersion_
    if dispersion is not None:
        several = np.asarray(dispersion).reshape(K, -1)
        for j, values in enumerate(several.T):
            mark = f", response {j}" if several.shape[1] > 1 else ""
            found[f"{expert.dispersion_name}{mark}"] = values
    for name, values in expert.display(estimator._user_params().expert).items():
        if np.shape(values) == (K,) and not name.endswith("_intercept_"):
            found[name.rstrip("_")] = np.asarray(values)
        if name.endswith("_coef_"):
            short = name.removesuffix("_coef_")
            found[f"{short}: {INTERCEPT}"] = getattr(estimator, f"{short}_intercept_")
            for column, slopes in zip(estimator.expert_feature_names_, values.T, strict=True):
                found[f"{short}: {column}"] = slopes
    return pd.DataFrame(found, index=pd.RangeIndex(K, name="expert"))


def summary_text(model: Any) -> str:
    """The formula, how the fit ended, and the coefficients under their terms."""
    inner, encoding = model.estimator_, model.encoding_
    head = inner.summary().split("\n\n", 1)[0]
    lines = [f"{encoding.formula}", head]
    if encoding.transforms_response:
        lines.append(
            f"density, criteria and predictions refer to the response {encoding.response_name}"
        )
    if model.n_dropped_:
        lines.append(f"{model.n_dropped_} rows with missing values were left out")
    for part, names in model.aliased_.items():
        if names:
            lines.append(f"{part}: left out, as other columns determine them: {', '.join(names)}")
    experts = model.coef_
    if len(experts) == inner.n_experts_:
        sizes = pd.Series(inner.expert_sizes_, index=experts.index, name="rows")
        experts = pd.concat([experts, model.parameters_, sizes], axis=1)
    lines += ["", "Experts", *_by_term(experts, encoding.experts.columns, encoding.experts.terms)]
    if inner.n_experts_ > 1:
        title = inner._gate_table()[0]
        rows = _by_term(model.gate_coef_, encoding.gate.columns, encoding.gate.terms)
        lines += ["", title, *rows]
    return "\n".join(lines)


def _by_term(table: pd.DataFrame, columns: Sequence[str], terms: Sequence[str]) -> list[str]:
    """Lines of a table, columns of one term under its name."""
    term_of = dict(zip(columns, terms, strict=True))
    counts = pd.Series(list(terms), dtype=object).value_counts()
    labels: list[str] = []
    values: list[np.ndarray | None] = []
    last = None
    for name in table.columns:
        term = term_of.get(name)
        several = term is not None and counts[term] > 1
        if several and term != last:
            labels.append(str(term))
            values.append(None)
        last = term
        short = name[len(str(term)) :] if several and name.startswith(str(term)) else name
        labels.append(f"  {short}" if several else name)
        values.append(table[name].to_numpy())
    heads = [_head(key) for key in table.index]
    widths = [max(len(head), 11) for head in heads]
    left = max(len(label) for label in labels)
    lines = [" " * left + "".join(f"  {h:>{w}}" for h, w in zip(heads, widths, strict=True))]
    for label, row in zip(labels, values, strict=True):
        cells = "" if row is None else "".join(
            f"  {value:>{w}.5g}" for value, w in zip(row, widths, strict=True)
        )  # fmt: skip
        lines.append(f"{label:<{left}}{cells}".rstrip())
    return lines


def _head(key: Any) -> str:
    return f"expert {key[0]}, {key[1]}" if isinstance(key, tuple) else f"expert {key}"
