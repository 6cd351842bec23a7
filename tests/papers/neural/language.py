"""A small language model on texts that come with Python, to try mechanisms in."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from functools import cache
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mixexp.neural import MoETransformerLM, RoutingTrace, load_balancing_loss

CONTEXT, DIM = 48, 32
# prose, programs, tables: three kinds of text that experts can tell apart
SOURCES = {
    "prose": ("pydoc_data.topics",),
    "code": ("argparse", "tarfile", "typing", "subprocess"),
    "tables": ("html.entities", "encodings.cp437", "encodings.cp850", "encodings.cp775"),
}


@cache
def text(domain: str) -> Tensor:
    """The bytes of a domain."""
    files = [importlib.import_module(name).__file__ for name in SOURCES[domain]]
    content = b"".join(Path(str(file)).read_bytes() for file in files)
    return torch.frombuffer(bytearray(content), dtype=torch.uint8).long()


def batch(n_each: int, source: torch.Generator, *, held_out: bool = False) -> Tensor:
    """Pieces of each domain, one token longer than the context; the last tenth is held out."""
    pieces = []
    for domain in SOURCES:
        content = text(domain)
        cut = len(content) * 9 // 10
        part = content[cut:] if held_out else content[:cut]
        start = torch.randint(len(part) - CONTEXT, (n_each,), generator=source)
        pieces.append(part[start[:, None] + torch.arange(CONTEXT + 1)])
    return torch.cat(pieces)


def cross_entropy(lm: nn.Module, pieces: Tensor, trace: RoutingTrace | None = None) -> Tensor:
    """Mean loss of the next byte, in nats."""
    logits = lm(pieces[:, :-1], trace=trace)
    return F.cross_entropy(logits.flatten(0, 1), pieces[:, 1:].flatten())


def language_model(layer: Callable[[int], nn.Module], seed: int, **options) -> MoETransformerLM:
    """The untrained model; layers of the same seed begin alike where they have the same shapes."""
    torch.manual_seed(seed)
    return MoETransformerLM(layer, dim=DIM, n_heads=2, context=CONTEXT, **options)


def train(
    lm: MoETransformerLM,
    seed: int,
    *,
    n_steps: int = 150,
    balance: float = 0.01,
    each_step: Callable[[RoutingTrace], None] = lambda trace: None,
) -> float:
    """Train on batches that the seed alone determines; the held-out loss afterwards."""
    source = torch.Generator().manual_seed(seed)
    optimiser = torch.optim.AdamW(lm.parameters(), lr=5e-3)
    for _ in range(n_steps):
        trace = RoutingTrace()
        loss = cross_entropy(lm, batch(6, source), trace)
        if balance:
            loss = loss + balance * sum(load_balancing_loss(stats) for stats in trace.stats)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        each_step(trace)
    return held_out_loss(lm)


@torch.no_grad()
def held_out_loss(lm: MoETransformerLM) -> float:
    """Loss on the same held-out pieces for every model."""
    lm.eval()
    loss = cross_entropy(lm, batch(32, torch.Generator().manual_seed(99), held_out=True))
    lm.train()
    return float(loss)
