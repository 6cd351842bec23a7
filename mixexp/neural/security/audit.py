"""`audit_batch_dependence`: whether one row's answer depends on the other rows of its batch."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from .finding import BatchDependence, LayerDependence
from .probe import LayerProbe, LayerRecord, relative_difference, scale_of

METHODS = ("predict_proba", "decision_function", "predict")
TOLERANCES = {torch.bfloat16: 5e-2, torch.float16: 1e-2}

# (what was done to the others, rows of X that form the batch, {place in the batch: audited row})
Trial = tuple[str, list[int], dict[int, int]]


def audit_batch_dependence(
    model: Any,
    X: Any,
    *,
    n_rows: int = 8,
    n_draws: int = 3,
    call: Callable[[Any, Any], Any] | None = None,
    training: bool = False,
    tolerance: float | None = None,
    seed: int = 0,
) -> BatchDependence:
    """Whether a row's answer depends on the other rows of its batch, found out by changing them.

    Each audited row is answered alone, in its place among other rows drawn from X, and behind a
    crowd of its own copies, which want the same experts; and all rows are answered in reverse
    order. Inside the model every `MoELayer` is watched, so that the finding says where a
    dependence begins. What is not found may still exist: the audit shows dependence, and makes
    its absence credible.

    Parameters
    ----------
    model : Module, or estimator with predict_proba, decision_function or predict
    X : Tensor, array or data frame with a row an entry of the first axis; or a dict of them
        At least two rows. A dict holds arguments of the model by name.
    n_rows : int
        Rows to audit, spread over X.
    n_draws : int
        Draws of other rows for each.
    call : callable, optional
        ``call(model, X)`` gives the answers, one entry of the first axis a row.
    training : bool
        Mode in which modules are audited. In training mode a copy is, and no row is alone in a
        batch where the model has batch normalisation, which may have no answer for one row.
    tolerance : float, optional
        Change, in units of the largest absolute answer, up to which answers are the same;
        1e-4, and more where answers are in half precision.
    seed : int
        Of the draws, and of PyTorch in every pass. Models that draw by place are audited with
        rows in their places alone.

    Returns
    -------
    BatchDependence

    Raises
    ------
    ValueError
        For fewer than two rows, and models whose answers change from pass to pass.

    References
    ----------
    Hayes, Shumailov and Yona, "Buffer overflow in mixture of experts", 2024; Yona et al.,
    "Stealing user prompts from mixture of experts", 2024.
    """
    size = _n_rows(X)
    if size < 2:
        raise ValueError(f"an audit needs at least two rows to change one for another; got {size}.")
    if training:
        model = copy.deepcopy(model)
    modules = _modules(model)
    with _mode(modules, training), LayerProbe(modules) as probe, torch.no_grad():
        auditor = _Auditor(model, X, call or _answers, probe, tolerance, seed)
        rows = sorted({round(i) for i in np.linspace(0, size - 1, min(n_rows, size))})
        never_alone = training and _normalises_batches(modules)
        for what, batch, places in _trials(size, rows, n_draws, auditor.by_place, seed):
            if len(batch) > 1 or not never_alone:
                auditor.compare(what, batch, places)
    return auditor.finding(tuple(rows))


def _trials(size: int, rows: list[int], n_draws: int, by_place: bool, seed: int) -> Iterator[Trial]:
    """Batches in which the others of audited rows are changed."""
    draws = np.random.default_rng(seed)
    for row in rows:
        for _ in range(n_draws):
            batch = draws.integers(size, size=size)
            batch[row] = row
            yield "replaced", batch.tolist(), {row: row}
        if by_place:
            yield "turned into copies of the row", [row] * size, {row: row}
        else:
            # a queue that is served in order leaves nothing for the last
            yield "turned into copies of the row", [row] * size, {size - 1: row}
            yield "removed", [row], {0: row}
    if not by_place:
        yield "reversed", list(range(size))[::-1], {size - 1 - row: row for row in rows}


class _Auditor:
    """Answers of the rows of X as they are, to which those in other batches are compared."""

    def __init__(self, model, X, call, probe: LayerProbe, tolerance: float | None, seed: int):
        self.model, self.X, self.call, self.probe, self.seed = model, X, call, probe, seed
        everything = list(range(_n_rows(X)))
        self.n_batches = 0
        self.answers, self.records = self._run(everything)
        again, _ = self._run(everything)
        if relative_difference(self.answers, again) > 0:
            raise ValueError(
                "the model's answers change from pass to pass with PyTorch's seed fixed, so that "
                "other rows cannot be told from chance: fix its random state first."
            )
        other, _ = self._run(everything, seed=seed + 1)
        self.by_place = relative_difference(self.answers, other) > 0
        self.scale = scale_of(self.answers)
        given = TOLERANCES.get(self.answers.dtype, 1e-4)
        self.tolerance = given if tolerance is None else tolerance
        self.differences: dict[str, float] = {}
        self.changed: set[int] = set()
        self.layers: dict[str, LayerDependence] = {}

    def _run(self, index: list[int], seed: int | None = None) -> tuple[Tensor, list[LayerRecord]]:
        """Answers and records for some rows of X as one batch."""
        self.probe.n_rows = len(index)
        self.n_batches += 1
        with torch.random.fork_rng():
            torch.manual_seed(self.seed if seed is None else seed)
            answers = _as_tensor(self.call(self.model, _take(self.X, index)))
        if answers.shape[:1] != (len(index),):
            raise ValueError(
                f"the model must give one answer a row; for {len(index)} rows it gave shape "
                f"{tuple(answers.shape)}. Pass call=... to pick the answers."
            )
        return answers, self.probe.take()

    def compare(self, name: str, batch: list[int], places: dict[int, int]) -> None:
        """Run a batch and compare the audited rows in it to what they were."""
        answers, records = self._run(batch)
        for place, row in places.items():
            difference = relative_difference(self.answers[row], answers[place], self.scale)
            self.differences[name] = max(self.differences.get(name, 0.0), difference)
            if difference > self.tolerance:
                self.changed.add(row)
                self._locate(records, place, row)

    def _locate(self, records: list[LayerRecord], place: int, row: int) -> None:
        """Note the layers at which the row comes in as it was and goes out changed."""
        if [r.name for r in records] != [r.name for r in self.records]:
            return
        for was, now in zip(self.records, records, strict=True):
            if relative_difference(was.before[row], now.before[place]) > self.tolerance:
                continue
            if relative_difference(was.after[row], now.after[place]) <= self.tolerance:
                continue
            old, new = was.choices(row), now.choices(place)
            found = self.layers.get(was.name) or _untouched(was)
            self.layers[was.name] = LayerDependence(
                found.name,
                found.router,
                found.limiter,
                found.n_choices + (not torch.equal(old, new)),
                found.n_outputs + 1,
            )

    def finding(self, rows: tuple[int, ...]) -> BatchDependence:
        """What the comparisons showed."""
        return BatchDependence(
            dependent=bool(self.changed),
            max_difference=max(self.differences.values()),
            tolerance=self.tolerance,
            rows=rows,
            changed_rows=tuple(sorted(self.changed)),
            differences=dict(self.differences),
            layers=tuple(self.layers[n] for n in self.probe.layers if n in self.layers),
            n_batches=self.n_batches,
        )


def _untouched(record: LayerRecord) -> LayerDependence:
    """A layer of which nothing is found yet."""
    limiter = record.layer.limiter
    return LayerDependence(
        record.name,
        type(record.layer.router).__name__,
        "" if limiter is None else repr(limiter),
        0,
        0,
    )


def _answers(model, X):
    """A module's output, or an estimator's most detailed prediction."""
    if isinstance(model, nn.Module):
        return model(**X) if isinstance(X, dict) else model(X)
    for name in METHODS:
        if hasattr(model, name):
            return getattr(model, name)(X)
    raise ValueError(
        f"{type(model).__name__} is no module and has none of {METHODS}: pass call=..., a function "
        "of the model and X."
    )


def _as_tensor(answers) -> Tensor:
    """Answers as a tensor: the first of several, labels as numbers."""
    if isinstance(answers, tuple) or (isinstance(answers, list) and hasattr(answers[0], "shape")):
        answers = answers[0]
    if isinstance(answers, Tensor):
        return answers.detach()
    array = np.asarray(answers)
    if array.dtype.kind in "fiub":
        return torch.as_tensor(array.astype(float))
    # equal labels, equal vectors, whatever batch they are in
    bits = np.array([[hash(str(v)) >> s & 1 for s in range(48)] for v in array.ravel()])
    return torch.as_tensor(bits.reshape(*array.shape, -1).astype(float))


def _modules(model) -> dict[str, nn.Module]:
    """The modules of a model: itself, or those that an estimator holds, by attribute."""
    if isinstance(model, nn.Module):
        return {"": model}
    held = getattr(model, "__dict__", {})
    return {name: value for name, value in held.items() if isinstance(value, nn.Module)}


def _normalises_batches(modules: dict[str, nn.Module]) -> bool:
    """Whether there is batch normalisation, which needs several rows in training."""
    parts = (part for model in modules.values() for part in model.modules())
    return any(isinstance(part, nn.modules.batchnorm._BatchNorm) for part in parts)


@contextmanager
def _mode(modules: dict[str, nn.Module], training: bool):
    """All modules in one mode, and back as they were."""
    before = [(m, m.training) for model in modules.values() for m in model.modules()]
    try:
        for model in modules.values():
            model.train(training)
        yield
    finally:
        for module, mode in before:
            module.training = mode


def _n_rows(X) -> int:
    return len(next(iter(X.values()))) if isinstance(X, dict) else len(X)


def _take(X, index: list[int]):
    """Some rows of X, in order."""
    if isinstance(X, dict):
        return {name: _take(value, index) for name, value in X.items()}
    if hasattr(X, "iloc"):
        return X.iloc[index]
    if isinstance(X, Tensor):
        return X[torch.as_tensor(index, device=X.device)]
    return np.asarray(X)[index]
