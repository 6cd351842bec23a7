"""What a gate is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import numpy as np

from .._component import Component


class Gate(Component, ABC):
    """Splits the input space softly: pi_k(x), k = 1..K.

    Parameters travel as NamedTuples of arrays with K first; methods marked *batched* accept
    further leading axes, so that many starts advance together.
    """

    joint = False  # True for a gate that also models x
    kernel: ClassVar[str | None] = None  # its half of the name of a fused kernel, if it has one
    sparse = False  # True where its penalty may set slopes to zero
    centres_slopes = False  # True where slopes sum to zero over the members that a penalty sees
    compiled_m_step = False  # True where `kernels.m_steps` knows its M-step
    closed_form = False  # True where that M-step takes the shares of the responsibilities
    uses_columns = True  # False for a gate that ignores X
    needs_independent_columns = False  # True where collinear columns have no density

    def for_rows(self, n_distinct):
        """The gate as it is fitted to so many rows: itself, unless a setting depends on them."""
        return self

    @abstractmethod
    def initial(self, K, q):
        """Neutral parameters: equal probabilities."""

    @abstractmethod
    def log_prob(self, params, X):
        """(n, K) log probabilities from a design X (n, q); each row log-sums to zero."""

    def log_joint(self, params, X):
        """(n, K) the gate's terms of the objective: log pi_k(x), or log p(x, k) of a joint gate."""
        return self.log_prob(params, X)

    @abstractmethod
    def statistics(self, params, X, resp, weight):
        """Additive statistics of a block; ``resp`` (n, K) is weighted already."""

    @abstractmethod
    def m_step(self, params, stats):
        """Parameters that raise the penalised surrogate (batched)."""

    @abstractmethod
    def gradient(self, params, stats):
        """Gradient of the penalised objective per unit weight, in the order of `pack` (batched)."""

    @abstractmethod
    def penalty_value(self, params):
        """Penalty per unit weight (batched)."""

    @abstractmethod
    def pack(self, params):
        """Unconstrained vector of the parameters, last axis (batched)."""

    @abstractmethod
    def unpack(self, vector, params):
        """Parameters from a vector; ``params`` gives the shapes (batched)."""

    @abstractmethod
    def n_free(self, params) -> int:
        """Number of free parameters, for criteria."""

    def slopes(self, params) -> tuple[int, int]:
        """The slopes that `n_free` counts, and those it would count if none were set to zero.

        (0, 0) for a gate without slopes.
        """
        return 0, 0

    @abstractmethod
    def shift(self, stats, step):
        """The statistics' local quadratic model re-expressed at ``params + step``."""

    def row_scores(self, params, X, resp, weight):
        """(n, K) derivatives of the surrogate by the linear predictors, row by row.

        Working sets need them: a gate with sparse penalties on linear predictors has them.
        """
        raise NotImplementedError(f"{type(self).__name__} has no linear predictors.")

    @abstractmethod
    def split(self, params, k, share):
        """Class k split in two of its probability's (1 - share) and share; the new one is last."""

    @abstractmethod
    def flatten(self, params, share):
        """The gate with its dependence on the columns reduced to a share; 1 leaves it alone."""

    @abstractmethod
    def rescale(self, params, columns, old, new):
        """Parameters on another standardisation of X (two `Scaling`)."""

    def bounded(self, params):
        """(K,) bool (batched), or False: the class leans on a lower bound."""
        return np.False_

    def rows_needed(self, params) -> int:
        """Effective rows without which a class's own parameters are not determined."""
        return 0

    @abstractmethod
    def display(self, params, names) -> dict:
        """Fitted attributes of estimators, from parameters on the user's scale."""

    @abstractmethod
    def table(self, params, names):
        """Title, row names and values (K, rows) of the gate's part of a summary."""
