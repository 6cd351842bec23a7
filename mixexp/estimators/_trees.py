"""Probabilities of the nodes of a hierarchical gate."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.utils.metaestimators import available_if

from .._component import GATES
from ..em.params import MoEParams


def has_nodes(estimator) -> bool:
    """Whether the estimator's gate is a tree of splits."""
    gate = GATES.get(estimator.gate) if isinstance(estimator.gate, str) else estimator.gate
    return bool(getattr(gate, "has_nodes", False))


class TreeMixin:
    """What estimators with a tree of splits say of its nodes."""

    _model_: Any
    _params_: MoEParams
    _rows: Any
    _map: Any
    responsibilities: Any

    @available_if(has_nodes)
    def node_proba(self, X):
        """Probabilities of the branches of every node given x, for rows that come to the node.

        The products along the ways from the root are `gate_proba`.

        Parameters
        ----------
        X : array-like or sparse of shape (n, p)

        Returns
        -------
        dict of str to (n, C) ndarray
            By the names of ``gate_nodes_`` and in their order, the root first; the columns are
            the node's ``branches``, and rows sum to one.
        """
        rows, model = self._rows(X), self._model_

        # all nodes side by side, so that blocks of rows can be put together
        def probabilities(part):
            found = model.gate.node_log_prob(self._params_.gate, model.gate_design(part.X))
            return np.exp(np.hstack([np.zeros((part.n, 0)), *(log_prob for _, log_prob in found)]))

        return self._by_node(self._map(rows, probabilities))

    @available_if(has_nodes)
    def node_responsibilities(self, X, y, **inputs):
        """Posterior probabilities of the branches of every node given x and y.

        The products along the ways from the root are `responsibilities`; they are what the
        M-step fits a node to, with the weight of the node's own.

        Parameters
        ----------
        X : array-like or sparse of shape (n, p)
        y : array-like of shape (n,) or (n, m)
        **inputs
            As for `responsibilities`.

        Returns
        -------
        dict of str to (n, C) ndarray
            As for `node_proba`; zeros in rows that are certain to lie elsewhere.
        """
        resp = self.responsibilities(X, y, **inputs)
        found = self._model_.gate.node_posteriors(self._params_.gate, resp)
        return {node.name: posterior for node, posterior in found}

    def _by_node(self, values):
        nodes = self._model_.gate.nodes(self._params_.gate)
        cuts = np.cumsum([len(node.branches) for node in nodes])[:-1]
        parts = np.split(values, cuts, axis=1)
        return {node.name: part for node, part in zip(nodes, parts, strict=False)}
