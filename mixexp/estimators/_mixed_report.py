"""Frames and the readable table of a fit with random effects."""

from __future__ import annotations

import textwrap

import numpy as np
import pandas as pd
from scipy import stats

from ..em.mixed.precision import JOINT
from ..em.mixed.prediction import Fitted
from ..em.mixed.reported import Reported
from ..inference.tables import coefficient_table

HALF = float(stats.norm.ppf(0.975))


def coefficient_frame(reported: Reported) -> pd.DataFrame:
    """Coefficients and dispersions with standard errors."""
    return coefficient_table(
        reported.coefficient_names, reported.coefficients, reported.coefficient_errors
    )


def component_frame(reported: Reported, order) -> pd.DataFrame:
    """Standard deviations and correlations of the random effects."""
    frame = pd.DataFrame(
        reported.component_names, columns=pd.Index(["factor", "part", "term", "with"])
    )
    is_sd = (frame["with"] == "").to_numpy()
    value, error = reported.components, reported.component_errors
    frame.insert(3, "kind", np.where(is_sd, "std. deviation", "correlation"))
    frame["estimate"], frame["std err"] = value, error
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        ratio = np.exp(HALF * error / value)
        inner = np.clip(value, -1 + 1e-12, 1 - 1e-12)
        half = HALF * error / (1 - inner**2)
        lower = np.where(is_sd, value / ratio, np.tanh(np.arctanh(inner) - half))
        upper = np.where(is_sd, value * ratio, np.tanh(np.arctanh(inner) + half))
    frame["lower"], frame["upper"] = lower, upper
    rank = frame["factor"].map(order.index)
    return frame.iloc[np.argsort(rank.to_numpy(), kind="stable")].reset_index(drop=True)


def effect_frames(fitted: Fitted, order) -> tuple[dict[str, pd.DataFrame], dict[str, pd.DataFrame]]:
    """Means and standard deviations of the groups' effects, in the user's units, by factor."""
    means, deviations = {}, {}
    for factor, root in zip(fitted.factors, fitted.params.roots, strict=True):
        effects, moved = factor.effects, factor.effects.user @ root
        index = pd.Index(effects.labels, name=effects.name)
        columns = pd.MultiIndex.from_arrays(
            [effects.parts.astype(object), effects.names.astype(object)], names=["part", "term"]
        )
        spread = np.einsum("ab,gbc,ac->ga", moved, factor.covariances, moved, optimize=True)
        means[effects.name] = pd.DataFrame(factor.means @ moved.T, index, columns)
        deviations[effects.name] = pd.DataFrame(np.sqrt(np.maximum(spread, 0)), index, columns)
    return {name: means[name] for name in order}, {name: deviations[name] for name in order}


def summary_text(model) -> str:
    """How the fit ended, coefficients, and random effects."""
    n, d = model._n_rows, model.n_free_
    aic, bic = -2 * model.loglik_ + 2 * d, -2 * model.loglik_ + np.log(n) * d
    kind = {
        "laplace": "Laplace's approximation",
        "variational": "variational lower bound",
        "quadrature": "adaptive quadrature",
    }
    groups = ", ".join(f"{count} groups of {name!r}" for name, count in model.n_groups_.items())
    lines = [
        f"{type(model).__name__}: {model.n_experts_} x {model.family}, random effects of {groups}",
        f"marginal log-likelihood {model.loglik_:.4f} ({kind[model.approximation]})",
        f"rows {n}   free parameters {d}   AIC {aic:.2f}   BIC {bic:.2f}",
        *textwrap.wrap(str(model.status_), 88),
        "",
        "Coefficients",
        *_text(model.coefficients_[["coef", "std err", "z", "P>|z|"]], True),
        "",
        "Random effects",
        *_text(model.variance_components_.drop(columns="kind"), False),
    ]
    if model.n_bounded_:
        lines.append(
            f"Laplace's determinant is bounded in {model.n_bounded_} directions of the effects, "
            "where experts are uncertain."
        )
    if len(model._fitted.factors) > 1 and model._fitted.joint is None:
        lines.append(
            f"Predictions leave out the posterior covariances between factors, which are kept up "
            f"to {JOINT:,} effects."
        )
    if model.coefficients_["std err"].isna().all():
        lines.append("No standard errors: the curvature at the end is not that of a maximum.")
    if (model.variance_components_["estimate"] == 0).any():
        lines.append("A standard deviation of zero lies on the boundary: it has no standard error.")
    return "\n".join(lines)


def _text(frame, index):
    shown = frame.to_string(index=index, float_format=lambda value: f"{value:.4g}", na_rep="")
    return [line.rstrip() for line in shown.split("\n")]
