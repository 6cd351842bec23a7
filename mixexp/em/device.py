"""Rows on a device: CuPy arrays, and what is asked of them outside the passes.

The columns stay where they are; targets, weights and other row-wise inputs are host arrays, of
which an engine makes copies on the device.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import Any

import numpy as np

from .._component import Component
from ..kernels import gpu
from ..scaling import Moments
from .rows import Rows, design_gram
from .starts.keys import column_keys, combined, hash_rows

OLDEST = 14  # major version of CuPy
GIB = 2**30
ENTRIES = 2**25  # of X that are taken at once outside of passes
SHARE = 0.8  # of the free memory that an engine plans with
INSTALL = "pip install 'mixexp[gpu12]' for CUDA 12, or 'mixexp[gpu13]' for CUDA 13"


class GPU(Component):
    """Engine ``"gpu"`` with settings of its own: where the rows are, and how much memory it takes.

    Parameters
    ----------
    stream : bool, default=False
        True leaves X on the host and copies it to the device block by block in every pass: for X
        larger than the device's memory. Row-wise vectors still lie on the device.
    memory : int or None
        Bytes of the device that designs and work arrays may take together, X included unless
        streamed. None: four fifths of what is free.

    Examples
    --------
    >>> from mixexp import GPU, MoERegressor
    >>> model = MoERegressor(n_experts=3, engine=GPU(stream=True))
    """

    def __init__(self, stream=False, memory=None):
        self.stream = stream
        self.memory = memory

    def budget(self, xp) -> int:
        """Bytes that may be taken from now on."""
        if self.memory is not None:
            if not self.memory > 0:
                raise ValueError(f"GPU(memory=) is a number of bytes > 0; got {self.memory!r}.")
            return int(self.memory)
        unused = xp.get_default_memory_pool().free_bytes()
        return int(SHARE * (xp.cuda.Device().mem_info[0] + unused))


def array_module():
    """CuPy, checked: new enough, and with a device.

    Raises
    ------
    ImportError
        Without CuPy, or with an older one.
    RuntimeError
        Where there is no device.
    """
    try:
        import cupy
    except ImportError as error:
        raise ImportError(
            f"engine='gpu' needs CuPy {OLDEST} or later: {INSTALL}. Without a GPU use "
            "engine='memory'."
        ) from error
    if int(cupy.__version__.split(".")[0]) < OLDEST:
        raise ImportError(
            f"engine='gpu' needs CuPy {OLDEST} or later; got {cupy.__version__}: {INSTALL}."
        )
    if not cupy.cuda.is_available():
        raise RuntimeError(
            "engine='gpu' finds no CUDA device: CuPy is installed, but no driver or GPU answers. "
            "Look at nvidia-smi, or use engine='memory'."
        )
    return cupy


@contextmanager
def room():
    """Context in which the device running out of memory is an error that says what to do."""
    try:
        yield
    except MemoryError as error:
        raise MemoryError(
            "engine='gpu' ran out of the device's memory: something else took what was free when "
            "the fit began. Free it, give a smaller GPU(memory=...) in bytes, or use "
            f"GPU(stream=True), which leaves X on the host. ({error})"
        ) from error


def on_device(array) -> bool:
    """Whether an array is in the memory of a CUDA device."""
    return hasattr(array, "__cuda_array_interface__")


def to_host(array):
    """A numpy copy of an array on a device; anything else as it is."""
    if isinstance(array, DeviceMatrix):
        return array[:]
    if not on_device(array):
        return array
    xp = array_module()
    return xp.asnumpy(xp.asarray(array))


class DeviceMatrix:
    """X (n, p) on a device, or, to be streamed to it, on the host.

    Indexing by rows gives numpy copies, block by block: the way of everything that is not a pass.
    """

    ndim = 2

    def __init__(self, array, settings: GPU, xp=None):
        self.xp = array_module() if xp is None else xp
        self.array: Any = array
        self.settings = settings
        self.streamed = not on_device(array)

    @property
    def shape(self):
        return self.array.shape

    @property
    def dtype(self):
        return np.dtype(self.array.dtype)

    def __len__(self):
        return self.array.shape[0]

    def __getitem__(self, rows):
        if isinstance(rows, tuple):
            raise TypeError("columns of rows on a device are not taken apart; take rows first")
        if self.streamed:
            return self.array[rows]
        with self.array.device:
            index = rows if isinstance(rows, slice) else self.xp.asarray(rows)
            return self.xp.asnumpy(self.array[index])

    def __array__(self, *args, **kwargs):
        raise TypeError("rows on a device are not turned into numpy arrays without being asked to")

    @property
    def device(self):
        """The device, as a context."""
        return self.xp.cuda.Device() if self.streamed else self.array.device

    def block(self, rows: slice):
        """The rows of a slice on the device."""
        part = self.array[rows]
        return self.xp.asarray(part) if self.streamed else part


class DeviceRows(Rows):
    """`Rows` whose X is a `DeviceMatrix`; the row-wise inputs are numpy arrays."""

    X: Any

    def x_moments(self):
        X, xp = self.X, self.X.xp
        mass = float(self.n if self.weight is None else self.weight.sum())
        with X.device:
            mean = xp.zeros(self.p)
            for part, weight in self._weighted_blocks():
                mean = mean + xp.matmul(weight, part) / mass
            square = xp.zeros(self.p)
            for part, weight in self._weighted_blocks():
                square = square + xp.matmul(weight, (part - mean) ** 2)
            mean, square = xp.asnumpy(xp.concatenate([mean, square])).reshape(2, -1)
        return Moments(mass, mean, square).mean_and_scale()

    def _weighted_blocks(self):
        """Columns in float64 and weights of one block after the other, on the device."""
        X, xp = self.X, self.X.xp
        step = max(1, ENTRIES // self.p)
        for start in range(0, self.n, step):
            block = slice(start, min(start + step, self.n))
            part = X.block(block).astype(np.float64)
            weight = None if self.weight is None else xp.asarray(self.weight[block])
            yield part, xp.ones(len(part)) if weight is None else weight

    def part(self, block: slice) -> DeviceRows:
        """The rows of a slice, X still on the device."""
        X = DeviceMatrix(self.X.array[block], self.X.settings, self.X.xp)
        others = (None if one is None else one[block] for one in self[2:])
        return DeviceRows(X, self.y[block], *others)


@design_gram.register
def _(rows: DeviceRows, columns, scaling):
    X, xp = rows.X, rows.X.xp
    with X.device:
        chosen = xp.asarray(np.asarray(columns, dtype=np.int64))
        centre, scale = (xp.asarray(one[columns]) for one in (scaling.x_centre, scaling.x_scale))
        total = xp.zeros((len(columns) + 1,) * 2)
        for part, weight in rows._weighted_blocks():
            values = gpu.standardised(xp, part, chosen, centre, 1 / scale, len(part))
            total = total + xp.matmul((values * weight[:, None]).T, values)
        return xp.asnumpy(total)


def hash_columns(X: DeviceMatrix, keys):
    """(n,) uint64 what the columns of X add to the hashes of the rows."""
    step = max(1, ENTRIES // X.shape[1])
    with X.device:
        on_it = X.xp.asarray(keys)
        return np.concatenate(
            [
                X.xp.asnumpy(gpu.hashes(X.xp, X.block(slice(start, start + step)), on_it))
                for start in range(0, len(X), step)
            ]
        )


@hash_rows.register
def _(rows: DeviceRows):
    keys = column_keys(rows)
    of_X = hash_columns(rows.X, keys[: rows.X.shape[1]])
    return combined(rows, keys, lambda block: of_X[block])


def rows_of(X, *others) -> Rows:
    """`Rows` of the kind that X asks for."""
    kind = DeviceRows if isinstance(X, DeviceMatrix) else Rows
    return kind(X, *others)


def placed(rows: Rows, settings: GPU | None) -> Rows:
    """The rows where passes shall run: on the device for settings of it, else as they are.

    Raises
    ------
    ValueError
        Where X does not fit into the memory of the device.
    """
    if settings is None or isinstance(rows, DeviceRows):
        return rows
    xp = array_module()
    if settings.stream:
        return DeviceRows(DeviceMatrix(rows.X, settings, xp), *rows[1:])
    free = settings.budget(xp)
    if rows.X.nbytes > free:
        raise ValueError(
            f"engine='gpu': X holds {rows.X.nbytes / GIB:.2g} GiB, and {free / GIB:.2g} GiB of the "
            "device may be taken. engine=GPU(stream=True) leaves X on the host and copies it block "
            "by block in every pass; or use float32, or engine='memory'."
        )
    with room():
        return DeviceRows(DeviceMatrix(xp.asarray(rows.X), settings, xp), *rows[1:])


def on_host(rows: Rows) -> Rows:
    """The rows with X on the host, in one transfer where it is not there."""
    return rows.take(slice(None)) if isinstance(rows, DeviceRows) else rows
