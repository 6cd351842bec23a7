"""One way to train for all claims: the same rows in the same order for every arm of a pair."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn

from mixexp.neural import Clock, MoELayer, Routing, RoutingTrace, load_balancing_loss
from mixexp.neural.layers import RoutedLayer

N_FRESH = 300  # fresh rows, by domain


class Languages:
    """Deterministic Markov languages: which byte follows a byte differs from language to language.

    A row is the code of its language plus that of its byte plus noise; its target is the next
    byte. There are ``n_languages * n_bytes`` facts to hold, and one expert can hold a language.

    Parameters
    ----------
    n_languages, n_bytes, dim : int
    noise : float
        Standard deviation of what is added to the codes, whose entries have variance one.
    shift : float
        Size of the entries of what all rows have in common, which makes untrained routers uneven.
    shared : int
        Number of bytes whose next byte is the same in all languages.
    seed : int
    """

    def __init__(
        self,
        n_languages: int = 8,
        n_bytes: int = 32,
        dim: int = 16,
        *,
        noise: float = 0.3,
        shift: float = 1.0,
        shared: int = 0,
        seed: int = 0,
    ):
        source = torch.Generator().manual_seed(1000 + seed)
        self.language_codes = torch.randn(n_languages, dim, generator=source)
        self.byte_codes = torch.randn(n_bytes, dim, generator=source)
        self.common = shift * torch.randn(dim, generator=source)
        self.follows = torch.randint(n_bytes, (n_languages, n_bytes), generator=source)
        self.follows[:, :shared] = self.follows[0, :shared]
        self.dim, self.out_dim, self.noise = dim, n_bytes, noise
        self.n_domains = n_languages

    def draw(self, n_each: int, source: torch.Generator):
        """Rows, next bytes and languages, language by language."""
        language = torch.arange(self.n_domains).repeat_interleave(n_each)
        byte = torch.randint(self.out_dim, language.shape, generator=source)
        noise = self.noise * torch.randn(len(language), self.dim, generator=source)
        x = self.language_codes[language] + self.byte_codes[byte] + self.common + noise
        return x, self.follows[language, byte], language

    loss = staticmethod(nn.functional.cross_entropy)


class Digits:
    """Small images as sequences of 16 patches; answers of patches are averaged into votes.

    A patch is four pixels and the code of its place. Training rows differ from seed to seed.

    Parameters
    ----------
    seed : int
    """

    dim, out_dim = 20, 10

    def __init__(self, *, seed: int = 0):
        found = load_digits()
        images = torch.tensor(found.images, dtype=torch.float32) / 8 - 1
        patches = images.unfold(1, 2, 2).unfold(2, 2, 2).reshape(-1, 16, 4)
        places = torch.eye(16).expand(len(patches), 16, 16)
        order = torch.randperm(len(patches), generator=torch.Generator().manual_seed(seed))
        self.x = torch.cat([patches, places], 2)[order]
        self.y = torch.tensor(found.target)[order]
        self.n_train = 1300

    def draw(self, n_each: int, source: torch.Generator):
        """Sequences, twice as many as asked for, digits and the number of each sequence."""
        index = torch.randint(self.n_train, (2 * n_each,), generator=source)
        if n_each == N_FRESH:  # all held-out images
            index = torch.arange(self.n_train, len(self.x))
        sequence = torch.arange(len(index))[:, None].expand(-1, 16)
        return self.x[index], self.y[index], sequence

    @staticmethod
    def loss(answer: Tensor, target: Tensor) -> Tensor:
        """Of the summed votes of a quarter of the patches, on average."""
        return nn.functional.cross_entropy(4 * answer.mean(1), target)


class Stack(nn.Module):
    """Layers of one width on a residual path, each behind a norm, and a linear head.

    Parameters
    ----------
    layers : iterable of Module
    dim, out_dim : int
    """

    def __init__(self, layers, dim: int, out_dim: int):
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self.norms = nn.ModuleList(nn.LayerNorm(dim) for _ in self.layers)
        self.head = nn.Linear(dim, out_dim)

    def forward(self, x: Tensor, **context) -> Tensor:
        for i, (norm, layer) in enumerate(zip(self.norms, self.layers)):
            routed = isinstance(layer, RoutedLayer)
            x = x + (layer(norm(x), layer=i, **context) if routed else layer(norm(x)))
        return self.head(x)


@dataclass(frozen=True, eq=False)
class Learned:
    """A trained layer and how it does on fresh rows.

    Parameters
    ----------
    layer : Module
    seed : int
    path : list of float
        Training loss of each step.
    error : float
        Loss on fresh rows, in evaluation mode.
    routing : Routing or None
        Of the fresh rows in the first routed layer; None where nothing is routed.
    domain : Tensor
        Domains of the fresh rows.
    counts : Tensor of shape (steps, E)
        Units of each expert of the first routed layer, in each step; empty where nothing is routed.
    """

    layer: nn.Module
    seed: int
    path: list[float]
    error: float
    routing: Routing | None
    domain: Tensor
    counts: Tensor

    @property
    def n_experts(self) -> float:
        """Mean number of experts of a fresh unit."""
        assert self.routing is not None
        return self.routing.n_pairs / self.routing.n_units

    @property
    def variation(self) -> float:
        """Coefficient of variation of the experts' loads over the last fifth of the training."""
        load = self.counts[-len(self.counts) // 5 :].sum(0)
        return float(load.std(correction=0) / load.mean())

    def steps_to(self, level: float, window: int = 10) -> int:
        """Steps until the mean training loss over a window is at most ``level``; all if never."""
        mean = torch.tensor(self.path).unfold(0, window, 1).mean(1)
        below = (mean <= level).nonzero()
        return int(below[0]) + window if len(below) else len(self.path) + 1


Penalty = Callable[[RoutingTrace, Clock], "Tensor | float"]


def nothing(trace: RoutingTrace, clock: Clock) -> float:
    """No penalty."""
    return 0.0


def balance(weight: float) -> Penalty:
    """The load-balancing loss of the first routed layer, with a weight."""
    return lambda trace, clock: weight * load_balancing_loss(trace.stats[0])


# seeds 0 and 1 were for trying out
SEEDS = range(2, 7)


def over_seeds(make: Callable[[], nn.Module], world=Languages, **options) -> list[Learned]:
    """What is learned of the world of each seed."""
    return [learn(make, world(seed=seed), seed, **options) for seed in SEEDS]


def gains(first: list[Learned], second: list[Learned], share: float = 1.0) -> list[float]:
    """By how much the second arm's errors are below the first one's, times ``share``."""
    return [share * a.error - b.error for a, b in zip(first, second, strict=True)]


def places(domain: Tensor) -> dict[str, Tensor]:
    """Segments and positions of rows that come domain by domain; sequences have positions."""
    if domain.ndim == 2:
        return {"segment": domain}
    return {
        "segment": domain,
        "position": torch.arange(len(domain)) - torch.searchsorted(domain, domain),
    }


def learn(
    make: Callable[[], nn.Module],
    world,
    seed: int,
    *,
    n_steps: int = 250,
    n_each: int = 32,
    rate: float = 0.01,
    penalty: Penalty = nothing,
) -> Learned:
    """Train a layer on rows that the seed alone determines, and judge it on fresh ones.

    Parameters
    ----------
    make : callable
        The untrained layer; called after the seed is set.
    world : object
        ``draw(n_each, generator)`` gives rows, targets and domains; ``loss(answer, target)``.
    penalty : callable
        What is added to the loss in each step, from the step's trace and clock.
    """
    torch.manual_seed(seed)
    layer = make()
    source = torch.Generator().manual_seed(seed)
    draws = torch.Generator().manual_seed(seed)  # of the router, which must not shift the rows
    optimiser = torch.optim.Adam(layer.parameters(), rate)
    routers = [module.router for module in layer.modules() if isinstance(module, MoELayer)]
    routed = bool(routers)
    path, counts = [], []
    for step in range(n_steps):
        x, y, domain = world.draw(n_each, source)
        trace, clock = RoutingTrace(), Clock(step, n_steps, True)
        context = {"trace": trace, "clock": clock, "generator": draws, **places(domain)}
        loss = world.loss(layer(x, **context) if routed else layer(x), y)
        optimiser.zero_grad()
        (loss + penalty(trace, clock)).backward()
        optimiser.step()
        path.append(float(loss.detach()))
        if routed:
            for router, stats in zip(routers, trace.stats, strict=True):
                router.update(stats, clock)
            counts.append(trace.stats[0].counts)
    layer.eval()
    x, y, domain = world.draw(N_FRESH, torch.Generator().manual_seed(77))
    trace = RoutingTrace()
    with torch.no_grad():
        answer = layer(x, trace=trace, **places(domain)) if routed else layer(x)
        error = float(world.loss(answer, y))
    return Learned(
        layer, seed, path, error, trace[0] if routed else None, domain,
        torch.stack(counts) if counts else torch.empty(0),
    )  # fmt: skip
