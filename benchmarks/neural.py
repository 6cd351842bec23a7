"""The whole dropless layer against dense products of exactly the routed rows.

Layer: router, dispatch, experts with exact GELU, combination. Floor: ``(X W1) W2`` with N = T k
rows and one weight, no activation; forward and backward with the gradients of X, W1 and W2. One
thread, CPU seconds of the process, ratios formed within each round, medians over the rounds, new
tokens in every round (the experts' numbers of rows, and with them the shapes of the products,
change: half-precision kernels are compiled by shape). Peak memory: see `neural_memory`; other
packages' layers, where installed: see `neural_peers`.
"""

from __future__ import annotations

from collections.abc import Iterator
from statistics import median
from typing import NamedTuple

import torch

from mixexp.neural import FeedForwardExperts, MoELayer, TopKRouter

from .timing import Line, cpu


class Shape(NamedTuple):
    """T units of width d, E experts with h hidden units, k chosen."""

    T: int
    d: int
    h: int
    E: int
    k: int


SHAPES = {
    "A": Shape(4096, 256, 512, 8, 2),
    "B": Shape(4096, 256, 128, 64, 8),
    "C": Shape(16384, 128, 256, 16, 1),
    "D": Shape(512, 512, 1024, 8, 2),
}
BARS = {
    "float32": {"A": 1.35, "B": 1.6, "C": 1.75, "D": 1.45},
    "bfloat16": {"A": 2.6, "B": 3.6, "C": 5.0, "D": 3.5},
}
SKEWED_BAR = 1.15


def build(shape: Shape, dtype, *, skewed: bool = False, experts=FeedForwardExperts):
    """The layer; skewed, the scores of its router fall from expert to expert."""
    _, d, h, E, k = shape
    torch.manual_seed(0)
    router = TopKRouter(d, E, k, bias=True)
    if skewed:
        with torch.no_grad():
            router.score.bias.copy_(torch.linspace(1.5, -1.5, E))
    return MoELayer(router, experts(E, d, h)).to(dtype)


def tensors(*shapes, dtype, gradient=True):
    """Standard normal tensors."""
    made = [torch.randn(shape).to(dtype) for shape in shapes]
    return [tensor.requires_grad_() for tensor in made] if gradient else made


class Floor:
    """The dense products of the routed rows; with ``n_first`` first matrices, as gated experts."""

    def __init__(self, shape: Shape, dtype, n_first: int = 1):
        T, d, h, _, k = shape
        self.rows, self.d, self.dtype = T * k, d, dtype
        self.weights = tensors(*[(d, h)] * n_first, (h, d), dtype=dtype)

    def prepare(self):
        """Forward, and forward and backward, of new rows."""
        (x,) = tensors((self.rows, self.d), dtype=self.dtype)
        (grad,) = tensors((self.rows, self.d), dtype=self.dtype, gradient=False)

        def product():
            *first, second = self.weights
            inner = sum(x @ weight for weight in first) if len(first) > 1 else x @ first[0]
            return inner @ second

        def forward():
            with torch.no_grad():
                product()

        return forward, lambda: torch.autograd.grad(product(), [x, *self.weights], grad)


def prepare(layer, x, grad):
    """Forward, and forward and backward, of a module on given units."""
    wanted = [x, *(p for p in layer.parameters() if p.requires_grad)]

    def output():
        y = layer(x)
        return y[0] if isinstance(y, tuple) else y

    def forward():
        with torch.no_grad():
            output()

    return forward, lambda: torch.autograd.grad(output(), wanted, grad, allow_unused=True)


def measured(shape: Shape, dtype, floor: Floor, layers: dict, rounds: int) -> dict:
    """CPU seconds of the floor and of every layer by round: {name: [(forward, both), ...]}.

    The first two rounds are left out.
    """
    times: dict = {name: [] for name in ("floor", *layers)}
    for _ in range(rounds + 2):
        (x,) = tensors((shape.T, shape.d), dtype=dtype)
        (grad,) = tensors((shape.T, shape.d), dtype=dtype, gradient=False)
        times["floor"].append(tuple(map(cpu, floor.prepare())))
        for name, layer in layers.items():
            times[name].append(tuple(map(cpu, prepare(layer, x, grad))))
    return {name: each[2:] for name, each in times.items()}


def ratio(times: dict, name: str, other: str, part: int) -> float:
    """Median over the rounds of one time over another: forward (part 0), with backward (1)."""
    return median(a[part] / b[part] for a, b in zip(times[name], times[other]))


def load(layer, shape: Shape, dtype) -> float:
    """Largest number of rows of an expert over the mean."""
    with torch.no_grad():
        inputs = layer.inputs(torch.randn(shape.T, shape.d).to(dtype))
        counts = layer.route(inputs).counts.double()
    return float(counts.max() / counts.mean())


def neural(quick=False, dtypes=("float32", "bfloat16"), shapes=tuple(SHAPES)) -> Iterator[Line]:
    """All lines: speed of each shape and precision, peak memory, other packages."""
    # these import from here
    from .neural_memory import neural_memory
    from .neural_peers import neural_peers

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for dtype in dtypes:
            for name in shapes:
                yield from _speed(name, dtype, 5 if quick else 15)
        yield from neural_peers(3 if quick else 7)
    finally:
        torch.set_num_threads(threads)
    yield from neural_memory(shapes)


def _speed(name: str, dtype: str, rounds: int) -> Iterator[Line]:
    """The layer over the floor, balanced and skewed."""
    shape, kind = SHAPES[name], getattr(torch, dtype)
    layers = {"balanced": build(shape, kind), "skewed": build(shape, kind, skewed=True)}
    times = measured(shape, kind, Floor(shape, kind), layers, rounds)
    case = f"{name} {dtype}"
    for part, what in enumerate(("forward", "forward + backward")):
        seconds = {key: median(each[part] for each in times[key]) for key in times}
        note = ", ".join(f"{key} {1e3 * value:.1f} ms" for key, value in seconds.items())
        bar = f"<= {BARS[dtype][name]}" if part else ""
        yield Line(
            "neural", f"{what}, layer / floor", case, ratio(times, "balanced", "floor", part),
            bar, note,
        )  # fmt: skip
    loads = ", ".join(f"{key} {load(layer, shape, kind):.2f}" for key, layer in layers.items())
    yield Line(
        "neural", "forward + backward, skewed / balanced", case,
        ratio(times, "skewed", "balanced", 1), f"<= {SKEWED_BAR}", f"max / mean load: {loads}",
    )  # fmt: skip
