"""Layers of other packages beside ours, where they are installed: same shapes, same rounds.

Mixtral and OLMoE (transformers; gated experts, every backend) against `GatedExperts`, and
st-moe-pytorch, which drops the units beyond its capacity and has no bar, against
`FeedForwardExperts`.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator
from typing import Any

import torch

from mixexp.neural import GatedExperts

from .neural import SHAPES, Floor, build, measured, ratio
from .timing import Line

BAR = "<= 1"


def neural_peers(rounds: int, names=("A", "D")) -> Iterator[Line]:
    """Ours over each peer, forward and forward + backward, in float32."""
    for package, make in PEERS.items():
        if importlib.util.find_spec(package) is None:
            yield Line("neural", "ours / peer", package, None, "", "not installed, left out")
            continue
        for name in names:
            shape = SHAPES[name]
            layers: dict[str, Any] = {"ours": build(shape, torch.float32, experts=GatedExperts)}
            layers |= {"plain": build(shape, torch.float32)} | make(shape)
            floor = Floor(shape, torch.float32, n_first=2)
            times = measured(shape, torch.float32, floor, layers, rounds)
            for peer in list(layers)[2:]:
                ours = "plain" if "GELU" in peer else "ours"
                for part, what in enumerate(("forward", "forward + backward")):
                    yield Line(
                        "neural", f"{what}, ours / {peer}", f"{name} float32",
                        ratio(times, ours, peer, part), "" if "drops" in peer else BAR,
                        f"ours / floor {ratio(times, ours, 'floor', part):.2f}, "
                        f"peer / floor {ratio(times, peer, 'floor', part):.2f}",
                    )  # fmt: skip


def _transformers(shape) -> dict:
    """Mixtral and OLMoE blocks, with every implementation of experts that this version has."""
    from transformers import MixtralConfig, OlmoeConfig
    from transformers.models.mixtral.modeling_mixtral import MixtralSparseMoeBlock
    from transformers.models.olmoe.modeling_olmoe import OlmoeSparseMoeBlock

    common = {"hidden_size": shape.d, "intermediate_size": shape.h, "num_experts_per_tok": shape.k}
    kinds = {
        "Mixtral": (MixtralSparseMoeBlock, MixtralConfig, {"num_local_experts": shape.E}),
        "OLMoE": (OlmoeSparseMoeBlock, OlmoeConfig, {"num_experts": shape.E}),
    }
    made = {}
    for name, (block, config, experts) in kinds.items():
        for backend in ("eager", "grouped_mm"):
            settings = config(**common, **experts)
            settings._experts_implementation = backend
            layer = block(settings)
            with torch.no_grad():
                for parameter in layer.parameters():
                    parameter.normal_(std=0.05)
            made[f"{name} {backend}"] = _Batched(layer)
    return made


def _st_moe(shape) -> dict:
    from st_moe_pytorch import MoE

    layer = MoE(dim=shape.d, num_experts=shape.E, gating_top_n=shape.k,
                expert_hidden_mult=shape.h / shape.d)  # fmt: skip
    return {"st-moe (GELU, drops)": _Batched(layer)}


class _Batched(torch.nn.Module):
    """A layer of sequences as one of rows: a batch of one."""

    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def forward(self, x):
        y = self.layer(x[None])
        return (y if isinstance(y, torch.Tensor) else y[0])[0]


PEERS: dict[str, Callable[[Any], dict]] = {"transformers": _transformers, "st_moe_pytorch": _st_moe}
