"""Optima whose order a sample of the rows leaves open, compared on more rows.

A search on a table of some thousands of rows cannot tell which of two optima is the higher one on
all rows where their log-likelihoods differ by less than sampling error. It is judged as in Vuong
(1989), "Likelihood ratio tests for model selection and non-nested hypotheses", Econometrica 57:
by the standard deviation over rows of the difference of log densities.
"""

from __future__ import annotations

from collections import Counter

import numpy as np

from .model import MoEModel
from .params import stack
from .start import StartResult, in_order_of_height
from .starts.screen import Screen
from .starts.table import canonical_table
from .threads import single_threaded_blas

DOUBT = 2.0  # standard errors below the best within which an optimum may be the better one
COMPARED = 4  # optima at most that are compared
LARGER = ((5, 50), (50, 20))  # tables, in units of the search's, and passes of each optimum there


def decided(model: MoEModel, rows, found: StartResult, table_size: int, seed: int) -> StartResult:
    """The result of a search, with the optimum first that is the highest on more rows."""
    candidates = len(found.pool)
    for times, passes in LARGER:
        doubtful = _doubtful(model, found, candidates)
        if len(doubtful) < 2:
            return found
        table = canonical_table(rows, times * table_size, seed)
        found, candidates = _compared(model, table, found, doubtful, passes)
    return found


def _compared(model, table, found, doubtful, passes) -> tuple[StartResult, int]:
    """Some of the optima run on, on another table, and put in order there, and how many they are.

    The others stand behind them.
    """
    screen = Screen.on(model, table)
    kinds = [tuple(Counter(found.optima[i].kinds).elements()) for i in doubtful]
    with single_threaded_blas():
        runs = screen.enter(stack([found.pool[i] for i in doubtful]), kinds)
        runs = screen.merge(screen.advance(runs, passes))
    first = in_order_of_height(model, table, runs)
    others = [i for i in range(len(found.pool)) if i not in doubtful]
    optima = [*first.optima, *(found.optima[i]._replace(best=False) for i in others)]
    pool = [*first.pool, *(found.pool[i] for i in others)]
    return first._replace(optima=optima, pool=pool), len(first.pool)


def _doubtful(model, found, candidates: int) -> list[int]:
    """Which of the first optima may be the best: regular ones within sampling error of it."""
    table = found.table
    if table is None or table.complete or candidates < 2 or not found.optima[0].regular:
        return [0]
    regular = [i for i in range(candidates) if found.optima[i].regular][:COMPARED]
    params = [found.pool[i] for i in regular]
    loglik = np.array([found.optima[i].loglik for i in regular]) / table.rows.total_weight
    objective = loglik - model.penalty(stack(params))
    weight = table.weight / table.weight.sum()
    best, chosen = model.log_prob(params[0], table.rows), [0]
    for i, own, height in zip(regular[1:], params[1:], objective[1:], strict=True):
        apart = best - model.log_prob(own, table.rows)
        spread = np.sqrt(weight @ (apart - weight @ apart) ** 2)
        if objective[0] - height <= DOUBT * spread / np.sqrt(table.size):
            chosen.append(i)
    return chosen
