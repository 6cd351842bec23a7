"""The dendrogram of merged experts."""

from __future__ import annotations

from typing import Any

import numpy as np

from mixexp.plotting._style import INK, MUTED, axes, colour, label, legend


def plot_dendrogram(path: Any, ax: Any = None) -> Any:
    """The experts of a fit as leaves, joined at the heights of their merges.

    Parameters
    ----------
    path : MergePath
        From `mixexp.selection.merge_path`.
    ax : Axes, optional
        Where to draw.

    Returns
    -------
    Axes
        Leaves are experts with their mean gate probabilities; colours are the groups of the
        chosen number, which the dashed line cuts.
    """
    from scipy.cluster.hierarchy import dendrogram

    ax = axes(ax)
    linkage, groups, total = path.linkage, path.labels(), len(path.counts)
    tree = dendrogram(linkage, no_plot=True)
    leaves = [int(leaf) for leaf in tree["leaves"]]
    for x, y in zip(tree["icoord"], tree["dcoord"], strict=True):
        inside = [groups[leaves[int((place - 5) // 10)]] for place in (x[0], x[-1])]
        # scipy puts leaf i at 10 i + 5, and a merge between its two branches
        own = max(y) <= _cut(linkage, path.n_experts, total) and inside[0] == inside[1]
        ax.plot(x, y, color=colour(inside[0]) if own else MUTED, lw=1.8, solid_capstyle="round")
    top = 1.08 * linkage[:, 2].max()
    cut = _cut(linkage, path.n_experts, total)
    ax.axhline(cut, color=INK, lw=1, ls=(0, (4, 3)), label=f"{path.n_experts} experts chosen")
    ax.set_xticks(10 * np.arange(total) + 5)
    ax.set_xticklabels([f"{leaf + 1}\n{100 * path.weights[leaf]:.0f} %" for leaf in leaves])
    for tick, leaf in zip(ax.get_xticklabels(), leaves, strict=True):
        tick.set_color(colour(groups[leaf]))
    ax.set_ylim(-0.02 * top, top)
    what = "Height of the merge" if path.method == "measure" else "Entropy lost"
    label(ax, "Expert, and its mean gate probability", what)
    legend(ax, loc="lower right", bbox_to_anchor=(1.0, 0.99))
    return ax


def _cut(linkage: Any, n_experts: int, total: int) -> float:
    """A height between the last merge that is made and the first that is not."""
    heights = np.concatenate([[0.0], linkage[:, 2]])
    made = total - n_experts
    return float((heights[made] + heights[made + 1]) / 2)
