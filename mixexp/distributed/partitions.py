"""Rows dealt to partitions, and what is done in each of them alone."""

from __future__ import annotations

import time
import warnings
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from joblib import delayed
from scipy import sparse
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import _safe_indexing
from sklearn.utils.validation import _num_samples

from .._validation import check_weight, seed_of
from ..em.workers import in_order
from ..sources.aligned import Partitions, aligned
from ..sources.dask import block_of
from ..sources.elsewhere import held_elsewhere
from .local import LocalFit
from .refine import LocalStatistics, local_statistics


class Part(NamedTuple):
    """The rows of one partition; start: their own labels or responsibilities, or None."""

    place: int
    X: Any
    y: Any
    weight: Any
    start: Any


class Timed(NamedTuple):
    """A result, with elapsed and CPU seconds."""

    value: Any
    elapsed: float
    cpu: float


def deal(X, y, weight, labels, n_partitions, start, random_state) -> list[Part]:
    """The rows by their label, or at random into parts of equal size.

    Rows of weight zero are in no part, as if they were not there.

    Raises
    ------
    ValueError
        If labels or weights do not match the rows, or there are fewer than two rows a partition;
        or for a dataset, whose blocks are no partitions.
    """
    found = held_elsewhere(X)
    if found is not None:
        raise ValueError(
            "An aggregated estimator takes rows in memory or Dask collections; got "
            f"{found.name}. Fit one "
            "dataset for each partition, and combine the fits: "
            "aggregate([LocalFit.of(model.fit(dataset), dataset), ...], n_experts)."
        )
    n = _num_samples(X)
    weight = check_weight(weight, np.empty((n, 0)))
    there = np.arange(n) if weight is None else np.flatnonzero(weight)
    if labels is None:
        most = len(there) // 2
        whole = isinstance(n_partitions, int | np.integer) and not isinstance(n_partitions, bool)
        if not whole or not 1 <= n_partitions <= most:
            raise ValueError(
                f"n_partitions must be an integer from 1 to {most}, half the rows; got "
                f"{n_partitions!r}."
            )
        order = np.random.default_rng(seed_of(random_state)).permutation(there)
        chosen = [np.sort(part) for part in np.array_split(order, n_partitions)]
    else:
        labels = np.asarray(labels)
        if labels.shape != (n,):
            raise ValueError(
                f"partitions needs one label per row: got shape {labels.shape} for {n} rows."
            )
        chosen = [there[labels[there] == label] for label in np.unique(labels[there])]
    given = _row_wise(start, n)
    return [
        Part(
            place,
            _safe_indexing(X, rows),
            _safe_indexing(y, rows),
            None if weight is None else weight[rows],
            None if given is None else given[rows],
        )
        for place, rows in enumerate(chosen)
    ]


def _row_wise(start, n):
    """Labels or responsibilities to start from, where ``start`` is an array of the rows."""
    if start is None or isinstance(start, str) or hasattr(start, "get_params"):
        return None
    values = np.asarray(start)
    return values if values.ndim and len(values) == n else None


class Cluster(NamedTuple):
    """Partitions of Dask collections: functions run where they are."""

    partitions: Partitions
    places: tuple[int, ...]

    def keep(self, kept) -> Cluster:
        return self._replace(places=tuple(p for p, ok in zip(self.places, kept, strict=True) if ok))

    def map(self, function, *arguments) -> list:
        import dask

        task = dask.delayed(_on_block, pure=False)
        names, parts, columns = self.partitions.names, self.partitions.parts, self._columns
        graph = [task(function, arguments, names, columns, p, *parts[p]) for p in self.places]
        return list(dask.compute(*graph))

    @property
    def _columns(self):
        return self.partitions.feature_names


def deal_cluster(X, y, weight) -> Cluster:
    """The partitions of Dask collections, as they are cut."""
    given = {"y": y} if weight is None else {"y": y, "weight": weight}
    partitions = aligned(X, given)
    return Cluster(partitions, tuple(range(len(partitions.parts))))


def _on_block(function, arguments, names, columns, place, *parts):
    block = block_of(names, place, parts)
    X = block.X if columns is None else pd.DataFrame(block.X, columns=columns)
    return function(Part(place, X, block.y, block.weight, None), *arguments)


def keep(parts, kept):
    """The partitions that are kept (M,) bool."""
    if isinstance(parts, Cluster):
        return parts.keep(kept)
    return [part for part, ok in zip(parts, kept, strict=True) if ok]


def fit_parts(estimator, parts, moments, n_jobs) -> tuple[list[Timed], Any]:
    """`LocalFit` of every partition that has rows, and these partitions.

    Raises
    ------
    ValueError
        If a partition cannot be fitted, by its place, or none has rows.
    """
    done = each(_fit_one, parts, n_jobs, estimator, moments)
    filled = [one.value is not None for one in done]
    if not any(filled):
        raise ValueError(
            f"All of {len(done)} partitions are empty, or have weight zero: give rows to fit."
        )
    return [one for one, ok in zip(done, filled, strict=True) if ok], keep(parts, filled)


def statistics_of(model, parts, information, n_jobs) -> list[LocalStatistics]:
    """`local_statistics` of every partition."""
    return [one.value for one in each(_statistics_of_one, parts, n_jobs, model, information)]


def support_rows(parts, share, size, seed) -> np.ndarray:
    """(about size, p) covariate rows, from every partition by its share, and there by weight."""
    drawn = np.random.default_rng(seed).multinomial(size, share)
    places = parts.places if isinstance(parts, Cluster) else [part.place for part in parts]
    counts = dict(zip(places, drawn.tolist(), strict=True))
    found = each(_some_rows, parts, None, counts, seed)
    return np.concatenate([one.value for one in found])


def _some_rows(part, counts, seed):
    rng = np.random.default_rng([seed, part.place])
    own = _safe_indexing(part.X, draw(_num_samples(part.X), counts[part.place], part.weight, rng))
    return own.toarray() if sparse.issparse(own) else np.asarray(own, dtype=float)


def draw(n, size, weight, rng) -> np.ndarray:
    """Positions of at most ``size`` of n rows, without replacement or in proportion to weights.

    By weights the draw is systematic along the rows in random order: row i comes
    size w_i / sum(w) times, rounded up or down, so that a heavy row may come again and one of
    weight zero never does (Madow, 1949, Annals of Mathematical Statistics 20, 333-354).
    """
    if weight is None:
        return np.sort(rng.choice(n, min(size, n), replace=False))
    order = rng.permutation(np.flatnonzero(weight))
    size = min(size, len(order))
    upto = np.cumsum(weight[order])
    points = (rng.random() + np.arange(size)) * (upto[-1] / max(size, 1))
    found = np.searchsorted(upto, points, side="right")
    return np.sort(order[np.minimum(found, len(order) - 1)])


def each(function, parts, n_jobs, *arguments) -> list[Timed]:
    """``function(part, *arguments)`` of every partition, in their order, where its rows are."""
    if isinstance(parts, Cluster):
        return parts.map(_timed, function, *arguments)
    tasks = (delayed(_timed)(part, function, *arguments) for part in parts)
    return in_order(tasks, n_jobs, len(parts))


def _timed(part, function, *arguments) -> Timed:
    elapsed, cpu = time.perf_counter(), time.process_time()
    value = function(part, *arguments)
    return Timed(value, time.perf_counter() - elapsed, time.process_time() - cpu)


def _fit_one(part, estimator, moments):
    rows = _num_samples(part.X)
    if rows == 0 or (part.weight is not None and not np.any(part.weight)):
        return None
    model = clone(estimator)
    if part.start is not None:
        model.set_params(start=part.start)
    weight = {} if part.weight is None else {"sample_weight": part.weight}
    with warnings.catch_warnings():  # one warning for all of them comes from the centre
        warnings.simplefilter("ignore", ConvergenceWarning)
        try:
            model.fit(part.X, part.y, **weight)
        except ValueError as error:
            raise ValueError(
                f"Partition {part.place}, of {rows} rows: {error} If it is its rows that lack "
                "something, merge the partition with another: give partitions=, or repartition a "
                "Dask collection."
            ) from error
    return LocalFit.of(model, part.X, part.weight) if moments else LocalFit.of(model)


def _statistics_of_one(part, model, information):
    return local_statistics(model, part.X, part.y, part.weight, information=information)
