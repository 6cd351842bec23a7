"""Online EM: how far two epochs over mini-batches end below the maximum.

`python -m benchmarks --only online`: 40,000 simulated rows in five columns, two experts, for each
of four families; the default `OnlineEM`, and the default solver from the same start.
"""

from __future__ import annotations

from mixexp import MoEClassifier, MoERegressor, OnlineEM
from mixexp.datasets import make_moe_classification, make_moe_regression

from .timing import Line

N, P, K = 40_000, 5, 2
FAMILIES = ("gaussian", "poisson", "gamma", "multinomial")


def online(quick: bool):
    """Log-likelihood per row below the maximum."""
    n = N // 4 if quick else N
    for family in FAMILIES:
        if family == "multinomial":
            X, y = make_moe_classification(n, P, K, random_state=0)
            kind, settings = MoEClassifier, {}
        else:
            X, y = make_moe_regression(n, P, K, expert=family, random_state=0)
            kind, settings = MoERegressor, {"expert": family}
        best = kind(K, **settings).fit(X, y)
        near = kind(K, solver=OnlineEM(), **settings).fit(X, y)
        gap = (best.loglik_ - near.loglik_) / n
        note = f"{best.n_iter_} passes of EM; {-best.loglik_ / n:.3f} a row at the maximum"
        case = f"({n:,}, {P}, {K})"
        yield Line("online", f"{family}, below the maximum, a row", case, gap, "<= 0.01", note)
