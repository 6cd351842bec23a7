"""`Component`, the base of every part, and `resolve`, which turns names into parts."""

from __future__ import annotations

from difflib import get_close_matches
from typing import Any

from sklearn.base import BaseEstimator


class Component(BaseEstimator):
    """A part of a model: hyper-parameters, set once in ``__init__`` and never written in a fit.

    Parts are scikit-learn objects, so that ``clone``, ``set_params(gate__penalty__alpha=...)``
    and grid searches over whole parts work.
    """


GATES: dict[str, type[Component]] = {}
EXPERTS: dict[str, type[Component]] = {}
PENALTIES: dict[str, type[Component]] = {}
CRITERIA: dict[str, type[Component]] = {}


def register(registry: dict[str, type[Component]], name: str):
    """Class decorator: enter a part under its public name."""

    def enter(cls):
        registry[name] = cls
        cls.name = name
        return cls

    return enter


def resolve(part: Any, registry: dict[str, type[Component]], what: str) -> Any:
    """The part itself, or the default-built part of that name.

    Raises
    ------
    ValueError
        If the name is unknown; the message lists the known names and a near match.
    TypeError
        If ``part`` is neither a name nor an instance of a registered class.
    """
    if isinstance(part, str):
        if part in registry:
            return registry[part]()
        near = get_close_matches(part, registry, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise ValueError(f"Unknown {what} {part!r}; known are {sorted(registry)}.{hint}")
    if isinstance(part, Component):
        return part
    raise TypeError(
        f"{what} must be one of {sorted(registry)} or an instance such as "
        f"{next(iter(registry.values())).__name__}(); got {part!r}."
    )


def public_repr_class(part: Component) -> str:
    """The name a user would type for the part: its registry name where it has one."""
    return getattr(type(part), "name", type(part).__name__)
