"""The banks of the contract tests, each as it is built for four experts of width `DIM`."""

from __future__ import annotations

from collections.abc import Callable

import torch

from mixexp.neural import (
    BankList,
    ConstantExperts,
    CopyExperts,
    ExpertBank,
    FactorizedExperts,
    FeedForwardExperts,
    GatedExperts,
    HeterogeneousExperts,
    IA3Experts,
    LoRAExperts,
    MLPExperts,
    ModuleExperts,
    NeuronExperts,
    RoutingInputs,
    TopKRouter,
    ZeroExperts,
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
    "heterogeneous": lambda: HeterogeneousExperts([3, 9, 1, 5], DIM, bias=True),
    "heterogeneous_gated": lambda: HeterogeneousExperts([2, 3, 4, 5], DIM, gated=True, out_dim=3),
    "lora": lambda: LoRAExperts(FeedForwardExperts(1, DIM, 5, bias=True), N_EXPERTS, 2, alpha=4),
    "lora_gated": lambda: LoRAExperts(GatedExperts(1, DIM, 5, out_dim=3), N_EXPERTS, 1),
    "lora_linear": lambda: LoRAExperts(torch.nn.Linear(DIM, 3), N_EXPERTS, 2),
    "factorized": lambda: FactorizedExperts(N_EXPERTS, DIM, 5, 2, out_dim=3),
    "neurons": lambda: NeuronExperts(N_EXPERTS, DIM),
    "neurons_relu": lambda: NeuronExperts(N_EXPERTS, DIM, activation="relu", out_dim=3),
    "ia3": lambda: IA3Experts(N_EXPERTS, DIM),
    "zero": lambda: ZeroExperts(N_EXPERTS, DIM),
    "copy": lambda: CopyExperts(N_EXPERTS, DIM),
    "constant": lambda: ConstantExperts(N_EXPERTS, DIM),
    "modules": lambda: ModuleExperts([torch.nn.Linear(DIM, 3) for _ in range(4)], DIM, out_dim=3),
    "list": lambda: BankList(
        [FeedForwardExperts(1, DIM, 5), ZeroExperts(1, DIM), ConstantExperts(2, DIM)]
    ),
    "list_of_lists": lambda: BankList(
        [BankList([CopyExperts(1, DIM), ZeroExperts(1, DIM)]), GatedExperts(2, DIM, 5, bias=True)]
    ),
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
