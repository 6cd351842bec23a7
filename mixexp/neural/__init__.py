"""Sparse mixtures of experts on PyTorch: routers, experts, layers, losses and estimators."""

from __future__ import annotations

import importlib

_PUBLIC = {
    "Clock": "routing",
    "RoutingInputs": "routing",
    "Routing": "routing",
    "RoutingStats": "routing",
    "Router": "routing",
    "RouterFlags": "routing",
    "ROUTERS": "routing",
    "MissingRoutingInputError": "routing",
    "NoVisibleExpertError": "routing",
    "TopKRouter": "routing",
    "SwitchRouter": "routing",
    "NoisyTopKRouter": "routing",
    "TopPRouter": "routing",
    "AdaptiveTopKRouter": "routing",
    "ReLURouter": "routing",
    "GumbelRouter": "routing",
    "ExpertBank": "experts",
    "FeedForwardExperts": "experts",
    "GatedExperts": "experts",
    "MoELayer": "layers",
    "RoutingTrace": "layers",
    "load_balancing_loss": "losses",
}

__all__ = [*_PUBLIC]


def __getattr__(name):
    """Import public names on first use; without PyTorch, say what to install."""
    if name not in _PUBLIC:
        raise AttributeError(f"module 'mixexp.neural' has no attribute {name!r}")
    try:
        module = importlib.import_module(f"{__name__}.{_PUBLIC[name]}")
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        raise ModuleNotFoundError(
            f"mixexp.neural.{name} needs PyTorch, which is not installed: "
            "pip install 'mixexp[neural]'.",
            name="torch",
        ) from error
    value = getattr(module, name)
    globals()[name] = value
    return value


def __dir__():
    return sorted([*globals(), *_PUBLIC])
