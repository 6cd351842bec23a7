"""Voronoi losses between mixing measures: how far the experts of a fit are from the true ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from .mixing_measure import COORDINATES, Floats, MixingMeasure

LOSSES = ("auto", "exact", "overspecified")
# The least order r at which a system of polynomial equations of m atoms has no non-trivial
# solution (Ho and Nguyen, 2016): known for up to three atoms, at least 7 for more.
R_BAR = (1, 1, 4, 6, 7)
TRANSLATIONS = 3  # translations of the gate that are improved, the best of those tried
ROUNDS = 20  # of cells and translation in turn, at most
TINY = 1e-100  # share of the largest weight below which a cell has none
SMOOTH = 1e-9  # a norm is smoothed by this share of the size of the slopes


class _Aligned(NamedTuple):
    """A loss, the cells (K,) of the fitted atoms, and the translation (p,) of the gate."""

    value: float
    cells: NDArray[np.intp]
    translation: Floats | None


def voronoi_loss(fitted: Any, truth: Any, kind: str = "auto") -> float:
    """Distance of the experts of a fit to the true ones, cell by cell.

    Every fitted atom belongs to the cell A_j of the true atom that is nearest by the sum of the
    norms of the coordinates' differences. With weights w, over-specified, ::

        sum_j sum_{i in A_j} w_i sum_c |theta_ic - theta*_jc|^{r_c} + sum_j |sum_{A_j} w_i - w*_j|

    where the powers r_c depend on the number of atoms in the cell. They are 1 in cells of a single
    atom. Else, with r = 4, 6 or 7 for two, three or more atoms:

    - softmax gate, Gaussian experts: r for the gate's slopes and the intercepts, r / 2 for slopes
      and variances;
    - Gaussian gate: r for centres and intercepts, r / 2 for both covariances, and for the slopes
      2, or r / 2 where the true centre is zero;
    - multinomial experts: 2 for all.

    "exact" has the power 1 everywhere. A softmax gate is determined up to a common translation of
    its coefficients, and the loss is the smallest over translations.

    Parameters
    ----------
    fitted, truth : MixingMeasure, fitted estimator, MoETruth or LocalisedTruth
        Read by `MixingMeasure.of`. Both of one kind, on the same columns.
    kind : {"auto", "exact", "overspecified"}, default="auto"
        "auto" is "overspecified" where the fit has more experts than the truth.

    Returns
    -------
    float
        Zero exactly if the measures are equal up to the order of atoms and the gate's translation.

    Raises
    ------
    ValueError
        If the measures are not comparable, or the kind is unknown.

    Notes
    -----
    Fits of the right size have losses of order n^(-1/2). Over-specified ones have too (up to
    logarithms), so that single coordinates of cells with several atoms converge like
    n^(-1/(2 r_c)). Multinomial experts are an exception where a true expert ignores x: then no
    rate is polynomial.

    The translation of the intercepts that is nearest may shrink all weights to nothing, where the
    fit is far off. So only translations are considered that give one cell its true weight; where
    the loss is small, the infimum is among them.

    References
    ----------
    Ho and Nguyen (2016), Annals of Statistics 44, 2726-2755; Nguyen, Nguyen and Ho (2023),
    "Demystifying softmax gating function in Gaussian mixture of experts", NeurIPS 36; Nguyen,
    Nguyen, Nguyen and Ho (2024), "Towards convergence rates for parameter estimation in
    Gaussian-gated mixture of experts", AISTATS; Nguyen, Akbarian, Nguyen and Ho (2024), "A general
    theory for softmax gating multinomial logistic mixture of experts", ICML.

    Examples
    --------
    >>> from mixexp import MoERegressor, voronoi_loss
    >>> from mixexp.datasets import make_moe_regression
    >>> X, y, truth = make_moe_regression(2000, n_experts=2, random_state=0, return_truth=True)
    >>> round(voronoi_loss(MoERegressor(2).fit(X, y), truth), 1)
    0.3
    """
    return _align(*_comparable(fitted, truth), kind).value


def voronoi_cells(fitted: Any, truth: Any) -> NDArray[np.intp]:
    """(K,) index of the true atom whose cell each fitted atom lies in, after `voronoi_loss`.

    Parameters
    ----------
    fitted, truth
        As for `voronoi_loss`.
    """
    return _align(*_comparable(fitted, truth), "auto").cells


def _comparable(fitted: Any, truth: Any) -> tuple[MixingMeasure, MixingMeasure]:
    one, two = MixingMeasure.of(fitted), MixingMeasure.of(truth)
    if one.kind != two.kind:
        raise ValueError(f"the fit is of kind {one.kind!r}, the truth of kind {two.kind!r}.")
    for name in COORDINATES[one.kind]:
        shapes = one.atoms[name].shape[1:], two.atoms[name].shape[1:]
        if shapes[0] != shapes[1]:
            raise ValueError(
                f"{name} of the fit has shape {shapes[0]} for an expert and that of the truth "
                f"{shapes[1]}: fit the columns and responses of the truth."
            )
    return one, two


def _align(fitted: MixingMeasure, truth: MixingMeasure, kind: str) -> _Aligned:
    if kind not in LOSSES:
        raise ValueError(f"kind must be one of {list(LOSSES)}; got {kind!r}.")
    over = fitted.n_experts > truth.n_experts if kind == "auto" else kind == "overspecified"
    apart = {name: _norms(fitted, truth, name) for name in COORDINATES[truth.kind]}
    if truth.kind == "gaussian_gate":
        cells = np.sum(list(apart.values()), axis=0).argmin(axis=1)
        powers = _powers(truth, cells, over)
        value = fitted.weights @ _terms(apart, cells, powers)
        return _Aligned(float(value + _mismatch(fitted, truth, cells, 1.0)), cells, None)
    return _nearest_translation(fitted, truth, apart, over)


def _norms(fitted: MixingMeasure, truth: MixingMeasure, name: str) -> Floats:
    """(K, K*) norms of the differences of one coordinate."""
    one, two = fitted.atoms[name], truth.atoms[name]
    difference = one[:, None] - two
    return np.linalg.norm(difference.reshape(*difference.shape[:2], -1), axis=2)


def _powers(truth: MixingMeasure, cells: NDArray[np.intp], over: bool) -> dict[str, Floats]:
    """(K,) power of every coordinate of the fitted atoms."""
    size = np.bincount(cells, minlength=truth.n_experts)[cells]
    names = COORDINATES[truth.kind]
    ones = np.ones(len(cells))
    if not over:
        return dict.fromkeys(names, ones)
    if truth.kind == "multinomial":
        return dict.fromkeys(names, np.where(size > 1, 2.0, 1.0))
    r = np.array(R_BAR, dtype=float)[np.minimum(size, len(R_BAR) - 1)]
    half = np.where(size > 1, r / 2, 1.0)
    powers = {name: half for name in names} | {"intercept": r}
    if truth.kind == "softmax_gaussian":
        return powers | {"gate_slope": r}
    central = np.all(truth.atoms["gate_mean"] == 0, axis=1)[cells]
    slope = np.where((size > 1) & ~central, 2.0, half)
    return powers | {"gate_mean": r, "slope": slope}


def _terms(
    apart: Mapping[str, Floats], cells: NDArray[np.intp], powers: Mapping[str, Floats]
) -> Floats:
    """(K,) sums of the powers of an atom's distances to the centre of its cell."""
    own = np.arange(len(cells)), cells
    return np.sum([apart[name][own] ** powers[name] for name in apart], axis=0)


def _mismatch(
    fitted: MixingMeasure, truth: MixingMeasure, cells: NDArray[np.intp], factor: float
) -> float:
    """Sum over the cells of |factor x weight - true weight|."""
    weight = np.bincount(cells, fitted.weights, minlength=truth.n_experts)
    return float(np.abs(factor * weight - truth.weights).sum())


def _nearest_translation(
    fitted: MixingMeasure, truth: MixingMeasure, apart: dict[str, Floats], over: bool
) -> _Aligned:
    """The smallest loss over translations of the gate that bring two slopes together, improved."""
    steps = truth.atoms["gate_slope"] - fitted.atoms["gate_slope"][:, None]

    def at(translation: Floats) -> _Aligned:
        moved = apart | {"gate_slope": np.linalg.norm(steps - translation, axis=2)}
        cells = np.sum(list(moved.values()), axis=0).argmin(axis=1)
        terms = fitted.weights @ _terms(moved, cells, _powers(truth, cells, over))
        weight = np.bincount(cells, fitted.weights, minlength=truth.n_experts)
        # weights of steep gates may underflow: the cell of the largest has a factor in any case
        held = weight > weight.max() * TINY
        factors = truth.weights[held] / weight[held]
        values = [c * terms + _mismatch(fitted, truth, cells, c) for c in factors]
        return _Aligned(float(min(values)), cells, translation)

    tried = sorted(map(at, steps.reshape(-1, steps.shape[2])), key=lambda one: one.value)
    best = tried[0]
    for one in tried[:TRANSLATIONS]:
        for _ in range(ROUNDS):
            new = at(_centre(fitted, truth, steps, one, over))
            if not new.value < one.value * (1 - 1e-10):
                break
            one = new
        best = min(best, one, key=lambda found: found.value)
    return best


def _centre(
    fitted: MixingMeasure, truth: MixingMeasure, steps: Floats, now: _Aligned, over: bool
) -> Floats:
    """The translation that is best for given cells: it minimises sum_i w_i |u_i - t|^r_i."""
    assert now.translation is not None
    own = steps[np.arange(len(now.cells)), now.cells]
    power = _powers(truth, now.cells, over)["gate_slope"]
    scale = max(np.abs(own - now.translation).max(initial=0.0), SMOOTH)

    def objective(moved: Floats) -> tuple[float, Floats]:
        rest = (now.translation + scale * moved - own) / scale
        size = np.sqrt((rest**2).sum(axis=1) + SMOOTH**2)
        # in units of `scale`: powers of it stay with the weights
        weight = fitted.weights * scale ** (power - power.max())
        slope = weight * power * size ** (power - 2)
        return float(weight @ size**power), slope @ rest

    found = minimize(objective, np.zeros(own.shape[1]), jac=True, method="L-BFGS-B")
    return now.translation + scale * found.x
