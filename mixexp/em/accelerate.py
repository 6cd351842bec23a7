"""Anderson's acceleration of the EM map: the next point from the last h images.

It is chosen by measurement (`benchmarks/acceleration.py`) over plain EM, SQUAREM and
quasi-Newton updates. Arrays have the starts first: points (S, d), histories (S, h, d).
"""

from __future__ import annotations

import numpy as np

from ..kernels import small

REGULARISATION = 1e-12  # relative to the trace of the normal equations
FARTHEST = 1024.0  # from the EM image, in largest entries of the EM step, after two failures ...
SHORTER = 4.0  # ... and so much less after every further one
MOST_FAILURES = 8
SADDLE = 0.1  # growth of a distance from a fixed point in one EM step, that is more than rounding
LEAP = 1e-3  # length of a step off a saddle
INDEPENDENT = 1e-3  # of past steps: singular values relative to the largest


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


def nearer(proposal, image, residual, failures):
    """Proposals of starts whose mixes fail, no farther from the image than has not failed yet.

    Where a parameter runs to infinity the EM step hardly changes along the way, and what the secant
    equations conclude from that is too far by any factor. Each such mix would be rejected, and EM
    would remain, which needs thousands of steps there.
    """
    failing = failures > 1
    if not failing.any():
        return proposal
    with np.errstate(over="ignore", invalid="ignore"):  # of runs that diverge
        apart = proposal - image
        length = np.abs(apart).max(axis=1, initial=0.0)
        limit = FARTHEST * SHORTER ** (2.0 - failures) * np.abs(residual).max(axis=1, initial=0.0)
        far = failing & (length > limit)
        closer = image + (limit / np.where(far, length, 1.0))[:, None] * apart
    closer = np.where(np.isfinite(closer), closer, image)
    return np.where(far[:, None], closer, proposal)


def off_saddle(steps, residuals, gradient):
    """A step (d,) off a fixed point that is a saddle of the objective; None where none is known.

    EM leaves saddles, whereas mixtures of its images may converge to them, as Newton's method does.
    The remembered differences (h, d) know: on their span the residual's Jacobian, that of the EM
    map less one, has an eigenvalue above zero exactly where the objective is not concave.
    """
    length = np.abs(steps).max(axis=1, initial=0.0)
    kept = length > 1e-100
    if not kept.any():
        return None
    steps, changes = steps[kept] / length[kept, None], residuals[kept] / length[kept, None]
    if not np.isfinite(changes).all():
        return None
    left, size, basis = np.linalg.svd(steps, full_matrices=False)
    some = size > INDEPENDENT * size[0]
    basis = basis[some]
    change = (left[:, some] / size[some]).T @ changes
    values, vectors = np.linalg.eig(basis @ change.T)
    growth = np.where(np.abs(values.imag) < SADDLE, values.real, -1.0)
    if not growth.max() > SADDLE:
        return None
    step = vectors[:, growth.argmax()].real @ basis
    step *= LEAP / np.linalg.norm(step)
    return step if step @ gradient >= 0 else -step
