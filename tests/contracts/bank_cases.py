"""The banks of the contract tests, each as it is built for four experts of width `DIM`."""

from __future__ import annotations

from collections.abc import Callable

import torch

from mixexp.neural import (
    ExpertBank,
    FeedForwardExperts,
    GatedExperts,
    MLPExperts,
    RoutingInputs,
    TopKRouter,
)

DIM, N_EXPERTS, N_UNITS = 6, 4, 14

BANKS: dict[str, Callable[[], ExpertBank]] = {
    "gelu": lambda: FeedForwardExperts(N_EXPERTS, DIM, 5),
    "relu": lambda: FeedForwardExperts(N_EXPERTS, DIM, 5, activation="relu", bias=True),
    "squared_relu": lambda: FeedForwardExperts(N_EXPERTS, DIM, 5, activation="squared_relu"),
    "silu": lambda: FeedForwardExperts(N_EXPERTS, DIM, 9, activation="silu", bias=True),
    "narrow": lambda: FeedForwardExperts(N_EXPERTS, DIM, 5, bias=True, out_dim=3),
    "swiglu": lambda: GatedExperts(N_EXPERTS, DIM, 5),
    "geglu": lambda: GatedExperts(N_EXPERTS, DIM, 5, activation="gelu", bias=True),
    "reglu": lambda: GatedExperts(N_EXPERTS, DIM, 5, activation="relu"),
    "glu": lambda: GatedExperts(N_EXPERTS, DIM, 5, activation="sigmoid", bias=True, out_dim=2),
    "mlp": lambda: MLPExperts(N_EXPERTS, DIM, 5, n_layers=2, out_dim=3, activation="gelu"),
    "linear": lambda: MLPExperts(N_EXPERTS, DIM, 5, n_layers=0, bias=False),
}


def build(case: str, seed: int = 0) -> ExpertBank:
    """The bank of a case; initial values of zero, which would hide errors, are drawn too."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        bank = BANKS[case]()
        with torch.no_grad():
            for parameter in bank.parameters():
                if not parameter.any():
                    parameter.normal_(std=0.5)
    return bank


def units(n: int = N_UNITS, *, seed: int = 1, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    """States of n units."""
    source = torch.Generator().manual_seed(seed)
    return torch.randn(n, DIM, generator=source, dtype=torch.float64).to(dtype)


def route(x: torch.Tensor, bank: ExpertBank, *, k: int = 2, **fields):
    """A routing of the units over the bank's experts."""
    with torch.random.fork_rng():
        torch.manual_seed(2)
        router = TopKRouter(x.shape[1], bank.n_experts, min(k, bank.n_experts)).double()
    return router(RoutingInputs(x, **fields))
