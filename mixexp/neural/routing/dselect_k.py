"""DSelect-k: k experts chosen by smooth binary codes, sparse at convergence and C1 throughout."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from .assignment import Routing
from .base import Router, RouterFlags, register_router
from .inputs import RoutingInputs
from .scores import LinearScore
from .smooth_step import check_smooth, entropy, initial_std, smooth_step, sparse_routing


@register_router("dselect_k")
class DSelectKRouter(Router):
    """A convex combination of k selectors, each a product of smooth steps over the bits of a code.

    Selector l gives expert i, with the binary digits B_ij of i, the weight
    ``r_i(z_l) = prod_j S(z_lj)^B_ij (1 - S(z_lj))^(1 - B_ij)``, and the weights of a unit are
    ``sum_l softmax(alpha)_l r(z_l)``. Once all bits are saturated a selector is one expert and at
    most k weights are not zero, exactly; until then gradients reach all experts. Two losses of the
    router's own lead there:

    - ``"entropy"``, the entropies of the k selectors, which presses each to one expert;
    - ``"code_mass"``, the sum over selectors of ``1 / (sum_{i < E} r_i) - 1``, only where E is no
      power of two: it draws mass from the codes that belong to no expert. Until they are empty the
      weights of a unit sum to less than one.

    Parameters
    ----------
    dim, n_experts : int
    k : int
        Selectors, the largest number of experts a unit has at convergence.
    gamma : float
        Width of the smooth steps.
    conditioned : bool
        Whether z and alpha are linear functions of the unit, or parameters alone, the same for all
        units (a gate of a task).
    init_std : float, optional
        Spread of the initial z for standardised units; ``gamma / 10`` by default.

    Raises
    ------
    ValueError
        For values outside these ranges.

    Notes
    -----
    Where experts are hidden the weights are those of the distribution over visible experts; a unit
    all of whose selectors point at hidden experts gets none.

    References
    ----------
    Hazimeh et al., "DSelect-k: differentiable selection in the mixture of experts with
    applications to multi-task learning", 2021, equations 3 to 6.
    """

    def __init__(
        self,
        dim: int,
        n_experts: int,
        k: int = 2,
        *,
        gamma: float = 1.0,
        conditioned: bool = True,
        init_std: float | None = None,
    ):
        super().__init__(dim, n_experts)
        check_smooth(k, gamma, init_std)
        self.k = k
        self.gamma = gamma
        self.conditioned = conditioned
        self.n_bits = math.ceil(math.log2(n_experts))
        if conditioned:
            std = initial_std(gamma, init_std, dim)
            self.code_score = LinearScore(dim, k * self.n_bits, bias=True, std=std)
            self.selector_score = LinearScore(dim, k, bias=True)
        else:
            self.code = nn.Parameter(torch.empty(k, self.n_bits))
            self.selector = nn.Parameter(torch.zeros(k))
            nn.init.normal_(self.code, std=initial_std(gamma, init_std, 1))

    def flags(self, training: bool) -> RouterFlags:
        return RouterFlags(variable_k=self.conditioned)

    def route(self, inputs: RoutingInputs) -> Routing:
        z, alpha = self._scores(inputs)
        selectors = code_probabilities(smooth_step(z, self.gamma))[..., : self.n_experts]
        losses = {"entropy": entropy(selectors).sum(-1)}
        mass = selectors.sum(-1)
        if 2**self.n_bits > self.n_experts:
            # a selector without any mass on experts has no gradient: its loss stays finite
            losses["code_mass"] = (1 / mass.clamp_min(1e-6) - 1).sum(-1)
        if inputs.visible is not None:
            selectors = selectors * inputs.visible.unsqueeze(-2)
            left = selectors.sum(-1)
            scale = mass / left.clamp_min(torch.finfo(left.dtype).tiny)
            selectors = selectors * torch.where(left > 0, scale, 0.0)[..., None]
        weight = (torch.softmax(alpha, -1)[..., None] * selectors).sum(-2)
        return sparse_routing(inputs, weight, losses)

    def _scores(self, inputs: RoutingInputs) -> tuple[Tensor, Tensor]:
        """z of shape (T, k, bits) and alpha of shape (T, k)."""
        n = inputs.n_units
        if self.conditioned:
            z = self.code_score(inputs.x).view(n, self.k, self.n_bits)
            return z, self.selector_score(inputs.x)
        z, alpha = self.code.to(inputs.x.dtype), self.selector.to(inputs.x.dtype)
        return z.expand(n, -1, -1), alpha.expand(n, -1)


def code_probabilities(steps: Tensor) -> Tensor:
    """Products over bits, of shape (..., 2^bits), in the order of the codes; first bit highest."""
    codes = steps.new_ones(*steps.shape[:-1], 1)
    for bit in steps.unbind(-1):
        on = bit[..., None]
        codes = torch.stack([codes * (1 - on), codes * on], -1).flatten(-2)
    return codes
