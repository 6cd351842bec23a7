"""Memory for large tensors, in pages that the system gives quickly."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

LARGE = 2**22  # bytes from which numpy asks for large pages
ALIGNMENT = 64  # bytes, that of PyTorch's own memory


def empty(like: Tensor, shape: Sequence[int]) -> Tensor:
    """An uninitialised tensor with the precision and device of another one.

    The system gives new memory page by page, and gradients of large matrices are new in every
    pass: with pages of 4 KB that takes half as long as the products. From `LARGE` bytes on a CPU
    the memory is numpy's, which asks for pages of 2 MB where the system has them; PyTorch does so
    for all of a program's tensors or for none.
    """
    n = math.prod(shape) * like.element_size()
    if like.device.type != "cpu" or n < LARGE:
        return like.new_empty(tuple(shape))
    block = torch.from_numpy(np.empty(n + ALIGNMENT, np.uint8))
    first = -block.data_ptr() % ALIGNMENT
    return block[first : first + n].view(like.dtype).view(tuple(shape))
