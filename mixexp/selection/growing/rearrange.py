"""Other trees over the same experts: subtrees change places as long as the likelihood gains.

The first split of a growing tree is made before the experts are known, and often parts pairs that
belong together. Once the experts are there, another tree over them costs a few steps of EM.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sklearn.base import clone

from mixexp.gates import trees
from mixexp.selection.growing.splits import on_tree, quiet_fit
from mixexp.selection.study.chains import StudyRows, is_regular

GAIN = 0.1  # of log-likelihood: between trees whose splits are all sharp there is only rounding


def rearranged(
    estimator: Any, model: Any, rows: StudyRows, stop: Callable[[Any, Any], bool]
) -> Any:
    """The fit itself, or the best that exchanges of two subtrees lead to, one after another.

    Parameters
    ----------
    stop : callable
        ``stop(tree, fit)`` after every fit; True leaves it at the best so far.
    """
    known = {trees.in_order(model.gate_tree_)}
    while True:
        best = model
        resp = model.responsibilities(rows.X, rows.y, **rows.inputs())
        for tree in trees.exchanges(model.gate_tree_):
            if tree in known:
                continue
            known.add(tree)
            fit = quiet_fit(on_tree(estimator, tree, model.n_experts_, start=resp), rows)
            fit.set_params(start=clone(estimator).start)
            if is_regular(fit) and _height(fit) > max(_height(best), _height(model) + GAIN):
                best = fit
            if stop(tree, fit):
                return best
        if best is model:
            return model
        model = best


def _height(model: Any) -> float:
    """The penalised objective of all units together."""
    return float(model.objective_path_[-1]) * model.n_units_
