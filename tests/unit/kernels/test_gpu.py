"""Kernels of engine ``gpu``: their CUDA source, compiled as C++, against their numpy twins."""

from __future__ import annotations

import shutil
import subprocess

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import mixexp.experts
from mixexp._component import EXPERTS
from mixexp.kernels import gpu, gpu_sources
from mixexp.kernels.links import LINKS
from mixexp.kernels.reference import BINOMIAL, GAMMA, POISSON
from tests.device_twin import COMPILER, DeviceTwin

assert mixexp.experts  # importing it fills the registry
GLM_PAIRS = [
    (expert.kernel_code, LINKS[link].code)
    for expert in EXPERTS.values()
    if getattr(expert, "kernel_code", None) is not None
    for link in expert.links
]
needs_compiler = pytest.mark.skipif(COMPILER is None, reason="no C++ compiler")


def both(run):
    """``run(twin)`` with numpy twins and with compiled sources, as numpy arrays."""
    results = []
    for compiled in (False, True):
        twin = DeviceTwin(compiled)
        results.append([twin.asnumpy(part) for part in run(twin)])
    return results


def targets(family, rng, n):
    if family == POISSON:
        return rng.poisson(2.0, n).astype(float), None
    if family == BINOMIAL:
        trials = rng.integers(1, 9, n).astype(float)
        return rng.binomial(trials.astype(int), 0.4).astype(float), trials
    return (rng.gamma(2.0, size=n) if family == GAMMA else rng.normal(size=n)), None


def design(twin, rng, padded, n, q, dtype, far=0.0, products=True):
    values = np.zeros((padded, q))
    values[:n] = rng.normal(size=(n, q))
    values[:n, 0] = 1
    values[: n // 10, -1] += far  # predictors out of every range
    left, right = (side.astype(np.int64) for side in np.triu_indices(q))
    on_it = twin.asarray(values)
    made = None
    if products:
        made = gpu.column_products(twin, on_it, twin.asarray(left), twin.asarray(right), dtype)
    return gpu.Design(on_it, on_it.astype(dtype), made, twin.asarray(left * q + right))


def row_sums(
    twin, macros, dtype, family=None, *, K, n=70, together=True, given=True, far=0.0, products=True
):
    """What the row kernel of these macros sums up, over rows of three tiles."""
    rng, m, padded = np.random.default_rng(3), 32, 96
    C = macros.get("C")
    own, among = (K, K) if C is None else (K * C, K * C * (C - 1) // 2)
    factors = gpu.Factors(K, own, together), gpu.Factors(K * (K - 1) // 2, among, together)
    gate = design(twin, rng, padded, n, 3, dtype, far, products)
    expert = gate if together else design(twin, rng, padded, n, 2, dtype, far, products)
    q = expert.values.shape[1]
    coef = [rng.normal(size=K * 3), 0.5 * rng.normal(size=own * q)]
    if C is None:
        y, trials = targets(family, rng, n)
        sigma = rng.uniform(0.5, 2, K)
        constant = np.zeros(K) if family in (POISSON, BINOMIAL) else _constant(family, sigma)
        vectors = [y, rng.uniform(0, 2, n), 0.1 * rng.normal(size=n) if given else None, trials]
        params = np.concatenate([*coef, sigma, constant])
    else:
        vectors = [rng.integers(0, C, n).astype(float), rng.uniform(0, 2, n) if given else None]
        params = np.concatenate(coef)
    name = "softmax_glm_rows" if C is None else "softmax_multinomial_rows"
    n_scalars = 3 + (2 * K if C is None else K)
    kernel = gpu.RowKernel(twin, name, n_scalars, *factors, dtype, {"K": K, **macros})
    on_it = [None if one is None else twin.asarray(one) for one in vectors]
    return kernel.sums(gate, expert, on_it, twin.asarray(params), n, m, True)


def _constant(family, dispersion):
    part = next(e for e in EXPERTS.values() if getattr(e, "kernel_code", None) == family)
    return part().kernel_constant(dispersion)


@needs_compiler
@pytest.mark.parametrize("far", [0.0, 40.0, 2000.0])
@pytest.mark.parametrize("family, link", GLM_PAIRS)
def test_glm_source_equals_its_twin(family, link, far):
    macros = {"FAMILY": family, "LINK": link}
    with np.errstate(over="ignore"):
        twin, source = both(lambda xp: row_sums(xp, macros, np.float64, family, K=3, far=far))
    for one, other in zip(twin, source, strict=True):
        assert np.isfinite(other).all()
        assert_allclose(other, one, rtol=1e-11, atol=1e-11 * np.abs(one).max(initial=0))


@needs_compiler
def test_absurd_information_has_room_in_float32():
    macros = {"FAMILY": POISSON, "LINK": LINKS["log"].code}
    exact, short = (
        both(lambda xp, dtype=dtype: row_sums(xp, macros, dtype, POISSON, K=1, far=3500.0))
        for dtype in (np.float64, np.float32)
    )
    assert max(np.abs(part).max(initial=0) for part in exact[1]) > np.finfo(np.float32).max
    for one, other in zip(*short, strict=True):
        assert np.isfinite(one).all() and np.isfinite(other).all()


@needs_compiler
@pytest.mark.parametrize("K, C", [(1, 2), (3, 4)])
@pytest.mark.parametrize("together", [True, False])
def test_multinomial_source_equals_its_twin(K, C, together):
    twin, source = both(
        lambda xp: row_sums(xp, {"C": C}, np.float64, K=K, together=together, given=together)
    )
    for one, other in zip(twin, source, strict=True):
        assert_allclose(other, one, rtol=1e-11, atol=1e-12 * np.abs(one).max(initial=1))


@needs_compiler
@pytest.mark.parametrize("K, together, given", [(1, True, False), (6, False, True)])
def test_glm_source_of_other_layouts(K, together, given):
    macros = {"FAMILY": 0, "LINK": 0}
    settings = {"K": K, "together": together, "given": given}
    twin, source = both(lambda xp: row_sums(xp, macros, np.float32, 0, **settings))
    for one, other in zip(twin, source, strict=True):
        assert one.dtype == other.dtype == np.float64
        assert_allclose(other, one, rtol=1e-6, atol=1e-6 * np.abs(one).max(initial=0))
    exact = both(lambda xp: row_sums(xp, macros, np.float64, 0, **settings))[1]
    for one, other in zip(source[:3], exact[:3], strict=True):  # what no float32 enters
        assert_allclose(one, other, rtol=1e-13, atol=1e-13)


@needs_compiler
@pytest.mark.parametrize("lanes", [8, gpu.LANES])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_sources_of_designs_equal_their_twins(dtype, lanes, rng, monkeypatch):
    monkeypatch.setattr(gpu, "LANES", lanes)
    monkeypatch.setattr(gpu, "THREADS", min(lanes, gpu.THREADS))
    X = rng.normal(size=(50, 5)).astype(dtype)
    X[3, 2] = -0.0
    columns, keys = np.array([4, 0, 2]), rng.integers(1, 2**63, 5).astype(np.uint64)
    centre, scale = rng.normal(size=3), rng.uniform(0.5, 2, 3)

    def run(xp):
        on_it = xp.asarray(X)
        chosen = [xp.asarray(one) for one in (columns, centre, 1 / scale)]
        values = gpu.standardised(xp, on_it, *chosen, 64)
        left, right = (xp.asarray(side.astype(np.int64)) for side in np.triu_indices(4))
        turned = gpu.standardised(xp, xp.asarray(np.ascontiguousarray(X.T)).T, *chosen, 64)
        return (
            values,
            turned,
            gpu.column_products(xp, values, left, right, dtype),
            gpu.hashes(xp, on_it, xp.asarray(keys)),
        )

    twin, source = both(run)
    expected = np.zeros((64, 4))
    expected[:50] = np.column_stack([np.ones(50), (X[:, columns] - centre) / scale])
    assert_allclose(source[0], expected, rtol=1e-13)
    assert_array_equal(source[0], source[1])
    for one, other in zip(twin, source, strict=True):
        assert_allclose(other, one, rtol=1e-14)
    assert_array_equal(source[3], twin[3])


@needs_compiler
@pytest.mark.parametrize("dtype, rtol", [(np.float64, 1e-13), (np.float32, 3e-6)])
@pytest.mark.parametrize("together", [True, False])
def test_gram_matrices_of_weighted_columns_are_those_of_products(dtype, rtol, together):
    macros, settings = {"FAMILY": 0, "LINK": 0}, {"K": 2, "together": together}
    products = both(lambda xp: row_sums(xp, macros, dtype, 0, **settings))
    weighted = both(lambda xp: row_sums(xp, macros, dtype, 0, products=False, **settings))
    for one, others in zip(products[0], zip(*weighted, strict=True), strict=True):
        for other in others:
            assert_allclose(other, one, rtol=rtol, atol=rtol * np.abs(one).max())


@needs_compiler
def test_every_lane_takes_its_rows(monkeypatch):
    """More rows than lanes: a lane takes several, and the sums are those of all."""
    run = lambda xp: row_sums(xp, {"FAMILY": 0, "LINK": 0}, np.float64, 0, K=2)  # noqa: E731
    whole = both(run)[1]
    monkeypatch.setattr(gpu, "THREADS", 8)
    monkeypatch.setattr(gpu, "LANES", 32)
    for one, other in zip(both(run)[1], whole, strict=True):
        assert_allclose(one, other, rtol=1e-13, atol=1e-13)


@pytest.mark.skipif(shutil.which("nvcc") is None, reason="no CUDA compiler")
@pytest.mark.parametrize(
    "source, macros",
    [
        (gpu_sources.DESIGNS, {"REAL": "float"}),
        (gpu_sources.GLM, {"GRAM": "double", "K": 8, "FAMILY": 0, "LINK": 0}),
        (gpu_sources.MULTINOMIAL, {"GRAM": "float", "K": 4, "C": 5}),
    ],
)
def test_sources_compile_as_cuda(source, macros, tmp_path):
    path = tmp_path / "kernel.cu"
    path.write_text(source)
    options = [f"-D{name}={value}" for name, value in macros.items()]
    command = ["nvcc", "-std=c++17", "-ptx", "-Werror", "all-warnings", *options, str(path)]
    done = subprocess.run(
        [*command, "-o", str(tmp_path / "kernel.ptx")], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
