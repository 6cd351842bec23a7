"""Tables for `benchmarks.tabular`: bundled with packages, or simulated from published designs."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from sklearn import datasets as bundled

from mixexp.datasets import load_ethanol, make_moe_classification, make_moe_regression

Table = tuple[np.ndarray, np.ndarray]


def _statsmodels(name: str, target: str, dropped=()) -> Table:
    """A data set of statsmodels; columns that give the target away are dropped."""
    import statsmodels.api as sm

    frame = getattr(sm.datasets, name).load_pandas().data.dropna()
    X = frame.drop(columns=[target, *dropped]).to_numpy(dtype=float)
    return X, frame[target].to_numpy()


def fair(n: int, seed: int) -> Table:
    """Time in affairs of married women, Fair (1978): whether there is any."""
    X, y = _statsmodels("fair", "affairs")
    return X, (y > 0).astype(int)


def star98(n: int, seed: int) -> Table:
    """Share of pupils above the median in mathematics by school district, Gill (2000)."""
    X, above = _statsmodels("star98", "NABOVE")
    below, X = X[:, 0], X[:, 1:]
    return X, above / (above + below)


def randhie(n: int, seed: int) -> Table:
    """log(1 + visits to a doctor), RAND health insurance experiment, Newhouse (1993)."""
    X, y = _statsmodels("randhie", "mdvis")
    return X, np.log1p(y)


def plane(n: int, seed: int) -> Table:
    """Breiman et al. (1984), section 8.6: two planes, and which of them a column tells."""
    rng = np.random.default_rng(seed)
    X = rng.integers(-1, 2, (n, 10)).astype(float)
    X[:, 0] = rng.choice([-1.0, 1.0], n)
    own = np.where(
        X[:, 0] > 0,
        3 + 3 * X[:, 1] + 2 * X[:, 2] + X[:, 3],
        -3 + 3 * X[:, 4] + 2 * X[:, 5] + X[:, 6],
    )
    return X, own + np.sqrt(2) * rng.standard_normal(n)


def waveform(n: int, seed: int) -> Table:
    """Breiman et al. (1984), section 2.6.2: three classes of mixtures of two waves in noise."""
    rng = np.random.default_rng(seed)
    at = np.arange(1, 22)
    waves = [np.maximum(6 - np.abs(at - place), 0) for place in (7, 15, 11)]
    y = rng.integers(0, 3, n)
    u = rng.uniform(size=(n, 1))
    first, second = np.array(waves)[[0, 0, 1]][y], np.array(waves)[[1, 2, 2]][y]
    return u * first + (1 - u) * second + rng.standard_normal((n, 21)), y


REGRESSION: dict[str, Callable[[int, int], Table]] = {
    "friedman1": lambda n, seed: bundled.make_friedman1(n, noise=1.0, random_state=seed),
    "friedman2": lambda n, seed: bundled.make_friedman2(n, noise=125.0, random_state=seed),
    "friedman3": lambda n, seed: bundled.make_friedman3(n, noise=0.1, random_state=seed),
    "plane": plane,
    "moe_regression": lambda n, seed: make_moe_regression(n, 5, 3, random_state=seed),
    "diabetes": lambda n, seed: bundled.load_diabetes(return_X_y=True),
    "ethanol": lambda n, seed: load_ethanol(return_X_y=True),
    "star98": star98,
    "randhie": randhie,
}
CLASSES: dict[str, Callable[[int, int], Table]] = {
    "iris": lambda n, seed: bundled.load_iris(return_X_y=True),
    "wine": lambda n, seed: bundled.load_wine(return_X_y=True),
    "breast_cancer": lambda n, seed: bundled.load_breast_cancer(return_X_y=True),
    "digits": lambda n, seed: bundled.load_digits(return_X_y=True),
    "fair": fair,
    "waveform": waveform,
    "hastie": lambda n, seed: bundled.make_hastie_10_2(n, random_state=seed),
    "moe_classes": lambda n, seed: make_moe_classification(n, 5, 3, random_state=seed),
}


def split(name: str, n: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """At most n rows for training, a third as many for tests: X, X_test, y, y_test."""
    make = REGRESSION.get(name) or CLASSES[name]
    X, y = make(2 * n, seed)
    order = np.random.default_rng(seed).permutation(len(y))
    n_train = min(n, 3 * len(y) // 4)
    n_test = min(len(y) - n_train, max(n // 3, 500))
    train, test = order[:n_train], order[n_train : n_train + n_test]
    return X[train], X[test], y[train], y[test]
