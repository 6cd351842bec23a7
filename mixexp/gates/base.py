"""What a gate is."""

from __future__ import annotations

from abc import ABC, abstractmethod

from .._component import Component


class Gate(Component, ABC):
    """Splits the input space softly: pi_k(x), k = 1..K.

    Parameters travel as NamedTuples of arrays with K first; methods marked *batched* accept
    further leading axes, so that many starts advance together.
    """

    joint = False  # True for a gate that also models x
    fused = False  # True where the numba kernel computes its statistics
    compiled_m_step = False  # True where `kernels.small` knows its M-step
    uses_columns = True  # False for a gate that ignores X

    @abstractmethod
    def initial(self, K, q):
        """Neutral parameters: equal probabilities."""

    @abstractmethod
    def log_prob(self, params, X):
        """(n, K) log probabilities from a design X (n, q); each row log-sums to zero."""

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

    @abstractmethod
    def shift(self, stats, step):
        """The statistics' local quadratic model re-expressed at ``params + step``."""

    @abstractmethod
    def split(self, params, k, share):
        """Class k split in two of its probability's (1 - share) and share; the new one is last."""

    @abstractmethod
    def flatten(self, params, share):
        """The gate with its dependence on the columns reduced to a share; 1 leaves it alone."""

    @abstractmethod
    def rescale(self, params, columns, old, new):
        """Parameters on another standardisation of X (two `Scaling`)."""
