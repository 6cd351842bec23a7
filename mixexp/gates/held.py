"""A gate that stands still while the experts move."""

from __future__ import annotations

import numpy as np

from .base import Gate
from .known import KnownGate


class HeldGate(KnownGate):
    """Another gate at its parameters: none of them is free.

    Parameters
    ----------
    gate : Gate
    """

    def __init__(self, gate: Gate):
        self.gate = gate

    @property
    def own_design(self):  # type: ignore[override]
        return self.gate.own_design

    @property
    def joint(self):  # type: ignore[override]
        return self.gate.joint

    def probabilities(self, X):
        raise NotImplementedError("HeldGate has the design of its gate.")

    def design(self, X, columns, scaling):
        return self.gate.design(X, columns, scaling)

    def initial(self, K, q):
        return self.gate.initial(K, q)

    def log_prob(self, params, X):
        return self.gate.log_prob(params, X)

    def log_joint(self, params, X):
        return self.gate.log_joint(params, X)

    def penalty_value(self, params):
        return self.gate.penalty_value(params)

    def pack(self, params):
        return np.zeros((*self.gate.pack(params).shape[:-1], 0))

    def unpack(self, vector, params):
        whole = self.gate.pack(params)
        whole = np.broadcast_to(
            whole.reshape(-1, whole.shape[-1])[0], (*vector.shape[:-1], whole.shape[-1])
        )
        return self.gate.unpack(whole.copy(), params)
