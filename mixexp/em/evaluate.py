"""One evaluation of the EM map: objective, image and gradient at a batch of points.

The general way composes the parts' methods. Where the engine has a fused kernel, the gate and
the family their usual M-steps, and the systems are small, one compiled call replaces them: on a
few hundred rows the parts' numpy calls cost ten times the pass itself.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from ..experts.scales import bounded_scales
from ..kernels import small


class Evaluation(NamedTuple):
    """At S points of d coordinates: point (S, d) moved inside the bounds; objective (S,)
    penalised, per unit weight; image (S, d) under the EM map; gradient (S, d)."""

    point: np.ndarray
    objective: np.ndarray
    image: np.ndarray
    gradient: np.ndarray


def evaluator(model, engine, template) -> Callable[[np.ndarray], Evaluation]:
    """The function of points (S, d) that evaluates them; ``template`` gives the shapes."""
    kernel = engine.kernel
    if kernel is not None and kernel.model is model and _has_compiled_m_step(model):
        return _Compiled(model, kernel)
    return _Composed(model, engine, template)


class _Composed:
    def __init__(self, model, engine, template):
        self.model, self.engine, self.template = model, engine, template

    def __call__(self, point):
        model = self.model
        params = model.unpack(point, self.template)
        result = self.engine.run(model, params)
        objective = result.loglik / self.engine.total_weight - model.penalty(params)
        return Evaluation(
            model.pack(params),
            objective,
            model.pack(model.m_step(params, result.statistics)),
            model.gradient(params, result.statistics),
        )


def _has_compiled_m_step(model):
    sizes = (model.K - 1) * (len(model.gate_columns) + 1), len(model.expert_columns) + 1
    return (
        model.gate.compiled_m_step and model.expert.compiled_m_step and max(sizes) <= small.LARGEST
    )


class _Compiled:
    def __init__(self, model, kernel):
        self.kernel, expert = kernel, model.expert
        lowest, ratio = expert.scale_bounds if expert.has_dispersion else (1.0, 0.0)
        self.shape = model.K, len(model.gate_columns) + 1, len(model.expert_columns) + 1
        self.scale = bool(expert.has_dispersion), float(lowest), float(ratio)
        self.exact = expert.link_name == "identity"
        self.ridges = float(model.gate.slope_curvature), float(expert.slope_curvature)

    def __call__(self, point):
        W, B, sigma, constant, inside = small.softmax_glm_split(point, *self.shape, *self.scale)
        loglik, *stats = self.kernel.packed(W, B, sigma, constant)
        scaled, lowest, ratio = self.scale
        weight = self.kernel.total_weight
        image, gradient, penalty, new_sigma = small.softmax_glm_image(
            W, B, sigma, *stats, weight, *self.ridges, scaled, self.exact, lowest, ratio
        )
        if scaled and (new_sigma.min(axis=1) < ratio * new_sigma.max(axis=1)).any():
            mass = stats[4]
            bounded = bounded_scales(new_sigma[:, :, None], mass[:, :, None], lowest, ratio)
            image[:, -self.shape[0] :] = np.log(bounded[:, :, 0])
        objective = (loglik + self.kernel.row_part) / weight - penalty
        return Evaluation(inside, objective, image, gradient)
