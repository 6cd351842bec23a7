"""Digests of settings: equal values have the same in every process, others another."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from mixexp import L1, L2, CallableGate, SoftmaxGate
from mixexp._persistence import PersistenceError, digest

ROOT = Path(__file__).resolve().parents[2]
SLOPES = np.array([1.0, -2.0])


def by_global(X):
    return _squashed(X @ SLOPES)


def _squashed(score):
    return np.column_stack([score > 0, score <= 0]).astype(float)


def enclosing(slopes):
    return lambda X: _squashed(X @ slopes)


def fitted(shift=0.0):
    X = np.random.default_rng(0).normal(size=(40, 2))
    return LogisticRegression().fit(X, X[:, 0] > shift)


class Counter:
    def __init__(self, start):
        self.start = start

    def __call__(self, X):
        return X + self.start


VALUES = {
    "component": lambda: SoftmaxGate(penalty=L2(weights=np.arange(2000.0))),
    "function": lambda: CallableGate(by_global),
    "closure": lambda: CallableGate(enclosing(SLOPES)),
    "classifier": lambda: CallableGate(fitted()),
    "method": lambda: CallableGate(fitted().predict_proba),
    "object": lambda: Counter(1),
    "partial": lambda: functools.partial(by_global, X=SLOPES),
    "set": lambda: {"a", "b", "c", "d"},
    "nested": lambda: {"a": [1, 2.5, None, slice(2)], "b": np.array(["x", None], dtype=object)},
}


def printed():
    """What another process prints of `VALUES`."""
    code = (
        "from tests.unit.test_digest import VALUES, digest\n"
        "for make in VALUES.values(): print(digest(make()))"
    )
    env = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONHASHSEED": "7"}
    run = [sys.executable, "-c", code]
    return subprocess.run(run, cwd=ROOT, env=env, capture_output=True, text=True, check=True).stdout


def test_another_process_finds_the_same_digests():
    ours = [digest(make()) for make in VALUES.values()]
    assert printed().split() == ours
    assert len(set(ours)) == len(VALUES)


def weighted(place, dtype=float):
    weights = np.ones(2000, dtype=dtype)
    weights[place] = 2
    return SoftmaxGate(penalty=L2(weights=weights))


OTHERS = {
    "the middle of a long array": (weighted(1000), weighted(1001)),
    "dtype": (weighted(3), weighted(3, np.float32)),
    "shape": (np.zeros((2, 3)), np.zeros((3, 2))),
    "class": (L1(1.0), L2(1.0)),
    "number": (L2(1.0), L2(np.nextafter(1.0, 2))),
    "type": (True, 1),
    "nesting": (["ab", "c"], ["a", "bc"]),
    "depth": ([[1], 2], [[1, 2]]),
    "enclosed": (enclosing(SLOPES), enclosing(2 * SLOPES)),
    "code": (lambda X: X + 1, lambda X: X + 2),
    "name": (by_global, _squashed),
    "partial": (functools.partial(by_global, 1), functools.partial(by_global, 2)),
    "fitted classifier": (CallableGate(fitted()), CallableGate(fitted(0.5))),
    "its method": (fitted().predict_proba, fitted(0.5).predict_proba),
    "state": (Counter(1), Counter(2)),
}


@pytest.mark.parametrize("what", OTHERS)
def test_other_settings_have_other_digests(what):
    one, other = OTHERS[what]
    assert digest(one) != digest(other)


def test_a_global_of_a_function_counts_through_another(monkeypatch):
    before = digest(CallableGate(by_global))
    assert digest(CallableGate(by_global)) == before
    monkeypatch.setitem(globals(), "SLOPES", SLOPES + 1)
    assert digest(CallableGate(by_global)) != before


def test_a_function_that_calls_itself():
    def even(n):
        return True if n == 0 else not even(n - 1)

    assert digest(even) == digest(even)


def test_equal_numbers_of_numpy_and_python_agree():
    assert digest(L2(np.float64(0.1))) == digest(L2(0.1))
    assert digest({"K": np.int64(3)}) == digest({"K": 3})


def test_what_cannot_be_told_from_another_is_named():
    with pytest.raises(PersistenceError, match=r"a lock among .* cannot be pickled"):
        digest(CallableGate(threading.Lock()))
