"""Candidate starts for K experts: divisions of the rows, and moves from a fit with K - 1.

Where rows form groups, groups are divided and drawn: every array over m is over the units.
"""

from __future__ import annotations

import numpy as np

from ..model import MoEModel
from ..params import MoEParams, concatenate, stack, take, tree_map
from ..regular import smallest_allowed
from . import moves, partitions
from .fixed import Designs, expert_log_density, fit_experts, from_partitions
from .table import Table

CONCENTRATIONS = 2  # refits of a candidate to the rows it suits best


class Generator:
    """Makes candidates on one table, with one stream of random numbers.

    Parameters
    ----------
    model : MoEModel
        Its ``K`` is not used; every method is told.
    effort : float
        Multiplies the numbers of candidates.
    """

    def __init__(self, model: MoEModel, table: Table, d: Designs, rng, effort: float):
        self.model = model
        self.units = table.row_size
        self.table = table
        self.d = d
        # units of which an expert's columns need the rows
        self.handful = -(-d.expert.shape[1] * len(table.key) // d.rows.n)
        self.rng = rng
        self.effort = effort
        self.Z = partitions.joint_coordinates(model, table)
        self.scores = self._scores()

    def count(self, n: int) -> int:
        return max(1, round(n * self.effort))

    def share(self, n: int) -> int | None:
        """How many of about ``n`` possible moves are drawn; None for all of them."""
        return None if self.effort >= 1 else self.count(n)

    def _scores(self):
        """Directions for slices: principal components of (x, y), the target, single columns."""
        weight = self.table.weight
        principal = partitions.principal_scores(self.Z, weight, 3)
        single = self.Z[:, ::-1][:, :4]
        return list(principal.T) + list(single.T)

    def divisions(self, K: int):
        """Partitions turned into parameters: (batch, kinds)."""
        weight, Z, rng = self.table.weight, self.Z, self.rng
        m = len(weight)
        resp, kinds = [], []
        for score in self.scores[: self.count(6)]:
            resp.append(partitions.soften(partitions.slices(score, weight, K), K))
            kinds.append(("slices",))
        for score in self.scores[: self.count(3)]:
            rough = partitions.soften(partitions.slices(score, weight, K), K)
            resp.append(partitions.gaussian_mixture(Z, weight, rough))
            kinds.append(("joint mixture",))
        for _ in range(self.count(8)):
            labels = partitions.voronoi(Z, weight, K, rng)
            resp.append(partitions.soften(labels, K))
            kinds.append(("cells",))
        for _ in range(self.count(4)):
            resp.append(partitions.near_uniform(m, K, rng))
            kinds.append(("near uniform",))
        return from_partitions(self.model, self.d, np.stack(resp)), kinds

    def elemental(self, K: int):
        """Every expert fitted to a random handful of rows, the gate neutral: (batch, kinds)."""
        S = self.count(12)
        q = self.handful
        rng, weight = self.rng, self.table.weight
        background = np.repeat(rng.choice([0.05, 0.5, 3.0], size=S), K)
        local = np.repeat(rng.random(S) < 0.5, K)
        # further rows keep an exact fit away; further groups are likely of another expert
        tight = np.full(S * K, self.d.rows.group is not None)
        W = moves.elemental_weights(self.Z, weight, q, rng, background, local, tight)
        experts = fit_experts(self.model, self.d, W, 4)
        experts = tree_map(lambda leaf: leaf.reshape(S, K, *leaf.shape[1:]), experts)
        gate = self.model.gate.initial(K, self.d.gate.shape[1])
        return MoEParams(stack([gate] * S), experts), [("elemental",)] * S

    def insertions(self, params: MoEParams, n: int, draws: int, avoid=()):
        """The best ways to add an expert to ``params``: list of larger parameters.

        ``avoid``: responsibilities (m,) that the new expert shall not repeat.
        """
        model, d = self.model, self.d
        b = moves.base(model, d, params)
        K = b.resp.shape[1]
        least = smallest_allowed(model._replace(K=K + 1), params, self.units)
        least *= d.weight.sum() / self.units
        experts = self._concentrated(b, draws, least)
        parent, share = moves.hosts(model, d, b, experts), 0.5 / (K + 1)
        experts = tree_map(lambda leaf: np.concatenate([leaf, leaf]), experts)
        parent = np.concatenate([np.full(len(parent), -1), parent])
        for steps, kept, overlap in ((0, 12 * n, 0.98), (1, 5 * n, 0.95), (6, n, 0.8)):
            tried = moves.partial_em(model, d, b, experts, parent, share, steps)
            floor = 0.7 * least if steps == 6 else 0.3 * least
            chosen = moves.pick(tried, d.weight, kept, floor, overlap, avoid)
            if not chosen:
                return []
            experts, parent = take(tried.experts, np.array(chosen)), parent[chosen]
        return moves.grow(model, d, b, tried, chosen)

    def _concentrated(self, b, draws, least):
        """Candidate experts from `_insertion_weights`, refitted to the rows they suit best."""
        model, d = self.model, self.d
        W = self._insertion_weights(b, draws)
        total = d.weight.sum()
        target = self.rng.choice([1.2 * least, 0.1 * total, 0.25 * total], size=W.shape[1])
        target = np.maximum(target, 1.2 * least)
        first = narrow = fit_experts(model, d, W, 3)
        for _ in range(CONCENTRATIONS):
            score = expert_log_density(model, d, narrow) - b.log_p[:, None]
            rows = moves.concentrate(score, d.weight, target)
            narrow = fit_experts(model, d, rows, 2, narrow)
        return tree_map(lambda *leaves: np.concatenate(leaves), first, narrow)

    def _insertion_weights(self, b, draws):
        """(m, J): random handfuls, and each expert's rows cut by fit, column and score."""
        rng, weight, Z = self.rng, self.table.weight, self.Z
        q = self.handful
        background = rng.choice([0.02, 0.2, 2.0], size=draws)
        local, tight = rng.random((2, draws)) < 0.5
        held = weight[:, None] * b.resp + 1e-12 * weight[:, None]
        among = np.column_stack([weight, held])
        columns = [moves.elemental_weights(Z, weight, q, rng, background, local, tight, among)]
        for k in range(held.shape[1]):
            for score in [b.log_p, *self.scores[:5]]:
                upper = _ranks(score, held[:, k])
                for inside in (upper > 0.5, upper <= 0.5, upper > 0.8, upper <= 0.2):
                    columns.append((held[:, k] * inside + 1e-6 * weight)[:, None])
        return np.hstack(columns)

    def splits(self, params: MoEParams, n: int | None = None):
        """Experts duplicated and cut in two along a score: (batch, kinds).

        All cuts, or ``n`` random ones.
        """
        b = moves.base(self.model, self.d, params)
        weight = self.table.weight
        scores = [b.log_p, *self.scores[:6]]
        cuts = [(k, score) for k in range(b.resp.shape[1]) for score in range(len(scores))]
        if n is not None and n < len(cuts):
            cuts = [cuts[i] for i in sorted(self.rng.choice(len(cuts), size=n, replace=False))]
        resp, begin = [], []
        for k, score in cuts:
            r = b.resp[:, k]
            side = np.where(_ranks(scores[score], weight * (r + 1e-12)) > 0.5, 0.95, 0.05)
            column = b.resp.copy()
            column[:, k] = r * side
            resp.append(np.column_stack([column, r * (1 - side)]))
            begin.append(moves.duplicate(self.model, params, k, 0.5))
        batch = from_partitions(self.model, self.d, np.stack(resp), 3, stack(begin))
        return batch, [("split",)] * len(resp)


def _ranks(score, weight):
    """(m,) share of the weight at or below each row's score."""
    order = np.argsort(score, kind="stable")
    out = np.empty(len(score))
    out[order] = np.cumsum(weight[order]) / weight.sum()
    return out


def gather(batches):
    """One (batch, kinds) from several."""
    return concatenate([batch for batch, _ in batches]), [k for _, kinds in batches for k in kinds]
