"""Parquet and Arrow files as a source: row groups are its blocks."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from .arrays import check_block_rows
from .base import ROW_INPUTS, Block, BlockSource

SUFFIXES = {".parquet": "parquet", ".pq": "parquet", ".arrow": "arrow", ".feather": "arrow"}
BLOCK_ROWS = 65536
FEW_ROWS = 32768  # row groups are put together until a block has so many


class FileDataset(BlockSource):
    """Rows of Parquet or Arrow files, read block by block at every pass.

    Parameters
    ----------
    path : path-like, or sequence of them
        A file, or a folder with all files below it that end in .parquet, .pq, .arrow or .feather,
        in the order of their paths, but for hidden ones: names of files and folders that begin
        with "." or "_". All have the columns of the first.
    target : str, sequence of str, or None
        Column of y, or columns of several responses; None for data to predict alone. An ordered
        dictionary, as pandas writes an ordered categorical of texts, keeps its order.
    features : sequence of str, or None
        Columns of X in this order; None means all columns that have no other role and are not the
        index of a pandas frame, which may be named.
    weight, offset, exposure, trials : str or None
        Columns of row-wise inputs; see `MoERegressor.fit`.
    block_rows : int, default=65536
        Rows of a block at most: larger row groups are read in parts, and many small ones at once.

    Attributes
    ----------
    files : list of Path
    feature_names : list of str
    n_features : int

    Raises
    ------
    ValueError
        If there is no such file, a file is damaged, lacks a column or has it with another kind of
        values, or a column of X holds no numbers.

    Notes
    -----
    Integers, decimals and booleans become float64; X is float32 where all its columns are. Missing
    values are refused, by file and row group (numbered from 0).
    """

    feature_names: list[str]

    def __init__(
        self,
        path,
        *,
        target=None,
        features=None,
        weight=None,
        offset=None,
        exposure=None,
        trials=None,
        block_rows=BLOCK_ROWS,
    ):
        self.files = _files(path)
        self._folders = [one for one in _paths(path) if one.is_dir()]
        self.block_rows = check_block_rows(block_rows)
        inputs = {"weight": weight, "offset": offset, "exposure": exposure, "trials": trials}
        self._inputs = {name: column for name, column in inputs.items() if column is not None}
        self.row_inputs = tuple(name for name in ROW_INPUTS if name in self._inputs)
        self._targets = _listed(target, "target")
        self.n_outputs = 0 if target is None or isinstance(target, str) else len(self._targets)
        taken = [*self._targets, *self._inputs.values()]
        opened = [_Opened.of(file) for file in self.files]
        if features is None:
            without = {*taken, *opened[0].index_columns}
            features = [name for name in opened[0].schema.names if name not in without]
        self.feature_names = _listed(features, "features")
        self.n_features = len(self.feature_names)
        both = sorted(set(self.feature_names) & set(taken))
        if both or not self.feature_names:
            raise ValueError(
                f"features needs columns that are not target, weight, offset, exposure or trials; "
                f"got {both or self.feature_names!r}."
            )
        self._columns = list(dict.fromkeys([*self.feature_names, *taken]))
        for one in opened:
            self._check_schema(one)
        self._dtype = _common(opened, self.feature_names)
        self.label_order = self._first_order(opened)
        sizes = [(one.path.name, one.path.stat().st_size, one.n_rows) for one in opened]
        self._identity = f"{sizes} {self._columns} {[str(o.schema) for o in opened[:1]]}"

    def identity(self):
        return self._identity

    def __repr__(self):
        count = f"{self.files[0]}" if len(self.files) == 1 else f"{len(self.files)} files"
        return f"FileDataset({count}: {self.n_features} features, target {self._targets})"

    def holds(self, path) -> bool:
        """Whether a path is one of the files, or lies in a folder that was given as a source.

        Links are followed: it is what the path leads to that counts, and where it stands.
        """
        own, real = Path(os.path.realpath(Path(path).parent)), Path(os.path.realpath(path))
        above = {own, *own.parents, *real.parents}
        return any(_is_same(real, file) for file in self.files) or any(
            _is_same(one, folder) for one in above for folder in self._folders
        )

    def blocks(self) -> Iterator[Block]:
        return _together(self._pieces(), self.block_rows)

    def _pieces(self):
        """One block for every row group, or for every part of a large one."""
        for path in self.files:
            opened = _Opened.of(path)
            self._check_schema(opened)
            for place, first, batch in opened.batches(self._columns, self.block_rows):
                yield self._block(batch, place, first)

    def _first_order(self, opened):
        """Categories of an ordered target, as the first rows have them."""
        if self.n_outputs or not self._targets:
            return None
        kinds = [one.schema.field(self._targets[0]).type for one in opened]
        if not any(map(_is_ordered, kinds)):
            return None
        for one in opened:
            one.check_dictionary(self._targets[0])
        batches = (batch for one in opened for *_, batch in one.batches(self._targets, 1))
        return next((_order(batch.column(0)) for batch in batches), None)

    def _block(self, batch, place, first) -> Block:
        """The block of a batch, before which its place has so many rows."""
        for name in self._columns:
            if batch.column(name).null_count:
                row = int(np.argmax(batch.column(name).is_null().to_numpy(zero_copy_only=False)))
                raise ValueError(
                    f"{place}: column {name!r} has no value in row {first + row} of it. Fill "
                    "missing values in, or leave these rows or the column out."
                )
        self._check_order(batch, place)
        X = np.empty((batch.num_rows, self.n_features), self._dtype, order="F")
        for j, name in enumerate(self.feature_names):
            X[:, j] = _numbers(batch.column(name))
        y = [_values(batch.column(name)) for name in self._targets]
        inputs = {name: _numbers(batch.column(column)) for name, column in self._inputs.items()}
        target = None if not y else np.column_stack(y) if self.n_outputs else y[0]
        return Block(X, target, **inputs, place=place, parts=((0, place, first),))

    def _check_order(self, batch, place):
        """Refuse labels in another order than those of the first rows."""
        if self.n_outputs or not self._targets:
            return
        order = _order(batch.column(self._targets[0]))
        if order != self.label_order:
            raise ValueError(
                f"{place}: {self._targets[0]!r} has the ordered categories {order!r}, and the "
                f"first rows have {self.label_order!r}. Write all files with the same categories "
                "(pandas.CategoricalDtype([...], ordered=True)), or as texts."
            )

    def _check_schema(self, opened):
        """Refuse a file that lacks a column, or has texts where numbers are needed."""
        place = f"{opened.path}, {opened.group} 0"
        names = set(opened.schema.names)
        missing = [name for name in self._columns if name not in names]
        if missing:
            raise ValueError(
                f"{place}: no column {missing!r}; its columns are {opened.schema.names!r}. Every "
                "file needs all columns of the data."
            )
        labels = [] if self.n_outputs else self._targets
        wrong = {
            name: str(opened.schema.field(name).type)
            for name in self._columns
            if name not in labels and not _is_number(opened.schema.field(name).type)
        }
        if wrong:
            raise ValueError(
                f"{place}: X, weights and the like must be numbers; got the columns {wrong!r}. "
                "Name the columns to use, features=[...], or encode these beforehand."
            )


class _Opened(NamedTuple):
    """A file whose footer has been read."""

    path: Path
    kind: str
    schema: Any
    n_rows: int | None

    @classmethod
    def of(cls, path: Path) -> _Opened:
        import pyarrow as pa
        import pyarrow.parquet as pq

        kind = SUFFIXES[path.suffix.lower()]
        try:
            if kind == "parquet":
                with pq.ParquetFile(path) as file:
                    return cls(path, kind, file.schema_arrow, file.metadata.num_rows)
            with pa.memory_map(str(path)) as file, pa.ipc.open_file(file) as reader:
                return cls(path, kind, reader.schema, None)
        except (pa.ArrowException, OSError) as error:
            raise ValueError(f"{path} cannot be read as a {kind} file: {error}") from error

    @property
    def group(self) -> str:
        """What the file calls its parts."""
        return "row group" if self.kind == "parquet" else "record batch"

    @property
    def index_columns(self) -> list[str]:
        """Columns that hold the index of the pandas frame which was written."""
        index = (self.schema.pandas_metadata or {}).get("index_columns", [])
        return [name for name in index if isinstance(name, str)]  # a range is no column

    def check_dictionary(self, column):
        """Refuse an ordered column of a Parquet file that was written without its categories."""
        import pyarrow.parquet as pq

        if self.kind != "parquet" or not _is_ordered(self.schema.field(column).type):
            return
        with pq.ParquetFile(self.path) as file:
            for group in range(file.num_row_groups):
                found = file.metadata.row_group(group)
                chunks = map(found.column, range(found.num_columns))
                chunk = next(one for one in chunks if one.path_in_schema == column)
                if found.num_rows and not chunk.has_dictionary_page:
                    raise ValueError(
                        f"{self.path}, row group {group}: {column!r} is ordered and was written "
                        "without its dictionary, so that the order is lost. Write it with one "
                        "(use_dictionary=True), or as texts."
                    )

    def batches(self, columns, size):
        """(place, rows of it before, record batch of at most so many rows), in order."""
        import pyarrow as pa

        group, first, read = 0, 0, self._parquet if self.kind == "parquet" else self._arrow
        batches = read(columns, size)
        while True:
            try:
                found = next(batches, None)
            except (pa.ArrowException, OSError) as error:
                raise ValueError(
                    f"{self.path}, {self.group} {group}: it cannot be read: {error}"
                ) from error
            if found is None:
                return
            if found[1] is None:  # the next group begins
                group, first = found[0], 0
                continue
            yield f"{self.path}, {self.group} {group}", first, found[1]
            first += found[1].num_rows

    def _parquet(self, columns, size):
        import pyarrow.parquet as pq

        with pq.ParquetFile(self.path, page_checksum_verification=True) as file:
            for group in range(file.num_row_groups):
                yield group, None
                options = {"row_groups": [group], "columns": columns, "use_threads": False}
                for batch in file.iter_batches(size, **options):
                    yield group, batch

    def _arrow(self, columns, size):
        import pyarrow as pa

        with pa.memory_map(str(self.path)) as file, pa.ipc.open_file(file) as reader:
            for group in range(reader.num_record_batches):
                yield group, None
                batch = reader.get_batch(group).select(columns)
                for start in range(0, batch.num_rows, size):
                    yield group, batch.slice(start, size)


def _paths(path) -> list[Path]:
    return [Path(path)] if isinstance(path, str | Path) else [Path(one) for one in path]


def _is_same(one: Path, other: Path) -> bool:
    return one.exists() and other.exists() and one.samefile(other)


def _files(path) -> list[Path]:
    """The files of a path, of a folder, or of a sequence of these."""
    found: list[Path] = []
    for one in _paths(path):
        if one.is_dir():
            inside = sorted(file for file in one.rglob("*") if file.suffix.lower() in SUFFIXES)
            found += [file for file in inside if not _is_hidden(file.relative_to(one))]
        elif not one.is_file():
            raise ValueError(f"{one}: no such file or folder. For a pattern give glob.glob(...).")
        elif one.suffix.lower() not in SUFFIXES:
            ends = ", ".join(SUFFIXES)
            raise ValueError(f"{one}: the name must end in one of {ends}. Write it as one first.")
        else:
            found.append(one)
    if not found:
        raise ValueError(f"{path}: no file in it ends in one of {', '.join(SUFFIXES)}.")
    return found


def _is_hidden(path: Path) -> bool:
    """Whether the file or a folder above it has a name of copies and of notes about the data."""
    return any(part.startswith((".", "_")) for part in path.parts)


def _listed(names, what) -> list[str]:
    names = [] if names is None else [names] if isinstance(names, str) else list(names)
    if not all(isinstance(name, str) for name in names) or len(set(names)) < len(names):
        raise ValueError(f"{what} needs names of columns, each once; got {names!r}.")
    return names


def _is_number(kind):
    import pyarrow as pa

    tests = (pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal, pa.types.is_boolean)
    return any(test(kind) for test in tests)


def _common(opened, names):
    """float32 where all columns have no more digits, else float64."""
    import pyarrow as pa

    kinds = {one.schema.field(name).type for one in opened for name in names}
    return np.float32 if kinds <= {pa.float16(), pa.float32()} else np.float64


def _numbers(column):
    """A column without missing values as an array of numbers."""
    import pyarrow as pa

    if pa.types.is_decimal(column.type):
        column = column.cast(pa.float64())
    return column.to_numpy(zero_copy_only=False)


def _order(column) -> list[Any] | None:
    """The categories of an ordered column; None for any other."""
    return column.dictionary.to_pylist() if _is_ordered(column.type) else None


def _is_ordered(kind) -> bool:
    return bool(getattr(kind, "ordered", False))


def _values(column):
    """A column of the target: numbers, or labels."""
    import pyarrow as pa

    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if _is_number(column.type):
        return _numbers(column)
    return column.to_numpy(zero_copy_only=False)


def _together(pieces, most: int) -> Iterator[Block]:
    """Neighbouring blocks put together while they are small, and no more rows than ``most``."""
    held: list[Block] = []
    n = 0
    for piece in pieces:
        if held and (n >= FEW_ROWS or n + len(piece.X) > most):
            yield _joined(held)
            held, n = [], 0
        held.append(piece)
        n += len(piece.X)
    if held:
        yield _joined(held)


def _joined(held: list[Block]) -> Block:
    if len(held) == 1:
        return held[0]
    arrays: list[Any] = [
        None if one is None else np.concatenate([block[i] for block in held])
        for i, one in enumerate(held[0][:-2])
    ]
    starts = np.cumsum([0, *(len(block.X) for block in held[:-1])])
    parts = tuple(
        (int(start) + row, place, before)
        for start, block in zip(starts, held, strict=True)
        for row, place, before in block.parts
    )
    return Block(*arrays)._replace(place=f"{held[0].place} to {held[-1].place}", parts=parts)
