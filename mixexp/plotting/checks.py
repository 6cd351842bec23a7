"""Residuals and calibration."""

from __future__ import annotations

from typing import Any

import numpy as np

from mixexp.plotting._style import GRID, INK, MUTED, axes, colour, drawn_from, label, legend, plain


def plot_residuals(residuals: Any, kind: str = "qq", ax: Any = None) -> Any:
    """Randomised quantile residuals, which are standard normal where the model holds.

    Parameters
    ----------
    residuals : Residuals
        From `mixexp.explain.quantile_residuals`.
    kind : {"qq", "fitted"}
        Against normal quantiles with a 95 % pointwise band, or against the predicted mean.
    ax : Axes, optional
        Where to draw.

    Returns
    -------
    Axes
        The drawing.
    """
    drawn_from(residuals, "residuals", "mixexp.explain.quantile_residuals")
    if kind not in ("qq", "fitted"):
        raise ValueError(
            f"kind must be 'qq' or 'fitted'; got {kind!r}. plot_worm draws one of "
            "mixexp.explain.worms(residuals)."
        )
    ax = axes(ax)
    size = 14 if len(residuals.residuals) < 500 else 5
    if kind == "fitted":
        ax.axhspan(-1.96, 1.96, color=GRID, alpha=0.6, lw=0)
        ax.axhline(0, color=MUTED, lw=0.8)
        ax.scatter(
            residuals.fitted, residuals.residuals, s=size, color=colour(0), alpha=0.65, lw=0,
            rasterized=len(residuals.residuals) > 2000,
        )  # fmt: skip
        far = np.quantile(residuals.fitted, 0.95)
        if residuals.fitted.max() > 20 * max(far, 1e-12) > 0:
            ax.set_xlim(None, 2 * far)
            ax.text(
                0.99, 0.01, "larger predictions are cut off", transform=ax.transAxes, ha="right",
                va="bottom", fontsize=8, color=MUTED,
            )  # fmt: skip
        label(ax, "Predicted mean", "Quantile residual", "Against the prediction")
        return ax
    q = residuals.theoretical
    ax.fill_between(q, residuals.lower, residuals.upper, color=GRID, lw=0, label="95 % band")
    ax.plot(q, q, color=MUTED, lw=0.8)
    ax.scatter(
        q, np.sort(residuals.residuals), s=size, color=colour(0), lw=0, alpha=0.8,
        rasterized=len(q) > 2000,
    )  # fmt: skip
    label(ax, "Normal quantile", "Quantile residual", "Normal QQ plot")
    legend(ax, loc="upper left")
    return ax


def plot_calibration(calibration: Any, ax: Any = None) -> Any:
    """Calibration: the histogram of the probability transform, or class frequencies.

    Parameters
    ----------
    calibration : PITHistogram or ClassCalibration
        From `mixexp.explain.calibration`.
    ax : Axes, optional
        Where to draw.

    Returns
    -------
    Axes
        Flat bars inside the band, or points on the diagonal, are what a good model gives.
    """
    ax = axes(ax)
    if hasattr(calibration, "edges"):
        return _histogram(calibration, ax)
    ax.plot([0, 1], [0, 1], color=MUTED, lw=0.8)
    for c, name in enumerate(calibration.classes[:10]):
        ax.errorbar(
            calibration.predicted[c], calibration.observed[c], 2 * calibration.error[c],
            fmt="o-", ms=4.5, lw=1, elinewidth=0.8, color=colour(c), label=plain(name, 22),
        )  # fmt: skip
    ax.set_xlim(-0.04, 1.04)
    ax.set_ylim(-0.09, 1.09)
    label(ax, "Predicted probability", "Observed frequency", "Class calibration")
    legend(ax, loc="upper left")
    return ax


def _histogram(pit: Any, ax: Any) -> Any:
    ax.bar(
        pit.edges[:-1], pit.share, width=np.diff(pit.edges), align="edge", color=colour(0),
        alpha=0.75, edgecolor="white", lw=0.6,
    )  # fmt: skip
    ax.axhline(1, color=INK, lw=0.8)
    for i, height in enumerate((pit.lower, pit.upper)):
        name = "95 % band of each bar" if i == 0 else None
        ax.axhline(height, color=INK, lw=0.9, ls=(0, (4, 3)), label=name)
    ax.set_xlim(0, 1)
    ax.set_ylim(0, max(2.0, 1.2 * float(pit.share.max())))
    label(ax, "Probability transform P(Y \u2264 y)", "Share over expected", "PIT histogram")
    legend(ax, loc="upper right")
    return ax
