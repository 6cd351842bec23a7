"""Comparisons over seeds: what counts as a win, and the worlds that experts can specialise in."""

from __future__ import annotations

import numpy as np
import torch
from scipy import stats


def wins(differences) -> bool:
    """Whether the one-sided 95% t-interval of paired differences lies above zero."""
    values = np.asarray(differences, dtype=float)
    error = values.std(ddof=1) / np.sqrt(len(values))
    return bool(values.mean() - stats.t.ppf(0.95, len(values) - 1) * error > 0)


class Domains:
    """Clusters of rows, each with a smooth map of its own to the targets.

    Parameters
    ----------
    n_domains, dim : int
    gap : float
        Distance of the clusters' centres from the origin, in standard deviations.
    seed : int
    """

    def __init__(self, n_domains: int = 4, dim: int = 8, *, gap: float = 3.0, seed: int = 0):
        source = torch.Generator().manual_seed(1000 + seed)
        centres = torch.randn(n_domains, dim, generator=source)
        self.centres = gap * centres / centres.norm(dim=1, keepdim=True)
        self.maps = torch.randn(n_domains, dim, dim, generator=source) / dim**0.5
        self.n_domains, self.dim = n_domains, dim

    def draw(self, n_each: int, source: torch.Generator):
        """Rows, targets and domains, domain by domain."""
        domain = torch.arange(self.n_domains).repeat_interleave(n_each)
        noise = torch.randn(len(domain), self.dim, generator=source)
        x = self.centres[domain] + noise
        y = torch.tanh(torch.einsum("td,tde->te", noise, self.maps[domain]) * 1.5)
        return x, y, domain


def mutual_information(first: torch.Tensor, second: torch.Tensor) -> float:
    """Mutual information, in nats, of two labels."""
    table = torch.zeros(int(first.max()) + 1, int(second.max()) + 1, dtype=torch.float64)
    table.index_put_((first, second), torch.ones(len(first)).double(), accumulate=True)
    p = table / table.sum()
    expected = p.sum(1, keepdim=True) * p.sum(0, keepdim=True)
    return float(torch.where(p > 0, p * (p / expected).log(), 0.0).nan_to_num().sum())


def first_choices(routing) -> torch.Tensor:
    """Expert of the first choice of each unit."""
    first = routing.rank == 0
    expert = torch.full((routing.n_units,), -1)
    expert[routing.unit[first]] = routing.expert[first]
    return expert
