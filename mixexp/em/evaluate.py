"""One evaluation of the EM map: objective, image and gradient at a batch of points.

The general way composes the parts' methods. Where the engine has a fused kernel, the gate and
the family their usual M-steps, and the systems are small, two compiled calls replace them: on a
few hundred rows the parts' numpy calls cost ten times the pass itself.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from ..experts.scales import bounded_scales
from ..kernels import m_steps, small


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
    if kernel is None or kernel.model is not model or not _has_compiled_m_step(model, template):
        return _Composed(model, engine, template)
    return _COMPILED[model.expert.kernel](model, kernel, template)


def _has_compiled_m_step(model, template):
    if not (model.gate.compiled_m_step and model.expert.compiled_m_step):
        return False
    qg, qe = len(model.gate_columns) + 1, len(model.expert_columns) + 1
    classes = template.expert.coef.shape[-2]  # or responses, of which a kernel takes one
    sizes = (model.K - 1) * qg, max(classes - 1, 1) * qe
    return max(sizes) <= small.LARGEST


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


class _CompiledGLM:
    def __init__(self, model, kernel, template):
        self.kernel, gate, expert = kernel, model.gate, model.expert
        lowest, ratio = expert.scale_bounds if expert.has_dispersion else (1.0, 0.0)
        self.shape = model.K, len(model.gate_columns) + 1, len(model.expert_columns) + 1
        self.scale = bool(expert.has_dispersion), float(lowest), float(ratio)
        self.exact = expert.link_name == "identity"
        self.ridges = float(gate.slope_curvature), float(expert.slope_curvature)
        self.closed_form = gate.closed_form

    def __call__(self, point):
        W, B, sigma, constant, inside = m_steps.softmax_glm_split(point, *self.shape, *self.scale)
        loglik, *stats = self.kernel.packed(W, B, sigma, constant)
        scaled, lowest, ratio = self.scale
        weight = self.kernel.total_weight
        settings = *self.ridges, self.closed_form, scaled, self.exact, lowest, ratio
        image, gradient, penalty, new_sigma = m_steps.softmax_glm_image(
            W, B, sigma, *stats, weight, *settings
        )
        if scaled and (new_sigma.min(axis=1) < ratio * new_sigma.max(axis=1)).any():
            mass = stats[4]
            bounded = bounded_scales(new_sigma[:, :, None], mass[:, :, None], lowest, ratio)
            image[:, -self.shape[0] :] = np.log(bounded[:, :, 0])
        objective = (loglik + self.kernel.row_part) / weight - penalty
        return Evaluation(inside, objective, image, gradient)


class _CompiledMultinomial:
    def __init__(self, model, kernel, template):
        self.kernel, gate, expert = kernel, model.gate, model.expert
        self.C = template.expert.coef.shape[-2]
        self.shape = model.K, self.C, len(model.gate_columns) + 1, len(model.expert_columns) + 1
        expert_ridges = float(expert.slope_curvature), float(expert.intercept_curvature)
        self.settings = float(gate.slope_curvature), *expert_ridges, gate.closed_form

    def __call__(self, point):
        W, B, inside = m_steps.softmax_multinomial_split(point, *self.shape)
        loglik, *stats, _ = self.kernel.packed(W, B, self.C)
        weight = self.kernel.total_weight
        image, gradient, penalty = m_steps.softmax_multinomial_image(
            W, B, *stats, weight, *self.settings
        )
        return Evaluation(inside, loglik / weight - penalty, image, gradient)


_COMPILED: dict[str, Callable] = {"glm": _CompiledGLM, "multinomial": _CompiledMultinomial}
