"""Which random effects the groups of a factor have, and what they are on the user's scale."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

INTERCEPT = -1


class Effects(NamedTuple):
    """The D random effects of every group of one factor.

    Attributes
    ----------
    name : str
    labels : (G,) array
        The groups, in the order of their numbers.
    parts : (D,) array of str
        "expert 0", "all experts", "gate 0 vs 1", ...
    names : (D,) array of str
        "(intercept)" or the column whose slope varies.
    targets : (D, J) array of 0 and 1
        The predictors that each effect moves.
    columns : (D,) int array
        Columns of X whose slopes vary; `INTERCEPT` for none.
    centre, scale : (D,) arrays
        Of those columns inside the fit.
    user : (D, D) array
        From the fit's effects to those on the columns and the target as the user gave them.
    free : (D, D) bool array
        Entries of the root of the covariance that are estimated.
    blocks : (B, 2) int array
        First effect and number of effects of every block.
    """

    name: str
    labels: np.ndarray
    parts: np.ndarray
    names: np.ndarray
    targets: np.ndarray
    columns: np.ndarray
    centre: np.ndarray
    scale: np.ndarray
    user: np.ndarray
    free: np.ndarray
    blocks: np.ndarray

    @property
    def size(self) -> int:
        return len(self.columns)

    def design(self, X) -> np.ndarray:
        """(n, J, D) what a unit of every effect adds to the predictors."""
        slopes = self.columns != INTERCEPT
        values = np.ones((X.shape[0], self.size))
        values[:, slopes] = X[:, self.columns[slopes]]
        values[:, slopes] = (values[:, slopes] - self.centre[slopes]) / self.scale[slopes]
        return values[:, None, :] * self.targets.T[None, :, :]


def make_effects(
    name, labels, X, names, K, expert_terms, gate_terms, *, full, shared, unit
) -> Effects:
    """Effects of a factor.

    Parameters
    ----------
    expert_terms, gate_terms : sequences of int
        `INTERCEPT` or columns of X.
    full : bool
        Whether the effects of a block are correlated.
    shared : bool
        Whether an effect of the experts is one for all of them.
    unit : float
        Units of the user's target in one of the fit's.
    """
    J, made = 2 * K, []
    if expert_terms:
        owners = [(f"expert {k}", [k]) for k in range(K)]
        if shared and K > 1:
            owners = [("all experts", list(range(K)))]
        for part, experts in owners:
            targets = np.zeros((len(expert_terms), J))
            targets[:, [K + k for k in experts]] = 1
            made.append(([part] * len(expert_terms), list(expert_terms), targets, unit))
    if gate_terms and K > 1:
        parts = [f"gate {k} vs {K - 1}" for k in range(K - 1) for _ in gate_terms]
        targets = np.zeros((len(parts), J))
        targets[np.arange(len(parts)), np.repeat(np.arange(K - 1), len(gate_terms))] = 1
        made.append((parts, list(gate_terms) * (K - 1), targets, 1.0))
    return _joined(name, labels, X, names, made, full)


def _joined(name, labels, X, names, made, full) -> Effects:
    D = sum(len(parts) for parts, *_ in made)
    columns = np.array([term for _, terms, *_ in made for term in terms], dtype=int)
    user, free, blocks, start = np.zeros((D, D)), np.zeros((D, D), dtype=bool), [], 0
    centre, scale = np.zeros(D), np.ones(D)
    for parts, terms, targets, unit in made:
        own = slice(start, start + len(parts))
        slopes = np.flatnonzero(columns[own] != INTERCEPT) + start
        scale[slopes] = X[:, columns[slopes]].std(axis=0)
        # only a correlated intercept can take up what centring the columns moves into it
        if full and INTERCEPT in terms:
            centre[slopes] = X[:, columns[slopes]].mean(axis=0)
        user[own, own] = np.diag(unit / scale[own])
        for j in slopes:
            same = np.flatnonzero((columns == INTERCEPT) & np.isin(np.arange(D), np.r_[own]))
            for i in same:
                if np.array_equal(targets[i - start], targets[j - start]):
                    user[i, j] = -unit * centre[j] / scale[j]
        free[own, own] = np.tril(np.ones((len(parts), len(parts)))) if full else np.eye(len(parts))
        blocks.append((start, len(parts)))
        start += len(parts)
    shown = ["(intercept)" if column == INTERCEPT else str(names[column]) for column in columns]
    return Effects(
        name,
        labels,
        np.array([part for parts, *_ in made for part in parts], dtype=str),
        np.array(shown, dtype=str),
        np.concatenate([targets for _, _, targets, _ in made]),
        columns,
        centre,
        scale,
        user,
        free,
        np.array(blocks, dtype=int),
    )
