"""`PEERLayer`: single neurons as experts, retrieved from a huge bank by product keys."""

from __future__ import annotations

from ..experts import NeuronExperts
from ..routing import ProductKeyRouter
from .moe import MoELayer


class PEERLayer(MoELayer):
    """A layer with up to a million experts of one neuron each.

    Every one of H heads retrieves the k best of E neurons, exactly, at a cost that grows with the
    square root of E: together a layer of H k hidden units that each unit chooses for itself.

    Parameters
    ----------
    dim, n_experts : int
    k : int
        Neurons a head retrieves.
    n_heads : int
    key_dim : int, optional
        Width of each half of a query; half of ``dim`` by default.
    score : {"softmax", "relu", "sigmoid"}
        Activation of the retrieved scores, which are the weights.
    query_norm : bool
        Whether queries are normalised.
    activation : {"gelu", "relu", "squared_relu", "silu", "sigmoid"}
        Of the neurons.
    sparse : bool
        Whether the neurons have sparse gradients, as in `NeuronExperts`.
    **options
        Further arguments of `MoELayer`.

    References
    ----------
    He, "Mixture of a million experts", 2024, section 2.
    """

    def __init__(
        self,
        dim: int,
        n_experts: int,
        k: int = 16,
        *,
        n_heads: int = 8,
        key_dim: int | None = None,
        score: str = "softmax",
        query_norm: bool = False,
        activation: str = "gelu",
        sparse: bool = False,
        **options,
    ):
        router = ProductKeyRouter(
            dim, n_experts, k,
            n_heads=n_heads, key_dim=key_dim, score=score, query_norm=query_norm,
        )  # fmt: skip
        experts = NeuronExperts(n_experts, dim, activation=activation, sparse=sparse)
        super().__init__(router, experts, **options)
