"""What slope heuristics find: plain values for reading and for figures."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.intp]


class SlopeNote(Enum):
    """What a reader has to know about a slope heuristic; the value is the sentence."""

    LEFT_OUT = "Models without a finite complexity, penalty or contrast were left out."
    NEGATIVE_SLOPES = (
        "Some regressions have a negative slope: the contrast rises with the complexity there, "
        "as it does where large models are badly optimised."
    )
    NEGATIVE_CHOSEN = (
        "The slope on the chosen plateau is not positive, so that it penalises nothing: larger "
        "models are needed, or better fits of the large ones."
    )
    NOT_CONVERGED = (
        "Some robust regressions did not settle; their last iterate is used. Compare with "
        "regression='huber'."
    )
    TIED_MODELS = "Models tie at some slopes; the one with the smaller penalty is taken."
    TIED_JUMPS = "Several jumps are equally large; the one at the largest constant is taken."
    TIED_AREAS = "Several jump areas are equally large; the one at the largest constant is taken."
    LARGEST_CHOSEN = (
        "The largest model is chosen: the collection ends before the contrast becomes linear in "
        "the penalty. Add larger models."
    )

    def __str__(self) -> str:
        return self.value


class Plateau(NamedTuple):
    """A run of regressions whose slopes select one model.

    ``start`` and ``stop`` bound the regressions, as in a slice; ``model`` is the position of the
    model among those that were given.
    """

    start: int
    stop: int
    model: int

    @property
    def length(self) -> int:
        return self.stop - self.start


@dataclass(frozen=True)
class SlopeTable:
    """The models as the heuristics see them, in order of the penalty.

    Attributes
    ----------
    order : ndarray of shape (M,)
        Positions of the models among those that were given.
    penalty, complexity, contrast : ndarray of shape (M,)
        Penalty shape, complexity and minimum contrast, in that order.
    notes : tuple of SlopeNote
        What was noticed on the way.
    """

    order: Integers
    penalty: Floats
    complexity: Floats
    contrast: Floats
    notes: tuple[SlopeNote, ...] = ()


@dataclass(frozen=True)
class SlopeEstimation:
    """Data-driven slope estimation.

    Attributes
    ----------
    table : SlopeTable
        The models; of several with the same penalty the one with the smallest contrast.
    slopes, intercepts : ndarray of shape (S,)
        Line i is the regression of minus the contrast on the penalty over ``table``'s models
        i, i + 1, ...
    models : ndarray of shape (S,)
        Positions, among the models given, of those that slope i selects.
    plateaus : tuple of Plateau
        Runs of equal ``models``.
    plateau : int
        Which plateau decides.
    slope_interval : tuple of float
        Smallest and largest slope on it.
    share : float
        Share of the points on it, (length + 1) / (S + 1).
    line : int
        The regression in its middle.
    kappa_hat : float
        The slope of that regression: the minimal penalty constant.
    kappa_opt : float
        ``factor`` times ``kappa_hat``.
    chosen : int
        Position of the selected model among those that were given.
    notes : tuple of SlopeNote
        What a reader has to know.
    """

    table: SlopeTable
    slopes: Floats
    intercepts: Floats
    models: Integers
    plateaus: tuple[Plateau, ...]
    plateau: int
    slope_interval: tuple[float, float]
    share: float
    line: int
    kappa_hat: float
    kappa_opt: float
    chosen: int
    notes: tuple[SlopeNote, ...]


@dataclass(frozen=True)
class DimensionJump:
    """The dimension jump.

    Attributes
    ----------
    table : SlopeTable
        The models.
    kappa : ndarray of shape (L + 1,)
        Constants at which the selected model changes, from 0 up.
    models : ndarray of shape (L + 1,)
        Positions of the models selected from each constant on.
    jumps : ndarray of shape (L,)
        Falls in complexity at ``kappa[1:]``.
    jump : int
        Which fall decides: that at ``kappa[jump + 1]``.
    kappa_hat : float
        The constant of that fall: the minimal penalty constant.
    kappa_opt : float
        ``factor`` times ``kappa_hat``.
    chosen : int
        Position of the selected model among those that were given.
    area : tuple of float or None
        The constants of the jump area, where one was asked for.
    area_models : tuple of int
        Positions of the models that ``factor`` times the constants of the area select.
    notes : tuple of SlopeNote
        What a reader has to know.
    """

    table: SlopeTable
    kappa: Floats
    models: Integers
    jumps: Floats
    jump: int
    kappa_hat: float
    kappa_opt: float
    chosen: int
    area: tuple[float, float] | None
    area_models: tuple[int, ...]
    notes: tuple[SlopeNote, ...]
