"""Losses of the size and the sharpness of a router's scores: functions of additive statistics."""

from __future__ import annotations

import torch
from torch import Tensor

from ..routing import RoutingStats
from .balance import needed


def router_z_loss(stats: RoutingStats) -> Tensor:
    """Mean over units of the squared log-partition function of the scores: keeps them small.

    Parameters
    ----------
    stats : RoutingStats
        Of one layer.

    Raises
    ------
    ValueError
        If the router has no scores.

    References
    ----------
    Zoph et al., "ST-MoE: designing stable and transferable sparse expert models", 2022,
    equation 5.
    """
    return needed(stats, "z_sum", "z-loss") / stats.n_units.clamp_min(1.0)


def router_entropy_loss(stats: RoutingStats) -> Tensor:
    """Mean entropy of the units' probabilities, in nats: zero when every unit is sure.

    Parameters
    ----------
    stats : RoutingStats
        Of one layer.

    Raises
    ------
    ValueError
        If the router has no probabilities.

    References
    ----------
    Huang et al., "Harder tasks need more experts: dynamic routing in MoE models", 2024.
    """
    return needed(stats, "entropy_sum", "entropy loss") / stats.n_units.clamp_min(1.0)


def selection_entropy_loss(stats: RoutingStats) -> Tensor:
    """Negative entropy of the mean probabilities, from ``-log E`` (balance) to zero (collapse).

    Parameters
    ----------
    stats : RoutingStats
        Of one layer, over the rows of the scope.

    Raises
    ------
    ValueError
        If the router has no probabilities.

    Notes
    -----
    The paper takes the softmax of the scores; of a sigmoid router these are the scores' shares,
    ``sigmoid(z_e) / sum_i sigmoid(z_i)``, which balance and collapse with them.

    References
    ----------
    Csordas, Irie and Schmidhuber, "Approximating two-layer feedforward networks for efficient
    transformers", 2023.
    """
    prob_sum = needed(stats, "prob_sum", "selection entropy loss")
    return -torch.special.entr(prob_sum / stats.n_units.clamp_min(1.0)).sum()


def mutual_information_loss(stats: RoutingStats) -> Tensor:
    """Negative mutual information of units and experts, from ``-log E`` to zero.

    ``mean H(p_t) - H(mean p_t)``: lowest when every unit is sure and experts are balanced, zero
    when all units have the same probabilities.

    Parameters
    ----------
    stats : RoutingStats
        Of one layer, over the rows of the scope.

    Raises
    ------
    ValueError
        If the router has no probabilities.

    References
    ----------
    Pan et al., "Dense training, sparse inference: rethinking training of mixture-of-experts
    language models", 2024.
    """
    return router_entropy_loss(stats) + selection_entropy_loss(stats)
