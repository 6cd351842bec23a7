"""One split of a leaf: a mixture of two on its rows takes the place of the expert."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from sklearn.base import clone, is_classifier
from sklearn.exceptions import ConvergenceWarning

from mixexp.em.params import MoEParams, tree_map
from mixexp.em.start import MultiStart
from mixexp.gates import HierarchicalGate, trees
from mixexp.selection.study.chains import StudyRows

LEAST = 1e-4  # posterior probability of a leaf below which a row is left out of its search


def quiet_fit(model: Any, rows: StudyRows, **more: Any) -> Any:
    """The model fitted to the rows; what a fit would warn about is in its status."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return model.fit(rows.X, rows.y, **{**rows.inputs(weight=True), **more})


def on_tree(estimator: Any, tree: Any, n_experts: int, **settings: Any) -> Any:
    """An unfitted estimator with its experts at the leaves of a tree."""
    gate = HierarchicalGate(tree, penalty=gate_setting(estimator, "penalty"))
    gate.ridge = gate_setting(estimator, "ridge")
    return clone(estimator).set_params(n_experts=n_experts, gate=gate, **settings)


def gate_setting(estimator: Any, name: str) -> Any:
    """A setting of the nodes, from the estimator's gate where it is an object."""
    return None if isinstance(estimator.gate, str) else getattr(estimator.gate, name)


def split_leaf(estimator: Any, model: Any, k: int, rows: StudyRows, search: MultiStart) -> Any:
    """A fit with expert k of ``model`` in two, at a new node: k stays, the new one is last.

    The expert's rows, weighted by its posterior probabilities, are fitted by a mixture of two. Put
    in the expert's place this raises the log-likelihood by at least what it gains on those rows
    (Jensen's inequality, as for a step of EM). From there all parameters are refitted by EM.

    Returns
    -------
    fitted estimator

    Raises
    ------
    ValueError
        If the leaf's rows cannot be fitted by two experts.
    """
    two = _mixture_of_two(estimator, model, k, rows, search)
    tree = trees.with_leaf_split(model.gate_tree_, k)
    larger = on_tree(estimator, tree, model.n_experts_ + 1)
    begin = clone(larger)
    begin._model_, begin._params_ = _put_in(model, two, k, tree)
    fitted = quiet_fit(larger.set_params(start=begin), rows)
    # the fit keeps no reference to the one before: it would drag the whole growth along
    return fitted.set_params(start=clone(estimator).start)


def _mixture_of_two(estimator, model, k, rows, search):
    own = model.responsibilities(rows.X, rows.y, **rows.inputs())[:, k]
    weight = own if rows.sample_weight is None else own * np.asarray(rows.sample_weight)
    kept = own > LEAST
    if is_classifier(model):
        # every class stays known: its likeliest row
        codes = np.unique(rows.y, return_inverse=True)[1].ravel()
        kept[np.lexsort((-own, codes))[np.unique(np.sort(codes), return_index=True)[1]]] = True
    part = rows.take(np.flatnonzero(kept))
    two = on_tree(estimator, None, 2, start=search)
    return quiet_fit(two, part, sample_weight=weight[kept])


def _put_in(model, two, k, tree):
    """The larger model and its parameters: ``two`` in the place of expert k."""
    old = model._model_
    gate = clone(old.gate).set_params(tree=tree)
    new = old._replace(gate=gate, K=old.K + 1)
    local = new._replace(K=2).rescale(two._params_, two._model_.scaling)
    experts = tree_map(
        lambda leaf, own: np.concatenate([leaf[:k], own[:1], leaf[k + 1 :], own[1:]]),
        model._params_.expert,
        local.expert,
    )
    return new, MoEParams(gate.with_node(model._params_.gate, k, local.gate), experts)
