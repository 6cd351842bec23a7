"""Exact passes over the partitions after a reduction: sums leave them, and no rows.

A pass at the combined parameters returns, partition by partition, the additive statistics of EM and
the score and information of the log-likelihood. Their totals are those of the pooled rows, so that
one step from them is the step that a fit of all rows would take there. From an estimate within
n^(-1/2) of the truth one Newton step is as good as the maximum, to the first order (Le Cam, 1956).
"""

from __future__ import annotations

import copy
import functools
import os
import warnings
from typing import Any, NamedTuple

import numpy as np
from sklearn.utils.validation import check_is_fitted

from .._persistence import (
    PersistenceError,
    component_from_tree,
    digest,
    load_tree,
    namedtuple_to_tree,
    save_tree,
)
from ..em.engines import MemoryEngine
from ..em.params import MoEParams, Statistics, stack, take, tree_map
from ..em.regular import is_regular
from ..em.summary import certainty
from ..em.threads import single_threaded_blas
from ..estimators._saving import known_classes
from ..estimators._scoring import source_given
from ..estimators._scoring import summed as over_blocks
from ..inference.coordinates import coordinates
from ..inference.information import Information
from ..inference.information import information as summed
from ..penalties import is_active

KIND = "local statistics"
STEPS = ("newton", "em", "none")
ROUNDING = 1e-6  # relative, between total weights that were added up in different orders
SINGULAR = 1e-9  # of a scaled information's eigenvalue, below which there is no Newton step


class NoNewtonStepError(ValueError):
    """No Newton step exists at these parameters; the message says why."""


class LocalStatistics(NamedTuple):
    """One partition's sums at given parameters; they add up over partitions.

    Attributes
    ----------
    loglik, weight : () ndarrays
        Weighted log-likelihood, all constants included, and the sum of the weights.
    entropy : (2,) ndarray
        Soft and hard entropy of the responsibilities.
    statistics : Statistics
        Of EM: what an M-step takes.
    information : Information or None
        Score, observed information and outer products; (d, d) numbers each.
    point : str
        Digest of the parameters at which they were taken.
    """

    loglik: np.ndarray
    weight: np.ndarray
    entropy: np.ndarray
    statistics: Statistics
    information: Information | None
    point: str

    def __repr__(self):
        without = "" if self.information is not None else "out"
        return (
            f"LocalStatistics(loglik {self.loglik:.10g}, weight {self.weight:.10g}, "
            f"with{without} information)"
        )

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a file of arrays and plain values."""
        from .. import __version__

        save_tree(path, namedtuple_to_tree(self, _classes()), kind=KIND, version=__version__)

    @staticmethod
    def load(path: str | os.PathLike[str]) -> LocalStatistics:
        """Read a file that `save` wrote.

        Raises
        ------
        PersistenceError
            If the file is damaged, foreign, of a newer format, or holds no such statistics.
        """
        found = component_from_tree(load_tree(path, kind=KIND)[0], _classes())
        if not isinstance(found, LocalStatistics):
            raise PersistenceError(f"{os.fspath(path)} holds no LocalStatistics; save them again.")
        return found


def local_statistics(model, X, y=None, sample_weight=None, *, information=True) -> LocalStatistics:
    """What a partition returns when the centre asks about ``model``.

    Parameters
    ----------
    model : fitted MoERegressor or MoEClassifier
        As `aggregate` or `refine` returned it, or loaded from its file.
    X, y, sample_weight
        Rows of the partition; or X a dataset that holds them, such as a `FileDataset`, or Dask
        collections: their blocks are read once.
    information : bool, default=True
        False leaves out score and information, which cost most of the pass: `refine` can then take
        a step of EM, and there are no standard errors.

    Returns
    -------
    LocalStatistics
    """
    _check_model(model, "local_statistics", "X, y")
    source = source_given(X, y, "local_statistics", weight=sample_weight)
    if source is not None:
        function = functools.partial(_of_block, model, information)
        return over_blocks(source, function, functools.partial(_both, model))
    if y is None:
        raise ValueError("local_statistics needs y beside X, or a dataset that holds the target.")
    inner, params = model._model_, model._params_
    rows = model._batch(X, y, sample_weight)
    with single_threaded_blas():
        engine = MemoryEngine(rows, inner)
        passed = take(engine.run(inner, stack([params])), 0)
        entropy = certainty(engine, inner, params)[:2]
    return LocalStatistics(
        np.asarray(passed.loglik),
        np.asarray(rows.total_weight),
        entropy,
        passed.statistics,
        summed(inner, params, rows) if information else None,
        point_of(model),
    )


def _of_block(model, information, X, block, weight):
    """The statistics of a block of a dataset."""
    extra = [name for name in ("offset", "exposure", "trials") if getattr(block, name) is not None]
    if extra or block.y is None:
        got = f"with {extra[0]}" if extra else "without the target (target=)"
        raise ValueError(f"local_statistics takes X, y and weights; got a dataset {got}.")
    return local_statistics(model, X, block.y, weight, information=information)


def _both(model, one, other):
    return add([one, other], model)._replace(point=one.point)


@single_threaded_blas()
def refine(model, statistics, step: str = "newton") -> Any:
    """The model after one step from the sums of all partitions.

    Parameters
    ----------
    model : fitted MoERegressor or MoEClassifier
        That of the statistics.
    statistics : sequence of LocalStatistics
        One of each partition whose fit was combined.
    step : {"newton", "em", "none"}
        Newton's on the log-likelihood, which is as good as its maximum where the model is near; an
        M-step, which never lowers it; or none, which only records log-likelihood and information.
        Newton's needs information that is positive definite and no penalty; where it is not there
        `refine` says so.

    Returns
    -------
    MoERegressor or MoEClassifier
        A new one. With step="none" it has the log-likelihood; after a step that is NaN, as are
        ``expert_sizes_`` and ``certificate_``, until the next pass, and ``regular_`` judges the new
        parameters by the experts' sizes before it. `pooled_inference` reads its standard errors.

    Raises
    ------
    ValueError
        If the statistics belong to other parameters or are twice those of one partition, or no
        Newton step exists.

    Warns
    -----
    UserWarning
        If the statistics are more or fewer than the local fits that were combined, or of another
        total weight. Unknown of a model that was loaded from a file.
    """
    _check_model(model, "refine", "statistics")
    if step not in STEPS:
        raise ValueError(f"step must be one of {STEPS}; got {step!r}.")
    parts = [statistics] if isinstance(statistics, LocalStatistics) else list(statistics)
    for m, part in enumerate(parts):
        if not isinstance(part, LocalStatistics):
            raise TypeError(
                f"statistics[{m}] is a {type(part).__name__}; give what local_statistics returned "
                "in every partition, or LocalStatistics.load(path) of its file."
            )
    total = add(parts, model)
    _refuse_repeated(parts)
    _warn_of_others(parts, total, model)
    return stepped(model, total, step)


def _check_model(model, name, then):
    """Refuse what is no fitted estimator, before anything prints it."""
    if not hasattr(model, "get_params"):
        raise TypeError(
            f"{name}(model, {then}) needs the combined model first; got a {type(model).__name__}. "
            "Give what aggregate returned, or mixexp.load(path) of its file."
        )
    check_is_fitted(model)


def stepped(model, total: LocalStatistics, step: str) -> Any:
    """`refine` from the sums over all partitions."""
    out = copy.copy(model)
    if step == "none":
        return with_likelihood(out, total)
    inner, params = model._model_, model._params_
    if step == "newton":
        params = newton_step(model, total)
    else:
        batch = inner.m_step(stack([params]), stack([total.statistics]))
        params = take(batch, 0)
    out._params_ = inner_params(inner, params)
    out.n_iter_ = model.n_iter_ + 1
    out.fit_summary_ = model.fit_summary_._replace(
        loglik=np.nan, entropy=np.nan, hard_entropy=np.nan, n_units=float(total.weight)
    )
    out.expert_sizes_, out.certificate_ = np.full(inner.K, np.nan), np.nan
    mass = total.statistics.expert.mass
    out.regular_ = bool(is_regular(inner, out._params_, mass, float(total.weight)))
    out.pooled_ = total.information
    out._set_derived()
    return out


def inner_params(model, params) -> MoEParams:
    """Parameters centred and inside their bounds."""
    return take(model.unpack(model.pack(stack([params])), stack([params])), 0)


def add(statistics, model) -> LocalStatistics:
    """The sums over partitions, checked to belong to the model."""
    parts = list(statistics)
    if not parts:
        raise ValueError("refine needs the LocalStatistics of at least one partition; got none.")
    own = point_of(model)
    other = [m for m, part in enumerate(parts) if part.point != own]
    if other:
        raise ValueError(
            f"The statistics at positions {other[:5]} were taken at other parameters than the "
            "model's: send this model to the partitions and call local_statistics there."
        )
    together = all(part.information is not None for part in parts)
    parts = [
        part._replace(point="", information=part.information if together else None)
        for part in parts
    ]

    def two(one, another):
        return LocalStatistics(
            one.loglik + another.loglik,
            one.weight + another.weight,
            one.entropy + another.entropy,
            tree_map(np.add, one.statistics, another.statistics),
            tree_map(np.add, one.information, another.information) if together else None,
            "",
        )

    return functools.reduce(two, parts)


def _refuse_repeated(parts):
    """Refuse the statistics of one partition given twice: all sums equal, bit for bit."""
    seen: dict[bytes, int] = {}
    for m, part in enumerate(parts):
        leaves: list[bytes] = []
        sums = (part.loglik, part.weight, part.entropy, part.statistics)
        tree_map(lambda leaf, to=leaves: to.append(np.ascontiguousarray(leaf).tobytes()), sums)
        first = seen.setdefault(b"".join(leaves), m)
        if first != m:
            raise ValueError(
                f"The statistics at positions {first} and {m} are equal in every bit, those of one "
                "partition given twice: standard errors would be too small. Give one of each."
            )


def _warn_of_others(parts, total, model):
    """Say where the statistics are not of as many partitions or rows as the combined fits."""
    known = getattr(model, "aggregation_", None)
    if known is None:
        return
    fits, weight = int(known.kept.sum()), float(total.weight)
    if len(parts) == fits and abs(weight - known.weight) <= ROUNDING * known.weight:
        return
    warnings.warn(
        f"refine got {len(parts)} statistics of total weight {weight:.10g}; the model combines "
        f"{fits} local fits of total weight {known.weight:.10g}. If a partition is missing, call "
        "local_statistics there too: likelihood and standard errors are of the rows given.",
        UserWarning,
        stacklevel=4,
    )


def with_likelihood(model, total: LocalStatistics):
    """The model with what a pass at its own parameters says."""
    inner, params = model._model_, model._params_
    soft, hard = map(float, total.entropy)
    model.fit_summary_ = model.fit_summary_._replace(
        loglik=float(total.loglik), entropy=soft, hard_entropy=hard, n_units=float(total.weight)
    )
    model.expert_sizes_ = total.statistics.expert.mass
    model.regular_ = bool(
        is_regular(inner, params, total.statistics.expert.mass, float(total.weight))
    )
    gradient = inner.gradient(stack([params]), stack([total.statistics]))
    model.certificate_ = float(np.abs(gradient).max())
    if total.information is not None:
        model.pooled_ = total.information
    model._set_derived()
    return model


def newton_step(model, total: LocalStatistics) -> MoEParams:
    """Parameters after a Newton step along the free directions.

    Raises
    ------
    NoNewtonStepError
        Where there is a penalty, no information, or none that is positive definite.
    """
    inner, params = model._model_, model._params_
    if any(is_active(getattr(part, "penalty", None)) for part in (inner.gate, inner.expert)):
        raise NoNewtonStepError(
            "step='newton' is on the log-likelihood without penalties, and the model has one: "
            "use step='em'."
        )
    if total.information is None:
        raise NoNewtonStepError(
            "step='newton' needs local_statistics(..., information=True) of every partition; or "
            "use step='em'."
        )
    names = list(map(str, model.gate_feature_names_)), list(map(str, model.expert_feature_names_))
    basis, _ = np.linalg.qr(coordinates(inner, params, names).basis)
    observed = basis.T @ total.information.observed @ basis
    if not positive_definite(observed):
        raise NoNewtonStepError(
            "The pooled information is not positive definite at these parameters: they are too "
            "far from a maximum for a Newton step. Use step='em'."
        )
    step = basis @ np.linalg.solve(observed, basis.T @ total.information.score)
    vector = inner.pack(params) + step
    return take(inner.unpack(vector[None], stack([params])), 0)


def positive_definite(matrix) -> bool:
    scale = np.sqrt(np.maximum(np.abs(np.diag(matrix)), 1e-300))
    values = np.linalg.eigvalsh(matrix / np.outer(scale, scale))
    return bool(values[0] > SINGULAR * values[-1])


def point_of(model) -> str:
    """Of the parameters and their scaling: what tells one round from another."""
    inner = model._model_
    return digest([inner.pack(stack([model._params_]))[0], inner.scaling])


def _classes():
    return known_classes() | {LocalStatistics.__name__: LocalStatistics}
