"""Growing the tree of a hierarchical mixture by gains of likelihood."""

from mixexp.selection.growing.grow import grow_tree
from mixexp.selection.growing.result import TreeGrowth

__all__ = ["TreeGrowth", "grow_tree"]
