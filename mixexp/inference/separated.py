"""Experts of classes or counts that separate their rows: slopes of which no row says how steep."""

from __future__ import annotations

import numpy as np

from .coordinates import called

STEEP = 10.0  # norm of a predictor's slopes, standardised, that only a separation explains ...
LOOSE = 10.0  # ... where the standard error along them is as large
ROUNDING = 1e-12  # of the largest information: directions below have none


def separated_coefficients(problem, observed, basis, columns):
    """Names of the coefficients of predictors whose slopes grow without bound.

    Parameters
    ----------
    problem : Problem
    observed : (f, f) observed information along the columns of ``basis`` (d, f), which are
        orthonormal directions of the packed, standardised vector.
    columns : names of the gate's and the expert's columns, and perhaps of the experts
    """
    model, expert = problem.model, problem.model.expert
    layout = expert.layout(problem.params.expert) if expert.discrete else None
    if layout is None:
        return []
    vector, shift = model.pack(problem.params), len(model.gate.pack(problem.params.gate))
    values, vectors = np.linalg.eigh(observed)
    spread = basis @ (vectors / np.sqrt(np.maximum(values, ROUNDING * max(values[-1], 1.0))))
    lost: list[int] = []
    for places in layout.reshape(-1, layout.shape[-1]):
        own = places[1:][places[1:] >= 0]
        slopes = vector[shift + own]
        size = np.linalg.norm(slopes)
        if size > STEEP and np.linalg.norm(slopes / size @ spread[shift + own]) > LOOSE:
            lost += places[places >= 0].tolist()
    labels, forms = expert.contrasts(problem.params.expert, columns[1], 0)
    touched = np.any(forms[:, lost] != 0, axis=1)
    known = set(problem.coordinates.names)
    named = called([name for name, hit in zip(labels, touched, strict=True) if hit], columns)
    return [name for name in named if name in known]
