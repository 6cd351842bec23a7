"""Groups of rows that share one expert, from the user's labels to runs of rows, and back."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy import sparse

from ..em.rows import Rows


class Groups(NamedTuple):
    """Labelled groups.

    Attributes
    ----------
    labels : (G,) array
        Sorted, as `numpy.unique` has them.
    codes : (n,) int
        Position of each row's label.
    order : (n,) int
        The rows, group after group.
    """

    labels: np.ndarray
    codes: np.ndarray
    order: np.ndarray

    @property
    def single(self) -> bool:
        """Whether every group is one row."""
        return len(self.labels) == len(self.codes)

    def runs(self, rows: Rows) -> Rows:
        """The rows group after group; where every group is one row, they are plain rows."""
        ordered = rows.take(self.order)
        return ordered if self.single else ordered._replace(group=self.codes[self.order])

    def back(self, values):
        """Values of the ordered rows in the order in which the rows were given."""
        out = np.empty_like(values)
        out[self.order] = values
        return out


class GroupsMixin:
    """What estimators do with labels of rows."""

    _model_: Any
    _names: Any

    def _units(self, rows: Rows, groups, gate_columns=None):
        """The rows group after group, and the function that brings values back to their order."""
        if groups is None:
            return rows, lambda values: values
        columns = self._model_.gate_columns if gate_columns is None else gate_columns
        found = check_groups(groups, rows.n)
        check_within(found, rows, columns, self._names())
        return found.runs(rows), found.back


def group_means(values, rows: Rows, groups):
    """(U, K) means within the groups of ``rows`` of values (n, K) in the order of ``groups``."""
    ordered = values[check_groups(groups, rows.n).order]
    return rows.unit_sums(ordered) / rows.unit_sums(np.ones(rows.n))[:, None]


def check_groups(groups: Any, n: int) -> Groups:
    """The groups of n rows.

    Raises
    ------
    ValueError
        If there is not one label per row, a label is missing, or labels cannot be sorted.
    """
    if isinstance(groups, str):
        raise ValueError(
            f"groups needs one label per row; got the text {groups!r}. Give the column itself, "
            f"such as data[{groups!r}]; a formula takes its name (mixexp.moe)."
        )
    if np.shape(groups) != (n,):
        raise ValueError(
            f"groups needs one label per row, shape ({n},); got shape {np.shape(groups)}."
        )
    values = pd.Series(groups)
    missing = values.isna().to_numpy()
    if missing.any():
        raise ValueError(
            f"groups has no label in row {int(np.argmax(missing))} ({int(missing.sum())} rows in "
            "all). Give every such row a label of its own, or leave it out."
        )
    array = values.astype(object).to_numpy()
    try:
        labels, codes = np.unique(array, return_inverse=True)
    except TypeError:
        kinds = sorted({type(value).__name__ for value in array})
        raise ValueError(
            f"groups: labels must be of one kind, which can be sorted; got {kinds}. Make them text."
        ) from None
    codes = codes.ravel()
    return Groups(labels, codes, np.argsort(codes, kind="stable"))


def check_within(groups: Groups, rows: Rows, gate_columns, names):
    """Refuse weights and columns of the gate that differ within a group.

    Parameters
    ----------
    rows : Rows
        In the order in which they were given.
    names : sequence of str
        Of the columns of X.

    Raises
    ------
    ValueError
        It names a group and, of the gate's columns, a column.
    """
    order, codes = groups.order, groups.codes[groups.order]
    first = order[np.searchsorted(codes, codes)]  # the first row of each row's group
    if rows.weight is not None:
        differs = rows.weight[order] != rows.weight[first]
        if differs.any():
            at = int(np.argmax(differs))
            raise ValueError(
                f"sample_weight must be one number within a group, since it is the group that is "
                f"weighted: group {_shown(groups, codes[at])} has {rows.weight[first[at]]:g} and "
                f"{rows.weight[order[at]]:g}."
            )
    varying = [j for j in gate_columns if _differs(rows.X, j, order, first).any()]
    if not varying:
        return
    at = int(np.argmax(_differs(rows.X, varying[0], order, first)))
    low, high = (float(rows.X[int(row[at]), int(varying[0])]) for row in (first, order))
    constant = [str(names[j]) for j in gate_columns if j not in varying]
    allowed = f"gate_features={constant!r}" if constant else "gate='constant'"
    raise ValueError(
        f"The gate sees a group once, so its columns must be one value within a group: "
        f"{str(names[varying[0]])!r} is {low:g} and {high:g} in group {_shown(groups, codes[at])}. "
        f"Use {allowed}, or the group's mean as a column."
    )


def _differs(X, column, order, first):
    values = X[:, [column]]
    values = np.ravel(values.toarray() if sparse.issparse(values) else np.asarray(values))
    return values[order] != values[first]


def _shown(groups: Groups, code) -> str:
    label = groups.labels[code]
    return repr(label.item() if isinstance(label, np.generic) else label)
