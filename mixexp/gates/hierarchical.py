"""Hierarchical gate: a tree of softmax splits, with the experts at its leaves."""

from __future__ import annotations

import numpy as np

from .._component import GATES, register
from ..kernels.designs import weighted_grams, weighted_sums
from ..kernels.reference import class_pairs
from ..scaling import rescale_linear
from . import trees
from .softmax import SoftmaxGate, SoftmaxParams
from .tree_arrays import (
    HierarchicalParams,
    HierarchicalStatistics,
    below,
    divided,
    flat,
    kinds,
    of_node,
    pair_places,
    projected,
    set_branches,
    splits,
    transferred,
)
from .tree_reading import TreeReading

UNIT = 1024.0  # of an address in a packed vector: no step of an optimiser is as long


@register(GATES, "hierarchical")
class HierarchicalGate(TreeReading):
    """pi_k(x): the product of the softmax splits on the way from the root to expert k.

    Every inner node of the tree is a softmax gate over its branches, fitted to the posterior
    probabilities of the branches with the weight of the node's own (Jordan and Jacobs, 1994).
    K - 1 splits of two branches have as many parameters as a softmax gate over K experts, but are
    another model: products of logistic functions are no softmax of linear scores. A tree of
    depth one is the softmax gate.

    Parameters
    ----------
    tree : nested tuples of int, or None
        Experts 0, 1, ... as leaves: ``((0, 1), (2, 3))``. Its leaves are as many as the experts.
    depth : int or None
        Without ``tree``: the most splits between the root and an expert. The tree is balanced, with
        as few branches at a node as this allows; ``depth=1`` is one node over all experts.
    branching : int or None
        Without ``tree``: most branches of a node of the balanced tree; None is 2, or what ``depth``
        needs.
    penalty : L2 or None
        Ridge on the centred slopes of every node, on standardised columns.
    ridge : float or None, default=None
        As for `SoftmaxGate`, in every node.

    References
    ----------
    Jordan and Jacobs (1994), "Hierarchical mixtures of experts and the EM algorithm", Neural
    Computation 6, 181-214.
    """

    centres_slopes = True
    batches = True

    def __init__(self, tree=None, depth=None, branching=None, penalty=None, ridge=None):
        self.tree = tree
        self.depth = depth
        self.branching = branching
        self.penalty = penalty
        self.ridge = ridge

    # --- settings ---------------------------------------------------------------------------

    def for_rows(self, n_distinct):
        node = self._node()
        if node.sparse:
            raise ValueError(
                f"HierarchicalGate takes L2 penalties alone; got {self.penalty!r}: selection of "
                "columns works on the slopes of one softmax. Use gate=SoftmaxGate(penalty=...), or "
                "L2(...) here."
            )
        return self._with(ridge=node.for_rows(n_distinct).ridge)

    def _with(self, **settings):
        return type(self)(**{**self.get_params(deep=False), **settings})

    def for_columns(self, X, columns, weight, K):
        for name in ("depth", "branching"):
            value, least = getattr(self, name), 1 if name == "depth" else 2
            whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
            if value is not None and not (whole and value >= least):
                raise ValueError(
                    f"HierarchicalGate needs an integer {name} >= {least}; got {value!r}."
                )
        if self.tree is None:
            self.tree_for(K)
            return self
        if self.depth is not None or self.branching is not None:
            raise ValueError("HierarchicalGate takes tree=, or depth= and branching=, not both.")
        found = len(trees.leaves(trees.checked(self.tree)))
        if K not in (1, found):
            raise ValueError(
                f"HierarchicalGate: the tree has {found} leaves for n_experts={K}. Set "
                f"n_experts={found}, or leave tree=None for a balanced tree."
            )
        return self

    def tree_for(self, K):
        """The tree over K experts: the gate's own, pruned where it has more leaves."""
        if self.tree is not None:
            return trees.pruned(trees.checked(self.tree), K)
        branching = self.branching
        if branching is None:
            branching = 2
            while self.depth is not None and branching**self.depth < K:
                branching += 1
        if self.depth is not None and branching**self.depth < K:
            raise ValueError(
                f"HierarchicalGate: {K} experts do not fit below {self.depth} splits of "
                f"{branching} branches. Raise depth or branching."
            )
        return trees.balanced(K, int(branching))

    def _node(self):
        return SoftmaxGate(self.penalty, self.ridge)

    # --- probabilities ----------------------------------------------------------------------

    def initial(self, K, q):
        path = trees.addresses(self.tree_for(K))
        return HierarchicalParams(np.zeros((*path.shape, q)), path)

    def initial_for(self, X, resp, weight):
        """Equal probabilities, with neighbours among the classes below common nodes."""
        total = weight @ resp + 1e-300
        points = np.asarray(X.T @ (resp * weight[:, None])).T[:, 1:] / total[:, None]
        if points.shape[1] == 0:
            return self.initial(resp.shape[1], X.shape[1])
        wanted = self.tree_for(resp.shape[1])
        places = trees.arranged(points, total, wanted)
        neutral = self.initial(resp.shape[1], X.shape[1])
        path = np.empty_like(neutral.path)
        path[places] = neutral.path
        return neutral._replace(path=path)

    def numbering(self, params):
        """Order of the experts in which the tree is that of the settings; None as it is."""
        wanted = self.tree_for(len(params.path))
        order = trees.matched(trees.tree_of(params.path), wanted)
        return None if order == sorted(order) else np.array(order)

    def log_prob(self, params, X):
        return self.log_prob_sets(HierarchicalParams(*(leaf[None] for leaf in params)), X)[:, 0]

    def log_prob_sets(self, params, X):
        S, K = params.coef.shape[:2]
        out = np.zeros((X.shape[0], S, K))
        for sets, found in self._kinds(params):
            own = np.zeros((X.shape[0], len(sets), K))
            for node, log_prob in splits(found, params.coef[sets], X):
                for b, branch in enumerate(node.branches):
                    own[:, :, branch] += log_prob[:, :, [b]]
            out[:, sets] = own
        return out

    @staticmethod
    def _kinds(params):
        """(sets, nodes) for the sets (S, ...) of a batch that have one tree."""
        path = params.path
        for addresses, sets in kinds(path.reshape(len(path), -1)):
            yield sets, trees.nodes(addresses.reshape(path.shape[1:]))

    # --- the M-step: a weighted multinomial logit at every node ------------------------------

    def statistics(self, params, X, resp, weight):
        sets = HierarchicalParams(*(leaf[None] for leaf in params))
        stats = self.statistics_sets(sets, X, resp[:, None], weight)
        return HierarchicalStatistics(stats.score[0], stats.pairs[0], stats.weight[0])

    def statistics_sets(self, params, X, resp, weight):
        S, K, D, q = params.coef.shape
        score, pairs = np.zeros((S, K, D, q)), np.zeros((S, D, K * (K - 1) // 2, q, q))
        for sets, found in self._kinds(params):
            own, each = resp[:, sets], []
            for node, log_prob in splits(found, params.coef[sets], X):
                joint, prob = below(node, own), np.exp(log_prob)
                mass = joint.sum(axis=-1, keepdims=True)
                k, l = class_pairs(prob.shape[-1])
                each.append((joint - mass * prob, mass * prob[..., k] * prob[..., l]))
            if not each:
                continue
            sums = _per_set(weighted_sums, X, [residual for residual, _ in each])
            grams = _per_set(weighted_grams, X, [product for _, product in each])
            for node, some, more in zip(found, sums, grams, strict=True):
                score[sets[:, None], node.heads, node.depth] = some
                pairs[sets[:, None], node.depth, pair_places(node, K)] = more
        return HierarchicalStatistics(score, pairs, np.full(S, weight.sum()))

    def separation(self, params, stats):
        slopes, information, gate = [], [], self._node()
        for node in trees.nodes(params.path):
            own = SoftmaxParams(params.coef[node.heads, node.depth])
            found = gate.separation(own, of_node(stats, node, len(params.coef)))
            slopes.append(found[0])
            information.append(found[1])
        return (np.concatenate(slopes), np.concatenate(information)) if slopes else None

    def m_step(self, params, stats):
        def step(gate, node, own, local, out):
            set_branches(out, node, gate.m_step(own, local).coef)

        return params._replace(coef=self._by_node(params, stats, params.coef, step))

    def gradient(self, params, stats):
        def step(gate, node, own, local, out):
            gradient = gate.gradient(own, local).reshape(own.coef.shape)
            shares = np.array([len(branch) for branch in node.branches])
            set_branches(out, node, gradient / shares[:, None])

        found = self._by_node(params, stats, np.zeros_like(params.coef), step)
        return np.concatenate([flat(found), np.zeros_like(flat(params.path[..., None]))], -1)

    def _by_node(self, params, stats, start, step):
        """``step`` for every node of the sets of a batch that have one tree, into a copy."""
        K, D, q = params.coef.shape[-3:]
        lead = params.coef.shape[:-3]
        out = start.reshape(-1, K, D, q).copy()
        coef, path = params.coef.reshape(-1, K, D, q), params.path.reshape(-1, K, D)
        whole = None
        if stats is not None:
            whole = HierarchicalStatistics(
                stats.score.reshape(-1, K, D, q),
                stats.pairs.reshape(len(out), D, K * (K - 1) // 2, q, q),
                np.reshape(stats.weight, -1),
            )
        gate = self._node()
        for addresses, sets in kinds(path.reshape(len(path), -1)):
            part = out[sets]
            for node in trees.nodes(addresses.reshape(K, D)):
                own = SoftmaxParams(coef[sets][:, node.heads, node.depth])
                local = None
                if whole is not None:
                    local = of_node(HierarchicalStatistics(*(x[sets] for x in whole)), node, K)
                step(gate, node, own, local, part)
            out[sets] = part
        return out.reshape(*lead, K, D, q)

    def penalty_value(self, params):
        total = np.zeros(params.coef.shape)

        def step(gate, node, own, local, out):
            out[:, node.heads[0], node.depth, 0] = gate.penalty_value(own)

        return self._by_node(params, None, total, step).sum(axis=(-3, -2, -1))

    # --- vectors ----------------------------------------------------------------------------

    def pack(self, params):
        return np.concatenate([flat(params.coef), UNIT * flat(params.path[..., None])], axis=-1)

    def unpack(self, vector, params):
        K, D, q = params.coef.shape[-3:]
        lead = vector.shape[:-1]
        coef = vector[..., : K * D * q].reshape(*lead, K, D, q)
        path = np.rint(vector[..., K * D * q :] / UNIT).astype(np.int64).reshape(*lead, K, D)
        return HierarchicalParams(projected(coef, path), path)

    def n_free(self, params):
        """One less than the branches at every node for every column: (K - 1) q for every tree."""
        K, _, q = params.coef.shape
        return (K - 1) * q

    def slopes(self, params):
        K, _, q = params.coef.shape
        return (K - 1) * (q - 1), (K - 1) * (q - 1)

    def shift(self, stats, step):
        delta = step.coef
        k, l = class_pairs(delta.shape[0])
        moved = np.einsum("dpab,pdb->pda", stats.pairs, delta[k] - delta[l])
        score = stats.score.copy()
        np.subtract.at(score, k, moved)
        np.add.at(score, l, moved)
        return stats._replace(score=score)

    # --- moves of searches --------------------------------------------------------------------

    def split(self, params, k, share):
        """A leaf becomes a split where the larger tree of the settings has one there.

        Elsewhere the coefficients of the larger tree are means over its branches of the sums on the
        ways to their leaves.
        """
        K, _, q = params.coef.shape
        wanted = self.tree_for(K + 1)
        coef = np.concatenate([params.coef, params.coef[k : k + 1]])
        path = np.concatenate([params.path, params.path[k : k + 1]])
        for beside in (False, True):
            one, ways = divided(coef, path, k, share, beside)
            tree = trees.tree_of(ways)
            if trees.shape(tree) == trees.shape(wanted):
                return transferred(one, ways, wanted, trees.matched(tree, wanted))
        score = coef.sum(axis=1)
        score[K, 0] += np.log(share)
        score[k, 0] += np.log1p(-share)
        places = trees.arranged(score, np.ones(K + 1), wanted)
        neutral = self.initial(K + 1, q)
        out = np.empty_like(neutral.path)
        out[places] = neutral.path
        spread = np.repeat(score[:, None], out.shape[1], axis=1)
        return HierarchicalParams(projected(spread, out), out)

    def with_node(self, params, k, node):
        """Leaf k split by a gate of two classes (parameters of one node), the new leaf last."""
        coef, path = np.concatenate([params.coef, params.coef[[k]]]), params.path
        coef, path = divided(coef, np.concatenate([path, path[[k]]]), k, 0.5, beside=False)
        coef[[k, -1], -1] = node.coef[:, 0]
        tree = trees.with_leaf_split(trees.tree_of(params.path), k)
        return transferred(coef, path, tree, list(range(len(path))))

    def grouping(self, params):
        """What two sets of neutral parameters differ in: the tree, whatever its order."""
        return trees.in_order(trees.tree_of(params.path))

    def swapped(self, params) -> list:
        """Neutral parameters of the other trees in which two leaves have changed places."""
        found = {self.grouping(params): params}
        for i, j in zip(*class_pairs(len(params.path)), strict=True):
            path = params.path.copy()
            path[[i, j]] = path[[j, i]]
            found.setdefault(self.grouping(params._replace(path=path)), params._replace(path=path))
        return list(found.values())[1:]

    def flat(self):
        """One softmax gate with the settings of the nodes."""
        return self._node()

    def flatten(self, params, share):
        return params._replace(coef=params.coef * share)

    def rescale(self, params, columns, old, new):
        return params._replace(coef=rescale_linear(params.coef, columns, old, new))


def _per_set(function, X, parts):
    """``function(X, V)`` of the columns of all parts (n, S, C) together, in parts (S, C, ...)."""
    S = parts[0].shape[1]
    whole = function(X, np.concatenate(parts, axis=-1).reshape(X.shape[0], -1))
    whole = whole.reshape(S, -1, *whole.shape[1:])
    cuts = np.cumsum([part.shape[-1] for part in parts])[:-1]
    return np.split(whole, cuts, axis=1)
