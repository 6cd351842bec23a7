"""Anderson's acceleration of the EM map: the next point from the last h images.

It is chosen by measurement (`benchmarks/acceleration.py`) over plain EM, SQUAREM and
quasi-Newton updates. Arrays have the starts first: points (S, d), histories (S, h, d).
"""

from __future__ import annotations

import numpy as np

from ..kernels import small

REGULARISATION = 1e-12  # relative to the trace of the normal equations


def remember(steps, residuals, slot, step, change, kept, forget):
    """New histories with ``step`` and ``change`` of the residual in one slot.

    Starts outside ``kept`` (S,) get zeros there, which have no say; those in ``forget`` lose
    their whole history.
    """
    steps, residuals = steps.copy(), residuals.copy()
    if kept.all():
        steps[:, slot], residuals[:, slot] = step, change
        return steps, residuals
    steps[:, slot] = np.where(kept[:, None], step, 0)
    residuals[:, slot] = np.where(kept[:, None], change, 0)
    if forget.any():
        steps[forget], residuals[forget] = 0, 0
    return steps, residuals


def mix(point, residual, gradient, steps, residuals):
    """Anderson's proposal; with an empty history it is the EM image itself.

    EM leaves a saddle in ever longer steps, from which the secant equations conclude that the
    fixed point lies behind. Such a proposal runs against the gradient; reflected, it doubles the
    distance from the saddle in every pass.
    """
    return small.anderson(point, residual, gradient, steps, residuals, REGULARISATION)
