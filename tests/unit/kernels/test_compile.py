"""Entries are compiled without a cache where none is writable, and once for their signature."""

import numpy as np
import pytest
from numba import types

from mixexp.kernels import _compile


def _double(x):
    return 2.0 * x


def _mean(x):
    return x.sum() / len(x)


def test_an_unwritable_cache_is_no_error(monkeypatch):
    original = _compile.njit

    def njit(cache=False, **options):
        if cache:
            raise RuntimeError("cannot cache function: no locator available")
        return original(**options)

    monkeypatch.setattr(_compile, "njit", njit)
    assert _compile.entry(_double)(1.5) == 3.0


def test_the_name_in_the_cache_follows_all_kernel_sources():
    assert _compile.entry(_double).py_func.__qualname__ == f"_double_{_compile._digest()}"


def test_one_signature_serves_every_layout():
    vector = types.Array(types.float64, 1, "A", readonly=True)
    mean = _compile.entry_of_one_signature(_mean, (vector,))
    x = np.arange(6.0)
    frozen = x.copy()
    frozen.flags.writeable = False
    assert mean(x) == mean(frozen) == 2.5
    assert mean(x[::2]) == 2.0
    assert len(mean.signatures) == 1
    with pytest.raises(TypeError, match="No matching definition"):
        mean("text")
