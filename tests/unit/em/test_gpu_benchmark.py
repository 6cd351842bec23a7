"""The benchmark of engine ``gpu``: without a device it says so; its floor is that of a pass."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from benchmarks import gpu as benchmark
from mixexp.em.engines import GpuEngine
from tests.contracts.cases import model_of, problem
from tests.device_twin import DeviceTwin, on_device


def test_without_a_device_nothing_is_measured(monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", None)
    with pytest.raises(SystemExit, match=r"measures nothing here\. .*mixexp\[gpu12\]"):
        benchmark.main([])


def test_the_floor_multiplies_what_a_pass_multiplies(monkeypatch):
    """Floating-point operations of the products, counted from the shapes that are multiplied."""
    twin = DeviceTwin()
    monkeypatch.setitem(sys.modules, "cupy", twin)
    n, p, K = 600, 3, 4
    case = problem("softmax", "gaussian", n=n, p=p)
    engine = GpuEngine(on_device(twin, case.rows), model_of(case, K=K))
    work, product = [], twin.matmul

    def counted(left, right):
        work.append(2 * left.size * right.shape[-1])
        return product(left, right)

    monkeypatch.setattr(twin, "matmul", counted)
    found = {}
    for name, function in benchmark.floor_functions(engine).items():
        work.clear()
        function()
        found[name] = sum(work)
    q, padded, J = p + 1, 608, K + K * (K - 1) // 2
    assert found == {
        "predictors": 2 * padded * q * 2 * K,
        "scores": 2 * padded * q * 2 * K,
        "columns": 2 * padded * J * q * (q + 1) // 2,
        "weighted": 2 * padded * J * q * q,
    }


@pytest.mark.slow
def test_every_line_has_a_figure(monkeypatch):
    twin = DeviceTwin()
    monkeypatch.setitem(sys.modules, "cupy", twin)
    for dtype in (np.float64, np.float32):
        lines = list(benchmark.figures(twin, [(3000, 3, 2)], 1, dtype, cores=1))
        assert [line.section for line in lines] == ["gpu pass"] * 2 + ["gpu fit"] * 2
        assert all(line.value > 0 for line in lines)
        assert "designs kept" in lines[0].note
