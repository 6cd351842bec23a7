"""Memory of large tensors: aligned, of the right kind, and without effect on any value."""

from __future__ import annotations

import pytest
import torch

from mixexp.neural import FeedForwardExperts, GatedExperts, MoELayer, TopKRouter
from mixexp.neural.experts import memory
from mixexp.neural.experts.memory import ALIGNMENT, LARGE, empty

DTYPES = (torch.float32, torch.float64, torch.bfloat16)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(3, 5), (LARGE // 1024 + 1, 3, 1024), (0, 4)])
def test_a_tensor_of_the_shape_and_precision_asked_for(dtype, shape) -> None:
    found = empty(torch.zeros(1, dtype=dtype), shape)
    assert found.shape == shape and found.dtype == dtype
    assert found.is_contiguous() and found.data_ptr() % ALIGNMENT == 0
    assert found.fill_(2).sum(dtype=torch.float64) == 2 * found.numel()


def test_large_tensors_alone_have_memory_of_their_own_kind() -> None:
    """Those of numpy have room for the alignment, and belong to who holds them."""
    like = torch.zeros(1)
    large, small = empty(like, (LARGE // 4,)), empty(like, (LARGE // 4 - 1,))
    assert large.untyped_storage().nbytes() == LARGE + ALIGNMENT
    assert small.untyped_storage().nbytes() == LARGE - 4
    assert empty(torch.zeros(1, device="meta"), (LARGE,)).device.type == "meta"


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("experts", [FeedForwardExperts, GatedExperts])
def test_gradients_are_the_same_to_the_last_bit(dtype, experts, monkeypatch) -> None:
    """Also where they add up over passes and experts have no rows."""
    found = []
    for large in (0, 2**60):
        monkeypatch.setattr(memory, "LARGE", large)
        torch.manual_seed(0)
        layer = MoELayer(TopKRouter(6, 5, k=1), experts(5, 6, 7)).to(dtype)
        x = torch.randn(4, 6).to(dtype).requires_grad_()
        for _ in range(2):
            layer(x).square().sum().backward()
        found.append([x.grad, *(p.grad for p in layer.parameters())])
    for first, second in zip(*found, strict=True):
        assert torch.equal(first, second)
