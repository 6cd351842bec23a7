"""What stands between the two matrices of an expert, with derivatives written into given memory."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from ..checks import check_option

aten = torch.ops.aten


class Pointwise(ABC):
    """A function of one number. ``plain`` is for autograd, the other two are its fast twins."""

    plain: Callable[[Tensor], Tensor]

    @abstractmethod
    def value(self, z: Tensor, out: Tensor) -> Tensor:
        """The function of z, written into ``out``."""

    @abstractmethod
    def pull(self, grad: Tensor, z: Tensor, out: Tensor) -> Tensor:
        """``grad`` times the derivative at z, written into ``out``, which may be ``grad``."""


class GELU(Pointwise):
    """``z Phi(z)``, exact."""

    plain = staticmethod(F.gelu)

    def value(self, z, out):
        return aten.gelu.out(z, out=out)

    def pull(self, grad, z, out):
        return aten.gelu_backward.grad_input(grad, z, grad_input=out)


class ReLU(Pointwise):
    """``max(z, 0)``."""

    plain = staticmethod(F.relu)

    def value(self, z, out):
        return torch.clamp_min(z, 0, out=out)

    def pull(self, grad, z, out):
        return aten.threshold_backward.grad_input(grad, z, 0, grad_input=out)


class SquaredReLU(Pointwise):
    """``max(z, 0)^2``."""

    @staticmethod
    def plain(z):
        return F.relu(z).square()

    def value(self, z, out):
        return torch.clamp_min(z, 0, out=out).square_()

    def pull(self, grad, z, out):
        return torch.mul(grad, z.clamp_min(0), out=out).mul_(2)


class SiLU(Pointwise):
    """``z sigmoid(z)``."""

    plain = staticmethod(F.silu)

    def value(self, z, out):
        return aten.silu.out(z, out=out)

    def pull(self, grad, z, out):
        return aten.silu_backward.grad_input(grad, z, grad_input=out)


class Sigmoid(Pointwise):
    """``1 / (1 + exp(-z))``."""

    plain = staticmethod(torch.sigmoid)

    def value(self, z, out):
        return torch.sigmoid(z, out=out)

    def pull(self, grad, z, out):
        return aten.sigmoid_backward.grad_input(grad, torch.sigmoid(z), grad_input=out)


POINTWISE: dict[str, Pointwise] = {
    "gelu": GELU(),
    "relu": ReLU(),
    "squared_relu": SquaredReLU(),
    "silu": SiLU(),
    "sigmoid": Sigmoid(),
}


class Hidden(ABC):
    """The map from the first product z, of ``columns(h)`` columns, to the h inputs of the second.

    Parameters
    ----------
    activation : str
        A key of `POINTWISE`.

    Raises
    ------
    ValueError
        For an unknown activation.
    """

    n_parts: int

    def __init__(self, activation: str):
        check_option("activation", activation, sorted(POINTWISE))
        self.activation = activation
        self.function = POINTWISE[activation]

    @abstractmethod
    def plain(self, z: Tensor) -> Tensor:
        """The map by plain autograd."""

    @abstractmethod
    def value(self, z: Tensor, out: Tensor) -> Tensor:
        """The map, written into ``out``."""

    @abstractmethod
    def pull(self, grad: Tensor, z: Tensor, out: Tensor) -> Tensor:
        """The gradient at z for ``grad`` at the map's value, written into ``out``."""


class Activated(Hidden):
    """``act(z)``."""

    n_parts = 1

    def plain(self, z):
        return self.function.plain(z)

    def value(self, z, out):
        return self.function.value(z, out)

    def pull(self, grad, z, out):
        return self.function.pull(grad, z, out)


class Gated(Hidden):
    """``act(g) * u`` with ``z = [g, u]``."""

    n_parts = 2

    def plain(self, z):
        gate, up = z.chunk(2, -1)
        return self.function.plain(gate) * up

    def value(self, z, out):
        gate, up = z.chunk(2, -1)
        return self.function.value(gate, out).mul_(up)

    def pull(self, grad, z, out):
        gate, up = z.chunk(2, -1)
        to_gate, to_up = out.chunk(2, -1)
        self.function.value(gate, to_up).mul_(grad)
        torch.mul(grad, up, out=to_gate)
        self.function.pull(to_gate, gate, to_gate)
        return out
