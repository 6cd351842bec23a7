"""The routers of the contract tests, every registered one with variants, and their inputs."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from mixexp.neural import ROUTERS, Clock, FeedForwardExperts, Router, RoutingInputs, TopKRouter

DIM, N_EXPERTS = 8, 5
N_SEGMENTS, LENGTH = 4, 6
N_TASKS, N_TOKENS = 3, 11


@dataclass(frozen=True)
class Sized:
    """An argument that depends on the number of experts."""

    of: Callable[[int], object]


def _top_k(k: int = 2, **arguments) -> Sized:
    """The router inside a wrapper."""
    return Sized(lambda e: TopKRouter(DIM, e, k=min(k, e), **arguments))


def _softmax_of_context(n_experts: int) -> nn.Module:
    return nn.Sequential(nn.Linear(3, n_experts), nn.Softmax(-1))


# What a registered router needs besides (dim, n_experts); others are built from these two alone.
ARGUMENTS: dict[str, dict] = {
    "masked": {
        "base": _top_k(),
        "n_visible": Sized(lambda e: [1 if t % 3 == 0 else e for t in range(N_TOKENS)]),
    },
    "pinned": {
        "base": _top_k(order="select_then_activate"),
        "task_expert": Sized(lambda e: [0, -1, min(2, e - 1)]),
    },
    "broadcast_uncertain": {"base": _top_k(), "threshold": 1.3},
    "distilled": {"teacher": _top_k(), "n_tokens": N_TOKENS, "width": 3, "switch_step": 50},
    "dense_to_sparse": {"threshold": 0.1},
    "token_id": {"n_tokens": N_TOKENS},
    "conditional": {"n_tasks": N_TASKS},
    "task": {"n_tasks": N_TASKS},
    "callable": {"rule": Sized(lambda n_experts: lambda x: torch.relu(x[:, :n_experts] + 0.5))},
    "dselect_k": {"init_std": 0.5},  # some bits saturated, some not
    "comet": {"init_std": 0.5},
}
# Further settings of registered routers, each a case of its own: (name, suffix) -> arguments.
VARIANTS: dict[tuple[str, str], dict] = {
    ("top_k", "one"): {"k": 1},
    ("top_k", "all"): {"k": N_EXPERTS},
    ("top_k", "mixtral"): {"order": "select_then_activate"},
    ("top_k", "normalised"): {"normalize": "sum"},
    ("top_k", "sigmoid"): {"score": "sigmoid", "normalize": "sum", "bias_balance": 0.01},
    ("top_k", "relu"): {"score": "relu"},
    ("top_k", "logit_norm"): {"logit_norm": 1.0, "bias": True},
    ("top_k", "gating_residual"): {"gating_residual": True},
    ("top_k", "sequence"): {"level": "sequence"},
    ("top_k", "task"): {"level": "task"},
    ("top_k", "jitter"): {"jitter": 0.3},
    ("top_k", "detached"): {"normalize": "detached_sum"},
    ("noisy_top_k", "all"): {"k": N_EXPERTS, "zero_init": False},
    ("top_p", "one"): {"threshold": 0.0},
    ("top_p", "all"): {"threshold": 1.0},
    ("top_p", "normalised"): {"threshold": 0.7, "max_k": 3, "normalize": "sum", "bias": True},
    ("adaptive_top_k", "all"): {"threshold": 1.0},
    ("adaptive_top_k", "three"): {"threshold": 0.05, "max_k": 3, "bias": True},
    ("relu", "plain"): {"balance": False, "bias": False},
    ("gumbel", "noiseless"): {"n_samples": 0, "tau": 0.5},
    ("gumbel", "sampled"): {"evaluation": "sampled", "n_samples": 3},
    ("gumbel", "hard"): {"hard": True},
    ("masked", "hash"): {"n_visible": [1] * N_TOKENS},
    ("pinned", "always"): {"train_only": False},
    ("broadcast_uncertain", "limited"): {"max_per_segment": 2},
    ("distilled", "switched"): {"switch_step": 10},
    ("distilled", "identity"): {
        "teacher": _top_k(1, score="sigmoid"),
        "keep": "scale",
        "identity": True,
        "student": "linear",
        "switch_step": 10,
    },
    ("sparse_mixer", "all_candidates"): {"jitter": math.inf},
    ("sparse_mixer", "grin"): {"k": 2, "version": 2, "jitter": 0.5},
    ("dense_to_sparse", "noiseless"): {"noise": False, "threshold": 0.1, "normalize": "sum"},
    ("dense_to_sparse", "dense"): {"threshold": 0.0, "anneal": "cosine"},
    ("dense", "top_k"): {"inference": "topk"},
    ("dense", "one"): {"inference": "topk", "k": 1, "normalize": "sum"},
    ("random", "sequence"): {"k": 2, "level": "sequence"},
    ("random", "batch"): {"level": "batch"},
    ("random", "mean"): {"inference": "all"},
    ("token_id", "random"): {"hash": "random", "k": 2},
    ("token_id", "table"): {"table": Sized(lambda n_experts: torch.arange(N_TOKENS) % n_experts)},
    ("conditional", "per_task"): {"per_task_gates": True, "normalize": "sum"},
    ("conditional", "context"): {"condition": "context", "context_dim": 3, "k": 1},
    ("conditional", "everything"): {"condition": "token+context+task", "context_dim": 3},
    ("callable", "labels"): {
        "rule": Sized(lambda n_experts: lambda ids: ids % n_experts),
        "field": "token_id",
        "returns": "labels",
    },
    ("callable", "module"): {"rule": Sized(_softmax_of_context), "field": "context", "k": 2},
    ("dense", "threshold"): {"inference": "threshold", "threshold": 0.15, "bias": True},
    ("dselect_k", "three"): {"k": 3, "gamma": 2.0},
    ("dselect_k", "static"): {"conditioned": False},
    ("comet", "one"): {"k": 1, "gamma": 0.5},
    ("sinkhorn", "two"): {"k": 2, "score": "softmax", "bias": True},
    ("sinkhorn", "all"): {"k": N_EXPERTS},
    ("expert_choice", "sequence"): {"scope": "sequence"},
    ("expert_choice", "all"): {"capacity_factor": float(N_EXPERTS)},
    ("expert_choice", "capped"): {"max_experts": 2, "capacity_factor": 1.5, "bias": True},
    ("expert_choice", "capped_sequence"): {"max_experts": 3, "scope": "sequence"},
    ("soft", "three"): {"slots_per_expert": 3, "normalize": True},
    ("token_mixing", "pairs"): {"group_size": 2, "learn_temperature": True},
    ("token_mixing", "alone"): {"group_size": 1},
    ("product_key", "heads"): {"k": 2, "n_heads": 3, "key_dim": 3},
    ("product_key", "one_head"): {"k": 2, "n_heads": 1, "query_norm": True},
    ("product_key", "sigmoid"): {"k": 1, "n_heads": 2, "score": "sigmoid"},
    ("hierarchical", "one_group"): {"n_groups": 1},
    ("hierarchical", "several"): {"k_groups": Sized(lambda e: min(2, e)), "k_local": 1},
    ("hierarchical", "uneven"): {"k_local": Sized(lambda e: min(3, e)), "shared_local": True},
    ("recurrent", "normalised"): {"normalize": "sum", "hidden": 5},
    ("activation_norm", "all"): {"k": N_EXPERTS},
    ("activation_norm", "normalised"): {"normalize": "sum"},
}


def case_ids() -> list[str]:
    """Names of all cases."""
    return [*ROUTERS, *(f"{name}-{suffix}" for name, suffix in VARIANTS)]


def build(case: str, *, n_experts: int = N_EXPERTS, seed: int = 0) -> Router:
    """The router of a case, with parameters that depend on the seed alone."""
    name, _, suffix = case.partition("-")
    arguments = ARGUMENTS.get(name, {}) | (VARIANTS[name, suffix] if suffix else {})
    cls: Callable[..., Router] = ROUTERS[name]
    parameters = inspect.signature(cls).parameters
    if "k" in parameters:
        k = arguments.get("k", parameters["k"].default)
        arguments["k"] = None if k is None else min(k, n_experts)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        for argument, value in arguments.items():
            if isinstance(value, Sized):
                arguments[argument] = value.of(n_experts)
        # a wrapper has the sizes of what it wraps
        sizes = (DIM, n_experts) if "dim" in parameters else ()
        router = cls(*sizes, **arguments)
        # zero initial values would hide what depends on them
        with torch.no_grad():
            for parameter in router.parameters():
                if not parameter.any():
                    parameter.normal_(std=0.3)
    return router


def inputs(
    *,
    seed: int = 1,
    training: bool = False,
    draw: int = 7,
    n_segments: int = N_SEGMENTS,
    n_experts: int = N_EXPERTS,
    dtype: torch.dtype = torch.float32,
    **changes,
) -> RoutingInputs:
    """Units of several segments with every field that a router may need."""
    source = torch.Generator().manual_seed(seed)
    n = n_segments * LENGTH
    fields = {
        "x": torch.randn(n, DIM, generator=source, dtype=torch.float64).to(dtype),
        "segment": torch.arange(n_segments).repeat_interleave(LENGTH),
        "position": torch.arange(LENGTH).repeat(n_segments),
        "token_id": torch.randint(N_TOKENS, (n,), generator=source),
        "task_id": torch.arange(n_segments).remainder(N_TASKS).repeat_interleave(LENGTH),
        "context": torch.randn(n, 3, generator=source, dtype=torch.float64).to(dtype),
        "importance": torch.rand(n, generator=source, dtype=torch.float64).to(dtype),
        "experts": bank(n_experts).to(dtype),
        "clock": Clock(step=40, total_steps=100, training=training),
        "generator": torch.Generator().manual_seed(draw),
    }
    return RoutingInputs(**(fields | changes))


def bank(n_experts: int = N_EXPERTS, seed: int = 3) -> FeedForwardExperts:
    """Experts with fixed weights."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return FeedForwardExperts(n_experts, DIM, 12, bias=True)


def table(routing) -> torch.Tensor:
    """Everything a routing decides, as one matrix with a row a unit, for comparisons."""
    dense = routing.weights()
    chosen = torch.zeros_like(dense).index_put(
        (routing.unit, routing.expert), torch.ones_like(routing.weight), accumulate=True
    )
    parts = [dense, chosen]
    if routing.residual is not None:
        parts.append(routing.residual[:, None])
    if routing.dispatch is not None:
        parts.append(routing.replace(weight=routing.dispatch).weights())
    return torch.cat(parts, 1).detach()
