"""The fused multinomial kernel and the compiled sums of the expert equal their numpy twin."""

import itertools

import numpy as np
import pytest
from numpy.testing import assert_allclose

from mixexp.experts import MultinomialExpert
from mixexp.experts.multinomial import MultinomialParams
from mixexp.kernels import multinomial, reference, small

NONE = np.empty(0)


class Case:
    """Rows, parameters and both ways to their statistics."""

    def __init__(self, C=3, n=700, K=3, S=2, p=4, same=False, seed=0, spread=1.0):
        rng = np.random.default_rng(seed)
        self.X = rng.normal(size=(n, p))
        self.gate_columns = np.arange(p) if same else np.arange(p)[-2:][::-1].copy()
        self.expert_columns = np.arange(p)
        self.same, self.C = same, C
        self.centre, self.scale = rng.normal(size=p), rng.uniform(0.5, 2, size=p)
        self.weight = rng.uniform(0, 2, n)
        self.y = rng.integers(0, C, n).astype(float)
        self.W = rng.normal(size=(S, K, len(self.gate_columns) + 1))
        self.B = spread * rng.normal(size=(S, K, C, p + 1))

    def kernel(self, X=None, y=None, weight=None, chunks=1):
        X = self.X if X is None else X
        (S, K, qg), (C, qe) = self.W.shape, self.B.shape[2:]
        shapes = [
            (S,),
            (S, K, qg),
            (S, K * (K - 1) // 2, qg * (qg + 1) // 2),
            (S, K * C, qe),
            (S, K * C * (C - 1) // 2, qe * (qe + 1) // 2),
            (S, K),
        ]
        out = [np.zeros(shape) for shape in shapes]
        halves = [
            (columns, self.centre[columns], 1 / self.scale[columns])
            for columns in (self.gate_columns, self.expert_columns)
        ]
        edges = np.linspace(0, len(X), chunks + 1).astype(int)
        for start, stop in itertools.pairwise(edges):
            multinomial.softmax_multinomial_kernel(X.dtype)(
                X,
                *halves[0],
                *halves[1],
                self.same,
                self.y if y is None else y,
                self.weight if weight is None else weight,
                self.W,
                self.B.reshape(S, K * C, qe),
                int(start),
                int(stop),
                *out,
            )
        out[2], out[4] = small.unpack(out[2], qg), small.unpack(out[4], qe)
        out[3], out[4] = out[3].reshape(S, K, C, qe), out[4].reshape(S, K, -1, qe, qe)
        return out

    def designs(self):
        X = np.column_stack([np.ones(len(self.y)), (self.X - self.centre) / self.scale])
        return X[:, [0, *(self.gate_columns + 1)]], X[:, [0, *(self.expert_columns + 1)]]

    def twin(self, weight=None):
        weight = self.weight if weight is None else weight
        results = [
            reference.softmax_multinomial_pass(
                *self.designs(), self.y.astype(int), weight, self.W[s], self.B[s]
            )
            for s in range(len(self.W))
        ]
        return [np.stack(leaves) for leaves in zip(*results, strict=True)]


def assert_same(got, expected, rtol=1e-10):
    names = reference.MultinomialArrays._fields
    for name, one, other in zip(names, got, expected, strict=True):
        size = max(np.abs(other).max(initial=0), 1.0)
        assert_allclose(one, other, rtol=rtol, atol=rtol * size, err_msg=name)


@pytest.mark.parametrize("same", [True, False], ids=["same", "different"])
@pytest.mark.parametrize("C", [1, 2, 3, 10, 13])
def test_any_number_of_classes(C, same):
    case = Case(C, same=same)
    assert_same(case.kernel(), case.twin())


@pytest.mark.parametrize("K", [1, 2, 6])
def test_any_number_of_experts(K):
    case = Case(4, K=K)
    assert_same(case.kernel(), case.twin())


@pytest.mark.parametrize("n", [1, 7, 8, 255, 256, 257, 513])
def test_any_number_of_rows(n):
    case = Case(n=n, same=True)
    assert_same(case.kernel(), case.twin())


def test_large_products_go_through_blas():
    case = Case(5, p=20, same=True, spread=0.3)
    assert multinomial.uses_blas(21, 3, 5) and not multinomial.uses_blas(2, 2, 2)
    assert_same(case.kernel(), case.twin())


@pytest.mark.parametrize("spread", [30.0, 1e3])
def test_extreme_predictors(spread):
    case = Case(spread=spread)
    case.W *= spread
    got, expected = case.kernel(), case.twin()
    assert all(np.isfinite(part).all() for part in got)
    assert_same(got, expected, rtol=1e-9)


def test_without_weight():
    case = Case()
    assert_same(case.kernel(weight=NONE), case.twin(weight=np.ones(len(case.y))))


def test_weight_is_repetition():
    case = Case(n=300)
    case.weight = np.floor(2 * case.weight)
    times = case.weight.astype(int)
    X, y = np.repeat(case.X, times, axis=0), np.repeat(case.y, times)
    assert_same(case.kernel(X, y, NONE), case.kernel())


def test_chunks_add():
    case = Case(n=3000)
    assert_same(case.kernel(chunks=4), case.kernel(), rtol=1e-12)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_layouts_and_read_only_arrays(dtype):
    case = Case(same=True)
    case.X = case.X.astype(dtype)
    expected = case.kernel()
    assert_same(expected, case.twin())
    frozen = case.X.copy()
    frozen.flags.writeable = False
    y = np.repeat(case.y, 2)[::2]
    y.flags.writeable = False
    strided = np.repeat(np.repeat(case.X, 2, axis=0), 3, axis=1)[::2, ::3]
    for X in (frozen, np.asfortranarray(case.X), strided):
        for one, other in zip(case.kernel(X, y=y), expected, strict=True):
            np.testing.assert_array_equal(one, other)
    assert len(multinomial.softmax_multinomial_kernel(np.dtype(dtype)).signatures) == 1


@pytest.mark.parametrize("C", [2, 3, 12])
def test_sums_of_the_expert_are_those_of_the_pass(C):
    """With the responsibilities of a pass the expert's own statistics are the pass's."""
    case, expert = Case(C, S=1), MultinomialExpert()
    X_gate, X = case.designs()
    params, y = MultinomialParams(case.B[0]), case.y[:, None]
    log_density = expert.log_density(params, X, y, None, None)
    joint = reference.log_softmax(X_gate @ case.W[0].T) + log_density
    resp = case.weight[:, None] * np.exp(reference.log_softmax(joint))
    stats = expert.statistics(params, X, y, resp, case.weight, None, None)
    twin = case.twin()
    assert_allclose(case.weight @ reference.log_sum_exp(joint), twin[0][0], rtol=1e-12)
    for one, other in zip(stats[:3], twin[3:], strict=True):
        assert_allclose(one, other[0], rtol=1e-10, atol=1e-10 * np.abs(other).max())


def test_a_code_beyond_the_classes_is_refused():
    expert, X = MultinomialExpert(), np.ones((3, 1))
    y = np.array([[0.0], [1.0], [2.0]])
    params = MultinomialParams(np.zeros((1, 2, 1)))
    with pytest.raises(ValueError, match="class code 2 for experts of 2 classes"):
        expert.log_density(params, X, y, None, None)
