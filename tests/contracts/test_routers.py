"""Promises of every registered router: what its flags say, and what all routers owe."""

from __future__ import annotations

import copy

import pytest
import torch
from torch.testing import assert_close

from mixexp.neural import (
    ROUTERS,
    Clock,
    MissingRoutingInputError,
    MoELayer,
    NoVisibleExpertError,
)

from .router_cases import (
    DIM,
    LENGTH,
    N_EXPERTS,
    bank,
    build,
    case_ids,
    inputs,
    table,
)

# Further settings of a router run with the slow suite, those of the commonest one at once.
every_router = pytest.mark.parametrize(
    "case",
    [
        pytest.param(
            case, marks=[pytest.mark.slow] if "-" in case and not case.startswith("top_k-") else []
        )
        for case in case_ids()
    ],
)
both_modes = pytest.mark.parametrize("training", [False, True], ids=["eval", "train"])


def _same(a, b) -> bool:
    return torch.equal(a, b)


@every_router
@both_modes
def test_pairs_are_sorted_distinct_and_weighted(case, training) -> None:
    given = inputs(training=training)
    routing = build(case)(given)
    keys = routing.expert * routing.n_units + routing.unit
    assert bool((keys[1:] >= keys[:-1]).all())
    if routing.slot_expert is None:
        assert len(torch.unique(keys)) == routing.n_pairs
    assert routing.weight.dtype == torch.float32
    assert torch.isfinite(routing.weight).all()
    assert bool((routing.weight >= 0).all())
    assert_close(routing.unit[routing.units_order()], routing.unit.sort().values)
    counted = torch.bincount(routing.expert, minlength=N_EXPERTS).float()
    if routing.slot_expert is None and routing.stats.n_units == routing.n_units:
        assert_close(routing.stats.counts, counted)


@every_router
@both_modes
def test_padding_is_neutral(case, training) -> None:
    """Padded units are in no pair and no sum, and their states change nothing."""
    router = build(case)
    valid = torch.ones(len(inputs().x), dtype=torch.bool)
    valid[[2, 3, 9, LENGTH * 2 - 1]] = False
    given = inputs(training=training, valid=valid)
    routing = router(given)
    assert valid[routing.unit].all()
    if router.flags(training).stochastic:
        given = inputs(training=training, valid=valid)
    noise = torch.where(valid[:, None], 0.0, 100.0)
    other = router(given.replace(x=given.x + noise, generator=inputs().generator))
    assert _same(table(routing), table(other))
    for name in ("n_units", "counts", "weight_sum", "prob_sum", "entropy_sum", "segment_counts"):
        first, second = getattr(routing.stats, name), getattr(other.stats, name)
        assert first is None or _same(first, second), name
    assert routing.stats.n_units <= valid.sum()


@every_router
def test_order_of_units_does_not_matter(case) -> None:
    given = inputs()
    router = build(case)
    order = torch.randperm(given.n_units, generator=torch.Generator().manual_seed(0))
    if router.flags(False).stochastic:
        pytest.skip("draws belong to places")
    assert_close(table(router(given))[order], table(router(given.take(order))))


def _moved(given, rows):
    """The inputs with other states, tokens and contexts at some rows, and the same draws."""
    changes = {"x": given.x.clone(), "context": given.context.clone()}
    changes["x"][rows] = 3 * torch.randn(given.x[rows].shape)
    changes["context"][rows] = torch.randn(given.context[rows].shape)
    changes["token_id"] = given.token_id.clone()
    changes["token_id"][rows] = given.token_id[rows].flip(0)
    return given.replace(**changes, generator=torch.Generator().manual_seed(7))


def _changes_anything(router, training, kept, moved, n_trials=30) -> bool:
    """Whether moving some rows ever changes the routing of the kept ones."""
    torch.manual_seed(0)
    before = table(router(inputs(training=training)))[kept]
    return any(
        not _same(before, table(router(_moved(inputs(training=training), moved)))[kept])
        for _ in range(n_trials)
    )


@every_router
@both_modes
def test_batch_independence_is_as_declared(case, training) -> None:
    router = build(case)
    segment = inputs().segment
    changes = _changes_anything(router, training, segment == 0, segment != 0)
    assert changes == (not router.flags(training).batch_independent)


@every_router
@both_modes
def test_causality_is_as_declared(case, training) -> None:
    """Later positions of the same segment; other segments are the batch's matter."""
    router = build(case)
    given = inputs()
    early = (given.segment == 0) & (given.position < LENGTH // 2)
    late = (given.segment == 0) & (given.position >= LENGTH // 2)
    changes = _changes_anything(router, training, early, late)
    assert changes == (not router.flags(training).causal)


@every_router
@both_modes
def test_one_generator_one_result(case, training) -> None:
    router = build(case)
    first = table(router(inputs(training=training)))
    torch.manual_seed(12345)
    assert _same(first, table(router(inputs(training=training))))
    others = [table(router(inputs(training=training, draw=draw))) for draw in range(20)]
    drawn = any(not _same(first, other) for other in others)
    assert drawn == router.flags(training).stochastic


@every_router
@both_modes
def test_number_of_experts_varies_as_declared(case, training) -> None:
    router = build(case)
    sizes = {
        int(size)
        for seed in range(10)
        for size in torch.bincount(
            router(inputs(training=training, seed=seed)).unit, minlength=len(inputs().x)
        )
    }
    assert (len(sizes) > 1) == router.flags(training).variable_k


@every_router
@pytest.mark.parametrize("per_unit", [False, True], ids=["for_all", "by_unit"])
def test_hidden_experts_are_not_chosen(case, per_unit) -> None:
    router = build(case)
    visible = torch.tensor([True, False, True, True, False])
    if per_unit:
        visible = visible.repeat(len(inputs().x), 1)
        visible[:LENGTH] = torch.tensor([False, True, False, False, True])
    routing = router(inputs(visible=visible))
    dense = routing.weights()
    assert routing.n_pairs > 0
    assert bool((dense[~visible.expand_as(dense)] == 0).all())
    assert visible.expand_as(dense)[routing.unit, routing.expert].all()
    assert torch.isfinite(dense).all()


@pytest.mark.parametrize(
    "case", [case for case in case_ids() if getattr(build(case), "normalize", None) == "sum"]
)
@pytest.mark.parametrize("k", [1, 2])
def test_normalised_weights_sum_to_one(case, k) -> None:
    """Also where fewer experts are visible than are chosen."""
    router = build(case)
    visible = torch.arange(N_EXPERTS) < k
    for given in (inputs(), inputs(visible=visible)):
        weights = router(given).weights().sum(1)
        assert_close(weights, torch.ones_like(weights))


@every_router
def test_a_unit_without_visible_expert_is_an_error_by_name(case) -> None:
    given = inputs()
    visible = torch.ones(given.n_units, N_EXPERTS, dtype=torch.bool)
    visible[4] = False
    router = build(case)
    with pytest.raises(NoVisibleExpertError, match=f"{type(router).__name__}.*unit 4"):
        router(inputs(visible=visible))
    valid = torch.arange(given.n_units) != 4
    routing = router(inputs(visible=visible, valid=valid))
    assert torch.isfinite(routing.weight).all()


def _gradients(router, training):
    """Gradients of a smooth function of the outputs, by parameter."""
    router = copy.deepcopy(router)
    given = inputs(training=training)
    y = MoELayer(router, bank()).combine(given.x, router(given))
    if not y.requires_grad:
        return []
    wanted = list(router.parameters())
    found = torch.autograd.grad(y.square().sum(), wanted, allow_unused=True) if wanted else ()
    return [g for g in found if g is not None and bool((g != 0).any())]


@every_router
@both_modes
def test_outputs_reach_parameters_as_declared(case, training) -> None:
    router = build(case)
    assert bool(_gradients(router, training)) == router.flags(training).trainable


@every_router
@both_modes
def test_gradients_are_those_of_the_function(case, training) -> None:
    router = build(case).double()
    if not router.flags(training).differentiable:
        pytest.skip("declared an estimator")
    given = inputs(training=training, dtype=torch.float64)
    names = [name for name, _ in router.named_parameters()]

    def weights(x, *values):
        call = dict(zip(names, values, strict=True))
        fresh = given.replace(x=x, generator=torch.Generator().manual_seed(7))
        routing = torch.func.functional_call(router, call, (fresh,))
        return routing.weights()

    x = given.x.clone().requires_grad_()
    values = [p.detach().clone().requires_grad_() for p in router.parameters()]
    if not weights(x, *values).requires_grad:
        assert not router.flags(training).trainable
        return
    torch.manual_seed(0)
    assert torch.autograd.gradcheck(weights, (x, *values), eps=1e-6, atol=1e-6, fast_mode=True)


@every_router
def test_statistics_of_halves_add_to_the_whole(case) -> None:
    router = build(case)
    if not router.flags(False).batch_independent:
        pytest.skip("its choices depend on the batch")
    if router.flags(False).stochastic:
        pytest.skip("draws belong to places")
    given = inputs()
    whole = router(given).stats
    first = given.segment < 2
    merged = router(given.take(first)).stats.merge(router(given.take(~first)).stats)
    for name, value in vars(whole).items():
        other = getattr(merged, name)
        assert (value is None) == (other is None), name
        if value is not None:
            assert_close(other, value, msg=lambda text, name=name: f"{name}: {text}")


def _dense_sum(experts, x, routing):
    """The layer's definition, unit by unit and slot by slot."""
    every = experts.every(x)
    if routing.slot_expert is None:
        return torch.einsum("te,etd->td", routing.weights().to(x.dtype), every)
    n_slots = len(routing.slot_expert)
    enter = routing.dispatch if routing.dispatch is not None else torch.ones_like(routing.weight)
    place = routing.unit * n_slots + routing.slot
    zeros = torch.zeros(len(x) * n_slots, dtype=x.dtype)
    into = zeros.index_add(0, place, enter.to(x.dtype)).view(len(x), n_slots)
    out = zeros.index_add(0, place, routing.weight.to(x.dtype)).view(len(x), n_slots)
    mixed = into.T @ x
    computed = torch.stack(
        [experts.every(mixed[s : s + 1])[e, 0] for s, e in enumerate(routing.slot_expert)]
    )
    return out @ computed


@every_router
def test_dispatch_and_combine_equal_the_dense_sum(case) -> None:
    """Values and gradients of inputs, router and experts."""
    router, experts = build(case).double(), bank().double()
    found = []
    for combine in (MoELayer(router, experts).combine, lambda x, r: _dense_sum(experts, x, r)):
        given = inputs(dtype=torch.float64)
        x = given.x.clone().requires_grad_()
        y = combine(x, router(given.replace(x=x)).replace(residual=None))
        wanted = [x, *router.parameters(), *experts.parameters()]
        grads = torch.autograd.grad(y.sin().sum(), wanted, allow_unused=True)
        found.append([y, *(torch.zeros(()) if g is None else g for g in grads)])
    for sparse, dense in zip(*found, strict=True):
        # a path that reaches nothing gives no gradient or a zero one
        if sparse.shape == dense.shape:
            assert_close(sparse, dense)
        else:
            assert not sparse.any() and not dense.any()


@every_router
def test_no_units(case) -> None:
    given = inputs().take(torch.zeros(len(inputs().x), dtype=torch.bool))
    router = build(case)
    routing = router(given)
    assert routing.n_units == 0
    assert MoELayer(router, bank()).combine(given.x, routing).shape == (0, DIM)


@every_router
@both_modes
def test_one_expert(case, training) -> None:
    routing = build(case, n_experts=1)(inputs(n_experts=1, training=training))
    assert torch.isfinite(routing.weight).all()
    assert set(routing.expert.tolist()) <= {0}


@every_router
def test_equal_units_are_routed_alike_and_ties_go_to_the_first(case) -> None:
    """With equal scores the choice is a function of the expert's index."""
    router = build(case)
    given = inputs(x=torch.zeros(len(inputs().x), DIM))
    first, second = table(router(given)), table(router(inputs(x=given.x)))
    assert _same(first, second)


@every_router
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=["bfloat16", "float16"])
def test_low_precision_decides_as_float32(case, dtype) -> None:
    router = build(case)
    low = inputs(dtype=dtype)
    full = inputs(dtype=dtype).replace(
        **{name: getattr(low, name).float() for name in ("x", "context", "importance")},
        experts=low.experts.float(),
    )
    a, b = router(low), router(full)
    assert a.weight.dtype == torch.float32
    assert _same(a.unit, b.unit) and _same(a.expert, b.expert)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        under = router(inputs(dtype=dtype))
    assert under.weight.dtype == torch.float32
    assert _same(a.unit, under.unit) and _same(a.expert, under.expert)


@every_router
@both_modes
def test_nothing_is_stored_on_the_module(case, training) -> None:
    router = build(case)
    state = copy.deepcopy(router.state_dict())
    names = {name: set(vars(module)) for name, module in router.named_modules()}
    router(inputs(training=training))
    assert names == {name: set(vars(module)) for name, module in router.named_modules()}
    for name, value in router.state_dict().items():
        assert _same(value, state[name]), name


@every_router
def test_state_dict_holds_everything(case) -> None:
    """Parameters and what `update` has learned: a router of another seed becomes the same one."""
    router = build(case)
    for step in range(3):
        clock = Clock(step=step, total_steps=100, training=True)
        router.update(router(inputs(training=True, seed=step)).stats.detach(), clock)
    other = build(case, seed=9)
    other.load_state_dict(router.state_dict())
    for training in (False, True):
        given = [inputs(training=training) for _ in range(2)]
        assert _same(table(router(given[0])), table(other(given[1])))


@every_router
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=["bfloat16", "float16"])
def test_learned_state_is_not_rounded_by_a_cast(case, dtype) -> None:
    router = build(case)
    before = {name: value.clone() for name, value in router.named_buffers()}
    for name, value in router.to(dtype).named_buffers():
        assert _same(value, before[name]), name


@every_router
def test_missing_inputs_are_named(case) -> None:
    router = build(case)
    for name in sorted(router.needs):
        with pytest.raises(MissingRoutingInputError, match=name):
            router(inputs().replace(**{name: None}))


def test_registry_names_are_the_public_ones() -> None:
    import mixexp.neural as neural

    for cls in ROUTERS.values():
        assert getattr(neural, cls.__name__) is cls
        assert (cls.__doc__ or "").strip()
