"""How many experts of which degree: the bound of Mendes and Jiang, and a criterion's choice."""

from __future__ import annotations

import math
import numbers
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import pandas as pd

from mixexp.estimators import GLoMERegressor, MoERegressor
from mixexp.selection import SelectionStudy

DEGREES = (0, 1, 2, 3)


class OptimalOrder(NamedTuple):
    """Experts and degree that minimise a bound on the divergence, and the bound there."""

    n_experts: int
    degree: int
    bound: float


def optimal_order(
    n: int, n_features: int, smoothness: float, degree: int | None = None
) -> OptimalOrder:
    """The number m of experts that minimises the bound of Mendes and Jiang on the divergence.

    Where the target's mean has ``smoothness`` a derivatives and s features, m polynomial experts of
    degree k behind a softmax gate have ::

        KL = O( m^(-2 min(a, k + 1) / s) + (m J_k + v_m) log(n) / n )

    with J_k = C(s + k, k) coefficients an expert and v_m = (m - 1)(s + 1) of the gate: what the
    experts cannot follow, and what estimating them costs. The bound has unknown constants, which
    are taken as one: use it for the size of a grid, and for how the best order grows.

    Parameters
    ----------
    n : int
        Rows.
    n_features : int
        Columns of X, s.
    smoothness : float
        Derivatives of the true mean, a > 0.
    degree : int >= 0 or None
        Of the experts; None: the best of 0, 1, ..., up to the least that uses all the smoothness.

    Returns
    -------
    OptimalOrder
        Tuple (n_experts, degree, bound).

    Raises
    ------
    ValueError
        For numbers out of range.

    References
    ----------
    Mendes and Jiang (2012), "On convergence rates of mixtures of polynomial experts", Neural
    Computation 24, 3025-3051; arXiv:1110.2058.

    Examples
    --------
    >>> from mixexp import optimal_order
    >>> optimal_order(10_000, 1, smoothness=4, degree=0).n_experts
    9
    >>> optimal_order(10_000, 1, smoothness=4, degree=3).n_experts
    2
    """
    n, s = _whole("n", n, 2), _whole("n_features", n_features, 1)
    if not (isinstance(smoothness, numbers.Real) and 0 < smoothness < math.inf):
        raise ValueError(f"smoothness must be a positive number; got {smoothness!r}.")
    if degree is not None:
        return _best_order(n, s, float(smoothness), _whole("degree", degree, 0))
    most = max(0, math.ceil(smoothness) - 1)
    tried = [_best_order(n, s, float(smoothness), k) for k in range(most + 1)]
    return min(tried, key=lambda one: one.bound)


def _best_order(n: int, s: int, smoothness: float, degree: int) -> OptimalOrder:
    power = 2 * min(smoothness, degree + 1) / s
    coefficients = math.comb(s + degree, degree)

    def bound(m: int) -> float:
        cost = m * coefficients + (m - 1) * (s + 1)
        return m**-power + cost * math.log(n) / n

    # convex in m, with its minimum where the derivative is zero
    place = (power * n / (math.log(n) * (coefficients + s + 1))) ** (1 / (1 + power))
    m = min({max(1, math.floor(place)), max(1, math.ceil(place))}, key=bound)
    return OptimalOrder(m, degree, bound(m))


def _whole(name: str, value: Any, least: int) -> int:
    if isinstance(value, bool) or not isinstance(value, numbers.Integral) or value < least:
        raise ValueError(f"{name} must be a whole number of at least {least}; got {value!r}.")
    return int(value)


@dataclass(frozen=True, eq=False)
class OrderSelection:
    """A joint choice of the number of experts and of their degree.

    Attributes
    ----------
    n_experts, degree : int
        The choice.
    criterion : str
    scores : DataFrame
        The criterion by degree (rows) and number of experts (columns); smaller is better, NaN
        where a fit failed.
    study : SelectionStudy
        Fitted: all models, criteria and notes; ``study.result_`` goes to the figures and reports.
    """

    n_experts: int
    degree: int
    criterion: str
    scores: pd.DataFrame
    study: Any = field(repr=False)

    @property
    def best_estimator(self) -> Any:
        """The chosen model, fitted on all rows."""
        return self.study.best_estimator_


def select_order_and_degree(
    X: Any,
    y: Any,
    *,
    n_experts: Iterable[int] = range(1, 7),
    degrees: Iterable[int] = DEGREES,
    estimator: Any = None,
    criterion: Any = "bic",
    cv: Any = None,
    sample_weight: Any = None,
    n_jobs: int | None = None,
    random_state: int | None = None,
) -> OrderSelection:
    """Choose the number of experts and the degree of their polynomials together.

    Few experts of high degree or many of low degree follow the same curve, and which is cheaper
    depends on the target. A `SelectionStudy` fits the grid.

    Parameters
    ----------
    X : array-like of shape (n, p)
    y : array-like of shape (n,) or (n, m)
    n_experts : iterable of int, default=1..6
        `optimal_order` gives an idea of how many to try.
    degrees : iterable of int, default=(0, 1, 2, 3)
        0 are experts that ignore X.
    estimator : MoERegressor or GLoMERegressor, optional
        The template, `MoERegressor()` by default. Its experts take a ``degree``, as Gaussian ones
        do; those of a GLoMERegressor are of degree 1 or more.
    criterion : str or Criterion, default="bic"
        As for `SelectionStudy`.
    cv, sample_weight, n_jobs, random_state
        As for `SelectionStudy`; by default nothing is cross-validated.

    Returns
    -------
    OrderSelection

    Raises
    ------
    ValueError
        For an empty grid, or experts without a degree; before any fit.

    References
    ----------
    Mendes and Jiang (2012), "On convergence rates of mixtures of polynomial experts", Neural
    Computation 24, 3025-3051; arXiv:1110.2058.

    Examples
    --------
    >>> import numpy as np
    >>> from mixexp import select_order_and_degree
    >>> rng = np.random.default_rng(0)
    >>> X = rng.uniform(-1, 1, size=(300, 1))
    >>> y = X[:, 0] ** 3 - X[:, 0] + 0.1 * rng.standard_normal(300)
    >>> found = select_order_and_degree(X, y, n_experts=[1, 2], degrees=[1, 3])
    >>> found.n_experts, found.degree
    (1, 3)
    """
    template = MoERegressor() if estimator is None else estimator
    orders = sorted({_whole("n_experts", m, 1) for m in n_experts})
    chosen = sorted({_whole("degree", k, 0) for k in degrees})
    if not orders or not chosen:
        raise ValueError("n_experts and degrees must each hold at least one number.")
    grid = [{"n_experts": orders, **_setting(template, k)} for k in chosen]
    study = SelectionStudy(
        template, grid, criterion, cv=cv, n_jobs=n_jobs, random_state=random_state
    )
    study.fit(X, y, sample_weight)
    result = study.result_
    table = result.table[result.table["in_grid"]]
    degree = [_degree_of(result.cells[line]) for line in table.index]
    scores = table.assign(degree=degree).pivot(index="degree", columns="n_experts", values="score")
    return OrderSelection(
        int(result.table["n_experts"][result.chosen]),
        _degree_of(result.cells[result.chosen]),
        result.criterion,
        scores,
        study,
    )


def _setting(template: Any, degree: int) -> dict[str, list[Any]]:
    """The part of a grid that sets the degree."""
    if isinstance(template, GLoMERegressor):
        if degree == 0:
            raise ValueError("the experts of a GLoMERegressor have degrees of 1 or more; got 0.")
        return {"degree": [degree]}
    if not isinstance(template, MoERegressor):
        raise ValueError(
            f"estimator must be a MoERegressor or a GLoMERegressor; got {type(template).__name__}."
        )
    if degree == 0:
        return {"expert_features": [[]]}
    expert = template._parts()[1]
    if degree > 1 and "degree" not in expert.get_params(deep=False):
        raise ValueError(
            f"{type(expert).__name__} has no degree: use expert='gaussian', or degrees=[0, 1]."
        )
    return {"expert__degree": [degree]} if "degree" in expert.get_params(deep=False) else {}


def _degree_of(cell: Any) -> int:
    """The degree that `_setting` gave to a cell of the grid."""
    if "expert_features" in cell:
        return 0
    return int(cell.get("degree", cell.get("expert__degree", 1)))
