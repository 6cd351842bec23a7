"""What is read off a tree of splits: probabilities of nodes, information, names and tables."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..kernels.rows import RowUnit
from . import trees
from .base import Gate
from .tree_arrays import below, splits


class GateNode(NamedTuple):
    """A split as users see it: name, depth, experts below each branch, coef (C, p), intercept (C,).

    Coefficients are logits, centred over the branches.
    """

    name: str
    depth: int
    branches: tuple
    coef: np.ndarray
    intercept: np.ndarray


class TreeReading(Gate):
    """A tree's nodes as inference and users see them."""

    has_nodes = True

    # --- probabilities of branches ----------------------------------------------------------

    def nodes(self, params):
        """The inner nodes, the root first."""
        return trees.nodes(params.path)

    def node_log_prob(self, params, X):
        """[(node, (n, C) log probabilities of its branches given the node)], the root first."""
        found = splits(self.nodes(params), params.coef[None], X)
        return [(node, log_prob[:, 0]) for node, log_prob in found]

    def node_posteriors(self, params, resp):
        """[(node, (n, C) posterior probabilities of its branches given the node)] from resp."""
        out = []
        for node in self.nodes(params):
            joint = below(node, resp)
            out.append((node, joint / np.maximum(joint.sum(axis=1, keepdims=True), 1e-300)))
        return out

    def row_scores(self, params, X, resp, weight):
        """(n, B) by the logits of the branches of all nodes."""
        found = [
            below(node, resp) - below(node, resp).sum(axis=1, keepdims=True) * np.exp(log_prob)
            for node, log_prob in self.node_log_prob(params, X)
        ]
        return np.hstack(found) if found else np.zeros((X.shape[0], 1))

    # --- inference --------------------------------------------------------------------------

    def layout(self, params):
        K, D, q = params.coef.shape
        place = np.arange(K * D * q).reshape(K, D, q)
        found = [place[node.heads, node.depth] for node in self.nodes(params)]
        whole = np.concatenate(found) if found else np.zeros((0, q), dtype=int)
        return np.broadcast_to(whole, (K, *whole.shape))

    def row_unit(self, params, X) -> RowUnit:
        """Derivatives of log pi_k by the logits of the branches of all nodes."""
        n, K = X.shape[0], len(params.coef)
        found = self.node_log_prob(params, X)
        J = sum(len(node.branches) for node, _ in found)
        score, hessian = np.zeros((J, n, K)), np.zeros((J, J, n, K))
        at = 0
        for node, log_prob in found:
            prob, C = np.exp(log_prob), len(node.branches)
            members = [k for branch in node.branches for k in branch]
            curve = np.einsum("nl,nm->lmn", prob, prob)
            curve[np.arange(C), np.arange(C)] -= prob.T
            score[at : at + C, :, members] = -prob.T[:, :, None]
            hessian[at : at + C, at : at + C, :, members] = curve[:, :, None].swapaxes(2, 3)
            for b, branch in enumerate(node.branches):
                score[at + b][:, branch] += 1
            at += C
        return RowUnit(self.log_prob(params, X), score, hessian)

    def contrasts(self, params, names, reference):
        """Log odds of every branch against the one that leads to the reference, node by node."""
        K, D, q = params.coef.shape
        terms = ["(intercept)", *map(str, names)][:q]
        labels, forms = [], []
        for node in self.nodes(params):
            base = next((b for b in node.branches if reference in b), node.branches[0])
            for branch in node.branches:
                if branch == base:
                    continue
                pair = f"gate {trees.branch_name(branch)} vs {trees.branch_name(base)}"
                labels += [f"{pair}: {term}" for term in terms]
                form = np.zeros((q, K, D, q))
                form[np.arange(q), branch[0], node.depth, np.arange(q)] = 1
                form[np.arange(q), base[0], node.depth, np.arange(q)] = -1
                forms.append(np.hstack([form.reshape(q, -1), np.zeros((q, K * D))]))
        width = K * D * (q + 1)
        return labels, np.concatenate(forms) if forms else np.zeros((0, width))

    # --- what users see -------------------------------------------------------------------------

    def display(self, params, names):
        own = [(node, params.coef[node.heads, node.depth]) for node in self.nodes(params)]
        found = [
            GateNode(node.name, node.depth, node.branches, coef[:, 1:], coef[:, 0])
            for node, coef in own
        ]
        return {"gate_tree_": trees.tree_of(params.path), "gate_nodes_": found}

    def table(self, params, names):
        """Every node has its rows; an expert's entry is that of the branch that leads to it."""
        terms = ["(intercept)", *map(str, names)]
        rows, values = [], []
        for node in self.nodes(params):
            members = [k for branch in node.branches for k in branch]
            part = np.full((len(params.coef), len(terms)), np.nan)
            part[members] = params.coef[members, node.depth]
            rows += [f"{node.name}: {term}" for term in terms]
            values.append(part)
        title = "Gate (splits of a tree: logits of the branch to an expert, centred over a node)"
        return title, rows, np.hstack(values) if values else np.zeros((len(params.coef), 0))
