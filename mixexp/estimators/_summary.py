"""The readable table of a fit."""

from __future__ import annotations

import textwrap

import numpy as np

FEW = 12  # rows of a table up to which columns without any slope are shown too


def summary_text(model) -> str:
    """Text table: how the fit ended, the experts and the gate by feature name."""
    summary = model.fit_summary_
    bic = -2 * summary.loglik + np.log(summary.n_units) * summary.n_free
    aic = -2 * summary.loglik + 2 * summary.n_free
    names = model._model_.gate.title, model._model_.expert.title
    passes = f"{model.n_iter_} pass{'es' * (model.n_iter_ != 1)}"
    kind = "joint log-likelihood" if summary.joint else "log-likelihood"
    lines = [
        f"{type(model).__name__}: {model.n_experts_} x {names[1]}, {names[0]}",
        _size_line(summary, kind, aic, bic),
        *textwrap.wrap(f"{model.status_.said_of(model._model_.gate)} ({passes})", 88),
    ]
    if model._model_.prior_likelihood is not None:
        lines.append(
            f"the likelihood is the {model._model_.prior_likelihood} one of rows whose experts are "
            "partly known"
        )
    starts = model.starts_
    if len(starts):
        best = starts[starts["best"]]
        hits = int(best["hits"].iloc[0]) if len(best) else 0
        what = "one optimum" if len(starts) == 1 else f"{len(starts)} distinct optima"
        lines.append(f"starts met {what}; the best one {hits} time{'s' * (hits != 1)}")
    lines += ["", "Experts"]
    lines += _table(*_expert_block(model))
    if model.n_experts_ > 1:
        title, rows, values = model._gate_table()
        lines += ["", title]
        lines += _table(rows, model._expert_labels(), values)
    return "\n".join(lines)


def _size_line(summary, kind, aic, bic):
    """Log-likelihood, parameters, units and criteria; those that no row was read for are left out.

    Parameters that were combined without the rows have no log-likelihood.
    """
    size = f"free parameters {summary.n_free}   units {summary.n_units:g}"
    if np.isnan(summary.loglik):
        return f"{size}   ({kind} not computed)"
    return f"{kind} {summary.loglik:.4f}   {size}   AIC {aic:.2f}   BIC {bic:.2f}"


def _expert_block(model):
    """Row names, column names and values of the experts' table."""
    columns = ["(intercept)", *map(str, model.expert_feature_names_)]
    coef, intercept = model.coef_, model.intercept_
    labels = model._expert_labels()
    if coef.ndim == 3:
        inner = getattr(model, "classes_", np.arange(coef.shape[1]))
        labels = [f"{label}, {value}" for label in labels for value in inner]
        coef, intercept = coef.reshape(len(labels), -1), intercept.ravel()
    values = np.column_stack([intercept, coef])
    if model.dispersion_ is not None:
        columns = [*columns, model._model_.expert.dispersion_name]
        values = np.column_stack([values, np.ravel(model.dispersion_)])
    for name, further in _further(model).items():
        columns = [*columns, name]
        values = np.column_stack([values, further])
    if coef.shape[0] == model.n_experts_ and np.isfinite(model.expert_sizes_).all():
        columns = [*columns, "rows"]
        values = np.column_stack([values, model.expert_sizes_])
    return columns, labels, values


def _further(model):
    """Shapes, degrees of freedom and the like: (K,) numbers beside coefficients and dispersion."""
    inner = model._model_
    shown = inner.expert.display(model._user_params().expert)
    K = model.n_experts_
    thresholds = shown["thresholds_"].T if inner.expert.ordered else ()
    numbered = {f"threshold {c}": own for c, own in enumerate(thresholds)}
    return numbered | {
        name.rstrip("_"): value
        for name, value in shown.items()
        if np.shape(value) == (K,) and not name.endswith("intercept_")
    }


def _table(rows, columns, values):
    """Features down, experts across: values is (len(columns), len(rows)).

    Of many features those whose slopes are all zero are counted, not listed.
    """
    shown = np.ones(len(rows), dtype=bool) if len(rows) <= FEW else (values != 0).any(axis=0)
    shown[0] = True
    left_out = int((~shown).sum())
    rows = [name for name, kept in zip(rows, shown, strict=True) if kept]
    values = values[:, shown]
    width = max([len(name) for name in rows] + [11])
    widths = [max(len(name), 11) for name in columns]
    head = " " * width + "".join(f"  {name:>{w}}" for name, w in zip(columns, widths, strict=True))
    body = [
        f"{name:<{width}}"
        + "".join(f"  {_number(value, w)}" for value, w in zip(values[:, i], widths, strict=True))
        for i, name in enumerate(rows)
    ]
    if left_out:
        columns = "columns have" if left_out > 1 else "column has"
        body.append(f"{left_out} more {columns} no slope in any of them")
    return [head, *body]


def _number(value, width):
    """A number in its column; nothing where there is none."""
    return " " * width if np.isnan(value) else f"{value:>{width}.5g}"
