"""DeepSeekMoE (Dai et al., 2024): more and smaller experts, and one that all units share."""

from __future__ import annotations

import pytest
import torch

from mixexp.neural import MoELayer, RoutingTrace, count_active

from .claims import wins
from .learning import Languages, balance, over_seeds

# granularity and shared experts
KINDS = {"coarse": (1, 0), "fine": (4, 0), "fine and shared": (4, 1)}


def layer_of(granularity, n_shared, k=2):
    return MoELayer.feed_forward(
        16, 16, 8, k,
        granularity=granularity, n_shared=n_shared, expert_options={"out_dim": 32},
    )  # fmt: skip


def test_all_kinds_have_the_same_parameters_beside_the_router() -> None:
    x, costs = torch.randn(100, 16), set()
    for kind in KINDS.values():
        layer, trace = layer_of(*kind), RoutingTrace()
        layer(x, trace=trace)
        cost, router = count_active(layer, trace), layer.router.score.weight.numel()
        costs.add((cost.total - router, round(cost.active) - router))
    assert len(costs) == 1


def without(own, **changes):
    """Error on fresh rows of a trained layer of which something is taken away."""
    world = Languages(seed=own.seed)
    x, y, _ = world.draw(300, torch.Generator().manual_seed(77))
    with torch.no_grad():
        return float(world.loss(own.layer(x, **changes), y))


@pytest.mark.slow
def test_the_shared_expert_is_missed_more_than_any_other() -> None:
    """The paper's ablation, of 31 routed experts and the shared one, all of the same size.

    That all of it lowers the error against coarse experts does not show here.
    """
    n_routed, differences = 31, []
    for own in over_seeds(
        lambda: layer_of(*KINDS["fine and shared"]),
        penalty=balance(0.1),
    ):
        routed = [without(own, visible=torch.arange(n_routed) != e) for e in range(n_routed)]
        own.layer.shared = None
        differences.append(without(own) - 1.5 * max(routed))
    assert wins(differences)
