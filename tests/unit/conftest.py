"""Fixtures of several units: the stand-in for a device, and Dask in one process."""

from __future__ import annotations

import pytest

from tests.device_twin import PLACES, module


@pytest.fixture
def twin(monkeypatch):
    """The twin of CuPy in its place; kernels are their own sources where there is a compiler."""
    return module("twin", monkeypatch)


@pytest.fixture(params=PLACES)
def xp(request, monkeypatch):
    """The twin, and CuPy itself for tests that count nothing."""
    return module(request.param, monkeypatch)


@pytest.fixture
def in_this_process():
    """Dask's tasks run in this process, one after the other."""
    dask = pytest.importorskip("dask")
    with dask.config.set(scheduler="synchronous"):
        yield
