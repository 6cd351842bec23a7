"""
Balance of a routed layer
=========================

A router that learns freely often ends with a few experts that do all the work. A balance loss on
the statistics of the routing spreads the units. Here a layer of eight experts, two for each unit,
learns a function of eight clusters, half of the units in the first; it is trained with and without
the loss, and the figure has the share of choices of each expert over the training.
"""

import matplotlib.pyplot as plt
import numpy as np
import torch

from mixexp.neural import MoELayer, RoutingTrace, count_active, load_balancing_loss

dim, n_experts = 8, 8
source = torch.Generator().manual_seed(0)
centres = 2 * torch.randn(8, dim, generator=source)
maps = torch.randn(8, dim, dim, generator=source) / dim**0.5
chances = torch.tensor([0.5] + [0.5 / 7] * 7)


def draw(n):
    """Units of the clusters, and their targets."""
    cluster = torch.multinomial(chances, n, replacement=True, generator=source)
    x = centres[cluster] + 0.5 * torch.randn(n, dim, generator=source)
    return x, torch.einsum("nd,nde->ne", x, maps[cluster])


def train(coefficient, n_steps=250):
    """Loss, shares of choices, and cost of the trained layer."""
    torch.manual_seed(1)
    layer = MoELayer.feed_forward(dim, 16, n_experts, 2, expert_options={"bias": True})
    optimiser = torch.optim.Adam(layer.parameters(), lr=0.01)
    shares, losses = [], []
    for _ in range(n_steps):
        x, y = draw(256)
        trace = RoutingTrace()
        loss = (layer(x, trace=trace) - y).square().mean()
        optimiser.zero_grad()
        (loss + coefficient * load_balancing_loss(trace.stats[0])).backward()
        optimiser.step()
        shares.append((trace.stats[0].counts / trace.stats[0].counts.sum()).numpy())
        losses.append(loss.item())
    return np.mean(losses[-20:]), np.array(shares), count_active(layer, trace)


fig, axes = plt.subplots(1, 2, figsize=(8, 3), sharey=True)
for ax, coefficient in zip(axes, (0.0, 0.1)):
    loss, shares, cost = train(coefficient)
    ax.plot(shares)
    ax.axhline(1 / n_experts, color="black", lw=0.8, ls=":")
    ax.set(title=f"balance loss times {coefficient:g}", xlabel="step")
    largest = shares[-1].max()
    print(f"coefficient {coefficient:g}: squared error {loss:.3f}, largest share {largest:.2f}")
axes[0].set_ylabel("share of choices")
fig.tight_layout()
plt.show()

# %%
# Every unit meets two of the eight experts, and the router:

print(f"{cost.active:.0f} of {cost.total} parameters are active")
print(f"{cost.flops:.0f} operations a unit")
