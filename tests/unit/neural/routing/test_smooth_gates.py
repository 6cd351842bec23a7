"""Sparse gates by smooth steps: the step, the codes and trees, and the weights of both routers."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch.testing import assert_close

from mixexp.neural import COMETRouter, DSelectKRouter, RoutingInputs
from mixexp.neural.routing.comet import leaf_probabilities, softmax_of_reached
from mixexp.neural.routing.dselect_k import code_probabilities
from mixexp.neural.routing.smooth_step import smooth_step


def _inputs(n=40, dim=4, **fields) -> RoutingInputs:
    return RoutingInputs(torch.randn(n, dim, generator=torch.Generator().manual_seed(0)), **fields)


@pytest.mark.parametrize("gamma", [0.3, 1.0, 4.0])
def test_the_step_is_the_published_cubic_and_exact_at_its_ends(gamma) -> None:
    t = torch.linspace(-gamma / 2, gamma / 2, 101, dtype=torch.float64)
    cubic = -2 * t**3 / gamma**3 + 3 * t / (2 * gamma) + 0.5
    assert_close(smooth_step(t, gamma), cubic)
    ends = smooth_step(torch.tensor([-gamma, -gamma / 2, gamma / 2, 2 * gamma]), gamma)
    assert ends.tolist() == [0, 0, 1, 1]


def test_the_derivative_of_the_step_is_continuous() -> None:
    t = torch.linspace(-1, 1, 4_001, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(smooth_step(t, 1.0).sum(), t)
    assert slope.diff().abs().max() < 7 * 5e-4  # the second derivative is at most 6
    assert slope.max() == 1.5


def test_codes_are_products_over_binary_digits() -> None:
    steps = torch.rand(3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for i, bits in enumerate(itertools.product([0, 1], repeat=3)):
        product = torch.stack([s if bit else 1 - s for s, bit in zip(steps, bits)]).prod()
        assert_close(code_probabilities(steps)[i], product)


@pytest.mark.parametrize("n_leaves", [1, 2, 5, 8, 13])
def test_leaves_are_products_along_their_paths(n_leaves) -> None:
    steps = torch.rand(n_leaves - 1, generator=torch.Generator().manual_seed(0)).double()
    found = leaf_probabilities(steps)
    assert_close(found.sum(), torch.ones((), dtype=torch.float64))
    for leaf in range(n_leaves):
        node, product = n_leaves - 1 + leaf, 1.0
        while node:
            parent = (node - 1) // 2
            product *= steps[parent] if node == 2 * parent + 1 else 1 - steps[parent]
            node = parent
        assert found[leaf] == pytest.approx(float(product), rel=1e-12)


def test_tree_weights_are_a_softmax_over_all_trees() -> None:
    source = torch.Generator().manual_seed(0)
    reached = torch.rand(6, 2, 5, generator=source, dtype=torch.float64)
    reached[:, 0, 1] = 0.0
    leaf = 200 * torch.randn(6, 2, 5, generator=source, dtype=torch.float64)
    leaf[:, 0, 1] = 1e5  # a leaf that is not reached does not count, however high its score
    exact = torch.softmax((leaf + reached.log()).flatten(1), 1).view_as(leaf).sum(1)
    assert_close(softmax_of_reached(reached, leaf), exact)


@pytest.mark.parametrize("k", [1, 2, 3])
@pytest.mark.parametrize("n_experts", [4, 8])
def test_dselect_weights_sum_to_one_and_are_sparse_when_bits_are_saturated(k, n_experts) -> None:
    torch.manual_seed(0)
    router = DSelectKRouter(4, n_experts, k)
    weights = router(_inputs()).weights()
    assert bool((weights > 0).all())  # training begins with gradients to all experts
    assert_close(weights.sum(1), torch.ones(40))
    with torch.no_grad():
        z = router.code_score(_inputs().x)
        router.code_score.weight *= 0.5 / z.abs().min() * 1.001
    weights = router(_inputs()).weights()
    assert_close(weights.sum(1), torch.ones(40))
    assert (weights > 0).sum(1).max() == k


def test_a_static_gate_is_one_gate_for_all_units() -> None:
    torch.manual_seed(0)
    router = DSelectKRouter(4, 6, 2, conditioned=False)
    weights = router(_inputs()).weights()
    assert torch.equal(weights, weights[:1].expand_as(weights))
    with torch.no_grad():
        router.selector.copy_(torch.tensor([1.0, -2.0]))
    selectors = code_probabilities(smooth_step(router.code, 1.0))[:, :6]
    mixed = torch.softmax(router.selector, 0) @ selectors
    assert_close(router(_inputs()).weights(), mixed.expand(40, -1))


def test_code_mass_is_lost_weight() -> None:
    torch.manual_seed(0)
    six, eight = (DSelectKRouter(4, n, 1, conditioned=False) for n in (6, 8))
    with torch.no_grad():
        eight.code.copy_(six.code)
    mass = eight(_inputs(1)).weights()[0, :6].sum()
    routing = six(_inputs(1))
    assert_close(routing.weight.sum(), mass)
    assert_close(routing.losses["code_mass"], 1 / mass - 1)
    assert "code_mass" not in eight(_inputs(1)).losses


@pytest.mark.parametrize("height", [0.49, 0.5])
def test_code_mass_is_what_is_lost_and_finite_where_all_is(height) -> None:
    """With six experts the codes six and seven, whose first bits are both on, have none."""
    router = DSelectKRouter(4, 6, 1, conditioned=False).double()
    with torch.no_grad():
        router.code.copy_(torch.tensor([[height, height, 0.1]], dtype=torch.float64))
    on = float(smooth_step(torch.tensor(height, dtype=torch.float64), 1.0))
    given = _inputs(1)
    loss = router(given.replace(x=given.x.double())).losses["code_mass"]
    assert loss.item() == pytest.approx(1 / max(1 - on**2, 1e-6) - 1)


def test_trees_split_by_steps_of_width_gamma() -> None:
    torch.manual_seed(0)
    router, given = COMETRouter(4, 5, 2, gamma=0.5, init_std=0.3), _inputs()
    splits = router.split_score(given.x).view(40, 2, 4)
    reached = leaf_probabilities(smooth_step(splits, 0.5))
    wanted = softmax_of_reached(reached, router.leaf_score(given.x).view(40, 2, 5))
    assert_close(router(given).weights(), wanted)
    # the loss is of whole trees, whatever is hidden
    entropy = router(given.replace(visible=torch.arange(5) < 3)).losses["entropy"]
    assert_close(entropy, torch.special.entr(reached).sum((1, 2)).mean())


@pytest.mark.parametrize("cls", [DSelectKRouter, COMETRouter])
def test_hidden_experts_leave_their_mass_to_the_others(cls) -> None:
    torch.manual_seed(0)
    router = cls(4, 8, 1)
    visible = torch.arange(8) % 3 > 0
    whole, part = router(_inputs()).weights(), router(_inputs(visible=visible)).weights()
    seen = torch.where(visible, whole, 0.0)
    assert_close(part, seen / seen.sum(1, keepdim=True))


@pytest.mark.parametrize("cls", [DSelectKRouter, COMETRouter])
def test_the_entropy_loss_counts_valid_units_alone(cls) -> None:
    torch.manual_seed(0)
    router = cls(4, 5)
    valid = torch.arange(40) % 4 > 0
    padded = router(_inputs(valid=valid)).losses
    for name, loss in router(_inputs().take(valid)).losses.items():
        assert_close(padded[name], loss)


@pytest.mark.parametrize("cls", [DSelectKRouter, COMETRouter])
@pytest.mark.parametrize("options", [{"k": 0}, {"gamma": 0.0}, {"init_std": -1.0}])
def test_impossible_settings_are_refused(cls, options) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(options))} must be"):
        cls(4, 5, **options)
