"""Pairs of layers whose difference does not show: ``python -m tests.papers.neural.comparisons``.

With names it measures those alone. A gain is the share of the first one's error by which the second
one's is lower, over five seeds; what shows is asserted in the tests.
"""

from __future__ import annotations

import sys
from functools import partial

import numpy as np
import torch
from torch import nn

from mixexp.neural import (
    ActivationNormRouter,
    BankList,
    CapacityLimiter,
    COMETRouter,
    ConstantExperts,
    CopyExperts,
    DenseToSparseRouter,
    DSelectKRouter,
    FactorizedExperts,
    FeedForward,
    FeedForwardExperts,
    HierarchicalRouter,
    MoELayer,
    MultiHeadMoE,
    NeuronExperts,
    ProductKeyRouter,
    RecurrentRouter,
    ReLURouter,
    Router,
    RouterCell,
    RoutingTrace,
    SinkhornRouter,
    SoftRouter,
    SparseMixerRouter,
    SwitchRouter,
    TokenMixingRouter,
    TopKRouter,
    ZeroExperts,
    load_balancing_loss,
    selection_entropy_loss,
)

from .learning import (
    N_FRESH,
    Digits,
    Languages,
    Learned,
    Stack,
    balance,
    gains,
    nothing,
    over_seeds,
)


def own_loss(name: str, rises: bool = False):
    """A loss of the router's own as the penalty, in full or rising from nothing."""
    return lambda trace, clock: (clock.progress if rises else 1.0) * trace.losses[name]


def layer(router: type[Router], hidden: int = 8, **options) -> nn.Module:
    """A layer of eight experts."""
    return MoELayer(router(16, 8, **options), FeedForwardExperts(8, 16, hidden, out_dim=32))


def of_patches(router: type[Router], **options) -> nn.Module:
    """Eight experts for patches of digits, which vote."""
    return MoELayer(router(20, 8, **options), FeedForwardExperts(8, 20, 16, out_dim=10))


def factorised(router: type[Router]) -> nn.Module:
    return MoELayer(router(16, 8, 2), FactorizedExperts(8, 16, 8, 4, out_dim=32))


def fine(k: int, granularity: int, n_shared: int) -> nn.Module:
    options = {"granularity": granularity, "n_shared": n_shared}
    return MoELayer.feed_forward(16, 16, 8, k, expert_options={"out_dim": 32}, **options)


def stacked(*routed: nn.Module) -> nn.Module:
    """Routed layers of width 16 on a residual path, and a head of 32 bytes."""
    return Stack(routed, 16, 32)


def deep(router, n_layers: int = 4) -> nn.Module:
    """Layers of eight experts, each with a router of its own."""
    return stacked(*(MoELayer(router(), FeedForwardExperts(8, 16, 8)) for _ in range(n_layers)))


def recurrent() -> nn.Module:
    """The same with one recurrent cell for the routers of all layers."""
    cell = RouterCell(16)
    return deep(lambda: RecurrentRouter(16, 8, hidden=16, cell=cell))


def with_cheap_experts() -> nn.Module:
    """Eight experts with hidden units, and zero, copy and two constant ones (MoE++)."""
    cheap = [ZeroExperts(1, 16), CopyExperts(1, 16), ConstantExperts(2, 16)]
    return stacked(
        *(
            MoELayer(
                TopKRouter(16, 12, normalize="sum", gating_residual=True),
                BankList([FeedForwardExperts(8, 16, 8), *cheap]),
            )
            for _ in range(2)
        )
    )


def with_null_experts() -> nn.Module:
    """Eight experts and eight null ones, four chosen (AdaMoE)."""
    bank = BankList([FeedForwardExperts(8, 16, 8, out_dim=32), ZeroExperts(8, 16, out_dim=32)])
    return MoELayer(TopKRouter(16, 16, 4, normalize="sum"), bank)


def limited(**options) -> nn.Module:
    """Sixteen experts with a capacity of 1.25 times an even share."""
    experts = FeedForwardExperts(16, 16, 8, out_dim=32)
    return MoELayer(TopKRouter(16, 16, **options), experts, limiter=CapacityLimiter(1.25))


def peer() -> nn.Module:
    """16 neurons a unit out of 1,024."""
    router = ProductKeyRouter(16, 1024, 4, n_heads=4)
    return MoELayer(router, NeuronExperts(1024, 16, out_dim=32))


def merged(**options) -> nn.Module:
    experts = FeedForwardExperts(8, 16, 16, out_dim=32)
    return MoELayer(TopKRouter(16, 8, 4, normalize="sum"), experts, **options)


def balance_all(weight: float, groups=None):
    """The mean balance loss of all layers."""

    def penalty(trace, clock):
        losses = [load_balancing_loss(stats, groups=groups) for stats in trace.stats]
        return weight * sum(losses) / len(losses)

    return penalty


def selection_entropy(weight: float):
    """The balance loss of sigma-MoE."""
    return lambda trace, clock: weight * selection_entropy_loss(trace.stats[0])


SWITCH = (partial(layer, SwitchRouter, 16, jitter=0.0), balance(0.1))
TOP_2 = (partial(layer, TopKRouter), balance(0.1))
BY_SEQUENCE = (partial(merged, combine="parameters", merge="sequence"), balance(0.1))

# name: two arms of a layer and its penalty, and the world where it is another one
PAIRS = {
    "fine-grained, one expert": (
        (partial(fine, 1, 1, 0), balance(0.1)), (partial(fine, 1, 4, 1), balance(0.1)),
    ),
    "fine-grained, two experts": (
        (partial(fine, 2, 1, 0), balance(0.1)), (partial(fine, 2, 4, 1), balance(0.1)),
    ),
    "fine-grained, shared facts": (
        (partial(fine, 2, 1, 0), balance(0.1)), (partial(fine, 2, 4, 1), balance(0.1)),
        partial(Languages, shared=16),
    ),
    "loss-free": (
        (partial(layer, TopKRouter), balance(1.0)),
        (partial(layer, TopKRouter, bias_balance=0.01), nothing),
    ),
    "merged outputs": ((merged, balance(0.1)), BY_SEQUENCE),
    "merged sequences": (
        (partial(layer, TopKRouter, 16, k=1, level="sequence"), balance(0.1)), BY_SEQUENCE,
    ),
    "COMET": (TOP_2, (partial(layer, COMETRouter), own_loss("entropy", rises=True))),
    "multi-head": (
        (lambda: stacked(MoELayer.feed_forward(16, 16, 8, 2)), balance(0.1)),
        (lambda: stacked(MultiHeadMoE.feed_forward(16, 16, 8, 2, heads=4)), balance(0.1)),
    ),
    "SparseMixer": (SWITCH, (partial(layer, SparseMixerRouter, 16), balance(0.1))),
    "ReMoE": (
        TOP_2, (partial(layer, ReLURouter, alpha=1.02, initial=0.01), own_loss("sparsity")),
    ),
    "Sinkhorn": (
        (partial(layer, TopKRouter, 16, k=1, score="sigmoid"), nothing),
        (partial(layer, SinkhornRouter, 16), nothing),
    ),
    "Soft MoE": (
        (partial(of_patches, SwitchRouter, jitter=0.0), balance(0.1)),
        (partial(of_patches, SoftRouter, slots_per_expert=2), nothing),
        Digits,
    ),
    "dense to sparse": (TOP_2, (partial(layer, DenseToSparseRouter), balance(0.1))),
    "SMILE": (SWITCH, (partial(layer, HierarchicalRouter, 16, n_groups=2), balance(0.1))),
    "Autonomy-of-Experts": (
        (partial(factorised, TopKRouter), nothing),
        (partial(factorised, ActivationNormRouter), nothing),
    ),
    "DSelect-k": (TOP_2, (partial(layer, DSelectKRouter), own_loss("entropy", rises=True))),
    "RMoE": (
        (partial(deep, partial(TopKRouter, 16, 8)), balance_all(0.1)),
        (recurrent, balance_all(0.1)),
    ),
    "gating residual": (
        (partial(deep, partial(TopKRouter, 16, 8)), balance_all(0.1)),
        (partial(deep, partial(TopKRouter, 16, 8, gating_residual=True)), balance_all(0.1)),
    ),
    "MoE++": (
        (partial(deep, partial(TopKRouter, 16, 8, normalize="sum"), 2), balance_all(0.1)),
        (with_cheap_experts, balance_all(0.1)),
    ),
    "AdaMoE": (
        (partial(layer, TopKRouter, normalize="sum"), balance(0.1)),
        (with_null_experts, balance_all(0.1, [*range(8), *[8] * 8])),
    ),
    "sigma-MoE, dense": (
        (partial(FeedForward, 16, 128, out_dim=32), nothing),
        (partial(layer, TopKRouter, 16, score="sigmoid"), selection_entropy(0.01)),
    ),
    "sigma-MoE, softmax": (
        (partial(layer, TopKRouter, 16, normalize="sum"), selection_entropy(0.01)),
        (partial(layer, TopKRouter, 16, score="sigmoid"), selection_entropy(0.01)),
    ),
    "mixture of tokens, dense": (
        (partial(FeedForward, 16, 16, out_dim=32), nothing),
        (partial(layer, TokenMixingRouter, 16), nothing),
    ),
    "mixture of tokens, top-1": (SWITCH, (partial(layer, TokenMixingRouter, 16), nothing)),
    "Skywork-MoE": ((limited, balance(0.1)), (partial(limited, logit_norm=1.0), balance(0.1))),
}  # fmt: skip


def on_fresh_rows(own: Learned, **changes):
    """Error and routing of a trained layer on fresh rows of its world."""
    world, trace = Languages(seed=own.seed), RoutingTrace()
    x, y, _ = world.draw(N_FRESH, torch.Generator().manual_seed(77))
    with torch.no_grad():
        return float(world.loss(own.layer(x, trace=trace, **changes), y)), trace[0]


def ablation() -> str:
    """DeepSeekMoE's: 31 routed experts and a shared one of the same size, each left out."""
    found = []
    for own in over_seeds(partial(fine, 2, 4, 1), penalty=balance(0.1)):
        experts = torch.arange(31)
        routed = [on_fresh_rows(own, visible=experts != e)[0] for e in experts]
        own.layer.shared = None
        found.append([own.error, on_fresh_rows(own)[0], np.mean(routed), max(routed)])
    names = ("all", "without the shared expert", "without a routed one", "without the most missed")
    parts = zip(names, np.transpose(found), strict=True)
    return "; ".join(f"{name} {own.min():.2f} to {own.max():.2f}" for name, own in parts)


def neurons_used() -> str:
    """Share of PEER's neurons that any fresh row retrieves."""
    used = [len(on_fresh_rows(own)[1].expert.unique()) / 1024 for own in over_seeds(peer)]
    return f"{min(used):.0%} to {max(used):.0%}"


MEASURES = {"ablation": ablation, "neurons used": neurons_used}


def main(names) -> None:
    for name in names or [*PAIRS, *MEASURES]:
        print(f"{name}: {compared(name) if name in PAIRS else MEASURES[name]()}", flush=True)


def compared(name: str) -> str:
    """The gain of the second arm, and its t statistic."""
    (first, penalty), (second, other), *world = PAIRS[name]
    usual, new = (
        over_seeds(make, *world, penalty=loss) for make, loss in ((first, penalty), (second, other))
    )
    found = np.array(gains(usual, new))
    t = found.mean() / (found.std(ddof=1) / len(found) ** 0.5)
    share = found.mean() / np.mean([own.error for own in usual])
    return f"gain {share:.1%}, t = {t:.1f}"


if __name__ == "__main__":
    main(sys.argv[1:])
