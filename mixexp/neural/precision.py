"""`PreciseBuffers`: modules whose learned state is not rounded by a cast."""

from __future__ import annotations

import torch
from torch import nn


class PreciseBuffers(nn.Module):
    """A module whose buffers stay in at least float32, whatever precision it is cast to.

    Buffers are moved once a step by little: in half precision the steps would be rounded away.
    """

    def _apply(self, fn, recurse=True):
        """Move or cast like any module, buffers in half precision excepted."""
        held = dict(self._buffers)
        super()._apply(fn, recurse)
        for name, before in held.items():
            after = self._buffers[name]
            if after is not None and after.dtype in (torch.float16, torch.bfloat16):
                self._buffers[name] = before.to(after.device)
        return self
