"""`grow_tree`: a hierarchical mixture grown leaf by leaf, as far as a criterion falls."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from sklearn.base import clone, is_classifier

from mixexp._component import CRITERIA, resolve
from mixexp.em.start import MultiStart
from mixexp.estimators import MoEClassifier, MoERegressor
from mixexp.experts import ExpertList
from mixexp.gates import HierarchicalGate, trees
from mixexp.selection.folds import make_folds
from mixexp.selection.growing.rearrange import rearranged
from mixexp.selection.growing.result import TreeGrowth
from mixexp.selection.growing.splits import on_tree, quiet_fit, split_leaf
from mixexp.selection.study.chains import StudyRows, is_regular

SEARCH = MultiStart(n_starts=0.5, max_rounds=2)  # of a mixture of two, the easiest there is
HELD_OUT = "held-out log-likelihood"


class _Fit(NamedTuple):
    """A fit of a step: score (smaller is better) and held-out log-likelihood per unit."""

    model: Any
    split: int
    score: float
    heldout: float
    rearranged: bool = False

    @property
    def regular(self) -> bool:
        return is_regular(self.model)


def grow_tree(
    estimator: Any,
    X: Any,
    y: Any,
    *,
    max_experts: int = 8,
    criterion: Any = "bic",
    held_out: float | None = None,
    patience: int = 0,
    rearrange: bool = True,
    search: MultiStart | None = None,
    sample_weight: Any = None,
    offset: Any = None,
    exposure: Any = None,
    trials: Any = None,
    groups: Any = None,
    random_state: int = 0,
    callback: Callable[[Mapping[str, Any]], Any] | None = None,
) -> TreeGrowth:
    """Grow the tree of a hierarchical mixture of experts by gains of likelihood.

    The tree begins as one expert. At each step every expert in turn is split: its rows, weighted
    by their posterior probabilities, are fitted by a mixture of two, which takes its place, and
    all parameters are refitted by EM from there. The fit with the best score is rearranged: two
    subtrees change places as long as the likelihood gains, since the first splits were made
    before the experts were known. It is the next step if its score improves on the last. The
    log-likelihood of the rows that are fitted does not fall at a step. Expert k keeps its number
    when it is split, and the new one is the last: ``((0, 2), 1)`` grew from ``(0, 1)``.

    Parameters
    ----------
    estimator : MoERegressor or MoEClassifier
        Its settings; ``n_experts`` is not used, and ``gate`` is "softmax" (the default) or
        "hierarchical", or `HierarchicalGate` with a penalty for the nodes.
    X, y : the rows
    max_experts : int, default=8
        Most leaves.
    criterion : str or Criterion, default="bic"
        A criterion that scores single fits, such as "bic", "aic" or "icl".
    held_out : float or None
        Instead of the criterion: the share of the rows (up to 0.5; whole groups) that is held out
        of all steps and on whose log-likelihood they compete. The chosen tree is then refitted
        to all rows from where it was. Expect some more experts than by BIC.
    patience : int, default=0
        Further steps that may fail to improve on the best before the growth ends. One split
        alone may gain nothing where two in turn do.
    rearrange : bool, default=True
        Whether subtrees change places. Without it the tree of a step is that of the step before
        with one leaf split.
    search : MultiStart or None
        For the mixtures of two; the default is a small one.
    sample_weight, offset, exposure, trials, groups
        As in ``fit``.
    random_state : int, default=0
        Of the searches and of the rows held out.
    callback : callable or None
        ``callback(record)`` after every fit, with ``step``, ``n_experts``, ``tree``, ``loglik``
        and ``split`` (-1 of a rearrangement). True ends the growth with the steps taken so far.

    Returns
    -------
    TreeGrowth

    Raises
    ------
    ValueError
        If the estimator, a setting or the rows cannot be used.

    References
    ----------
    Jordan and Jacobs (1994), "Hierarchical mixtures of experts and the EM algorithm", Neural
    Computation 6, 181-214, leave the tree to be chosen. Growing by the best split: Waterhouse and
    Robinson (1996), "Constructive algorithms for hierarchical mixtures of experts", NIPS 8,
    584-590; Fritsch, Finke and Waibel (1997), "Adaptively growing hierarchical mixtures of
    experts", NIPS 9, 459-465.

    Examples
    --------
    >>> from mixexp import MoERegressor
    >>> from mixexp.datasets import load_tone
    >>> from mixexp.selection import grow_tree
    >>> X, y = load_tone(return_X_y=True)
    >>> growth = grow_tree(MoERegressor(), X, y, max_experts=3)
    >>> growth.table["n_experts"].tolist()
    [1, 2, 3]
    """
    _check(estimator, max_experts, held_out, patience)
    template = clone(estimator).set_params(random_state=random_state, warm_start=False)
    rows = StudyRows(X, y, sample_weight, offset, exposure, trials, groups)
    part = None if held_out is not None else _criterion(criterion)
    grower = _Grower(
        template, rows, part, held_out, random_state, SEARCH if search is None else search, callback
    )
    ended = grower.grow(int(max_experts), int(patience), bool(rearrange))
    settings = {"max_experts": max_experts, "patience": patience, "random_state": random_state}
    return grower.result(ended, settings)


class _Grower:
    """The steps so far, and the splits that were tried at each."""

    def __init__(self, template, rows, criterion, held_out, seed, search, callback):
        self.template, self.criterion, self.search = template, criterion, search
        self.callback = callback
        self.all_rows = self.rows = rows
        self.test, self.test_rows = None, None
        if held_out is not None:
            train, self.test = _held_out_rows(template, rows, held_out, seed)
            self.rows, self.test_rows = rows.take(train), rows.take(self.test)
        self.steps: list[_Fit] = []
        self.tried: list[dict] = []
        self.stopped = False

    def grow(self, max_experts: int, patience: int, rearrange: bool) -> str:
        """Take steps; says why they ended."""
        one = quiet_fit(on_tree(self.template, None, 1), self.rows)
        self.steps.append(self._scored(one, -1))
        failures = 0
        while len(self.steps) < max_experts:
            best = min(step.score for step in self.steps)
            step = self._step(self.steps[-1])
            if step is None or self.stopped:
                return "stopped" if self.stopped else "no gain"
            if rearrange:
                step = self._rearranged(step)
            failures = 0 if step.score < best else failures + 1
            if failures > patience:
                return "no gain"
            self.tried[-self.steps[-1].model.n_experts_ + step.split]["taken"] = True
            self.steps.append(step)
            if self.stopped:
                return "stopped"
        return "max_experts"

    def _step(self, last: _Fit) -> _Fit | None:
        """The best regular fit with one leaf of the last one split; None if there is none."""
        found = []
        for k in range(last.model.n_experts_):
            record: dict[str, Any] = dict.fromkeys(("loglik", "score", "gain"), np.nan)
            record |= {"step": len(self.steps) - 1, "split": k}
            record |= {"regular": False, "taken": False, "note": ""}
            self.tried.append(record)
            try:
                model = split_leaf(self.template, last.model, k, self.rows, self.search)
            except ValueError as error:
                # a leaf that cannot be split is a result, shown with its reason
                record["note"] = " ".join(str(error).split())
            else:
                fit = self._scored(model, k)
                record |= {"loglik": model.loglik_, "score": fit.score, "regular": fit.regular}
                record["gain"] = last.score - fit.score
                if fit.regular and _not_below(model, last.model):
                    found.append(fit)
            tree = trees.with_leaf_split(last.model.gate_tree_, k)
            self._told(tree, last.model.n_experts_ + 1, record["loglik"], k)
            if self.stopped:
                return None
        return min(found, key=lambda fit: fit.score) if found else None

    def _rearranged(self, step: _Fit) -> _Fit:
        def told(tree, fit):
            self._told(tree, fit.n_experts_, fit.loglik_, -1)
            return self.stopped

        model = rearranged(self.template, step.model, self.rows, told)
        if model is step.model:
            return step
        return self._scored(model, step.split)._replace(rearranged=True)

    def _told(self, tree, n_experts, loglik, split):
        """Tell the callback of a fit; it may stop the growth."""
        if self.callback is None:
            return
        record = {"step": len(self.steps) - 1, "n_experts": n_experts, "tree": tree}
        self.stopped = bool(self.callback({**record, "loglik": loglik, "split": split}))

    def _scored(self, model, split) -> _Fit:
        if self.test_rows is None:
            score = float(self.criterion.scores([model.fit_summary_])[0])
            return _Fit(model, split, score, np.nan)
        held, total = _weighted_log_prob(model, self.test_rows)
        return _Fit(model, split, -2 * held, held / total)

    def result(self, ended: str, settings: Mapping[str, Any]) -> TreeGrowth:
        scores = np.array([step.score for step in self.steps])
        chosen = int(np.argmin(scores))
        winner = self.steps[chosen].model
        if self.test is not None:
            again = clone(winner).set_params(start=winner)
            winner = quiet_fit(again, self.all_rows).set_params(start=clone(self.template).start)
        table = pd.DataFrame(
            {
                "n_experts": [step.model.n_experts_ for step in self.steps],
                "tree": [step.model.gate_tree_ for step in self.steps],
                "split": [step.split for step in self.steps],
                "rearranged": [step.rearranged for step in self.steps],
                "loglik": [step.model.loglik_ for step in self.steps],
                "n_free": [step.model.n_free_ for step in self.steps],
                "score": scores,
                "gain": np.concatenate([[np.nan], -np.diff(scores)]),
                "heldout_loglik": [step.heldout for step in self.steps],
                "regular": [step.regular for step in self.steps],
                "status": [step.model.status_.name for step in self.steps],
                "chosen": np.arange(len(self.steps)) == chosen,
            }
        )
        columns = ["step", "split", "loglik", "score", "gain", "regular", "taken", "note"]
        return TreeGrowth(
            table=table,
            candidates=pd.DataFrame(self.tried, columns=columns),
            criterion=HELD_OUT if self.criterion is None else self.criterion.label,
            chosen=chosen,
            models=tuple(step.model for step in self.steps),
            model=winner,
            ended=ended,
            settings=settings,
            held_out=self.test,
        )


def _not_below(model, last) -> bool:
    """Whether the log-likelihood has not fallen beyond rounding.

    It may where a penalty weighs on one more expert.
    """
    return model.loglik_ >= last.loglik_ - 1e-9 * (1 + abs(last.loglik_))


def _held_out_rows(template, rows: StudyRows, share: float, seed: int):
    folds = make_folds(
        rows.y,
        max(2, round(1 / share)),
        classes=is_classifier(template),
        random_state=seed,
        groups=rows.groups,
    )
    return folds[0]


def _weighted_log_prob(model, rows: StudyRows) -> tuple[float, float]:
    """Log-likelihood of the rows, and the weight of their units."""
    values = np.asarray(model.log_prob(rows.X, rows.y, **rows.inputs()), dtype=float)
    weight = np.ones(len(values))
    if rows.sample_weight is not None:
        weight = np.asarray(rows.sample_weight, dtype=float)
        if rows.groups is not None:  # one number within a group
            weight = weight[np.unique(rows.groups, return_index=True)[1]]
    return float(weight @ values), float(weight.sum())


def _criterion(criterion):
    part = resolve(criterion, CRITERIA, "criterion")
    if part.scope != "fit":
        names = [name for name, kind in CRITERIA.items() if kind.scope == "fit"]
        raise ValueError(
            f"grow_tree scores fits one by one; {part.label} needs a whole collection. Use one of "
            f"{sorted(names)!r}, or held_out=0.25."
        )
    return part


def _check(estimator, max_experts, held_out, patience):
    if type(estimator) not in (MoERegressor, MoEClassifier):
        raise ValueError(
            f"grow_tree needs MoERegressor or MoEClassifier; got {type(estimator).__name__}."
        )
    gate, expert = estimator.gate, estimator.expert
    named = isinstance(gate, str) and gate in ("softmax", "hierarchical")
    if not named and not isinstance(gate, HierarchicalGate):
        raise ValueError(
            "grow_tree fits a tree of splits: leave gate= as it is, or give "
            f"HierarchicalGate(penalty=...); got gate={gate!r}."
        )
    if not named and any(v is not None for v in (gate.tree, gate.depth, gate.branching)):
        raise ValueError(
            f"grow_tree finds the tree itself; got gate={gate!r}. Leave tree, depth and branching "
            "out."
        )
    start = estimator.start
    if not isinstance(start, MultiStart) and not (isinstance(start, str) and start == "default"):
        raise ValueError(
            "grow_tree makes its own starts: leave start= as it is, and give the search of each "
            "split as search=MultiStart(...)."
        )
    if isinstance(expert, list | tuple | ExpertList):
        raise ValueError("grow_tree needs one family for all experts; got a list of them.")
    for name, value, least in (("max_experts", max_experts, 1), ("patience", patience, 0)):
        whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
        if not whole or value < least:
            raise ValueError(f"{name} must be an integer >= {least}; got {value!r}.")
    if held_out is not None and not 0 < held_out <= 0.5:
        raise ValueError(f"held_out must be a share in (0, 0.5] or None; got {held_out!r}.")
