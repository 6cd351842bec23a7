"""`MultiStart`: from rows to the best regular optimum that many cheap runs on a table can find."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from joblib import delayed

from .._component import Component
from .model import MoEModel
from .params import MoEParams, concatenate, size, stack, take
from .regular import smallest_allowed
from .rows import Rows, scaling_for
from .starts.candidates import Generator, gather
from .starts.fixed import designs
from .starts.moves import base, duplicate, remove
from .starts.screen import Pool, Screen, join
from .starts.table import Table, canonical_table, sample
from .threads import single_threaded_blas
from .workers import in_order

FEW = 4  # starts that survive a stage of a race, at least
SKETCH = 400  # rows on which candidates are made, at least
CONTINUED, FINISHED = 100, 4  # passes of candidates of another search, and how many run on
TRIED = 16  # optima of a search among shortened groups that are compared on more rows ...
MORE = 10  # ... so many times as many
STRIDE = 10_007  # between the seeds of searches
INDEPENDENT = ("slices", "cells", "joint mixture", "near uniform", "elemental")


class Optimum(NamedTuple):
    """One distinct optimum that the starts met.

    Attributes
    ----------
    loglik : float
        Log-likelihood on the start table, or on more rows where that left the best one open; in
        the user's units of y.
    hits : int
        Starts that ended there.
    regular : bool
        Whether it is regular (`mixexp.em.regular`).
    smallest_expert : float
        Effective rows of its smallest expert.
    kinds : dict
        Which kinds of start met it, and how often.
    best : bool
        True for the one that is returned.
    """

    loglik: float
    hits: int
    regular: bool
    smallest_expert: float
    kinds: dict
    best: bool


class StartResult(NamedTuple):
    """params : MoEParams, one set on the model's scale; optima : list of `Optimum`, best first;
    pool : parameters of the optima in the same order, where the search kept them; table : the rows
    on which they were compared."""

    params: MoEParams
    optima: list[Optimum]
    pool: Sequence[MoEParams] = ()
    table: Table | None = None


class MultiStart(Component):
    """Search for the best regular optimum by many cheap runs on a table of the distinct rows.

    The search climbs a ladder of 1, 2, ..., K experts. On every rung it tries divisions of the
    rows (slices along weighted principal components, Voronoi cells, a joint Gaussian mixture of
    (x, y), near-uniform responsibilities), experts through random handfuls of rows, and greedy
    insertions into the best fits of the rung below; all are advanced together and halved in
    stages. Local search follows: an expert is taken out and another put in where it gains most,
    as long as that helps. On the last rung the best is run to convergence.

    Everything is a function of the weighted sample and of the seed: row order and repetition
    instead of weights do not change it. Where rows form groups, "row" reads "group" above.

    Parameters
    ----------
    n_starts : float, default=1.0
        Effort: multiplies the numbers of candidates and, below 1, of those that survive a stage.
    table_size : int, default=2000
        Distinct rows beyond this number are sampled for the search; optima whose order the sample
        leaves open are compared on five and on fifty times as many. Of groups, some are sampled
        and long ones shortened, at least to 20 rows, so that they have about as many rows.
    max_rounds : int, default=16
        Rounds of local search at most on the last rung; it ends earlier when K + 1 + K // 3
        rounds in turn have brought nothing; one is enough where independent starts have met.
    n_searches : int, default=1
        Independent searches, with other random candidates each. All their optima are compared.
        They are tasks of joblib: parallel inside ``with joblib.parallel_config("loky",
        n_jobs=4):``, on the workers of a Dask cluster inside ``parallel_config("dask")``.

    References
    ----------
    Verbeek, Vlassis and Krose (2003), "Efficient greedy learning of Gaussian mixture models",
    Neural Computation 15; Biernacki, Celeux and Govaert (2003), "Choosing starting values for
    the EM algorithm", Comput. Stat. Data Anal. 41; Ueda, Nakano, Ghahramani and Hinton (2000),
    "SMEM algorithm for mixture models", Neural Computation 12.
    """

    def __init__(self, n_starts=1.0, table_size=2000, max_rounds=16, n_searches=1):
        self.n_starts = n_starts
        self.table_size = table_size
        self.max_rounds = max_rounds
        self.n_searches = n_searches

    def search(
        self,
        model: MoEModel,
        rows: Rows,
        *,
        seed: int,
        given: Sequence[MoEParams] = (),
    ) -> StartResult:
        """The best regular optimum met.

        Parameters
        ----------
        given : sequence of MoEParams
            Further parameters to try, on the model's scale: with K experts as they are, with
            fewer as the place from which the ladder is climbed.
        """
        table = canonical_table(rows, self.table_size, seed)
        local = model._replace(scaling=scaling_for(model.expert, table.rows))
        known = [local.rescale(params, model.scaling) for params in given]
        pool = self._climb(local, table, seed, known)
        met = [model.rescale(take(pool.params, int(i)), local.scaling) for i in pool.order]
        if rows.group is not None and not table.complete:
            kinds = [pool.kinds[i] for i in pool.order]
            return self._on_more_rows(model, rows, seed, met[:TRIED], kinds[:TRIED])
        return StartResult(met[0], describe(local, table.rows.total_weight, pool), met, table)

    def _climb(self, model, table, seed, given) -> Pool:
        """The optima of all searches."""
        if not self.n_searches >= 1:
            raise ValueError(f"MultiStart needs n_searches >= 1; got {self.n_searches!r}.")
        seeds = [seed + STRIDE * i for i in range(self.n_searches)]
        if len(seeds) == 1:
            return _climbed(self, model, table, seed, given)
        tasks = (delayed(_climbed)(self, model, table, one, given) for one in seeds)
        pools = in_order(tasks, None, len(seeds))
        screen = Screen.on(model, table)
        with single_threaded_blas():
            return screen.merge(join(pools))

    def _on_more_rows(self, model, rows, seed, met, kinds) -> StartResult:
        """The optima compared on a larger table.

        Long groups are shortened for the search, and the rows left out may reverse an order that
        the others barely decide.
        """
        table = canonical_table(rows, MORE * self.table_size, seed)
        screen = Screen.on(model, table)
        with single_threaded_blas():
            pool = screen.race(screen.enter(stack(met), kinds), [(30, FEW)], 200)
        return in_order_of_height(model, table, pool)


def continued(model: MoEModel, table, candidates, kinds) -> StartResult:
    """The best optimum that runs from the candidates end in, on the rows of the table.

    For models whose candidates come from a search with a simpler one.
    """
    screen = Screen.on(model, table)
    pool = screen.merge(screen.advance(screen.enter(stack(candidates), kinds), CONTINUED))
    best = pool.take(pool.order[:FINISHED])
    return in_order_of_height(model, table, screen.merge(screen.advance(best, 10 * CONTINUED)))


def in_order_of_height(model: MoEModel, table: Table, pool: Pool) -> StartResult:
    """The optima of a pool that was run on the rows of the table."""
    met = [take(pool.params, int(i)) for i in pool.order]
    return StartResult(met[0], describe(model, table.rows.total_weight, pool), met, table)


def describe(model: MoEModel, total: float, pool: Pool) -> list[Optimum]:
    penalty = model._replace(K=pool.mass.shape[1]).penalty(pool.params)
    optima = []
    for place, i in enumerate(pool.order):
        optima.append(
            Optimum(
                float((pool.objective[i] + penalty[i]) * total),
                len(pool.kinds[i]),
                bool(pool.regular[i]),
                float(pool.mass[i].min()),
                dict(sorted(Counter(pool.kinds[i]).items())),
                place == 0,
            )
        )
    return optima


def _climbed(settings, model, table, seed, given) -> Pool:
    """The optima of one search."""
    with single_threaded_blas():
        return _Ladder(settings, model, table, seed).climb(model.K, given)


class _Ladder:
    """The search on one table, rung by rung.

    Candidates are made on a sketch, a sample of the table; they run and compete on the table.
    """

    def __init__(self, settings: MultiStart, model: MoEModel, table: Table, seed: int):
        self.settings = settings
        self.model = model
        self.table = table
        self.units, self.row_units = table.size, table.row_size
        q = len(model.gate_columns) + len(model.expert_columns) + 2
        self.sketch = sample(table, max(SKETCH, 4 * q * model.K), seed + 1)
        self.designs = designs(model, self.sketch)
        rng = np.random.default_rng(seed)
        self.make = Generator(model, self.sketch, self.designs, rng, settings.n_starts)

    def climb(self, K: int, given) -> Pool:
        """The pool of the last rung."""
        below = self._first_rung(given, K)
        k = below.mass.shape[1]
        while k < K:
            k += 1
            here = [params for params in given if _n_experts(params) == k]
            below = self._rung(k, below, here, last=k == K)
        return below

    def _first_rung(self, given, K):
        """One expert; or the largest given parameters with fewer experts than K."""
        fewer = [params for params in given if _n_experts(params) < K]
        screen = self._screen(1)
        if not fewer:
            one = self.model._replace(K=1).initial(self.table.rows)
            return screen.advance(screen.enter(stack([one]), [("one expert",)]), 100)
        k = max(_n_experts(params) for params in fewer)
        chosen = [params for params in fewer if _n_experts(params) == k]
        screen = self._screen(k)
        kinds = [("given",)] * len(chosen)
        return screen.advance(screen.enter(stack(chosen), kinds), 100)

    def _screen(self, k):
        return Screen.on(self.model._replace(K=k), self.table)

    def _rung(self, k, below: Pool, given, last: bool) -> Pool:
        screen = self._screen(k)
        pool = screen.enter(*gather(self._candidates(k, below)))
        pool = screen.race(pool, self._stages((10, 40), (30, 28), (60, 12)), 100)
        if given:
            mine = screen.advance(screen.enter(stack(given), [("given",)] * len(given)), 100)
            pool = screen.merge(join([pool, mine]))
        pool = self._nested(screen, pool, below)
        rounds = self.settings.max_rounds if last else int(not _is_easy(pool))
        pool = self._local_search(screen, k, pool, rounds if self._may_be_regular(k) else 0)
        return self._finished(screen, pool) if last else screen.select(pool, 8)

    def _may_be_regular(self, k):
        """Whether the rows suffice for k experts of the smallest size that a regular optimum has.

        Where they do not, no effort finds one, and the search ends with its first candidates.
        """
        model = self.model._replace(K=k)
        one = self.model._replace(K=1).initial(self.table.rows)
        return k * smallest_allowed(model, one, self.row_units) <= self.row_units * (1 + 1e-6)

    def _stages(self, *stages):
        """Stages of a race: fewer survive where fewer enter, though never fewer than a few."""
        effort = min(1.0, self.settings.n_starts)
        return [(passes, max(round(n * effort), min(n, FEW))) for passes, n in stages]

    def _finished(self, screen, pool: Pool) -> Pool:
        """The best run to convergence; more of them while no regular one is left."""
        order = list(pool.order)
        done = None
        hope = self._may_be_regular(pool.mass.shape[1])
        while order and (done is None or (hope and not done.regular.any())):
            part, order = order[:6], order[6:]
            finished = screen.advance(pool.take(part), 1000)
            done = finished if done is None else join([done, finished])
        return screen.merge(join([done, pool.take(order)]) if order else done)

    def _candidates(self, k, below: Pool):
        make = self.make
        batches = [make.divisions(k), make.elemental(k)]
        for i in below.order[:2]:
            params = take(below.params, int(i))
            grown = make.insertions(params, make.count(6), make.count(600))
            if grown:
                batches.append((stack(grown), [("insertion",)] * len(grown)))
            batches.append(make.splits(params, make.share(7 * k)))
        return batches

    def _nested(self, screen, pool, below):
        """Never below the rung below: its best, with one expert duplicated, joins the pool."""
        lower = below.take([below.order[0]])
        if pool.objective[pool.order[0]] >= lower.objective[0]:
            return pool
        params = take(lower.params, 0)
        largest = int(np.argmax(lower.mass[0]))
        copy = duplicate(screen.model, params, largest, 0.5)
        safe = screen.advance(screen.enter(stack([copy]), [("split",)]), 1)
        return screen.merge(join([pool, safe]))

    def _local_search(self, screen, k, pool: Pool, rounds: int) -> Pool:
        """Shake the optima and exchange their experts; keep what is better, until nothing is."""
        failures = 0
        patience = 1 if _is_easy(pool) else k + 1 + k // 3
        tried: list[float] = []
        for round_ in range(rounds):
            best = pool.order[0]
            height = pool.objective[best]
            place = self._untried(pool, tried, almost=round_ % 2 == 1)
            tried.append(pool.objective[place])
            params = take(pool.params, int(place))
            batches = [self._shaken(screen, params), *(self._exchanges(params, k) if k > 1 else [])]
            moved = screen.race(
                screen.enter(*gather(batches)), self._stages((12, 24), (40, 10)), 100
            )
            pool = screen.merge(join([pool, moved]))
            best = pool.order[0]
            better = pool.objective[best] > height + 1e-4 / self.units
            failures = 0 if better else failures + 1
            if failures == patience:
                break
        return pool

    def _untried(self, pool, tried, almost: bool):
        """The highest optimum not yet searched around; ``almost`` counts the nearly regular too."""
        order = pool.order
        if almost:
            order = [i for i in np.argsort(-pool.objective, kind="stable") if pool.near[i]]
        known = np.array(tried)
        for i in order:
            if not np.any(np.abs(pool.objective[i] - known) <= 1e-3 / self.units):
                return i
        return pool.order[0]

    def _shaken(self, screen, params):
        """The parameters shaken, with their gate as it is and flattened: (batch, kinds)."""
        gate, batches = self.model.gate, []
        for i in range(self.make.count(9)):
            flat = gate.flatten(params.gate, (0.3, 0.05)[i % 2])
            gates = [params.gate, flat] if gate.uses_columns else [params.gate]
            batch = stack([params._replace(gate=one) for one in gates])
            batches.append(screen.shake(batch, self.make.rng))
        shaken = concatenate(batches)
        return shaken, [("shaken",)] * size(shaken)

    def _exchanges(self, params, k):
        """Every expert in turn taken out, and another put in elsewhere: (batch, kinds) each."""
        make, batches = self.make, []
        resp = base(self.model, self.designs, params).resp
        for j in range(k):
            fewer = remove(params, j)
            grown = make.insertions(fewer, make.count(3), make.count(150), [resp[:, j]])
            if grown:
                batches.append((stack(grown), [("exchange",)] * len(grown)))
            split, kinds = make.splits(fewer, make.count(3))
            batches.append((split, [("exchange",)] * len(kinds)))
        return batches


def _is_easy(pool: Pool) -> bool:
    """Whether most starts, and of several kinds, have met in the best optimum.

    Splits and insertions do not count: they come from the same fits of the rung below.
    """
    independent = [[kind for kind in kinds if kind in INDEPENDENT] for kinds in pool.kinds]
    best = independent[int(pool.order[0])]
    return len(best) >= 5 and len(set(best)) >= 3 and 3 * len(best) > 2 * sum(map(len, independent))


def _n_experts(params: MoEParams) -> int:
    leaf = params.expert
    while isinstance(leaf, tuple):
        leaf = leaf[0]
    return len(leaf)
