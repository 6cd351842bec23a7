"""The columns about which the penalties of gate and experts decide, and their union."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mixexp.em.model import MoEModel
from mixexp.selection.path._chain import candidates

Numbers = NDArray[np.intp]


class Offered(NamedTuple):
    """Numbers of the offered columns of X.

    Attributes
    ----------
    gate, expert, any : (p,) int
        Of the gate, of the experts, and of either; ascending in ``any``.
    """

    gate: Numbers
    expert: Numbers
    any: Numbers

    @classmethod
    def of(cls, model: MoEModel) -> Offered:
        mask = candidates(model)
        gate, expert = model.gate_columns[mask.gate], model.expert_columns[mask.expert]
        return cls(gate, expert, np.union1d(gate, expert))

    def parts(self, gate, expert):
        """Use by part: (T, p) arrays of "any", "expert" and "gate".

        Parameters
        ----------
        gate : (T, p_gate) bool
        expert : (T, K, p_expert) bool
        """
        in_expert = expert.any(axis=1)
        either = np.zeros((len(gate), len(self.any)), dtype=bool)
        either[:, np.searchsorted(self.any, self.gate)] = gate
        either[:, np.searchsorted(self.any, self.expert)] |= in_expert
        return {"any": either, "expert": in_expert, "gate": gate}

    def widened(self, values, part: str):
        """(..., p) values of a part's columns, for all columns; NaN where there is none."""
        out = np.full((*values.shape[:-1], len(self.any)), np.nan)
        out[..., np.searchsorted(self.any, getattr(self, part))] = values
        return out
