"""Sums over the blocks of a dataset of what a fitted estimator says there: `score` above all."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

import numpy as np

from ..scaling import Moments
from ..sources import Block, PlacedError, Source
from ..sources.dask import DaskSource
from ..sources.elsewhere import held_elsewhere, refuse_path
from ._blocked import checked_columns, checked_weight, numbers
from ._blockwise import framed, inputs_of
from ._engines import refuse_with


def source_given(X, y, what: str, **inputs) -> Source | None:
    """X as a source of blocks, where it is a dataset or Dask collections; None for rows in memory.

    Raises
    ------
    ValueError
        For a path; or where what a dataset holds is given beside it.
    """
    refuse_path(X, f"{what} needs rows or a dataset")
    found = held_elsewhere(X)
    if found is None:
        return None
    if found.kind == "source":
        refuse_with(X, y, inputs)
        return X
    return DaskSource(X, y, **{name: v for name, v in inputs.items() if v is not None})


def summed(source: Source, function: Callable[..., Any], merge) -> Any:
    """``function(X, block, weight)`` of every block with weight, merged in order.

    X has the names of the columns; errors name the place of the block.
    """
    names = source.feature_names or [f"x{j}" for j in range(source.n_features)]
    found = source.reduce(_OnBlock(function, names, source.feature_names), _Merge(merge))
    if found is None:
        raise ValueError("The data have no rows of positive weight.")
    return found


class _OnBlock:
    """The function of blocks that checks X and weights first."""

    def __init__(self, function, names, given):
        self.function, self.names, self.given = function, names, given

    def __call__(self, block: Block):
        try:
            checked_columns(block, self.names)
            weight = checked_weight(block)
            if weight is not None and not weight.any():
                return None
            return self.function(framed(self.given, block), block, weight)
        except PlacedError:
            raise
        except ValueError as error:
            raise PlacedError(f"{block.place}: {error}") from error


class _Merge:
    """The merging of values, of which some may be None."""

    def __init__(self, merge):
        self.merge = merge

    def __call__(self, left, right):
        if left is None or right is None:
            return right if left is None else left
        return self.merge(left, right)


def r2_over(estimator, source: Source) -> float:
    """Coefficient of determination over the rows of a source, the mean over responses."""
    moments, squares = summed(source, functools.partial(_squares, estimator), _squares_merged)
    with np.errstate(divide="ignore", invalid="ignore"):
        each = 1 - squares / moments.square
    constant = np.where(squares > 0, 0.0, 1.0)  # as scikit-learn has it
    return float(np.where(moments.square > 0, each, constant).mean())


def accuracy_over(estimator, source: Source) -> float:
    """Share of the weight of a source's rows whose class is predicted."""
    hits, total = summed(source, functools.partial(_hits, estimator), np.add)
    return float(hits / total)


def _squares(estimator, X, block, weight):
    """Moments of the target, and the squared residuals of each response."""
    inputs, predicted = _predicted(estimator, X, block)
    y = numbers(block, "y", inputs["y"])
    y, predicted = y.reshape(len(y), -1), np.asarray(predicted).reshape(len(y), -1)
    w = np.ones(len(y)) if weight is None else weight
    return Moments.of(y, w), w @ (y - predicted) ** 2


def _squares_merged(left, right):
    return left[0].merged(right[0]), left[1] + right[1]


def _hits(estimator, X, block, weight):
    inputs, predicted = _predicted(estimator, X, block)
    w = np.ones(len(predicted)) if weight is None else weight
    return np.array([w @ (np.asarray(predicted) == np.asarray(inputs["y"]).ravel()), w.sum()])


def _predicted(estimator, X, block):
    """The block's target, and predictions with its row-wise inputs."""
    takes = [*inspect.signature(estimator.predict).parameters, "y"]
    inputs = inputs_of(block, takes)
    own = {name: values for name, values in inputs.items() if name != "y"}
    return inputs, estimator.predict(X, **own)
