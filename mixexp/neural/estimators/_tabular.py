"""What the neural estimators share: reading tables, training, prediction by blocks."""

from __future__ import annotations

import numbers
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_consistent_length, check_is_fitted
from torch import nn

from ..._validation import check_weight, seed_of
from ..checks import check_option
from ..routing import Clock
from ..training import Training, TrainingResult, train
from ._columns import Columns, Table, fit_columns, provisional_codes, read_table
from ._data import Rows, TabularObjective, as_rows, passes
from ._module import Encoder, build_encoder
from ._rows import distinct_rows, held_out

# Least values of settings that an estimator may have.
LEAST = {"n_experts": 1, "d_expert": 1, "n_layers": 0, "n_blocks": 1, "width": 1}
DTYPES = {"float32": torch.float32, "float64": torch.float64}


class TabularEstimator(BaseEstimator):
    """A module over the rows of a table: what does not depend on the kind of module.

    A module has ``layers`` with a router each, is called with standardised numbers, codes, clock
    and generator, and its ``losses`` are those of the rows of such a pass.
    """

    module_: Any
    n_experts: int
    dropout: float
    numeric_embedding: Any
    categorical_features: Any
    training: Training | None
    allow_batch_dependence: bool
    dtype: str
    device: str | None
    random_state: Any
    _columns: Columns

    # --- what depends on the kind of target ---------------------------------------------------

    def _check_target(self, y, *, first: bool) -> np.ndarray:
        """The target as an array with one entry or row a row of X."""
        raise NotImplementedError

    def _fit_target(self, target: np.ndarray, weight: np.ndarray) -> None:
        """Fix what is fixed about the target by the training rows."""

    def _coded(self, target: np.ndarray) -> np.ndarray:
        """The target as the head takes it."""
        raise NotImplementedError

    def _make_module(self, encoder: Encoder) -> nn.Module:
        """The untrained module over encoded columns."""
        raise NotImplementedError

    def _finish(self, objective: TabularObjective) -> None:
        """What is fitted after the training."""

    # --- fitting ------------------------------------------------------------------------------

    def fit(self, X, y, sample_weight=None):
        """Train on the rows of a table.

        Parameters
        ----------
        X : array-like or data frame of shape (n, p)
        y : array-like of shape (n,) or (n, m)
            Several targets for regression alone.
        sample_weight : array-like of shape (n,), optional
            A weight of 2 equals the row twice, a weight of 0 the row left out.
        """
        with unchanged_on_failure(self):
            return self._fit(X, y, sample_weight)

    def _fit(self, X, y, sample_weight):
        settings = self._settings()
        table, target, weight = self._read(X, y, sample_weight, first=True)
        mask = np.zeros(len(weight), dtype=bool)
        if settings.early_stopping:
            classes = target if target.dtype.kind == "i" and target.ndim == 1 else None
            mask = held_out(len(weight), settings.validation_fraction, self._seed, classes)
        self._build(table.take(~mask), target[~mask], weight[~mask])
        rows = self._as_rows(table.take(~mask), target[~mask], weight[~mask])
        kept = None
        if mask.any():
            kept = self._as_rows(table.take(mask), target[mask], weight[mask])
        objective = TabularObjective(self.module_, rows, kept, self._seed)
        self._store(train(self.module_, objective, settings, self._generator(0)))
        self._finish(objective)
        return self

    def _partial_fit(self, X, y, sample_weight):
        if self.__sklearn_is_fitted__():
            return self._go_on(X, y, sample_weight, first=False)
        with unchanged_on_failure(self):
            return self._go_on(X, y, sample_weight, first=True)

    def _go_on(self, X, y, sample_weight, *, first: bool):
        settings = self._settings()
        table, target, weight = self._read(X, y, sample_weight, first=first)
        if first:
            self._build(table, target, weight)
        objective = TabularObjective(
            self.module_, self._as_rows(table, target, weight), None, self._seed
        )
        optimizer, step = getattr(self, "_optimizer", None), getattr(self, "_step", 0)
        result = train(
            self.module_, objective, settings, self._generator(step),
            optimizer=optimizer, step=step, n_epochs=1,
        )  # fmt: skip
        before = [] if first else self.loss_curve_
        self._store(result._replace(loss_curve=[*before, *result.loss_curve]))
        return self

    def _settings(self) -> Training:
        """The checked training settings; the estimator's own are checked too."""
        for name, least in LEAST.items():
            value = getattr(self, name, least)
            if not isinstance(value, numbers.Integral) or value < least:
                raise ValueError(f"{name} must be a whole number >= {least}; got {value!r}.")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout must lie in [0, 1); got {self.dropout!r}.")
        check_option("dtype", self.dtype, sorted(DTYPES))
        self._device()
        if self.training is not None and not isinstance(self.training, Training):
            raise TypeError(f"training must be a Training(...); got {self.training!r}.")
        return (Training() if self.training is None else self.training).check()

    def _read(self, X, y, sample_weight, *, first: bool) -> tuple[Table, np.ndarray, np.ndarray]:
        """Distinct rows, their targets and summed weights."""
        if y is None:
            raise ValueError(
                f"This {type(self).__name__} estimator requires y to be passed, but the target y "
                "is None."
            )
        fitted = None if first else self._columns
        table, *places = read_table(self, X, self.categorical_features, fitted=fitted)
        if first:
            self._places = places
            self._seed = seed_of(self.random_state)
        weight = check_weight(sample_weight, table.numeric)
        weight = np.ones(len(table.numeric)) if weight is None else weight
        target = self._check_target(y, first=first)
        check_consistent_length(table.numeric, target)
        parts = [table.numeric, provisional_codes(table.categories), target]
        index, weight = distinct_rows(parts, weight)
        return table.take(index), target[index], weight

    def _build(self, table: Table, target, weight) -> None:
        """The columns, the target's scale and the untrained module, from the training rows."""
        self._columns = fit_columns(table, weight, *self._places)
        self._fit_target(target, weight)
        for name in ("_optimizer", "_step"):
            self.__dict__.pop(name, None)
        numeric = self._columns.standardised(table.numeric)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self._seed)
            encoder = build_encoder(self.numeric_embedding, self._columns, numeric, weight)
            module = self._make_module(encoder).to(self._device(), DTYPES[self.dtype])
        self._check_alone(module)
        self.module_ = module

    def _store(self, result: TrainingResult) -> None:
        self.loss_curve_ = result.loss_curve
        self.validation_curve_ = result.validation_curve
        self.best_epoch_ = result.best_epoch
        self.n_iter_ = len(result.loss_curve)
        self._optimizer, self._step = result.optimizer, result.step

    def _as_rows(self, table: Table, target, weight) -> Rows:
        place = DTYPES[self.dtype], self._device()
        return as_rows(self._columns, table, self._coded(target), weight, *place)

    def _device(self) -> torch.device:
        if self.device == "auto":
            return torch.device("cuda" if torch.cuda.is_available() else "cpu")
        try:
            device = torch.device("cpu" if self.device is None else self.device)
        except RuntimeError as error:
            raise ValueError(
                "device must be None, 'auto' or a name of PyTorch's, such as 'cuda'; got "
                f"{self.device!r}."
            ) from error
        if device.type == "cuda" and not torch.cuda.is_available():
            raise ValueError(
                f"device={self.device!r} needs a GPU, and PyTorch sees none here "
                "(torch.cuda.is_available() is False). Use device='auto' or None."
            )
        return device

    def _generator(self, step: int) -> torch.Generator:
        return torch.Generator(self._device()).manual_seed(self._seed + step)

    # --- what needs X alone -------------------------------------------------------------------

    def _rows_of(self, X) -> Rows:
        """Rows of new data for the fitted module; refuses routers that mix them."""
        check_is_fitted(self)
        self._check_alone(self.module_)
        table, *_ = read_table(self, X, self.categorical_features, fitted=self._columns)
        n = len(table.numeric)
        some = next(self.module_.parameters())  # parameters may have been set since the fit
        return as_rows(self._columns, table, np.zeros(n), np.ones(n), some.dtype, some.device)

    def _check_alone(self, module) -> None:
        for layer in module.layers:
            if not self.allow_batch_dependence and not layer.flags(False).batch_independent:
                raise ValueError(
                    f"{type(layer.router).__name__} lets the prediction for a row depend on the "
                    "other rows of X. Use a router that does not, or set "
                    "allow_batch_dependence=True."
                )

    def _map(self, X, function) -> Any:
        """``function`` of the passes over blocks of rows: arrays by name, or one array."""
        rows = self._rows_of(X)
        with torch.no_grad():
            parts = passes(self.module_, rows, CLOCK, self._seed)
            found = [function(passed) for passed, _ in parts]
        return {
            name: torch.cat([part[name] for part in found]).double().cpu().numpy()
            for name in found[0]
        }

    def summary(self) -> str:
        """Readable account of the fit: columns, sizes and training."""
        from ._summary import summary_text

        check_is_fitted(self)
        return summary_text(self)

    def save(self, path) -> None:
        """Write the fitted estimator to a versioned file without pickles.

        Raises
        ------
        PersistenceError
            For a router that is no registered name, class or partial of one.
        """
        from ._saving import save

        check_is_fitted(self)
        save(self, path)

    @classmethod
    def load(cls, path):
        """Read an estimator of this class that `save` wrote."""
        from ._saving import load

        return load(path, cls)

    def __sklearn_is_fitted__(self):
        return hasattr(self, "module_") and hasattr(self, "loss_curve_")


CLOCK = Clock()


@contextmanager
def unchanged_on_failure(estimator):
    """Attributes as they were before, if what is done ends in an error or is interrupted.

    A fitted estimator whose new fit fails keeps all fitted attributes; its parameters are the
    user's.
    """
    before = dict(vars(estimator))
    try:
        yield
    except BaseException:
        vars(estimator).clear()
        vars(estimator).update(before)
        raise
