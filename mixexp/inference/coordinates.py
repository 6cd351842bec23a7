"""The coordinates that inference reports: free parameters on the user's scale, with their names.

A fit's vector (`MoEModel.pack`) is redundant, since logits are centred and shared slopes repeated,
and it refers to standardised columns. Reported are the gate's logits relative to one expert, slopes
in the user's units, shared ones once, and logs of dispersions: linear forms of the packed
vector on the user's scale.
"""

from __future__ import annotations

import re
from typing import NamedTuple

import numpy as np

from ..em.model import MoEModel
from ..em.params import MoEParams, stack, take

STEP = 1e-6
RANK = 1e-7
INDEPENDENT = 1e-6  # of a row of length one, beyond differences' rounding


class Coordinates(NamedTuple):
    """f reported parameters of a model with d packed ones.

    names: f str; value (f,): the fit; basis (d, f): how the packed, standardised vector moves with
    the reported ones; affine: whether it moves so everywhere, not only near the fit; constant:
    names of what has no value of its own, such as slopes of columns that do not vary.
    """

    names: list
    value: np.ndarray
    basis: np.ndarray
    affine: bool
    constant: tuple = ()


def coordinates(model: MoEModel, params: MoEParams, columns, reference: int = 0) -> Coordinates:
    """Names, values and basis of the reported parameters.

    Parameters
    ----------
    columns : (gate names, expert names), or these and the experts' own names
    reference : int
        The expert that the gate's logits are relative to.
    """
    report = _Report(model, params, reference)
    names = _names(model, report.user(params), columns, reference)
    vector = model.pack(params)
    free = _moving(report, vector)
    forms = _jacobian(report.value, vector, free)
    still = ~forms.any(axis=1)
    constant = tuple(name for name, zero in zip(names, still, strict=True) if zero)
    if forms.shape[0] > forms.shape[1]:  # of what determines one another the first is reported
        keep = _independent(forms)
        names, forms = [names[i] for i in keep], forms[keep]
        report.forms = report.forms[keep]
    if forms.shape[0] != forms.shape[1]:
        raise ValueError(
            f"{forms.shape[0]} parameters are reported of {forms.shape[1]} free ones: "
            f"{type(model.gate).__name__} or {type(model.expert).__name__} names redundant ones."
        )
    basis = free @ np.linalg.inv(forms)
    affine = _is_affine(report, vector, basis)
    return Coordinates(names, report.value(vector), basis, affine, constant)


class _Report:
    """Reported parameters as a function of the packed, standardised vector."""

    def __init__(self, model, params, reference):
        self.model, self.template = model, stack([params])
        self.forms = _forms(model, self.user(params), reference)

    def user(self, params):
        return self.model.in_user_units(params)

    def value(self, vector):
        return self.forms @ self.everything(vector)

    def everything(self, vector):
        """All parameters in the user's units, redundant ones too."""
        params = take(self.model.unpack(np.atleast_2d(vector), self.template), 0)
        return self.model.pack(self.user(params))


def _parts(model, user, columns, reference):
    gate = model.gate.contrasts(user.gate, columns[0], reference)
    return gate, model.expert.contrasts(user.expert, columns[1], reference)


def _names(model, user, columns, reference):
    gate, expert = _parts(model, user, columns, reference)
    names = [*gate[0], *expert[0]]
    return called(names, columns)


def called(names, columns):
    """Parameters' names with the experts' own, where ``columns`` has them."""
    return names if len(columns) == 2 else [_called(name, columns[2]) for name in names]


def _called(name, experts):
    """A parameter's name with the experts' own instead of their numbers."""
    head, colon, term = name.partition(": ")
    head = re.sub(r"^expert (\d+)", lambda found: experts[int(found[1])], head)
    head = re.sub(
        r"^gate (\d+) vs (\d+)$",
        lambda found: f"gate {experts[int(found[1])]} vs {experts[int(found[2])]}",
        head,
    )
    return head + colon + term


def _forms(model, user, reference):
    anything = [""] * (len(model.gate_columns) + len(model.expert_columns))
    gate, expert = _parts(model, user, (anything, anything), reference)
    out = np.zeros((len(gate[1]) + len(expert[1]), gate[1].shape[1] + expert[1].shape[1]))
    out[: len(gate[1]), : gate[1].shape[1]] = gate[1]
    out[len(gate[1]) :, gate[1].shape[1] :] = expert[1]
    return out


def moving_directions(model: MoEModel, params: MoEParams) -> np.ndarray:
    """(d, f) orthonormal basis of the packed directions in which a reported parameter moves."""
    return _moving(_Report(model, params, 0), model.pack(params))


def _free_directions(model, params, vector):
    """(d, f) basis of the directions in which `unpack` moves the parameters."""
    template = stack([params])

    def projected(points):
        return model.pack(model.unpack(points, template))

    d = len(vector)
    step = STEP * np.eye(d)
    image = (projected(vector + step) - projected(vector - step)) / (2 * STEP)
    left, size, _ = np.linalg.svd(image.T)
    return left[:, size > RANK]


def _moving(report, vector):
    """The free directions in which something moves in the user's units.

    Slopes of constant columns do not: such a column is zero once it is standardised.
    """
    free = _free_directions(report.model, take(report.template, 0), vector)
    moves = _jacobian(report.everything, vector, free)
    size = np.linalg.norm(moves, axis=1, keepdims=True)
    _, found, right = np.linalg.svd(moves / np.where(size > 0, size, 1.0), full_matrices=False)
    return free if len(found) == 0 or found.min() > RANK else free @ right[found > RANK].T


def _jacobian(function, vector, directions):
    """Central differences along the columns of ``directions``."""
    moved = [STEP * direction for direction in directions.T]
    return np.column_stack(
        [(function(vector + step) - function(vector - step)) / (2 * STEP) for step in moved]
    )


def _independent(forms):
    """Positions of the rows that the rows before them do not span."""
    rows = forms / np.maximum(np.linalg.norm(forms, axis=1, keepdims=True), 1e-300)
    keep: list[int] = []
    basis = np.zeros((0, forms.shape[1]))
    for i, row in enumerate(rows):
        rest = row - basis.T @ (basis @ row)
        rest -= basis.T @ (basis @ rest)
        size = np.linalg.norm(rest)
        if size > INDEPENDENT:
            keep.append(i)
            basis = np.vstack([basis, rest / size])
    return keep


def _is_affine(report, vector, basis):
    """Whether a step of ordinary size in the reported parameters is met by the basis."""
    rng = np.random.default_rng(0)
    step = 0.1 * rng.standard_normal(basis.shape[1]) * (1 + np.abs(report.value(vector)))
    far = report.value(vector + basis @ step) - report.value(vector)
    return bool(np.allclose(far, step, rtol=1e-5, atol=1e-7))
