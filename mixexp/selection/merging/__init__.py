"""Merging the experts of a mixture that has too many, with a dendrogram and a criterion."""

from mixexp.selection.merging.path import MergePath, merge_path

__all__ = ["MergePath", "merge_path"]
