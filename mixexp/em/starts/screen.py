"""Screening: a batch of starts advanced together, halved in stages, merged into distinct optima."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ..driver import EM
from ..engines import MemoryEngine
from ..model import MoEModel
from ..params import concatenate, size, take
from ..regular import is_regular
from .table import Table

ALMOST = 0.6  # share of the smallest allowed size from which an optimum is almost regular


class Pool(NamedTuple):
    """S starts on their way.

    params : MoEParams batch; objective (S,) penalised, per unit weight; regular, near (S,) bool:
    regular, and at least almost so (a stepping stone of the local search); mass (S, K);
    kinds: S tuples of the kinds of start that were merged into this one.
    """

    params: Any
    objective: np.ndarray
    regular: np.ndarray
    near: np.ndarray
    mass: np.ndarray
    kinds: list

    def take(self, index):
        index = np.asarray(index, dtype=int)
        return Pool(
            take(self.params, index),
            self.objective[index],
            self.regular[index],
            self.near[index],
            self.mass[index],
            [self.kinds[i] for i in index],
        )

    @property
    def order(self):
        """Positions, the regular ones first and by falling objective."""
        return np.lexsort((-self.objective, ~self.regular))


def join(pools) -> Pool:
    return Pool(
        concatenate([pool.params for pool in pools]),
        np.concatenate([pool.objective for pool in pools]),
        np.concatenate([pool.regular for pool in pools]),
        np.concatenate([pool.near for pool in pools]),
        np.concatenate([pool.mass for pool in pools]),
        [kinds for pool in pools for kinds in pool.kinds],
    )


class Screen:
    """Runs and compares starts of one model on the table.

    Parameters
    ----------
    engine : Engine over the table
    units : float
        What the table's units amount to; optima are told apart by log-likelihood in these.
    row_units : float
        What its rows amount to: sizes of experts are judged in these.
    tolerance : float
        Optima whose log-likelihoods differ by less are one.
    """

    def __init__(
        self, model: MoEModel, engine, units: float, row_units: float, tolerance: float = 1e-3
    ):
        self.model = model
        self.engine = engine
        self.units = units
        self.row_units = row_units
        self.tolerance = tolerance

    @classmethod
    def on(cls, model: MoEModel, table: Table) -> Screen:
        """The screen of a table's rows."""
        return cls(model, MemoryEngine(table.rows, model), table.size, table.row_size)

    def enter(self, params, kinds) -> Pool:
        """A pool of new starts, not yet advanced."""
        S = size(params)
        empty = np.full(S, -np.inf)
        mass = np.full((S, self.model.K), np.nan)
        return Pool(params, empty, np.ones(S, bool), np.ones(S, bool), mass, list(kinds))

    def advance(self, pool: Pool, passes: int, acceleration: int = 8) -> Pool:
        """Every start some passes further, and judged."""
        solver = EM(passes, tol=1e-8 / self.units, gradient_tol=1e-4, acceleration=acceleration)
        result = solver.run(self.model, pool.params, self.engine)
        return self.judge(pool._replace(params=result.params, objective=result.objective))

    def shake(self, params, rng, passes: int = 12):
        """Parameters brought to where another sample of the rows would take them.

        The batch is run for some passes with exponential row weights (the Bayesian bootstrap of
        Rubin, 1981, Annals of Statistics 9, 130-134): noise of the size that the data themselves
        leave in the parameters.
        """
        rows = self.engine.rows
        noise = rows.spread(rng.standard_exponential(rows.n_units))
        noisy = rows._replace(weight=rows.weight * noise)
        solver = EM(passes, tol=1e-8 / self.units, gradient_tol=1e-4)
        return solver.run(self.model, params, MemoryEngine(noisy, self.model)).params

    def judge(self, pool: Pool) -> Pool:
        final = self.engine.run(self.model, pool.params)
        mass = final.statistics.expert.mass
        regular = is_regular(self.model, pool.params, mass, self.row_units)
        near = is_regular(self.model, pool.params, mass, self.row_units, ALMOST)
        return pool._replace(mass=mass, regular=regular, near=near)

    def select(self, pool: Pool, n: int) -> Pool:
        """The n best distinct starts; at most a third of the places goes to irregular ones.

        The almost regular go before the others, which get at most a tenth.
        """
        pool = self.merge(pool)
        order = pool.order
        good = [i for i in order if pool.regular[i]]
        almost = [i for i in order if pool.near[i] and not pool.regular[i]]
        bad = [i for i in order if not pool.near[i]]
        almost = almost[: max(n - len(good), n // 4)]
        bad = bad[: max(n - len(good) - len(almost), n // 10)]
        return pool.take(good[: n - len(almost) - len(bad)] + almost + bad)

    def merge(self, pool: Pool) -> Pool:
        """Starts that have met are one, with their kinds together."""
        order = pool.order
        value = pool.objective * self.units
        kept: list[int] = []
        kinds: dict[int, tuple] = {}
        for i in order:
            twin = next((j for j in kept if self._same(pool, value, i, j)), None)
            if twin is None:
                kept.append(i)
                kinds[i] = pool.kinds[i]
            else:
                kinds[twin] = kinds[twin] + pool.kinds[i]
        merged = pool.take(kept)
        return merged._replace(kinds=[kinds[i] for i in kept])

    def _same(self, pool, value, i, j):
        if abs(value[i] - value[j]) > self.tolerance or pool.regular[i] != pool.regular[j]:
            return False
        near = np.abs(np.sort(pool.mass[i]) - np.sort(pool.mass[j])).max()
        return bool(near <= 0.02 * pool.mass[i].sum() / self.model.K)

    def race(self, pool: Pool, stages, finish: int) -> Pool:
        """Successive halving: ``stages`` of (passes, survivors), then ``finish`` passes."""
        for passes, survivors in stages:
            pool = self.select(self.advance(pool, passes), survivors)
        return self.merge(self.advance(pool, finish))
