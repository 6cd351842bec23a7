"""From rows and groups to a `Problem`, and starts of its parameters from fits without effects."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..driver import EM
from ..fitting import fit_rows
from ..model import MoEModel
from ..params import MoEParams
from ..rows import Rows
from ..start import MultiStart
from . import outer
from .effects import Effects, make_effects
from .families import Family
from .posterior import View
from .precision import check_size
from .problem import MixedParams, Problem, connect, indicator

SD_EXPERT, SD_GATE = 0.3, 0.6  # at which the standard deviations of random effects begin


class Grouping(NamedTuple):
    """A factor: its name, the numbers (n,) of the rows' groups, the groups' labels, and the random
    terms of experts and gate (`INTERCEPT` or columns of X)."""

    name: str
    codes: np.ndarray
    labels: np.ndarray
    expert_terms: tuple[int, ...]
    gate_terms: tuple[int, ...]


class Setting(NamedTuple):
    """What a fit is made of, apart from the start."""

    family: Family
    model: MoEModel
    rows: Rows
    groupings: tuple[Grouping, ...]
    names: tuple[str, ...]
    full: bool
    shared: bool


def build(setting: Setting) -> tuple[Problem, tuple[Effects, ...], np.ndarray]:
    """The problem, its effects (the largest factor first) and the order of the rows in it."""
    model, rows = setting.model, setting.rows
    unit = float(model.scaling.y_scale[0]) if setting.family.scales_target else 1.0
    pairs = []
    for one in setting.groupings:
        terms = one.expert_terms, one.gate_terms if model.K > 1 else ()
        if not (terms[0] or terms[1]):
            continue
        effects = make_effects(
            one.name, one.labels, rows.X, setting.names, model.K, *terms,
            full=setting.full, shared=setting.shared, unit=unit,
        )  # fmt: skip
        pairs.append((effects, one.codes))
    return assembled(setting.family, model, rows, pairs)


def assembled(
    family: Family, model: MoEModel, rows: Rows, pairs
) -> tuple[Problem, tuple[Effects, ...], np.ndarray]:
    """`build` from pairs of effects and the numbers of the rows' groups, one for each factor."""
    pairs = sorted(pairs, key=lambda pair: -len(pair[0].labels) * pair[0].size)
    all_effects = tuple(pair[0] for pair in pairs)
    sizes = [len(one.labels) for one in all_effects]
    check_size([(G, one.size) for G, one in zip(sizes, all_effects, strict=True)])
    order = np.argsort(pairs[0][1], kind="stable")
    rows = rows.take(order)
    codes = tuple(code[order] for _, code in pairs)
    component, components, count = connect(codes, sizes)
    offset = model.scaled_offset(rows)
    problem = Problem(
        family,
        model.gate_design(rows.X),
        model.expert_design(rows.X),
        model.scaling.target(rows.y)[:, 0],
        np.zeros(rows.n) if offset is None else offset[:, 0],
        np.ones(rows.n) if rows.trials is None else rows.trials,
        codes,
        tuple(indicator(code, G) for code, G in zip(codes, sizes, strict=True)),
        tuple(one.design(rows.X) for one in all_effects),
        tuple(one.free for one in all_effects),
        component,
        components,
        count,
    )
    return problem, all_effects, order


def starts(
    setting: Setting, problem: Problem, effects, *, search: MultiStart, seed: int, approximation
) -> list[MixedParams]:
    """Parameters without random effects, with small ones added; and, for several experts, those of
    rows from which the effects of a fit with one expert were taken."""
    plain = _plain(setting.model, setting.rows, search, seed)
    out = [_with_effects(plain, problem, effects)]
    if setting.model.K > 1 and any(one.expert_terms for one in setting.groupings):
        moved = _one_expert_effects(setting, seed, approximation)
        offset = moved if setting.rows.offset is None else moved + setting.rows.offset
        free = _plain(setting.model, setting.rows._replace(offset=offset), search, seed)
        out.append(_with_effects(free, problem, effects))
    return out


def _plain(model, rows, search, seed) -> MoEParams:
    return fit_rows(model, rows, start=search, solver=EM(), seed=seed).params


def _with_effects(params: MoEParams, problem: Problem, effects) -> MixedParams:
    K = problem.K
    coef = params.gate.coef
    dispersion = params.expert.dispersion[:, 0]
    roots = []
    for one in effects:
        gate = one.targets[:, :K].any(axis=1)
        roots.append(np.diag(np.where(gate, SD_GATE, SD_EXPERT)))
    return MixedParams(
        coef[:-1] - coef[-1], params.expert.coef[:, 0], np.log(dispersion), tuple(roots)
    )


def _one_expert_effects(setting: Setting, seed, approximation) -> np.ndarray:
    """(n,) what the groups add to the predictor of a model with one expert, in units of y."""
    single = setting._replace(model=setting.model._replace(K=1))
    problem, effects, order = build(single)
    plain = _plain(single.model, single.rows, MultiStart(), seed)
    found = outer.fit(problem, [_with_effects(plain, problem, effects)], "laplace", 50)
    view = View.of(problem, problem.unpack(found.vector))
    moved = np.empty(problem.n)
    moved[order] = problem.moved(view.loadings, found.law.means)[:, 1]
    scales = setting.family.scales_target
    return moved * float(setting.model.scaling.y_scale[0]) if scales else moved
