"""BLAS threads: one, wherever mixexp runs its own threads or many small products."""

from __future__ import annotations

import functools

from threadpoolctl import ThreadpoolController


@functools.cache
def _controller():
    return ThreadpoolController()


def single_threaded_blas():
    """Context in which BLAS uses one thread: small products gain nothing from more."""
    from ..kernels import cpu  # noqa: F401  (its BLAS must be loaded before the controller looks)

    return _controller().limit(limits=1, user_api="blas")
