"""What a path is walked with: the model of its rows, its strengths, and how a chain is walked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from sklearn.base import clone
from sklearn.utils import check_random_state

from mixexp._component import EXPERTS, GATES, resolve
from mixexp.em import wide
from mixexp.em.driver import EM
from mixexp.em.model import MoEModel
from mixexp.em.params import MoEParams
from mixexp.em.rows import Rows
from mixexp.em.start import MultiStart
from mixexp.em.starts.table import compact
from mixexp.em.threads import single_threaded_blas
from mixexp.penalties import L1
from mixexp.selection.path._chain import Plan, Strengths, noise_ratio, zero_strengths

MANY_ROWS, MANY_COLUMNS = 0.01, 0.05  # default ratios with more rows than columns, and with fewer
EFFORT = 0.3  # of each of the default searches: there are several, and neighbours help them
SOLVER = EM(max_passes=2000, tol=1e-10, gradient_tol=1e-5)


class Setting(NamedTuple):
    """The problem of a `MoEPath` on given rows.

    Attributes
    ----------
    template : estimator
        With the penalties that are varied, and what it has learnt of the columns.
    given, rows : Rows
        As the user gave them; and merged where they are few, which is what is fitted.
    model : MoEModel
    null : MoEParams
        The best mixture without slopes.
    chains : list of list of `Strengths`
        Strongest first.
    plan : Plan
    """

    template: Any
    given: Rows
    rows: Rows
    model: MoEModel
    null: MoEParams
    chains: list[list[Strengths]]
    plan: Plan

    def model_of(self, rows: Rows) -> MoEModel:
        """The model as it would be on these rows alone, their standardisation included."""
        return self.template._model(*self.template._parts(), rows)

    def plan_of(self, rows: Rows) -> Plan:
        """The plan for some of the rows: as many slopes for every unit."""
        share = rows.total_weight / self.rows.total_weight
        without = self.model.n_free(self.null)
        return self.plan._replace(max_free=without + share * (self.plan.max_free - without))


def setting(path, X, y, sample_weight, inputs, max_columns: float = np.inf) -> Setting:
    """The setting of a `MoEPath` on given rows."""
    template = _template(path)
    if inputs.get("groups") is not None:
        raise ValueError("A path takes no groups=; fit MoERegressor with one penalty instead.")
    gate, expert, given = template._checked(X, y, sample_weight, **inputs)
    if given.prior is not None:
        raise ValueError(
            "A path takes no expert_prior=; fit MoERegressor with one penalty instead."
        )
    if not isinstance(template.solver, EM | None):
        raise TypeError(f"A path of penalties needs solver=EM(...); got {template.solver!r}.")
    rows = compact(given)
    model = template._model(gate, expert, rows)
    start, seed = _search(template), _seed(path.random_state)
    with single_threaded_blas():
        null = wide.null_start(model, rows, start, seed)
        largest = zero_strengths(model, rows, null)
        smallest = _ratio(path.ratio, model, rows)
        chains = _chains(path, largest, noise_ratio(model, rows, null), smallest)
    plan = Plan(
        start=start,
        search=start if isinstance(template.start, MultiStart) else MultiStart(n_starts=EFFORT),
        solver=template.solver or SOLVER,
        searches=path.searches,
        max_free=_most_free(path.max_free, model, rows, null),
        max_columns=max_columns,
        seed=seed,
    )
    return Setting(template, given, rows, model, null, chains, plan)


def _most_free(asked, model, rows, null):
    """Free parameters beyond which a chain ends; by default a slope for every two units."""
    return model.n_free(null) + rows.total_weight / 2 if asked is None else asked


def _seed(random_state) -> int:
    """As in the estimators, None is 0: a path is reproducible unless asked otherwise."""
    random_state = check_random_state(0 if random_state is None else random_state)
    return int(random_state.randint(2**31 - 1))


def _search(template) -> MultiStart:
    """The template's search; a start from given values has no place in a path."""
    if isinstance(template.start, MultiStart):
        return template.start
    if isinstance(template.start, str) and template.start == "default":
        return MultiStart()
    raise ValueError(
        "A path starts every fit from its neighbours and from searches of its own: the "
        "estimator's start must be 'default' or MultiStart(...)."
    )


def _template(path):
    """A clone of the estimator whose parts carry the penalties that the path varies."""
    template = clone(path.estimator)
    gate = resolve(template.gate, GATES, "gate")
    expert = resolve(template.expert, EXPERTS, "expert")
    if gate.joint:
        raise ValueError(
            f"A path has no {type(gate).__name__} or other gate that models x: compare strengths "
            "in a study, SelectionStudy(estimator, {'n_experts': [2], 'expert__penalty': [...]})."
        )
    if gate.own_design or not gate.smooth:
        raise ValueError(
            "The largest strength of a path and its working sets need a gate that is linear in the "
            f"standardised columns; {type(gate).__name__} is not, or has a transform. Use "
            "gate='softmax', transform the columns of X instead, or compare strengths in a study."
        )
    varied = [expert] if path.penalties_gate is None else [gate, expert]
    for part in varied:
        has_penalty = "penalty" in part.get_params(deep=False)
        if has_penalty and part.penalty is None:
            part.set_params(penalty=L1())
            if "scale_free" in part.get_params(deep=False):
                part.set_params(scale_free=True)
        if not (has_penalty and part.sparse):
            if part is gate and not gate.uses_columns:
                continue
            raise ValueError(
                f"A path needs a penalty that sets slopes to zero on {type(part).__name__}, "
                f"such as L1(); got {getattr(part, 'penalty', None)!r}."
            )
    return template.set_params(gate=gate, expert=expert)


def _ratio(asked, model: MoEModel, rows: Rows) -> float:
    """Smallest strength over the largest; by default as far down as the columns allow."""
    if asked is None:
        p = max(len(model.gate_columns), len(model.expert_columns))
        return MANY_ROWS if rows.total_weight > p else MANY_COLUMNS
    number = isinstance(asked, int | float | np.number) and not isinstance(asked, bool)
    if not number or not 0 < asked < 1:
        raise ValueError(f"ratio must be None or a number in (0, 1); got {asked!r}.")
    return float(asked)


def _chains(path, largest: Strengths, ratio: float, smallest: float) -> list[list[Strengths]]:
    """Places of every chain, strongest first.

    ``ratio`` is the gate's strength over the experts' where both are coupled, ``smallest`` the
    weakest strength over the strongest.
    """
    assert largest.expert is not None  # the template's experts are sparse
    varied = largest.gate is not None and ratio > 0  # one expert has a gate without slopes
    if isinstance(path.penalties_gate, str):
        if path.penalties_gate != "coupled":
            raise ValueError(
                "penalties_gate must be 'coupled', None, a number of strengths or strengths; "
                f"got {path.penalties_gate!r}."
            )
        top = max(largest.expert, largest.gate / ratio if varied else 0.0)  # type: ignore[operator]
        both = _grid(path.penalties_expert, top, smallest, "penalties_expert")
        return [[Strengths(a * ratio if varied else None, a) for a in both]]
    expert = _grid(path.penalties_expert, largest.expert, smallest, "penalties_expert")
    if path.penalties_gate is None or not varied:
        return [[Strengths(None, a) for a in expert]]
    gate = _grid(path.penalties_gate, largest.gate, smallest, "penalties_gate")
    return [[Strengths(g, a) for a in expert] for g in gate]


def _grid(asked: int | Sequence[float], largest, ratio: float, name: str) -> list[float]:
    if isinstance(asked, int | np.integer) and not isinstance(asked, bool):
        if not 0 < largest < np.inf:
            raise ValueError(
                f"{name}: the largest strength that the data suggest is {largest}, so there "
                "is no grid to space: no penalised column goes along with the target, which may "
                "be constant or of one class. Give the strengths themselves, or other columns."
            )
        if asked < 1:
            raise ValueError(f"{name} must be at least 1; got {asked}.")
        return [float(a) for a in largest * np.geomspace(1, ratio, int(asked))]
    values = np.sort(np.asarray(asked, dtype=float).ravel())[::-1]
    usable = len(values) > 0 and np.all((values > 0) & np.isfinite(values))
    if isinstance(asked, bool) or not usable:
        raise ValueError(f"{name} must be positive strengths; got {asked!r}.")
    return [float(a) for a in values]
