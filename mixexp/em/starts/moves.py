"""Moves between numbers of experts: an expert is inserted where it gains most, or taken out.

Insertion follows the greedy learning of mixtures (Verbeek, Vlassis and Krose, 2003, Neural
Computation 15, 469-485): many candidate experts, each improved by a partial EM in which the
others stand still, and ranked by the likelihood of the mixture with one expert more.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from scipy import special

from ..model import MoEModel
from ..params import MoEParams, take, tree_map
from .fixed import Designs, expert_log_density, fit_experts, fit_gates


class Base(NamedTuple):
    """A mixture of K experts as an insertion sees it, unit by unit.

    log_p (m,); resp (m, K).
    """

    params: Any
    log_p: np.ndarray
    resp: np.ndarray


class Inserted(NamedTuple):
    """J candidate experts for one base.

    experts : parameters stacked on the first axis; parent (J,): the expert whose share they
    take, -1 for all in proportion; resp (m, J): responsibilities of the new expert; value (J,):
    log-likelihood of the mixture with it.
    """

    experts: Any
    parent: np.ndarray
    resp: np.ndarray
    value: np.ndarray


def base(model: MoEModel, d: Designs, params: MoEParams) -> Base:
    joint = model.gate.log_prob(params.gate, d.gate) + expert_log_density(model, d, params.expert)
    log_p = special.logsumexp(joint, axis=1)
    return Base(params, log_p, np.exp(joint - log_p[:, None]))


def remove(params: MoEParams, k: int) -> MoEParams:
    """The parameters without expert k; the gate shares its rows among the others."""
    return tree_map(lambda leaf: np.delete(leaf, k, axis=0), params)


def duplicate(model: MoEModel, params: MoEParams, k: int, share: float) -> MoEParams:
    """Expert k twice, the second copy last with this share: the same mixture, one expert more."""
    experts = tree_map(lambda leaf: np.concatenate([leaf, leaf[k : k + 1]]), params.expert)
    return MoEParams(model.gate.split(params.gate, k, share), experts)


def elemental_weights(Z, weight, q, rng, background, local, tight, among=None):
    """(m, J) weights: a random subset of rows each, all others a little.

    Parameters
    ----------
    background : (J,) array
        Total weight of all other rows, in rows.
    local : (J,) bool
        Whether the subset is drawn among the neighbours of a random row, in a random metric.
    tight : (J,) bool
        Whether the subset has q rows, else q + 1 + Poisson(2).
    among : (m, G) array, optional
        Draw the subset from rows in proportion to one of these columns, in turn, instead of to
        the weights.
    """
    m = len(weight)
    share = weight / weight.sum()
    among = share[:, None] if among is None else among
    among = among / among.sum(axis=0)
    near = max(m // 12, 2 * q + 4)
    out = np.empty((m, len(background)))
    for j in range(len(background)):
        count = min(q if tight[j] else q + 1 + rng.poisson(2), m)
        cumulative = np.cumsum(among[:, j % among.shape[1]])
        if local[j]:
            centre = Z[np.searchsorted(cumulative, rng.random() * cumulative[-1])]
            distance = ((Z - centre) ** 2) @ rng.gamma(0.5, size=Z.shape[1])
            inside = distance <= np.partition(distance, min(m - 1, near))[min(m - 1, near)]
            cumulative = np.cumsum(share * inside)
        chosen = np.searchsorted(cumulative, rng.random(count) * cumulative[-1])
        column = background[j] * share
        np.add.at(column, np.minimum(chosen, m - 1), 1.0)
        out[:, j] = column
    return out


def concentrate(score, weight, target):
    """(m, J) weights: in every column the rows of the highest score, up to the target weight.

    The concentration step of robust regression (Rousseeuw and Van Driessen, 2006, Data Mining
    and Knowledge Discovery 12, 29-45).
    """
    order = np.argsort(-score, axis=0, kind="stable")
    cumulative = np.cumsum(weight[order], axis=0)
    kept = np.where(cumulative - weight[order] < target, weight[order], 1e-9 * weight[order])
    out = np.empty_like(kept)
    np.put_along_axis(out, order, kept, axis=0)
    return out


def hosts(model, d: Designs, b: Base, experts):
    """(J,) the expert of the base from whose rows each candidate gains most."""
    log_ratio = expert_log_density(model, d, experts) - b.log_p[:, None]
    return ((d.weight[:, None] * np.clip(log_ratio, 0, None)).T @ b.resp).argmax(axis=1)


def partial_em(model, d: Designs, b: Base, experts, parent, share, steps, resp=None) -> Inserted:
    """Improve J candidate experts while the base stands still.

    The mixture is p + a (g phi - t): phi the new density, t what it takes the share a from:
    everything (g = 1, t = p), or one parent's part (g = its gate probability).
    """
    J = len(parent)
    whole = parent < 0
    log_gate = model.gate.log_prob(b.params.gate, d.gate)
    host = np.where(whole, 0, parent)
    log_g = np.where(whole, 0.0, log_gate[:, host])
    taken = np.where(whole, 1.0, b.resp[:, host])
    a = np.full(J, share)
    for step in range(steps + 1):
        ratio = log_g + expert_log_density(model, d, experts) - b.log_p[:, None]
        ratio = np.exp(np.minimum(ratio, 300.0))
        relative = 1 + a * (ratio - taken)
        resp = np.clip(a * ratio / np.maximum(relative, 1e-300), 0, 1)
        value = d.weight @ np.log(np.maximum(relative, 1e-300))
        if step == steps:
            break
        new_mass = d.weight @ resp
        rest = d.weight @ ((1 - a) * taken / np.maximum(relative, 1e-300))
        a = np.clip(new_mass / np.maximum(new_mass + rest, 1e-300), 1e-3, 0.999)
        experts = fit_experts(model, d, resp * d.weight[:, None], 1, experts)
    return Inserted(experts, parent, resp, value + d.weight @ b.log_p)


def pick(inserted: Inserted, weight, n: int, least: float, overlap: float, avoid=()):
    """Positions of the n best candidates of at least some weight that differ in their rows.

    ``avoid``: responsibilities (m,) from which they shall differ as well.
    """
    mass = weight @ inserted.resp
    chosen: list[int] = []
    taken = np.array([*avoid]).reshape(-1, len(weight))
    for j in np.argsort(-inserted.value, kind="stable"):
        if len(chosen) == n:
            break
        if not mass[j] > least:
            continue
        common = np.minimum(taken, inserted.resp[:, j]) @ weight
        if np.all(common <= overlap * np.maximum(mass[j], taken @ weight)):
            chosen.append(int(j))
            taken = np.vstack([taken, inserted.resp[:, j]])
    return chosen


def grow(model: MoEModel, d: Designs, b: Base, inserted: Inserted, chosen) -> list:
    """Parameters of the larger model (its ``K`` is the base's plus one) for chosen insertions.

    Two gates each: the parent's class split in two, and a gate fitted to the new
    responsibilities from scratch.
    """
    out = []
    for j in chosen:
        new = inserted.resp[:, j]
        resp = np.column_stack([b.resp * (1 - new[:, None]), new])
        overlap = (d.weight * new) @ b.resp
        parent = int(inserted.parent[j]) if inserted.parent[j] >= 0 else int(overlap.argmax())
        held = d.weight @ b.resp[:, parent]
        share = float(np.clip(overlap[parent] / max(held, 1e-300), 0.02, 0.98))
        experts = tree_map(
            lambda old, more, j=j: np.concatenate([old, more[j : j + 1]]),
            b.params.expert,
            inserted.experts,
        )
        out.append(MoEParams(model.gate.split(b.params.gate, parent, share), experts))
        if model.gate.uses_columns:
            out.append(MoEParams(take(fit_gates(model, d, resp[None], 2), 0), experts))
    return out
