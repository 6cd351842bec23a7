"""Functions of the gate's columns that stand before a gate: the modified softmax gate."""

from __future__ import annotations

import numpy as np
from scipy import sparse, special

from .._component import Component
from ..scaling import moments

FUNCTIONS = {"tanh": np.tanh, "sigmoid": special.expit}


class ColumnTransform(Component):
    """M((x - centre) / scale), column by column: what a gate with ``transform=`` is fitted on.

    Centre and scale are the weighted means and standard deviations of the columns of the fit, also
    where the columns are sparse, so that neither units nor storage change the gate.

    Parameters
    ----------
    function : {"tanh", "sigmoid"}, callable or None
        None is the identity. A callable takes an array (n, p) of standardised columns and returns
        one of that shape.
    centre, scale : (p,) arrays
        A constant column has the scale inf and stands as zero.
    """

    def __init__(self, function, centre, scale):
        self.function = function
        self.centre = centre
        self.scale = scale

    @classmethod
    def of_rows(cls, function, X, columns, weight) -> ColumnTransform:
        """The transform of some columns of the rows of a fit."""
        centre, scale = moments(X[:, columns], weight)
        return cls(function, centre, scale)

    def design(self, X, columns):
        """(n, 1 + p) a column of ones and the transformed columns, dense."""
        part = X[:, columns]
        part = part.toarray() if sparse.issparse(part) else np.asarray(part, dtype=np.float64)
        z = (part - self.centre) / self.scale
        if self.function is None:
            return np.column_stack([np.ones(len(z)), z])
        function = FUNCTIONS[self.function] if isinstance(self.function, str) else self.function
        value = np.asarray(function(z), dtype=np.float64)
        if value.shape != z.shape or not np.isfinite(value).all():
            said = "values that are not finite" if value.shape == z.shape else f"{value.shape}"
            raise ValueError(
                f"transform={self.function!r} must turn standardised columns of shape {z.shape} "
                f"into finite numbers of the same shape; it gave {said}."
            )
        return np.column_stack([np.ones(len(z)), value])


def check_transform(transform, owner: str) -> None:
    """Refuse what is no transform.

    Raises
    ------
    ValueError
    """
    known = transform is None or callable(transform) or isinstance(transform, ColumnTransform)
    if known or (isinstance(transform, str) and transform in FUNCTIONS):
        return
    raise ValueError(
        f"{owner} needs transform=None, {', '.join(map(repr, FUNCTIONS))} or a function of the "
        f"standardised columns; got {transform!r}."
    )


def check_temperature(temperature, owner: str, reason: str) -> float:
    """The temperature as a number.

    Raises
    ------
    ValueError
        For anything but a positive number; ``reason`` says why it is not estimated.
    """
    number = isinstance(temperature, int | float | np.number) and not isinstance(temperature, bool)
    if number and 0 < temperature < np.inf:
        return float(temperature)
    raise ValueError(
        f"{owner} needs a fixed temperature > 0, such as temperature=0.5; got {temperature!r}. "
        f"{reason}"
    )
