"""A twin of CuPy on the host: arrays that move only when asked to, and count it.

`DeviceTwin` stands in for the module. Its arrays hold numpy arrays and refuse every implicit
conversion, those that CuPy would allow at the price of a transfer among them. Kernels run their
numpy twins, or, with ``compiled=True``, their own CUDA source, compiled as C++ and called lane by
lane. New memory is filled with NaN, so that what a kernel leaves out shows.
"""

from __future__ import annotations

import ctypes
import functools
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from mixexp.em.device import GPU, DeviceMatrix, DeviceRows
from mixexp.kernels.gpu_twins import TWINS

COMPILER = shutil.which("g++") or shutil.which("c++")
SHIM = """
#include <math.h>
struct Dim { unsigned x; };
static Dim blockIdx, threadIdx, blockDim, gridDim;
#define __global__
#define __device__ static inline
%s
extern "C" void drive(unsigned grid, unsigned block, %s)
{
    gridDim.x = grid;
    blockDim.x = block;
    for (blockIdx.x = 0; blockIdx.x < grid; blockIdx.x++)
        for (threadIdx.x = 0; threadIdx.x < block; threadIdx.x++) %s(%s);
}
"""


class DeviceArray:
    """An array of the twin. Only what CuPy does on the device is there."""

    __array_priority__ = 100

    def __init__(self, host, twin):
        self._host, self._twin = host, twin

    shape = property(lambda self: self._host.shape)
    dtype = property(lambda self: self._host.dtype)
    ndim = property(lambda self: self._host.ndim)
    size = property(lambda self: self._host.size)
    itemsize = property(lambda self: self._host.itemsize)
    strides = property(lambda self: self._host.strides)
    nbytes = property(lambda self: self._host.nbytes)
    T = property(lambda self: self._new(self._host.T))
    device = property(lambda self: self._twin.cuda.Device())
    __cuda_array_interface__ = property(lambda self: {"shape": self.shape, "version": 3})

    def _new(self, host):
        return DeviceArray(np.asarray(host), self._twin)

    def __len__(self):
        return len(self._host)

    def __getitem__(self, index):
        if isinstance(index, DeviceArray):
            index = index._host
        elif isinstance(index, np.ndarray | list):
            raise TypeError("an index on the host")
        return self._new(self._host[index])

    def reshape(self, *shape):
        return self._new(self._host.reshape(*shape))

    def ravel(self):
        return self._new(self._host.ravel())

    def astype(self, dtype, copy=True):
        return self._new(self._host.astype(dtype, copy=copy))

    def copy(self):
        return self._new(self._host.copy())

    def sum(self, axis=None, dtype=None):
        return self._new(self._host.sum(axis=axis, dtype=dtype))

    def all(self):
        return self._new(self._host.all())

    def _refuse(self, *args, **kwargs):
        raise TypeError("implicit conversion of an array on the device")

    __array__ = __array_ufunc__ = __array_function__ = _refuse
    __iter__ = __bool__ = __float__ = __int__ = __index__ = __contains__ = _refuse


def _operator(name):
    def operate(self, other):
        if isinstance(other, np.ndarray):
            raise TypeError("arithmetic of an array on the device with one on the host")
        other = other._host if isinstance(other, DeviceArray) else other
        return self._new(getattr(self._host, name)(other))

    return operate


for _name in ("add", "sub", "mul", "truediv", "radd", "rsub", "rmul", "rtruediv", "pow"):
    setattr(DeviceArray, f"__{_name}__", _operator(f"__{_name}__"))


class DeviceTwin:
    """The module.

    Attributes
    ----------
    up, down : list of int
        Bytes of every transfer to the device and back.
    """

    ndarray = DeviceArray
    __version__ = "14.0.0"

    def __init__(self, compiled=False, free=2**30, available=True):
        self.compiled = compiled
        self.up: list[int] = []
        self.down: list[int] = []
        self.cuda = SimpleNamespace(
            is_available=lambda: available, Device=functools.partial(_Device, free)
        )

    def clear(self):
        self.up.clear()
        self.down.clear()

    def asarray(self, array, dtype=None):
        if isinstance(array, DeviceArray):
            return array if dtype is None else array.astype(dtype, copy=False)
        host = np.array(array, dtype=dtype, order="C")
        self.up.append(host.nbytes)
        return DeviceArray(host, self)

    def asnumpy(self, array):
        if not isinstance(array, DeviceArray):
            return np.asarray(array)
        self.down.append(array.nbytes)
        return array._host.copy()

    def empty(self, shape, dtype=np.float64):
        host = np.empty(shape, dtype)
        host.fill(np.nan if host.dtype.kind == "f" else 1)
        return DeviceArray(host, self)

    def zeros(self, shape, dtype=np.float64):
        return DeviceArray(np.zeros(shape, dtype), self)

    def ones(self, shape, dtype=np.float64):
        return DeviceArray(np.ones(shape, dtype), self)

    def matmul(self, left, right):
        return DeviceArray(np.matmul(left._host, right._host), self)

    def take(self, array, index, axis=None):
        return DeviceArray(np.take(array._host, index._host, axis=axis), self)

    def concatenate(self, arrays, axis=0):
        return DeviceArray(np.concatenate([one._host for one in arrays], axis=axis), self)

    def isfinite(self, array):
        return DeviceArray(np.isfinite(array._host), self)

    def get_default_memory_pool(self):
        return SimpleNamespace(free_bytes=lambda: 0)

    def RawKernel(self, code, name, options=()):
        make = _compiled if self.compiled else _interpreted
        return make(code, name, options)


class _Device:
    def __init__(self, free, number=0):
        self.mem_info = free, free

    def __enter__(self):
        return self

    def __exit__(self, *error):
        return False

    def synchronize(self):
        pass


def _interpreted(code, name, options):
    assert re.search(rf"void {name}\(", code)
    macros = dict(option.removeprefix("-D").split("=") for option in options)

    def call(grid, block, arguments):
        hosts = [one._host if isinstance(one, DeviceArray) else one for one in arguments]
        TWINS[name](macros, *hosts)

    return call


@functools.cache
def _compiled(code, name, options):
    """The kernel of this source as a function of the host, every lane after the other."""
    folder = Path(tempfile.mkdtemp(prefix="mixexp-kernel-"))
    declared = re.search(rf"void {name}\(([^)]*)\)", code).group(1)
    names = ", ".join(one.split()[-1].lstrip("*") for one in declared.split(","))
    source, library = folder / "kernel.cpp", folder / "kernel.so"
    source.write_text(SHIM % (code, declared, name, names))
    flags = ["-std=c++17", "-O1", "-Wall", "-Wextra", "-Wno-unused", "-Werror", "-shared", "-fPIC"]
    command = [COMPILER, *flags, *options, str(source), "-o", str(library)]
    subprocess.run(command, check=True, capture_output=True, text=True)
    drive = ctypes.CDLL(str(library)).drive
    shutil.rmtree(folder)

    def argument(one):
        if one is None:
            return ctypes.c_void_p(None)
        if isinstance(one, DeviceArray):
            return ctypes.c_void_p(one._host.ctypes.data)
        assert type(one) is int  # CuPy passes these, and these alone, as 64 bits
        return ctypes.c_longlong(one)

    def call(grid, block, arguments):
        assert len(arguments) == len(declared.split(","))
        drive(ctypes.c_uint(grid[0]), ctypes.c_uint(block[0]), *map(argument, arguments))

    return call


def on_device(xp, rows, **settings):
    """The rows with X on the device, in its layout as far as the device keeps that."""
    X = DeviceArray(rows.X, xp) if isinstance(xp, DeviceTwin) else xp.asarray(rows.X)
    return DeviceRows(DeviceMatrix(X, GPU(**settings), xp), *rows[1:])


def module(place, monkeypatch):
    """The twin in the place of CuPy, or CuPy itself; skips where there is no device."""
    if place == "twin":
        twin = DeviceTwin(compiled=COMPILER is not None)
        monkeypatch.setitem(sys.modules, "cupy", twin)
        return twin
    cupy = pytest.importorskip("cupy")
    if not cupy.cuda.is_available():
        pytest.skip("no CUDA device")
    return cupy


PLACES = ["twin", pytest.param("device", marks=pytest.mark.gpu)]
