"""Embeddings of numeric columns: piecewise linear and periodic, each column with its own weights.

An embedding is a part with settings, as `sklearn.base.clone` wants it; ``build`` makes the module
for a table.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor, nn

from ..._component import Component, register
from .quantiles import quantile_edges

EMBEDDINGS: dict[str, type[Component]] = {}


@register(EMBEDDINGS, "piecewise_linear")
class PiecewiseLinearEmbedding(Component):
    """Every column by the bins of its quantiles: full below the value, empty above, linear within.

    The encoding of x by edges b_0 < ... < b_T has the entries
    ``clip((x - b_{t-1}) / (b_t - b_{t-1}), 0, 1)``, the first without lower and the last without
    upper limit. With ``d_embedding`` a linear map of each column's encoding, which begins at zero,
    is added to a linear embedding of the column itself.

    Parameters
    ----------
    n_bins : int
        Bins a column, at most; equal quantiles are one edge.
    d_embedding : int or None
        Width of a column's embedding; None for the encoding itself.

    References
    ----------
    Gorishniy, Rubachev and Babenko, "On embeddings for numerical features in tabular deep
    learning", 2022, equation 1.

    Examples
    --------
    >>> import numpy as np, torch
    >>> from mixexp.neural import PiecewiseLinearEmbedding
    >>> module = PiecewiseLinearEmbedding(n_bins=2, d_embedding=None).build(np.c_[[0.0, 1.0, 4.0]])
    >>> module(torch.tensor([[0.5], [2.5], [7.0]]))
    tensor([[0.5000, 0.0000],
            [1.0000, 0.5000],
            [1.0000, 2.0000]])
    """

    def __init__(self, n_bins=32, d_embedding=8):
        self.n_bins = n_bins
        self.d_embedding = d_embedding

    def build(self, columns, weight=None) -> nn.Module:
        """The module for columns of shape (n, p) and the weights of their rows."""
        if self.n_bins < 1:
            raise ValueError(f"n_bins must be at least 1; got {self.n_bins!r}.")
        columns = np.asarray(columns, dtype=np.float64)
        weight = np.ones(len(columns)) if weight is None else weight
        edges = [quantile_edges(column, weight, self.n_bins) for column in columns.T]
        return PiecewiseLinearColumns(edges, self.d_embedding)

    def rebuild(self, state: dict, prefix: str, n_columns: int) -> nn.Module:
        """A module of the sizes of a stored state, whose entries are then loaded."""
        real = state[prefix + "real"]
        edges = [np.arange(count + 1.0) for count in real.sum(1).tolist()]
        return PiecewiseLinearColumns(edges, self.d_embedding)


@register(EMBEDDINGS, "periodic")
class PeriodicEmbedding(Component):
    """Every column by cosines and sines of learned frequencies, a linear map and a ReLU.

    Parameters
    ----------
    n_frequencies : int
        Frequencies a column.
    sigma : float
        Standard deviation of the initial frequencies, per standard deviation of the column.
    d_embedding : int or None
        Width of a column's embedding; None for cosines and sines themselves.

    References
    ----------
    Gorishniy, Rubachev and Babenko, "On embeddings for numerical features in tabular deep
    learning", 2022, equation 2.
    """

    def __init__(self, n_frequencies=16, sigma=0.1, d_embedding=8):
        self.n_frequencies = n_frequencies
        self.sigma = sigma
        self.d_embedding = d_embedding

    def build(self, columns, weight=None) -> nn.Module:
        """The module for columns of shape (n, p); it looks at their number alone."""
        if self.n_frequencies < 1 or not self.sigma > 0:
            raise ValueError(
                "PeriodicEmbedding needs n_frequencies >= 1 and sigma > 0; got "
                f"n_frequencies={self.n_frequencies!r}, sigma={self.sigma!r}."
            )
        return PeriodicColumns(columns.shape[1], self.n_frequencies, self.sigma, self.d_embedding)

    def rebuild(self, state: dict, prefix: str, n_columns: int) -> nn.Module:
        """A module of the sizes of a stored state, whose entries are then loaded."""
        return self.build(np.empty((0, n_columns)))


class PlainColumns(nn.Module):
    """Numeric columns as they are."""

    def __init__(self, n_columns: int):
        super().__init__()
        self.out_dim = n_columns

    def forward(self, x: Tensor) -> Tensor:
        return x


class ColumnwiseLinear(nn.Module):
    """A linear map of its own for each of p columns, (T, p, a) to (T, p, b)."""

    def __init__(self, p: int, a: int, b: int, *, bias: bool, zero: bool = False):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(p, a, b))
        self.bias = nn.Parameter(torch.zeros(p, b)) if bias else None
        if not zero and p:
            nn.init.normal_(self.weight, std=1 / math.sqrt(a))

    def forward(self, z: Tensor) -> Tensor:
        out = torch.einsum("tpa,pab->tpb", z, self.weight)
        return out if self.bias is None else out + self.bias


class PiecewiseLinearColumns(nn.Module):
    """The module of `PiecewiseLinearEmbedding`, (T, p) to (T, out_dim).

    Parameters
    ----------
    edges : list of p ndarrays
        Ascending edges of each column; a column with fewer than two is constant and encoded as 0.
    d_embedding : int or None
    """

    def __init__(self, edges: list[np.ndarray], d_embedding: int | None):
        super().__init__()
        p = len(edges)
        bins = [max(len(edge) - 1, 0) for edge in edges]
        most = max(bins, default=0)
        left, inverse = np.zeros((p, most)), np.zeros((p, most))
        low, high = np.zeros((p, most)), np.ones((p, most))
        for j, edge in enumerate(edges):
            if bins[j]:
                left[j, : bins[j]] = edge[:-1]
                inverse[j, : bins[j]] = 1 / np.diff(edge)
                low[j, 0], high[j, bins[j] - 1] = -np.inf, np.inf
        for name, value in {"left": left, "inverse": inverse, "low": low, "high": high}.items():
            self.register_buffer(name, torch.from_numpy(value))
        real = np.arange(most) < np.array(bins, dtype=int)[:, None]
        self.register_buffer("real", torch.from_numpy(real))
        self.d_embedding = d_embedding
        self.out_dim = sum(bins) if d_embedding is None else p * d_embedding
        if d_embedding is not None:
            self.linear = ColumnwiseLinear(p, 1, d_embedding, bias=True)
            self.bins = ColumnwiseLinear(p, most, d_embedding, bias=False, zero=True)

    def encode(self, x: Tensor) -> Tensor:
        """The encoding of shape (T, p, most bins), zero behind a column's last bin."""
        left, inverse, low, high = (
            edge.to(x.dtype) for edge in (self.left, self.inverse, self.low, self.high)
        )
        return torch.minimum(torch.maximum((x[..., None] - left) * inverse, low), high)

    def forward(self, x: Tensor) -> Tensor:
        encoded = self.encode(x)
        if self.d_embedding is None:
            return encoded[:, self.real]
        return (self.linear(x[..., None]) + self.bins(encoded)).flatten(1)


class PeriodicColumns(nn.Module):
    """The module of `PeriodicEmbedding`, (T, p) to (T, out_dim)."""

    def __init__(self, p: int, n_frequencies: int, sigma: float, d_embedding: int | None):
        super().__init__()
        self.frequency = nn.Parameter(sigma * torch.randn(p, n_frequencies))
        self.d_embedding = d_embedding
        self.out_dim = p * (2 * n_frequencies if d_embedding is None else d_embedding)
        if d_embedding is not None:
            self.linear = ColumnwiseLinear(p, 2 * n_frequencies, d_embedding, bias=True)

    def forward(self, x: Tensor) -> Tensor:
        angle = 2 * math.pi * x[..., None] * self.frequency
        waves = torch.cat([angle.cos(), angle.sin()], -1)
        if self.d_embedding is None:
            return waves.flatten(1)
        return torch.relu(self.linear(waves)).flatten(1)
