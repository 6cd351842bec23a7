"""`RateStudy`: losses of fits at growing sample sizes, and the slopes of their decay."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Floats = NDArray[np.float64]

LOSSES = ("hellinger", "voronoi")
STATISTICS: dict[str, Any] = {"mean": np.mean, "median": np.median}


class RateSlope(NamedTuple):
    """loss = level x n^slope, with an interval (low, high) for the slope."""

    slope: float
    low: float
    high: float
    level: float


@dataclass(frozen=True, eq=False)
class RateStudy:
    """What `rate_study` found.

    Attributes
    ----------
    design : str
        What was fitted to what.
    n_experts, n_true : int
        Experts fitted, and experts of the truth.
    sizes : tuple of int
    starts : tuple of str
    table : DataFrame
        One row for each fit: ``n``, ``replicate``, ``start``, ``hellinger``, ``voronoi``,
        ``loglik``, ``converged`` and ``regular``.
    """

    design: str
    n_experts: int
    n_true: int
    sizes: tuple[int, ...]
    starts: tuple[str, ...]
    table: pd.DataFrame = field(repr=False)

    def to_frame(self) -> pd.DataFrame:
        """A copy of ``table``."""
        return self.table.copy()

    def losses(self, loss: str = "voronoi", start: str | None = None) -> Floats:
        """(replicates, sizes) losses of the fits from one start, the first by default."""
        start = self.starts[0] if start is None else start
        if loss not in LOSSES:
            raise ValueError(f"loss must be one of {list(LOSSES)}; got {loss!r}.")
        if start not in self.starts:
            raise ValueError(f"start must be one of {list(self.starts)}; got {start!r}.")
        own = self.table[self.table["start"] == start]
        return own.pivot(index="replicate", columns="n", values=loss)[list(self.sizes)].to_numpy()

    def slope(
        self,
        loss: str = "voronoi",
        start: str | None = None,
        *,
        statistic: str = "mean",
        level: float = 0.95,
        n_boot: int = 2000,
    ) -> RateSlope:
        """The slope of log loss on log n, by least squares over the sizes.

        Parameters
        ----------
        loss : {"voronoi", "hellinger"}
        start : str, optional
            One of ``starts``, the first by default.
        statistic : {"mean", "median"}
            Of the replicates at each size.
        level : float
            Of the percentile interval, from redrawing the replicates of every size. It says what
            other replicates would give on the same sizes, not how far these are from infinity.
        n_boot : int

        Returns
        -------
        RateSlope

        Raises
        ------
        ValueError
            For an unknown loss, start or statistic.
        """
        if statistic not in STATISTICS:
            raise ValueError(f"statistic must be one of {list(STATISTICS)}; got {statistic!r}.")
        if not 0 < level < 1:
            raise ValueError(f"level must lie strictly between 0 and 1; got {level!r}.")
        values, take = self.losses(loss, start), STATISTICS[statistic]
        slope, constant = _line(self.sizes, take(values, axis=0)[None])
        count = len(values)
        drawn = np.random.default_rng(0).integers(count, size=(n_boot, *values.shape))
        again = take(np.take_along_axis(values[None], drawn, axis=1), axis=1)
        low, high = np.quantile(_line(self.sizes, again)[0], [(1 - level) / 2, (1 + level) / 2])
        return RateSlope(float(slope[0]), float(low), float(high), float(np.exp(constant[0])))

    def slopes(self, **settings: Any) -> pd.DataFrame:
        """Slopes and their intervals for every loss and start; settings are those of `slope`."""
        index = pd.MultiIndex.from_product([LOSSES, self.starts], names=["loss", "start"])
        found = [self.slope(loss, start, **settings) for loss, start in index]
        return pd.DataFrame(found, index=index)

    def summary(self) -> pd.DataFrame:
        """Means and medians of the losses, and the share of converged fits, by start and n."""
        groups = self.table.groupby(["start", "n"], sort=False)
        return groups.agg(
            hellinger_mean=("hellinger", "mean"),
            hellinger_median=("hellinger", "median"),
            voronoi_mean=("voronoi", "mean"),
            voronoi_median=("voronoi", "median"),
            converged=("converged", "mean"),
        )


def _line(sizes: tuple[int, ...], values: Floats) -> tuple[Floats, Floats]:
    """Slopes and constants (B,) of log values (B, S) on log sizes."""
    x = np.log(sizes)
    apart = x - x.mean()
    y = np.log(values)
    slope = y @ apart / (apart @ apart)
    return slope, y.mean(axis=1) - slope * x.mean()
