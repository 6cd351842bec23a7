"""Memory for large results."""

from __future__ import annotations

import ctypes
import functools
import mmap
import sys

import torch
from torch import Tensor

HUGE_PAGE = 2**21
ADVISED_BYTES = 2 * HUGE_PAGE


def empty_like(tensor: Tensor) -> Tensor:
    """Memory of the shape of a tensor, not initialised; on Linux of huge pages where it is large.

    Gradients of stacked weights are large, fresh in every step, and written once in small pieces:
    without huge pages the system's work on first touch costs as much as a matrix product.
    """
    fresh = torch.empty_like(tensor)
    if fresh.device.type == "cpu" and fresh.nbytes >= ADVISED_BYTES and sys.platform == "linux":
        begin = -(-fresh.data_ptr() // HUGE_PAGE) * HUGE_PAGE
        end = (fresh.data_ptr() + fresh.nbytes) // HUGE_PAGE * HUGE_PAGE
        # advice only: a system that refuses it gives ordinary pages
        _advise()(begin, end - begin, mmap.MADV_HUGEPAGE)
    return fresh


@functools.cache
def _advise():
    function = ctypes.CDLL(None).madvise
    function.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    return function
