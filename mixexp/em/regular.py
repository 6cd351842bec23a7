"""Regular and spurious optima of a mixture's likelihood.

The likelihood of a mixture whose experts have a scale of their own is unbounded: an expert that
passes through as many rows as it has coefficients may take any scale. Bounds on the scales make
the supremum finite, but optima remain that owe their height to a handful of rows (Day, 1969,
Biometrika 56, 463-474; McLachlan and Peel, 2000, Finite Mixture Models, section 3.10). Such
optima are *spurious*: they are listed, and never returned while a regular one exists.
"""

from __future__ import annotations

import numpy as np

from .model import MoEModel
from .params import take, tree_map

SHARE = 0.05  # an expert with a scale of its own holds at least this share of the rows ...
ROWS_CAP = 50.0  # ... or this many rows ...
SHARE_CAP = 0.25  # ... or this part of an equal share, 1 / K, whichever is least


def expert_parameters(model: MoEModel, params) -> int:
    """Rows that one expert needs: its own free parameters, unless the family says otherwise.

    Under a sparse penalty only the slopes that it leaves alone count: a penalised fit may have
    more slopes than rows. Of several experts the one that needs most.
    """
    own = params.expert
    if not model.expert.sparse:
        return model.expert.rows_needed(tree_map(lambda leaf: leaf[:1], own))
    free = model.expert.penalty.free_columns(own.coef.shape[-1] - 1)
    own = own._replace(coef=own.coef * np.concatenate([[True], free]))
    experts = range(len(own.coef) if free.any() else 1)  # a search may ask about one more
    return max(
        model.expert.rows_needed(tree_map(lambda leaf, k=k: leaf[k : k + 1], own)) for k in experts
    )


def smallest_allowed(model: MoEModel, params, units: float) -> float:
    """Effective rows that every expert of a regular optimum holds at least.

    Twice an expert's own number of parameters (and twice the rows that its class of a joint gate
    needs); and for continuous targets, whose likelihood is
    unbounded, at least 5 % of the rows, though never more than 50 rows nor than a quarter of an
    equal share, so that large samples may have small experts.
    """
    least = 2.0 * max(expert_parameters(model, params), model.gate.rows_needed(params.gate))
    if model.expert.discrete:
        return least
    return max(least, min(SHARE * units, ROWS_CAP, SHARE_CAP * units / model.K))


def is_regular(model: MoEModel, params, mass, units: float, ease: float = 1.0):
    """Which optima are regular.

    Parameters
    ----------
    params : MoEParams, one set or a batch
    mass : (K,) or (S, K) array
        Weights of the experts, sums of w r.
    units : float
        `Rows.counted_rows`: the mass is read as shares of it.
    ease : float
        Factor on the smallest allowed size; below one for the almost regular.

    Returns
    -------
    bool or (S,) bool
        True where every expert holds `smallest_allowed` effective rows and no dispersion leans
        on its bound. One expert alone is regular unless its dispersion is on the bound.
    """
    leans = model.expert.bounded(params.expert) | model.gate.bounded(params.gate)
    inside = ~np.any(leans, axis=-1)
    if model.K == 1:
        return inside
    sizes = mass * (units / mass.sum(axis=-1, keepdims=True))
    least = smallest_allowed(model, params if mass.ndim == 1 else take(params, 0), units)
    # 1e-6: an expert of exactly 10 rows of 200 must not fail by rounding or by slow convergence
    return inside & (sizes.min(axis=-1) >= least * ease * (1 - 1e-6))
