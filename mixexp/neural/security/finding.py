"""What an audit of batch dependence found."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class LayerDependence:
    """A layer that answers the same input differently, depending on other rows.

    Parameters
    ----------
    name : str
        Of the module inside the model; empty for the model itself.
    router, limiter : str
        Class of the router, and the limiter as it prints; "" without one.
    n_choices : int
        Comparisons in which the row's experts changed.
    n_outputs : int
        Comparisons in which its output changed, for this or another reason.
    """

    name: str
    router: str
    limiter: str
    n_choices: int
    n_outputs: int

    def __str__(self):
        where = f"layer {self.name!r}" if self.name else "the layer itself"
        behind = f" behind {self.limiter}" if self.limiter else ""
        how = "experts change" if self.n_choices else "weights or mixtures change"
        return f"{where} ({self.router}{behind}), where {how}"


@dataclass(frozen=True)
class BatchDependence:
    """Whether answers for single rows depend on the other rows, and where this begins.

    Parameters
    ----------
    dependent : bool
    max_difference : float
        Largest change of an answer, in units of the largest absolute answer; 1 for a label.
    tolerance : float
        Changes up to it are rounding: other shapes add in another order.
    rows, changed_rows : tuple of int
        The audited rows, and those whose answer changed.
    differences : dict of str to float
        Largest change by what was done to the other rows.
    layers : tuple of LayerDependence
        Mixture layers that got the same input and gave another output, in the order of the model.
    n_batches : int
        Batches that were run.
    """

    dependent: bool
    max_difference: float
    tolerance: float
    rows: tuple[int, ...]
    changed_rows: tuple[int, ...]
    differences: dict[str, float]
    layers: tuple[LayerDependence, ...]
    n_batches: int

    @property
    def sentence(self) -> str:
        """The finding in words."""
        if not self.dependent:
            return (
                f"No audited row's answer depends on the others: in {self.n_batches} batches "
                f"with {len(self.rows)} audited rows the largest difference is "
                f"{self.max_difference:.1e}, within rounding ({self.tolerance:.0e})."
            )
        worst = max(self.differences, key=lambda name: self.differences[name])
        found = (
            f"A row's answer depends on the other rows: {len(self.changed_rows)} of "
            f"{len(self.rows)} audited rows changed, by up to {self.max_difference:.2g} of the "
            f"largest answer (others {worst})."
        )
        if not self.layers:
            return found + " It does not begin in a mixture layer."
        return found + " It begins in " + "; ".join(str(layer) for layer in self.layers) + "."

    def __str__(self):
        return self.sentence
