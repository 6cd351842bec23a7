"""Reference cases as models: designs from column names, stored parameters as `MoEParams`.

A case is a dict with the fields of the reference collection: ``family``, ``link``, ``response``,
``expert_columns``, ``gate_columns`` (R's names of the columns of a model matrix with treatment
contrasts), ``offset``, ``group`` (a column of labels), ``K`` and ``mle`` (log-likelihood and
parameters of the best optimum).
"""

from __future__ import annotations

import re
from typing import NamedTuple

import numpy as np

from mixexp._component import EXPERTS
from mixexp.em.model import MoEModel
from mixexp.em.params import MoEParams
from mixexp.em.rows import Rows, Scaling, standardisation
from mixexp.estimators._groups import check_groups
from mixexp.experts.distributional import DistributionalParams
from mixexp.experts.glm import GLMParams
from mixexp.experts.multinomial import MultinomialParams
from mixexp.gates import ConstantGate, SoftmaxGate, SoftmaxParams
from mixexp.solvers import centred

FAMILIES = ("gaussian", "poisson", "binomial", "gamma", "multinomial", "t")
EXPERT = {"t": "student"}  # names that differ from the collection's


class Problem(NamedTuple):
    """A case in numbers: X holds the union of all columns, y the target."""

    X: np.ndarray
    y: np.ndarray
    gate_columns: list
    expert_columns: list
    offset: np.ndarray | None
    trials: np.ndarray | None
    groups: np.ndarray | None


def supported(case) -> bool:
    return case["family"] in FAMILIES


def problem(case, frame) -> Problem:
    """The case's arrays from its data frame."""
    names = [n for n in case["expert_columns"] if n != "(Intercept)"]
    names += [n for n in case["gate_columns"] if n != "(Intercept)" and n not in names]
    X = np.column_stack([column(frame, name) for name in names])
    y, trials = _response(case["response"], frame)
    return Problem(
        X,
        y,
        [names.index(n) for n in case["gate_columns"] if n != "(Intercept)"],
        [names.index(n) for n in case["expert_columns"] if n != "(Intercept)"],
        column(frame, case["offset"]) if case["offset"] else None,
        trials,
        frame[case["group"]].to_numpy() if case["group"] else None,
    )


def column(frame, name):
    """One column of a model matrix by R's name for it."""
    if ":" in name:
        return np.prod([column(frame, part) for part in name.split(":")], axis=0)
    if name in frame:
        return frame[name].to_numpy(dtype=float)
    if square := re.fullmatch(r"I\((\w+)\^2\)", name):
        return frame[square[1]].to_numpy(dtype=float) ** 2
    if logarithm := re.fullmatch(r"log\((\w+)\)", name):
        return np.log(frame[logarithm[1]].to_numpy(dtype=float))
    factor = next(c for c in frame if name.startswith(c))
    return (frame[factor].astype(str) == name[len(factor) :]).to_numpy(dtype=float)


LEVELS = {"Sat": ["Low", "Medium", "High"]}


def _response(name, frame):
    both = re.fullmatch(r"cbind\((\w+), (.+)\)", name)
    if both:
        y = frame[both[1]].to_numpy(dtype=float)
        rest = both[2]
        if "-" in rest:
            return y, frame[rest.split(" - ")[0]].to_numpy(dtype=float)
        return y, y + frame[rest].to_numpy(dtype=float)
    values = frame[name]
    if values.dtype.kind in "iuf":
        return values.to_numpy(dtype=float), None
    levels = LEVELS.get(name, sorted(values.unique()))
    return np.array([levels.index(v) for v in values], dtype=float), None


def build(case, frame):
    """(model, rows) of a case, standardised."""
    p = problem(case, frame)
    expert = EXPERTS[EXPERT.get(case["family"], case["family"])]()
    if hasattr(expert, "link"):
        expert.set_params(link=case["link"])
    gate = SoftmaxGate() if p.gate_columns else ConstantGate()
    rows = Rows(p.X, p.y[:, None], None, p.offset, p.trials)
    if p.groups is not None:
        rows = check_groups(p.groups, len(p.y)).runs(rows)
    scaling = standardisation(rows, expert.scales_target)
    model = MoEModel(
        gate,
        expert,
        case["K"],
        np.array(p.gate_columns, dtype=int),
        np.array(p.expert_columns, dtype=int),
        scaling,
    )
    return model, rows


def stored_params(case, model) -> MoEParams:
    """The stored optimum on the model's scale."""
    mle, K = case["mle"], case["K"]
    q = len(case["gate_columns"])
    gate = np.vstack([np.zeros((1, q)), np.array(mle["gate_coef"]).reshape(K - 1, q)])
    coef = np.array(mle["expert_coef"], dtype=float)
    if case["family"] == "multinomial":
        coef = coef.reshape(K, -1, len(case["expert_columns"]))
        coef = np.concatenate([np.zeros((K, 1, coef.shape[2])), coef], axis=1)
        expert = MultinomialParams(centred(coef))
    elif case["family"] == "t":
        own = np.zeros((K, 3, coef.shape[1]))
        own[:, 0], own[:, 1, 0], own[:, 2, 0] = coef, np.log(mle["sigma"]), np.log(mle["nu"])
        expert = DistributionalParams(own)
    else:
        dispersion = np.array(mle.get("sigma") or mle.get("shape") or np.ones(K), dtype=float)
        expert = GLMParams(coef[:, None, :], dispersion[:, None])
    params = MoEParams(SoftmaxParams(centred(gate)), expert)
    identity = Scaling.identity(len(model.scaling.x_scale), len(model.scaling.y_scale))
    return model.rescale(params, identity)


def shuffled(rows: Rows, seed: int) -> Rows:
    return rows.take(np.random.default_rng(1000 + seed).permutation(rows.n))
