"""Gates whose classes are separated: slopes that grow until no row says how steep they are."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from ..kernels.designs import weighted_grams
from ..penalties import is_active
from .rows import design_gram

STEEP = 20.0  # norm of a difference of gate slopes, standardised, that only a separation explains
COLLINEAR = 1e-8  # variance of a direction, standardised, below which the columns do not vary
FLAT = 1e-2  # total gate information below which the data no longer hold those slopes


def separates(model, engine, params: Any, stats: Any, units: float) -> bool:
    """Whether two classes of a gate are split so sharply that no row says how sharply.

    Under a penalty of the user's the slopes are his; only an unpenalised gate is named. Information
    is counted in units, along the directions in which the gate's columns vary: none is lost with a
    column that is constant or a copy of another.
    """
    penalised = is_active(getattr(model.gate, "penalty", None))
    found = None if penalised else model.gate.separation(params, stats)
    if found is None:
        return False
    slopes, information = found
    steep = np.linalg.norm(slopes, axis=1) > STEEP
    if not steep.any():
        return False
    total = engine.total_weight
    values, vectors = np.linalg.eigh(_gram(model, engine.rows))
    basis = vectors / np.sqrt(np.maximum(values / total, COLLINEAR))
    basis = basis[:, values > COLLINEAR * total]
    information = basis.T @ (information[steep] * (units / total)) @ basis
    return bool(np.linalg.eigvalsh(information)[:, 0].min() < FLAT)


def _gram(model, rows):
    """(q, q) weighted Gram matrix of the gate's design."""
    if model.gate.own_design or rows.group is not None:
        return rows.summed(functools.partial(_block_gram, model))
    return design_gram(rows, model.gate_columns, model.scaling)


def _block_gram(model, rows):
    return weighted_grams(model.gate_design(rows.unit_X), rows.unit_weight[:, None])[0]
