"""The tree of a hierarchical mixture: its splits, and the experts at its leaves."""

from __future__ import annotations

from typing import Any

import numpy as np

from mixexp.plotting._style import INK, MUTED, axes, colour, plain

LEVEL, LETTER, MARGIN = 1.45, 0.07, 0.45  # inches: of a level, a letter and around a leaf's text
NAME = 18  # letters of a column's name


def plot_tree(model: Any, X: Any = None, *, most: int = 2, ax: Any = None) -> Any:
    """The tree of a hierarchical mixture, with what decides at its splits and in its experts.

    Parameters
    ----------
    model : fitted estimator with ``gate="hierarchical"``, or TreeGrowth
        Of a growth the chosen model.
    X : array-like of shape (n, p), optional
        Rows whose standard deviations make coefficients of different columns comparable: the
        columns shown are then the strongest. Without them those with the largest coefficients.
    most : int, default=2
        Coefficients shown at a split and in an expert.
    ax : Axes, optional
        Where to draw; by default a new figure that has room for the tree.

    Returns
    -------
    Axes
        A split of two branches shows coefficients of the log odds of left against right; with a
        single column also the value at which left and right are equally likely. One of more
        branches names the columns, with each branch's centred logit beside it. Lines are as
        strong as the share of rows that takes them. Leaves hold the expert's number as in
        ``gate_tree_``, its effective share of the rows and its largest coefficients: of classes
        those of the log odds of the second of two, or one of every class's centred logit; of
        several responses y0, y1, ... one of each.

    Raises
    ------
    ValueError
        If the model has no tree.
    """
    model = getattr(model, "model", model)
    if not hasattr(model, "gate_tree_"):
        raise ValueError(
            f"plot_tree needs a fit with gate='hierarchical'; got {type(model).__name__} with "
            f"gate={getattr(model, 'gate', None)!r}. Other gates are drawn by plot_gate_regions."
        )
    drawing = _Drawing(model, X, most)
    if ax is None:
        import matplotlib.pyplot as plt

        size = max(3.2, drawing.leaf * drawing.width), LEVEL * (drawing.depth + 1)
        _, ax = plt.subplots(figsize=size, layout="constrained")
    ax = axes(ax)
    ax.set_axis_off()
    ax.set_xlim(-0.55, drawing.width - 0.45)
    ax.set_ylim(-drawing.depth - 0.5, 0.4)
    drawing.part(ax, model.gate_tree_, 0)
    return ax


class _Drawing:
    """Texts and places of the parts of a tree."""

    def __init__(self, model: Any, X: Any, most: int):
        self.most = most
        self.experts = _expert_lines(model, X, most)
        self.sizes = np.asarray(model.expert_sizes_, dtype=float)
        self.unit = "rows" if model.fit_summary_.n_rows is None else "groups"
        self.names = _names(model.gate_feature_names_)
        self.scale = _scales(model, X, model.gate_feature_names_)
        self.nodes = {_below(node): node for node in model.gate_nodes_}
        order = _leaves(model.gate_tree_)
        self.at = {k: place for place, k in enumerate(order)}
        self.width = len(order)
        self.depth = _depth(model.gate_tree_)
        letters = max(len(line) for k in order for line in self._leaf_lines(k))
        self.leaf = LETTER * max(letters, 14) + MARGIN

    def part(self, ax: Any, tree: Any, level: int) -> tuple[float, float]:
        """Draw a part of the tree; returns where its top is."""
        if not isinstance(tree, tuple):
            return self._leaf(ax, tree)
        found = [self.part(ax, branch, level + 1) for branch in tree]
        inner = self.nodes[frozenset(_leaves(tree))]
        place = float(np.mean([found[0][0], found[-1][0]])), float(-level)
        for branch, end in zip(tree, found, strict=True):
            self._line(ax, place, end, branch, tree)
        box = {"boxstyle": "round,pad=0.4", "facecolor": "white", "edgecolor": MUTED, "lw": 1}
        _text(ax, place, self._node_lines(inner, tree), INK, bbox=box)
        return place

    def _leaf(self, ax: Any, k: int) -> tuple[float, float]:
        place = float(self.at[k]), float(-self.depth)
        box = {"boxstyle": "round,pad=0.4", "facecolor": "white", "edgecolor": colour(k), "lw": 2}
        _text(ax, place, self._leaf_lines(k), INK, bbox=box)
        return place

    def _leaf_lines(self, k: int) -> list[str]:
        share = 100 * self.sizes[k] / self.sizes.sum()
        size = f"{self.sizes[k]:.0f} {self.unit}, {share:.0f} %"
        return [f"expert {k}", size, *self.experts[k]]

    def _line(self, ax: Any, start: Any, end: Any, branch: Any, tree: Any) -> None:
        own, whole = self.sizes[_leaves(branch)].sum(), self.sizes[_leaves(tree)].sum()
        share = own / max(whole, 1e-300)
        ax.plot(
            *zip(start, end, strict=True), color=MUTED, lw=0.8 + 4 * share, alpha=0.55, zorder=1
        )
        lines = [f"{100 * share:.0f} %"]
        if len(tree) > 2:
            node = self.nodes[frozenset(_leaves(tree))]
            shown = self._shown(node.coef)
            lines.append(", ".join(_number(node.coef[_branch(node, branch)][j]) for j in shown))
        # near the lower end: lines of one node are apart there
        down = 0.5 if end[1] == start[1] - 1 else 0.5 / (start[1] - end[1])
        middle = [a + down * (b - a) for a, b in zip(start, end, strict=True)]
        box = {
            "boxstyle": "round,pad=0.15",
            "facecolor": "white",
            "edgecolor": "none",
            "alpha": 0.9,
        }
        _text(ax, middle, lines, MUTED, bbox=box)

    def _node_lines(self, node: Any, tree: Any) -> list[str]:
        if len(tree) > 2:
            return ["logits by", *(self.names[j] for j in self._shown(node.coef))]
        left, right = (_branch(node, branch) for branch in tree)
        slope = node.coef[left] - node.coef[right]
        lines = ["log odds, left : right", *self._terms(slope)]
        if len(slope) == 1 and slope[0] != 0:
            even = (node.intercept[right] - node.intercept[left]) / slope[0]
            lines.append(f"even at {_number(even, '')}")
        return lines

    def _shown(self, coef: Any) -> list[int]:
        """Columns that tell the branches of a node apart most."""
        force = np.abs(coef).max(axis=0) * self.scale
        return [int(j) for j in np.argsort(-force, kind="stable")[: self.most]]

    def _terms(self, slope: Any) -> list[str]:
        return _strongest(slope, self.names, self.scale, self.most)


def _expert_lines(model: Any, X: Any, most: int) -> list[list[str]]:
    """The largest coefficients of every expert."""
    names = _names(model.expert_feature_names_)
    scale = _scales(model, X, model.expert_feature_names_)
    coef = np.asarray(model.coef_, dtype=float)
    if coef.ndim == 2:
        return [_strongest(own, names, scale, most) for own in coef]
    classes = getattr(model, "classes_", [f"y{c}" for c in range(coef.shape[1])])
    if hasattr(model, "classes_") and coef.shape[1] == 2:
        head = f"log odds of {plain(classes[1], 12)}"
        return [[head, *_strongest(own[1] - own[0], names, scale, most)] for own in coef]
    lines = []
    for own in coef:
        each = [(c, _strongest(slope, names, scale, 1)) for c, slope in enumerate(own[:4])]
        found = [f"{plain(classes[c], 12)}: {text[0]}" for c, text in each if text]
        lines.append([*found, "\u2026"] if len(own) > 4 else found)
    return lines


def _strongest(slope: Any, names: list[str], scale: Any, most: int) -> list[str]:
    """The coefficients that move the predictor most, with their names."""
    order = np.argsort(-np.abs(slope) * scale, kind="stable")[:most]
    return [f"{names[j]}  {_number(slope[j])}" for j in order if slope[j] != 0]


def _names(names: Any) -> list[str]:
    return [plain(name, NAME).strip() for name in names]


def _number(value: float, sign: str = "+") -> str:
    kind = ".0f" if 1000 <= abs(value) < 1e6 else ".3g"
    return f"{value:{sign}{kind}}".replace("-", "\u2212")


def _scales(model: Any, X: Any, names: Any) -> Any:
    """Standard deviations of the named columns in X; ones for those that X does not have."""
    if X is None:
        return np.ones(len(names))
    known = getattr(model, "feature_names_in_", None)
    known = [f"x{j}" for j in range(model.n_features_in_)] if known is None else list(known)
    dense = X.toarray() if hasattr(X, "toarray") else np.asarray(X, dtype=float)
    spread = dict(zip(map(str, known), dense.std(axis=0), strict=True))
    return np.array([spread.get(str(name), 1.0) for name in names])


def _text(ax: Any, place: Any, lines: list[str], tone: str, **options: Any) -> None:
    ax.text(
        *place, "\n".join(lines), ha="center", va="center", fontsize=8.5, color=tone,
        parse_math=False, linespacing=1.25, **options,
    )  # fmt: skip


def _branch(node: Any, branch: Any) -> int:
    """Number of a branch of the tree among those of its node."""
    members = set(_leaves(branch))
    return next(b for b, own in enumerate(node.branches) if set(own) == members)


def _below(node: Any) -> frozenset:
    return frozenset(k for branch in node.branches for k in branch)


def _leaves(tree: Any) -> list[int]:
    return [k for branch in tree for k in _leaves(branch)] if isinstance(tree, tuple) else [tree]


def _depth(tree: Any) -> int:
    return 1 + max(map(_depth, tree)) if isinstance(tree, tuple) else 0
