"""`torch.export` and `torch.compile` of the dropless layer."""

from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

from mixexp.neural import (
    BankList,
    ConstantExperts,
    CopyExperts,
    FeedForwardExperts,
    GatedExperts,
    LoRAExperts,
    MoELayer,
    NeuronExperts,
    TopKRouter,
    ZeroExperts,
)

DIM, E = 6, 4

# torch's compiler itself looks at the gradient of what the graph before a break has computed
compiles = pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor:UserWarning")

BANKS = {
    "gated": lambda: GatedExperts(E, DIM, 5, bias=True),
    "neurons": lambda: NeuronExperts(E, DIM),
    "lora": lambda: LoRAExperts(FeedForwardExperts(1, DIM, 5), E, 2),
    "list": lambda: BankList(
        [FeedForwardExperts(1, DIM, 5), ZeroExperts(1, DIM), ConstantExperts(2, DIM)]
    ),
    "copy": lambda: CopyExperts(E, DIM),
}


def layer(experts, **arguments) -> MoELayer:
    torch.manual_seed(0)
    return MoELayer(TopKRouter(DIM, E, 2, **arguments), experts())


def units(n, seed=0):
    return torch.randn(n, DIM, generator=torch.Generator().manual_seed(seed))


def exported(module, strict=False):
    sizes = {"x": {0: torch.export.Dim("T", min=2)}}
    return torch.export.export(module, (units(10),), dynamic_shapes=sizes, strict=strict).module()


def same_on_other_batches(program, module) -> None:
    """Values for numbers of rows that the tracer has not seen, one expert without rows too."""
    for n in (2, 10, 33):
        assert_close(program(units(n, seed=n)), module(units(n, seed=n)))
    assert_close(program(torch.ones(5, DIM)), module(torch.ones(5, DIM)))


def test_an_exported_layer_computes_the_same_for_every_batch_size() -> None:
    module = layer(lambda: FeedForwardExperts(E, DIM, 5))
    same_on_other_batches(exported(module), module)


@pytest.mark.slow
def test_an_exported_layer_takes_sequences() -> None:
    module = layer(lambda: FeedForwardExperts(E, DIM, 5))
    sizes = {"x": {0: torch.export.Dim("B", min=2)}}
    program = torch.export.export(module, (units(20).view(4, 5, DIM),), dynamic_shapes=sizes)
    x = units(35, seed=1).view(7, 5, DIM)
    assert_close(program.module()(x), module(x))


@pytest.mark.slow
def test_export_holds_the_dense_sum() -> None:
    """One product a matrix and expert, whatever was routed: no operator of the package's own."""
    program = exported(layer(lambda: FeedForwardExperts(E, DIM, 5)))
    names = [str(node.target) for node in program.graph.nodes if node.op == "call_function"]
    assert sum("matmul" in name or ".mm." in name for name in names) == 2 * E
    assert not any("mixexp" in name for name in names)


@pytest.mark.slow
@pytest.mark.parametrize("case", BANKS)
@pytest.mark.parametrize("strict", [False, True])
def test_other_banks_can_be_exported(case, strict) -> None:
    module = layer(BANKS[case], score="sigmoid", normalize="sum")
    same_on_other_batches(exported(module, strict), module)


@pytest.mark.slow
@compiles
@pytest.mark.parametrize("case", ["gated", "neurons", "list"])
def test_a_compiled_layer_has_the_same_values_and_gradients(case) -> None:
    module = layer(BANKS[case])
    compiled = torch.compile(module, backend="eager", dynamic=True)
    for n in (10, 17):
        found = []
        for call in (compiled, module):
            x = units(n, seed=n).requires_grad_()
            y = call(x)
            wanted = [x, *module.parameters()]
            found.append([y, *torch.autograd.grad(y.sin().sum(), wanted, allow_unused=True)])
        for a, b in zip(*found):
            assert (a is None) == (b is None)
            if a is not None:
                assert_close(a, b)


@pytest.mark.slow
@compiles
def test_the_experts_are_outside_of_compiled_graphs() -> None:
    module = layer(lambda: FeedForwardExperts(E, DIM, 5))
    with pytest.raises(torch._dynamo.exc.Unsupported):
        torch.compile(module, backend="eager", fullgraph=True)(units(10))
    report = torch._dynamo.explain(module)(units(10))
    assert report.graph_break_count >= 1
