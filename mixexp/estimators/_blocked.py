"""Fits to datasets of blocks: from the user's settings to rows that are elsewhere."""

from __future__ import annotations

import copy
from typing import Any, NamedTuple

import numpy as np
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import column_or_1d

from .._validation import check_n_experts, refuse_missing, row_inputs
from ..em.blocked import BlockRows
from ..em.online_em import OnlineEM
from ..em.rows import Rows, columns_with_density
from ..em.wide import WIDE
from ..experts import Expert
from ..experts.degree import with_monomials
from ..gates import Gate
from ..sources import Block, BlockSource, PlacedError, Source
from ..sources.aligned import is_dask
from ..sources.values import as_floats
from ._engines import in_memory, source_of
from ._placed import checked_by_rows


class Codes(NamedTuple):
    """Classes of a target, and the weight of each.

    Attributes
    ----------
    classes : (C,) array
    weight : (C,) array or None
    """

    classes: np.ndarray
    weight: np.ndarray | None


class Preparation(NamedTuple):
    """The function that turns a block of a dataset into checked rows of positive weight.

    Attributes
    ----------
    names : sequence of str
        Of the p columns.
    expert : Expert
    own : int array
        Columns of the experts, of which monomials are made.
    n_outputs : int
        Columns of y; 0 where it is (n,).
    codes : Codes or None
        For a target of classes.
    """

    names: Any
    expert: Expert
    own: np.ndarray
    n_outputs: int
    codes: Codes | None

    def __call__(self, block: Block) -> Rows:
        X = checked_columns(block, self.names)
        y, own_weight = self._target(block)
        weight = checked_weight(block)
        if own_weight is not None:
            weight = own_weight if weight is None else weight * own_weight
        everywhere = np.arange(len(X))
        offset, trials = checked_by_rows(
            block,
            everywhere,
            lambda rows: row_inputs(self.expert, len(rows), **_inputs(block, rows)),
        )
        all_rows = Rows(with_monomials(X, self.own, self.expert.degree), y, weight, offset, trials)
        kept = everywhere if weight is None else np.flatnonzero(weight > 0)
        used = all_rows if len(kept) == len(X) else all_rows.take(kept)
        if used.n:
            checked_by_rows(block, kept, lambda rows: self._check_target(all_rows, used, rows))
        return used

    def _check_target(self, all_rows, used, rows):
        some = used if len(rows) == used.n else all_rows.take(rows)
        self.expert.check_target(some.y, some.trials)

    def _target(self, block):
        """(n, m) numbers or codes, and the weights of the rows' classes."""
        if block.y is None:
            raise ValueError("the dataset has no target: name it (target=), or give y.")
        if self.codes is not None:
            y = column_or_1d(np.asarray(block.y))
            codes, unknown = codes_among(y, self.codes.classes)
            if unknown.any():
                place = block.place_of(int(unknown.argmax()))
                raise PlacedError(
                    f"{place}: y is the label {y[unknown].tolist()[0]!r}, which was not there "
                    "before. The data must not change while they are fitted: fit again."
                )
            by_class = self.codes.weight
            own = None if by_class is None else by_class[codes]
            return codes.astype(np.float64)[:, None], own
        y = numbers(block, "y", block.y)
        if y.ndim > 2 or (y.ndim == 2) != bool(self.n_outputs):
            raise ValueError(f"y has shape {y.shape}; that of the first block has other columns.")
        return np.ascontiguousarray(y.reshape(len(y), -1)), None


class Labels(NamedTuple):
    """The classes of some blocks, sorted, and how many rows each has."""

    classes: np.ndarray
    counts: np.ndarray

    @classmethod
    def of(cls, block: Block) -> Labels:
        if block.y is None:
            raise ValueError(f"{block.place}: the dataset has no target: name it (target=).")
        refuse_missing(block.y, block.place_of)
        try:
            y = column_or_1d(np.asarray(block.y))
            check_classification_targets(y)
            return cls(*np.unique(y, return_counts=True))
        except (TypeError, ValueError) as error:
            raise ValueError(f"{block.place}: y needs labels of classes: {error}") from error

    def merged(self, other: Labels) -> Labels:
        """Those of earlier blocks and of later ones."""
        texts = [isinstance(one.classes[0], str) for one in (self, other)]
        if texts[0] != texts[1]:
            raise ValueError(
                "y holds texts as labels in some blocks and numbers in others, as "
                f"{self.classes.tolist()[0]!r} and {other.classes.tolist()[0]!r}. Make all of them "
                "texts, or all numbers."
            )
        both = np.concatenate([self.classes, other.classes])
        classes, place = np.unique(both, return_inverse=True)
        counts = np.concatenate([self.counts, other.counts])
        return Labels(classes, np.bincount(place.ravel(), counts).astype(int))

    def in_order(self, order) -> Labels:
        """The same in the order of a list that holds all of them."""
        known = self.classes.tolist()
        place = [known.index(label) for label in order if label in known]
        return Labels(self.classes[place], self.counts[place])


def checked_columns(block: Block, names) -> np.ndarray:
    """X of a block, all numbers and finite, or an error that names row and column."""
    X = block.X
    if X.ndim != 2 or X.shape[1] != len(names):
        raise ValueError(
            f"X has shape {X.shape}; the first block has {len(names)} columns, and all "
            "need as many."
        )
    if X.dtype not in (np.float32, np.float64):
        raise ValueError(
            f"X must be numbers; the columns {_no_numbers(X, names)} hold texts, dates or "
            "the like. Encode them, or leave them out."
        )
    with np.errstate(all="ignore"):
        finite = np.isfinite(X.sum())
    if not finite and not np.isfinite(X).all():
        row, column = np.argwhere(~np.isfinite(X))[0]
        raise PlacedError(
            f"{block.place_of(int(row))}: column {names[column]!r} holds "
            f"{X[row, column]}. Fill missing values in, or leave these rows or the column out."
        )
    return X


def checked_weight(block: Block) -> np.ndarray | None:
    """Weights of the rows, or an error that names the row; None where all are 1."""
    if block.weight is None:
        return None
    weight = numbers(block, "weight", block.weight)
    if weight.ndim != 1:
        raise ValueError(f"weight must be (n,); got an array of shape {weight.shape}.")
    if weight.min(initial=0.0) < 0:
        row = int(np.argmax(weight < 0))
        raise PlacedError(
            f"{block.place_of(row)}: weight is {weight[row]:g}, and must not be negative. A weight "
            "of 0 leaves a row out."
        )
    return weight


def _inputs(block, rows):
    """Offset, exposure and trials of some rows, or of all in their order, as they are given."""
    given = {name: getattr(block, name) for name in ("offset", "exposure", "trials")}
    if len(rows) == len(block.X):
        return given
    return {name: None if v is None else np.asarray(v)[rows] for name, v in given.items()}


def numbers(block: Block, name: str, values) -> np.ndarray:
    """Values as finite float64, or an error that names the row."""
    try:
        array = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        raise ValueError(
            f"{name} must be numbers; got values of type {np.asarray(values).dtype}."
            + (" For classes use MoEClassifier." if name == "y" else "")
        ) from None
    if not np.isfinite(array).all():
        row = int(np.argwhere(~np.isfinite(array))[0][0])
        raise PlacedError(f"{block.place_of(row)}: {name} is {np.ravel(array[row])[0]}.")
    return array


def _no_numbers(X, names) -> list[str]:
    """The columns that are no numbers."""
    kinds = [as_floats(column).dtype.kind for column in X.T]
    return [str(name) for name, kind in zip(names, kinds, strict=True) if kind != "f"]


def codes_among(y, classes) -> tuple[np.ndarray, np.ndarray]:
    """(n,) positions of labels among the classes, in any order, and which are not among them."""
    order = np.argsort(classes, kind="stable")
    codes = order[np.minimum(np.searchsorted(classes[order], y), len(classes) - 1)]
    return codes, classes[codes] != y


class BlockedMixin:
    """What estimators do with a dataset whose rows are elsewhere."""

    engine: Any
    n_experts: Any
    gate_features: Any
    solver: Any
    start: Any
    _parts: Any
    _checked: Any
    _model: Any
    _model_: Any
    _set_columns: Any
    _gate_columns: np.ndarray
    _expert_columns: np.ndarray
    n_features_in_: int
    blocked = True  # False for an estimator that needs its rows in memory

    def _prepare(self, X, y, sample_weight, **inputs):
        """The model on standardised columns and the rows, from checked input."""
        gate, expert, rows = self._checked_for(X, y, sample_weight, **inputs)
        return self._model(gate, expert, rows), rows

    def _checked_for(self, X, y, sample_weight, **inputs):
        """Gate, expert and rows, where they are; sets ``engine_``."""
        own = {name: inputs.get(name) for name in ("offset", "exposure", "trials")}
        own["weight"] = sample_weight
        source = source_of(self.engine, X, y, own)
        if source is None and (isinstance(X, Source) or is_dask(X)):
            read = in_memory(X, y, own)
            X, y, sample_weight = (read.pop(name) for name in ("X", "y", "weight"))
            inputs = {**inputs, **{name: v for name, v in read.items() if v is not None}}
        self.engine_ = "memory" if source is None else source.engine
        if source is None:
            return self._checked(X, y, sample_weight, **inputs)
        return self._checked_blocks(source, **inputs)

    def _checked_blocks(
        self, source: Source, expert_prior=None, groups=None, **inputs
    ) -> tuple[Gate, Expert, BlockRows]:
        gate, expert = self._parts()
        names = self._read_names(source)
        self._set_columns(gate, expert)
        self._refuse_blocked(source, gate, expert, expert_prior, groups)
        codes = self._blocked_codes(source, expert)
        m = source.n_outputs
        if m > 1 and not expert.multi_output:
            raise ValueError(f"{type(expert).__name__} takes one response; got {m} columns of y.")
        self._n_outputs = m if expert.multi_output else 0
        own = self._expert_columns[self._expert_columns < self.n_features_in_]
        prepare = Preparation(names, expert, own, m, codes)
        used = np.union1d(self._gate_columns, self._expert_columns).astype(int)
        rows = BlockRows(source, prepare, codes is not None, columns=used)
        if gate.joint or gate.uses_distances:
            chosen = columns_with_density(rows, self._gate_columns, gate.needs_independent_columns)
            self._gate_columns = chosen
        check_n_experts(self.n_experts, rows.n_positive)
        return gate, expert, rows

    def _blocked_rows(self, source: Source) -> BlockRows:
        """The rows of a dataset for a fitted model."""
        expert, m = self._model_.expert, len(self._model_.scaling.y_scale)
        names = source.feature_names or [f"x{j}" for j in range(source.n_features)]
        known = getattr(self, "feature_names_in_", names)
        if source.n_features != self.n_features_in_ or list(known) != list(names):
            raise ValueError(f"The model was fitted to the columns {list(known)}; got {names}.")
        codes = copy.copy(self)._blocked_codes(source, expert)
        classes = [] if codes is None else codes.classes.tolist()
        if max(source.n_outputs, 1) != m or classes != list(getattr(self, "classes_", [])):
            raise ValueError("The dataset has another target than the model was fitted to.")
        own = self._expert_columns[self._expert_columns < self.n_features_in_]
        prepare = Preparation(names, expert, own, source.n_outputs, codes)
        return BlockRows(source, prepare, codes is not None, counts=False)

    def _read_names(self, source):
        """Number and names of the columns, as fitted attributes."""
        self.n_features_in_ = source.n_features
        self.__dict__.pop("feature_names_in_", None)
        if source.feature_names is None:
            return [f"x{j}" for j in range(source.n_features)]
        self.feature_names_in_ = np.array(source.feature_names, dtype=object)
        return source.feature_names

    def _refuse_blocked(self, source, gate, expert, expert_prior, groups):
        """Refuse what a pass over blocks cannot do, before any of them is read.

        Raises
        ------
        ValueError
        """
        if isinstance(self.solver, OnlineEM) and not isinstance(source, BlockSource):
            raise ValueError(
                "OnlineEM takes batches one after the other, which engine="
                f"{source.engine!r} does not give. Use solver=EM()."
            )
        what = None
        columns = max(len(self._gate_columns), len(self._expert_columns))
        if not self.blocked:
            what = type(self).__name__
        elif groups is not None:
            what = "groups="
        elif expert_prior is not None:
            what = "expert_prior="
        elif expert.keeps_rows:
            what = f"{expert.title} (its statistics are the rows themselves)"
        elif gate.learns_from_rows:
            what = f"{gate.title} that finds its partition"
        elif (gate.sparse or expert.sparse) and columns > WIDE:
            what = f"a sparse penalty on more than {WIDE} columns"
        elif not isinstance(self.start, str) and np.ndim(self.start) > 0:
            what = "start= with one value per row"
        if what is not None:
            raise ValueError(
                f"{what} is not available with engine={source.engine!r}, where the rows are "
                "elsewhere: it needs them in memory. Fit a sample in memory, or leave it out."
            )

    def _blocked_codes(self, source: Source, expert) -> Codes | None:
        """Classes of the target; None for a regression."""
        return None
