"""The fused kernel equals its numpy twin to 1e-10 for everything it can be given."""

import itertools

import numpy as np
import pytest
from numpy.testing import assert_allclose

from mixexp.experts import BinomialExpert, GammaExpert, GaussianExpert, PoissonExpert
from mixexp.kernels import cpu, reference, small
from mixexp.kernels.links import LINKS

NONE = np.empty(0)
FAMILIES = [
    (expert, link)
    for expert in (GaussianExpert, PoissonExpert, BinomialExpert, GammaExpert)
    for link in expert.links
]
CANONICAL = [(expert, expert.links[0]) for expert, link in FAMILIES if link == expert.links[0]]


class Case:
    """Rows, parameters and both ways to their statistics."""

    def __init__(self, expert, link, n=700, K=3, S=2, same=False, seed=0, spread=0.2):
        rng = np.random.default_rng(seed)
        self.family, self.link, self.expert = expert.kernel_code, link, expert()
        self.X = rng.normal(size=(n, 5))
        self.gate_columns = np.array([0, 1, 2, 3]) if same else np.array([3, 1])
        self.expert_columns = np.array([0, 1, 2, 3])
        self.same = same
        self.centre, self.scale = rng.normal(size=5), rng.uniform(0.5, 2, size=5)
        self.weight, self.offset = rng.uniform(0, 2, n), 0.1 * rng.normal(size=n)
        self.trials = rng.integers(1, 6, n).astype(float)
        self.y_centre, self.y_scale = 0.0, 1.0
        if expert is GaussianExpert:
            self.y, self.y_centre, self.y_scale = rng.normal(size=n) + 1.5, 0.3, 1.7
        elif expert is PoissonExpert:
            self.y = rng.poisson(2.0, n).astype(float)
        elif expert is BinomialExpert:
            self.y = np.floor(rng.uniform(size=n) * (self.trials + 1))
        else:
            self.y = rng.gamma(2.0, size=n) + 1e-3
        qg, qe = len(self.gate_columns) + 1, len(self.expert_columns) + 1
        self.W = rng.normal(size=(S, K, qg))
        self.B = spread * rng.normal(size=(S, K, qe))
        self.B[:, :, 0] += {"inverse": 2.0, "identity": 0.5, "log": -0.7}.get(link, 0.0)
        self.dispersion = rng.uniform(0.5, 2, size=(S, K))

    def kernel(self, X=None, chunks=1, **changes):
        part = {name: getattr(self, name) for name in ("y", "weight", "offset", "trials")}
        part.update({name: NONE if value is None else value for name, value in changes.items()})
        X = self.X if X is None else X
        (S, K, qg), qe = self.W.shape, self.B.shape[2]
        shapes = [
            (S,),
            (S, K, qg),
            (S, K * (K - 1) // 2, qg * (qg + 1) // 2),
            (S, K, qe * (qe + 1) // 2),
            (S, K, qe),
            (S, K),
            (S, K),
        ]
        out = [np.zeros(shape) for shape in shapes]
        halves = [
            (columns, self.centre[columns], 1 / self.scale[columns])
            for columns in (self.gate_columns, self.expert_columns)
        ]
        constant = np.ascontiguousarray(self.expert.kernel_constant(self.dispersion))
        edges = np.linspace(0, len(X), chunks + 1).astype(int)
        for start, stop in itertools.pairwise(edges):
            cpu.softmax_glm_kernel(X.dtype)(
                X,
                *halves[0],
                *halves[1],
                self.same,
                part["y"],
                self.y_centre,
                1 / self.y_scale,
                part["weight"],
                part["offset"],
                part["trials"],
                self.family,
                LINKS[self.link].code,
                self.W,
                self.B,
                self.dispersion,
                constant,
                int(start),
                int(stop),
                *out,
            )
        out[2], out[3] = small.unpack(out[2], qg), small.unpack(out[3], qe)
        return out

    def twin(self, **changes):
        part = {name: getattr(self, name) for name in ("weight", "offset", "trials")}
        part.update(changes)
        n = len(self.y)
        X = np.column_stack([np.ones(n), (self.X - self.centre) / self.scale])
        results = [
            reference.softmax_glm_pass(
                X[:, [0, *(self.gate_columns + 1)]],
                X[:, [0, *(self.expert_columns + 1)]],
                (self.y - self.y_centre) / self.y_scale,
                np.ones(n) if part["weight"] is None else part["weight"],
                np.zeros(n) if part["offset"] is None else part["offset"],
                np.ones(n) if part["trials"] is None else part["trials"],
                self.family,
                self.link,
                self.W[s],
                self.B[s],
                self.dispersion[s],
            )
            for s in range(len(self.W))
        ]
        return [np.stack(leaves) for leaves in zip(*results, strict=True)]


def assert_same(got, expected, rtol=1e-10):
    names = reference.PassArrays._fields
    for name, one, other in zip(names, got, expected, strict=True):
        size = max(np.abs(other).max(initial=0), 1e-300)
        assert_allclose(one, other, rtol=rtol, atol=rtol * size, err_msg=name)


@pytest.mark.parametrize("same", [True, False], ids=["same", "different"])
@pytest.mark.parametrize(("expert", "link"), FAMILIES)
def test_all_families_and_links(expert, link, same):
    case = Case(expert, link, same=same)
    assert_same(case.kernel(), case.twin())


@pytest.mark.parametrize(("expert", "link"), CANONICAL)
def test_without_weight_offset_trials(expert, link):
    case = Case(expert, link, same=True)
    if expert is BinomialExpert:
        case.y = np.minimum(case.y, 1)
    absent = {"weight": None, "offset": None, "trials": None}
    assert_same(case.kernel(**absent), case.twin(**absent))


@pytest.mark.parametrize("n", [1, 7, 8, 255, 256, 257, 513])
def test_any_number_of_rows(n):
    case = Case(GaussianExpert, "identity", n=n, same=True)
    assert_same(case.kernel(), case.twin())


@pytest.mark.parametrize("K", [1, 2, 6])
@pytest.mark.parametrize(("expert", "link"), CANONICAL)
def test_any_number_of_experts(expert, link, K):
    case = Case(expert, link, K=K, S=3)
    assert_same(case.kernel(), case.twin())


def test_large_products_go_through_blas():
    rng = np.random.default_rng(0)
    case = Case(GaussianExpert, "identity", K=5)
    case.X, p = rng.normal(size=(700, 20)), 20
    case.centre, case.scale = np.zeros(p), np.ones(p)
    case.gate_columns = case.expert_columns = np.arange(p)
    case.same = True
    case.W, case.B = rng.normal(size=(2, 5, p + 1)) / 3, rng.normal(size=(2, 5, p + 1)) / 3
    assert_same(case.kernel(), case.twin())


@pytest.mark.parametrize("spread", [30.0, 1e3])
@pytest.mark.parametrize(("expert", "link"), FAMILIES)
def test_extreme_predictors(expert, link, spread):
    case = Case(expert, link, spread=spread)
    case.W *= spread
    # sums of terms of opposite signs and of 1e300 and more: what is finite must agree
    with np.errstate(over="ignore", invalid="ignore"):
        got, expected = case.kernel(), case.twin()
    for one, other in zip(got[:3], expected[:3], strict=True):
        assert np.isfinite(one).all()
        assert_allclose(one, other, rtol=1e-9, atol=1e-9 * np.abs(other).max(initial=0))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_layouts_and_read_only_arrays(dtype):
    case = Case(GaussianExpert, "identity", same=True)
    case.X = case.X.astype(dtype)
    expected = case.kernel()
    frozen = case.X.copy()
    frozen.flags.writeable = False
    y = np.repeat(case.y, 2)[::2]
    y.flags.writeable = False
    strided = np.repeat(np.repeat(case.X, 2, axis=0), 3, axis=1)[::2, ::3]
    for X in (frozen, np.asfortranarray(case.X), strided, case.X[::-1][::-1]):
        for one, other in zip(case.kernel(X, y=y), expected, strict=True):
            np.testing.assert_array_equal(one, other)
    assert len(cpu.softmax_glm_kernel(np.dtype(dtype)).signatures) == 1


def test_float32_is_accumulated_in_float64():
    case = Case(GaussianExpert, "identity", same=True)
    case.X = case.X.astype(np.float32)
    assert_same(case.kernel(), case.twin())


def test_chunks_add():
    case = Case(PoissonExpert, "log", n=3000)
    assert_same(case.kernel(chunks=4), case.kernel(), rtol=1e-12)


def test_weight_is_repetition():
    case = Case(GammaExpert, "log", n=300)
    case.weight = np.floor(case.weight * 2)
    whole = case.kernel()
    times = case.weight.astype(int)
    repeated = {name: np.repeat(getattr(case, name), times) for name in ("y", "offset", "trials")}
    assert_same(case.kernel(np.repeat(case.X, times, axis=0), weight=None, **repeated), whole)
