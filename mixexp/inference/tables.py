"""Tables of estimates, as data frames and as text, HTML and LaTeX."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy import stats


def coefficient_table(names, estimate, spread, alpha: float = 0.05) -> pd.DataFrame:
    """Estimates, standard errors, z, p-values and normal intervals."""
    half = stats.norm.ppf(1 - alpha / 2) * spread
    with np.errstate(divide="ignore", invalid="ignore"):
        z = estimate / spread
    return pd.DataFrame(
        {
            "coef": estimate,
            "std err": spread,
            "z": z,
            "P>|z|": 2 * stats.norm.sf(np.abs(z)),
            "lower": estimate - half,
            "upper": estimate + half,
        },
        index=names,
    )


def summary_of(result, alpha):
    """statsmodels' Summary: a head, one table for the gate, one for each expert, and the notes."""
    from statsmodels.iolib.summary import Summary
    from statsmodels.iolib.table import SimpleTable

    table = coefficient_table(result.names, result.params.to_numpy(), result.bse.to_numpy(), alpha)
    out = Summary()
    model = result.problem.model
    head = [
        ["Experts", f"{model.K} x {model.expert.title}"],
        ["Gate", type(model.gate).__name__],
        ["Covariance", result.covariance_type],
        ["Observations", f"{result.n_obs:g}"],
        ["Log-likelihood", f"{result.loglik:.4f}"],
        ["Parameters", str(len(result.names))],
        ["AIC", f"{result.aic:.2f}"],
        ["BIC", f"{result.bic:.2f}"],
    ]
    if np.isnan(result.loglik):  # of information that was added up before the last step
        head = [row for row in head if row[0] not in ("Log-likelihood", "AIC", "BIC")]
    out.tables.append(SimpleTable(head, title="Mixture of experts"))
    for block, rows in _blocks(result.names).items():
        part = table.iloc[rows]
        cells = [[_number(value) for value in row] for row in part.to_numpy()]
        columns = ["coef", "std err", "z", "P>|z|", f"[{alpha / 2:g}", f"{1 - alpha / 2:g}]"]
        stubs = [name.split(": ", 1)[-1] for name in part.index]
        out.tables.append(SimpleTable(cells, columns, stubs, title=block))
    if result.notes:
        out.add_extra_txt(result.notes)
    return out


def _blocks(names):
    """Positions of the parameters by what stands before the colon of their names."""
    found: dict[str, list[int]] = {}
    for i, name in enumerate(names):
        head = name.split(": ", 1)[0] if ": " in name else "parameters"
        found.setdefault(head, []).append(i)
    return found


def _number(value):
    if np.isnan(value):
        return "held"
    return f"{value:.4f}" if 1e-3 <= abs(value) < 1e5 or value == 0 else f"{value:.3g}"
