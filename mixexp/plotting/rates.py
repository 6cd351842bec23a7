"""The decay of losses with the sample size, from the result of `mixexp.rate_study`."""

from __future__ import annotations

from typing import Any

import numpy as np

from mixexp.plotting._style import INK, MUTED, axes, colour, label, legend

TITLES = {"voronoi": "Voronoi loss", "hellinger": "Hellinger distance"}
STARTS = {"truth": "from the truth", "search": "from the search"}


def plot_rates(
    study: Any,
    loss: str = "voronoi",
    *,
    statistic: str = "mean",
    rate: float = -0.5,
    ax: Any = None,
) -> Any:
    """Losses against the number of rows on logarithmic axes, with fitted slopes.

    Parameters
    ----------
    study : RateStudy
        From `mixexp.rate_study`.
    loss : {"voronoi", "hellinger"}
    statistic : {"mean", "median"}
        What is drawn large, and fitted; single replicates are faint.
    rate : float, default=-0.5
        Slope of the dashed line to compare with, that of theory.
    ax : Axes, optional
        Where to draw.

    Returns
    -------
    Axes
    """
    ax = axes(ax)
    sizes = np.array(study.sizes)
    ends = sizes[[0, -1]].astype(float)
    for i, start in enumerate(study.starts):
        values = study.losses(loss, start)
        spread = 1.0 + 0.05 * (i - (len(study.starts) - 1) / 2)  # starts beside each other
        every = np.broadcast_to(sizes * spread, values.shape)
        ax.plot(every.ravel(), values.ravel(), "o", ms=2.5, color=colour(i), alpha=0.3, mew=0)
        found = study.slope(loss, start, statistic=statistic)
        drawn = getattr(np, statistic)(values, axis=0)
        text = f"{STARTS[start]}: slope {found.slope:.2f} ({found.low:.2f}, {found.high:.2f})"
        ax.plot(sizes * spread, drawn, "o", ms=5, color=colour(i))
        ax.plot(ends, found.level * ends**found.slope, color=colour(i), lw=1.6, label=text)
    middle = np.exp(np.log(sizes).mean())
    found = study.slope(loss, statistic=statistic)
    guide = 0.6 * found.level * middle**found.slope * (ends / middle) ** rate
    ax.plot(ends, guide, color=MUTED, lw=1, ls=(0, (4, 3)), label=f"slope {rate:g}")
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.set_xticks(sizes)
    ax.set_xticklabels([f"{n:,}" for n in sizes], color=INK)
    ax.minorticks_off()
    label(ax, "Number of rows", f"{TITLES[loss]}, {statistic}", study.design)
    legend(ax, loc="lower left")
    return ax
