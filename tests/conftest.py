"""Fixtures and settings for every test."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings

# The same examples in every run: a failure seen once is seen again. Deadlines would judge the
# first call of a kernel, which is compiled then.
settings.register_profile("mixexp", deadline=None, derandomize=True, max_examples=25)
settings.load_profile("mixexp")


@pytest.fixture
def rng() -> np.random.Generator:
    """A fresh generator with a fixed seed."""
    return np.random.default_rng(0)


@pytest.fixture(scope="session")
def shared_reference() -> Path:
    """The folder of reference fits that may stand beside a checkout; else the test is skipped.

    What a test of every checkout needs is copied to tests/reference.
    """
    folder = Path(__file__).resolve().parents[2] / "shared" / "reference"
    if not folder.is_dir():
        pytest.skip("no folder of reference fits beside this checkout")
    return folder
