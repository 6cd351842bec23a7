"""Whatever can be iterated again and gives blocks of rows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from .base import ROW_INPUTS, Block, BlockSource
from .values import as_floats, as_values, column_names, label_order

PARTS = ("X", "y", *ROW_INPUTS)


class BlockDataset(BlockSource):
    """Blocks of rows from an iterable that can be iterated again, such as a list or a loader.

    Parameters
    ----------
    blocks : iterable, or callable that returns an iterator
        It begins anew whenever it is iterated (or called), with the same blocks in the same order.
        Each block is a tuple ``(X, y)`` or ``(X, y, weight)``, or a mapping with the keys "X",
        "y", and where there are any "weight", "offset", "exposure" and "trials"; X (rows, p) is an
        array or a data frame. All blocks hold what the first holds.
    read_ahead : bool, default=True
        Get the next block in a thread while one is used; False where blocks may be had in the
        thread of the caller alone, as from a connection of `sqlite3`.

    Raises
    ------
    ValueError
        If it is an iterator, which ends after one round, has no block, or its first block is
        none. When blocks are read, if one differs from the first in what it holds, in its columns
        or in the order of its labels.

    Examples
    --------
    >>> import numpy as np
    >>> from mixexp import BlockDataset, MoERegressor
    >>> def blocks():
    ...     for seed in range(5):
    ...         rng = np.random.default_rng(seed)
    ...         X = rng.uniform(-1, 1, (1000, 1))
    ...         yield X, np.where(X[:, 0] > 0, 2 - X[:, 0], X[:, 0]) + 0.1 * rng.normal(size=1000)
    >>> model = MoERegressor(n_experts=2).fit(BlockDataset(blocks))
    >>> model.engine_, model.n_units_
    ('stream', 5000.0)
    """

    def __init__(self, blocks: Iterable | Callable[[], Iterator], *, read_ahead=True):
        self.reads_ahead = read_ahead
        if not (callable(blocks) or isinstance(blocks, Iterable)):
            raise ValueError(
                f"BlockDataset needs an iterable of blocks, or the function that makes an iterator "
                f"of them; got {type(blocks).__name__}."
            )
        if isinstance(blocks, Iterator):
            raise ValueError(
                f"BlockDataset needs blocks that can be iterated again; got {type(blocks).__name__}"
                ", an iterator, which ends after one round, and a fit takes many. Give a list, an "
                "object whose __iter__ begins anew, or the function that makes the iterator."
            )
        self._again = blocks if callable(blocks) else blocks.__iter__
        given = next(iter(self._again()), None)
        if given is None:
            raise ValueError("BlockDataset has no blocks: there is nothing to fit.")
        parts = _parts(given, 0)
        first = self._first = _Form.of(parts, _block(parts, 0))
        self.n_features = first.n_features
        self.n_outputs = first.n_outputs
        self.row_inputs = tuple(name for name in ROW_INPUTS if name in first.held)
        self.feature_names = first.feature_names
        self.label_order = first.label_order

    def blocks(self) -> Iterator[Block]:
        for number, given in enumerate(self._again()):
            parts = _parts(given, number)
            block = _block(parts, number)
            if len(block.X):
                self._first.check(_Form.of(parts, block), block.place)
            yield block

    def identity(self):
        return f"blocks of {type(self._again).__name__}"


class _Form(NamedTuple):
    """What all blocks have in common with the first."""

    held: tuple[str, ...]
    n_features: int
    n_outputs: int
    feature_names: list[str] | None
    label_order: list[Any] | None

    @classmethod
    def of(cls, parts, block: Block) -> _Form:
        y = block.y
        return cls(
            tuple(name for name in PARTS if getattr(block, name) is not None),
            block.X.shape[1],
            0 if y is None or y.ndim < 2 else y.shape[1],
            column_names(getattr(parts["X"], "columns", None)),
            label_order(parts["y"]),
        )

    def check(self, other: _Form, place: str):
        """Refuse a block that differs.

        Raises
        ------
        ValueError
        """
        said = {
            "held": ("holds {}", "Give every block the same inputs"),
            "n_features": ("has {} columns of X", "Give every block the same columns"),
            "n_outputs": ("has {} columns of y (0: one value for each row)", "Give all the same"),
            "feature_names": ("names the columns {}", "Give every block the same columns in order"),
            "label_order": ("has the ordered categories {}", "Give every y the same categories"),
        }
        for name, (text, cure) in said.items():
            here, first = getattr(other, name), getattr(self, name)
            if here != first:
                here, first = (
                    ", ".join(one) if name == "held" else repr(one) for one in (here, first)
                )
                raise ValueError(
                    f"{place} {text.format(here)}; the first block {text.format(first)}. {cure}."
                )


def _block(given: dict[str, Any], number) -> Block:
    parts: dict[str, Any] = {
        name: None if values is None else as_values(values)
        for name, values in given.items()
        if name != "X"
    }
    X = as_floats(given["X"])
    if X.ndim != 2:
        raise ValueError(f"block {number}: X needs two dimensions; got shape {X.shape}.")
    for name, values in parts.items():
        if name in ROW_INPUTS and np.ndim(values) == 0 and values is not None:
            parts[name] = np.full(len(X), values)
        elif values is not None and values.shape[:1] != X.shape[:1]:
            raise ValueError(f"block {number}: {name} has shape {values.shape} for {len(X)} rows.")
    return Block(X, **parts, place=f"block {number}")


def _parts(given, number) -> dict[str, Any]:
    """What a block holds, by name."""
    if isinstance(given, Mapping):
        unknown = sorted(set(given) - set(PARTS))
        if unknown or "X" not in given:
            raise ValueError(
                f"block {number} has the keys {sorted(given)}; it needs 'X', and may have "
                f"{', '.join(map(repr, PARTS[1:]))}."
            )
        return {"y": None, **given}
    if isinstance(given, tuple | list) and 1 <= len(given) <= 3:
        return {"y": None, **dict(zip(PARTS, given, strict=False))}
    raise ValueError(
        f"block {number} is {type(given).__name__}; it must be (X, y), (X, y, weight), or a "
        "mapping with the keys 'X', 'y', 'weight', 'offset', 'exposure' and 'trials'."
    )
