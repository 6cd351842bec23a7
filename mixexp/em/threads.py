"""BLAS threads: one, wherever mixexp runs its own threads or many small products."""

from __future__ import annotations

import functools
import threading
from contextlib import contextmanager
from typing import Any

from threadpoolctl import ThreadpoolController

_lock = threading.Lock()
_held = 0  # contexts open at the moment, in all threads of the process
_limit: Any = None


@functools.cache
def _controller():
    return ThreadpoolController()


@contextmanager
def single_threaded_blas():
    """Context in which BLAS uses one thread: small products gain nothing from more.

    The limit belongs to the process. Fits in several threads may enter and leave in any order;
    the last one to leave lifts it.
    """
    from ..kernels import cpu  # noqa: F401  (its BLAS must be loaded before the controller looks)

    global _held, _limit
    with _lock:
        _held += 1
        if _held == 1:
            _limit = _controller().limit(limits=1, user_api="blas")
    try:
        yield
    finally:
        with _lock:
            _held -= 1
            if _held == 0:
                _limit.restore_original_limits()
                _limit = None
