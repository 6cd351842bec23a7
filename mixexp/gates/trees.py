"""Trees whose leaves are experts: shapes, addresses of leaves, and nodes of a set of addresses.

A tree is a nested tuple of expert numbers, ((0, 1), 2). An address (D,) of a leaf says which branch
is taken at every node on the way; a node has the leaves whose addresses agree up to its depth. A
node of one branch says nothing, so that addresses are filled up with zeros behind a leaf.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import numpy as np


class Node(NamedTuple):
    """An inner node: its depth, and the experts below each of its branches, in their order."""

    depth: int
    branches: tuple[tuple[int, ...], ...]

    @property
    def heads(self) -> list[int]:
        """The first expert of every branch."""
        return [branch[0] for branch in self.branches]

    @property
    def name(self) -> str:
        return " | ".join(map(branch_name, self.branches))


def branch_name(experts) -> str:
    """Experts 0, 1, 2, 5 as "0-2+5"."""
    runs: list[list[int]] = []
    for k in sorted(experts):
        if runs and k == runs[-1][-1] + 1:
            runs[-1].append(k)
        else:
            runs.append([k])
    parts = [str(r[0]) if len(r) == 1 else f"{r[0]}{'-+'[len(r) == 2]}{r[-1]}" for r in runs]
    return "+".join(parts)


def leaves(tree) -> list[int]:
    """Expert numbers from left to right."""
    return [tree] if is_leaf(tree) else [k for branch in tree for k in leaves(branch)]


def is_leaf(tree) -> bool:
    return not isinstance(tree, tuple)


def checked(tree: Any):
    """The tree as nested tuples of int.

    Raises
    ------
    ValueError
        Unless inner nodes have two branches at least and leaves are 0, 1, ..., each once.
    """
    whole = _as_tuples(tree)
    found = leaves(whole)
    if is_leaf(whole) or sorted(found) != list(range(len(found))):
        raise ValueError(
            "tree must be nested tuples that hold the experts 0, 1, ..., each once, such as "
            f"((0, 1), (2, 3)); got {tree!r}."
        )
    return whole


def _as_tuples(tree):
    if isinstance(tree, tuple | list):
        if len(tree) < 2:
            raise ValueError(
                f"tree: every inner node needs two branches at least; got {tree!r}. Write a leaf "
                "as its expert's number."
            )
        return tuple(_as_tuples(branch) for branch in tree)
    if isinstance(tree, bool) or not isinstance(tree, int | np.integer):
        raise ValueError(f"tree: leaves are numbers of experts; got {tree!r}.")
    return int(tree)


def balanced(K: int, branching: int, first: int = 0):
    """The tree of least depth over K leaves from ``first`` on, its branches as equal as can be."""
    if K == 1:
        return first
    if K <= branching:
        return tuple(range(first, first + K))
    sizes = [K // branching + (b < K % branching) for b in range(branching)]
    starts = first + np.concatenate([[0], np.cumsum(sizes)[:-1]])
    return tuple(
        balanced(size, branching, int(start)) for size, start in zip(sizes, starts, strict=True)
    )


def pruned(tree, K: int):
    """The tree with leaves of its deepest nodes taken out until K are left, numbered afresh."""
    while len(leaves(tree)) > K:
        path = addresses(relabelled(tree))
        node = max(nodes(path), key=lambda node: (node.depth, node.heads))
        order = leaves(tree)
        tree = _without(tree, order[max(node.heads)])
    return relabelled(tree)


def with_leaf_split(tree, leaf: int):
    """The tree with a leaf replaced by a node over it and a new leaf, the last number."""
    new = len(leaves(tree))

    def walk(part):
        if is_leaf(part):
            return (leaf, new) if part == leaf else part
        return tuple(map(walk, part))

    return walk(tree)


def in_order(tree):
    """The same tree with branches in the order of their smallest leaves."""
    if is_leaf(tree):
        return tree
    return tuple(sorted(map(in_order, tree), key=lambda part: min(leaves(part))))


def exchanges(tree) -> list:
    """The different trees in which two subtrees (or leaves) have changed places."""
    found = {in_order(tree): None}
    places = list(_places(tree, ()))
    for i, one in enumerate(places):
        for other in places[i + 1 :]:
            apart = one != other[: len(one)] and other != one[: len(other)]
            if apart and one[:-1] != other[:-1]:
                moved = _replaced(tree, one, _at(tree, other))
                found[in_order(_replaced(moved, other, _at(tree, one)))] = None
    return list(found)[1:]


def _places(tree, way):
    """Ways to all parts below the root."""
    if not is_leaf(tree):
        for b, branch in enumerate(tree):
            yield (*way, b)
            yield from _places(branch, (*way, b))


def _at(tree, way):
    return tree if not way else _at(tree[way[0]], way[1:])


def _replaced(tree, way, part):
    if not way:
        return part
    b = way[0]
    return (*tree[:b], _replaced(tree[b], way[1:], part), *tree[b + 1 :])


def _without(tree, leaf):
    if is_leaf(tree):
        return tree
    kept = tuple(_without(branch, leaf) for branch in tree if branch != leaf)
    return kept[0] if len(kept) == 1 else kept


def relabelled(tree):
    """The same tree with its leaves 0, 1, ... in the order of their numbers."""
    rank = {k: i for i, k in enumerate(sorted(leaves(tree)))}

    def renamed(part):
        return rank[part] if is_leaf(part) else tuple(map(renamed, part))

    return renamed(tree)


def depth(tree) -> int:
    return 0 if is_leaf(tree) else 1 + max(map(depth, tree))


def addresses(tree) -> np.ndarray:
    """(K, D) addresses of the leaves 0..K-1, D at least 1."""
    out = np.zeros((len(leaves(tree)), max(1, depth(tree))), dtype=np.int64)

    def walk(part, way):
        if is_leaf(part):
            out[part, : len(way)] = way
            return
        for b, branch in enumerate(part):
            walk(branch, [*way, b])

    walk(tree, [])
    return out


def nodes(path) -> tuple[Node, ...]:
    """The inner nodes with two branches or more, from the root down."""
    path = np.asarray(path)
    return _nodes(np.ascontiguousarray(path, dtype=np.int64).tobytes(), path.shape)


@functools.lru_cache(maxsize=4096)
def _nodes(data: bytes, shape) -> tuple[Node, ...]:
    path = np.frombuffer(data, dtype=np.int64).reshape(shape)
    found = []
    for d in range(shape[1]):
        groups: dict[tuple, dict[int, list[int]]] = {}
        for k in range(shape[0]):
            below = groups.setdefault(tuple(path[k, :d]), {})
            below.setdefault(int(path[k, d]), []).append(k)
        for branches in groups.values():
            if len(branches) > 1:
                found.append(Node(d, tuple(map(tuple, branches.values()))))
    return tuple(found)


def tree_of(path):
    """The nested tuple of a set of addresses."""
    path = np.asarray(path)

    def grown(members, d):
        if len(members) == 1:
            return members[0]
        below: dict[int, list[int]] = {}
        for k in members:
            below.setdefault(int(path[k, d]), []).append(k)
        parts = [grown(one, d + 1) for one in below.values()]
        return parts[0] if len(parts) == 1 else tuple(parts)

    return grown(list(range(len(path))), 0)


def shape(tree):
    """The tree without its numbers and without the order of its branches."""
    return () if is_leaf(tree) else tuple(sorted(map(shape, tree)))


def matched(tree, wanted) -> list[int]:
    """Leaves of ``tree`` in the places of the leaves 0, 1, ... of ``wanted``, of the same shape."""
    pairs: dict[int, int] = {}

    def walk(a, b):
        if is_leaf(b):
            pairs[b] = a
            return
        keys = (lambda part: (shape(part), min(leaves(part))),) * 2
        for one, other in zip(sorted(a, key=keys[0]), sorted(b, key=keys[1]), strict=True):
            walk(one, other)

    walk(tree, wanted)
    return [pairs[k] for k in range(len(pairs))]


def arranged(points, weight, wanted) -> list[int]:
    """The experts (rows of ``points``) in the places of the leaves 0, 1, ... of ``wanted``.

    From the root down experts are lined up along the first principal axis of their points and
    dealt to the branches, so that neighbours share a node.
    """
    places: dict[int, int] = {}

    def deal(members, part):
        if is_leaf(part):
            places[part] = members[0]
            return
        own = points[members]
        centred = own - np.average(own, axis=0, weights=weight[members])
        _, _, axes = np.linalg.svd(centred * np.sqrt(weight[members])[:, None])
        order = [members[i] for i in np.argsort(centred @ axes[0], kind="stable")]
        cuts = np.cumsum([len(leaves(branch)) for branch in part])[:-1]
        for some, branch in zip(np.split(np.array(order), cuts), part, strict=True):
            deal([int(k) for k in some], branch)

    deal(list(range(len(points))), wanted)
    return [places[k] for k in range(len(places))]
