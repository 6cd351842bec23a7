"""The training loop: clock and updates once a step, early stopping, interruption, named errors."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from mixexp.neural import Clock, RoutingInputs, TopKRouter, Training
from mixexp.neural.training import Objective, Step, auxiliary_losses, train
from mixexp.neural.training.schedules import factor


class Line(Objective):
    """Least squares of a slope; the validation loss is a given list."""

    def __init__(self, module, n=10, validation=None, raise_at=None):
        self.module, self.n_rows = module, n
        self.validation, self.validates = list(validation or []), validation is not None
        self.raise_at = raise_at
        self.clocks: list[Clock] = []
        self.seen: list[torch.Tensor] = []
        self.x = torch.linspace(-1, 1, n, dtype=torch.float64)

    def step(self, index, clock, generator):
        if len(self.clocks) == self.raise_at:
            raise KeyboardInterrupt
        self.clocks.append(clock)
        self.seen.append(index)
        x = self.x[index]
        return Step((self.module.weight.sum() * x - 2 * x).square().mean(), [])

    def validation_loss(self, clock):
        assert not clock.training and not self.module.training
        return self.validation.pop(0)


def slope():
    return nn.Linear(1, 1, bias=False).double()


def run(objective, **settings):
    plain = {"early_stopping": objective.validates, "learning_rate": 0.1} | settings
    generator = torch.Generator().manual_seed(0)
    return train(objective.module, objective, Training(**plain).check(), generator)


def test_every_epoch_visits_every_row_once_in_batches_of_even_size() -> None:
    objective = Line(slope(), n=11)
    result = run(objective, max_epochs=3, batch_size=4)
    assert result.step == 9 and len(result.loss_curve) == 3
    for epoch in range(3):
        parts = objective.seen[3 * epoch : 3 * epoch + 3]
        assert sorted(torch.cat(parts).tolist()) == list(range(11))
        assert {len(part) for part in parts} <= {3, 4}


def test_the_clock_counts_steps_of_a_known_total() -> None:
    objective = Line(slope())
    run(objective, max_epochs=2, batch_size=5)
    assert [clock.step for clock in objective.clocks] == [0, 1, 2, 3]
    assert all(clock.training and clock.total_steps == 4 for clock in objective.clocks)


def test_the_slope_is_found() -> None:
    module = slope()
    run(Line(module), max_epochs=200, batch_size=None, weight_decay=0.0)
    assert_close(module.weight.item(), 2.0, atol=1e-3, rtol=0)


def test_early_stopping_keeps_the_best_state() -> None:
    module = slope()
    states = []
    told = lambda progress: states.append(module.weight.item())  # noqa: E731
    objective = Line(module, validation=[3.0, 1.0, 2.0, 2.0, 2.0, 0.0])
    result = run(objective, patience=3, callback=told, batch_size=None)
    assert (result.best_epoch, len(result.loss_curve)) == (2, 5)
    assert module.weight.item() == states[1] != states[-1]
    assert not module.training


def test_interruption_keeps_the_best_state_with_a_warning() -> None:
    module = slope()
    states = []
    told = lambda progress: states.append(module.weight.item())  # noqa: E731
    objective = Line(module, validation=[1.0, 2.0, 3.0], raise_at=3)
    with pytest.warns(RuntimeWarning, match="interrupted in epoch 4; the state of epoch 1"):
        result = run(objective, callback=told, batch_size=None)
    assert result.interrupted and module.weight.item() == states[0]


def test_interruption_without_validation_keeps_the_last_step() -> None:
    objective = Line(slope(), raise_at=2)
    with pytest.warns(RuntimeWarning, match="the last step"):
        assert run(objective, batch_size=None).step == 2


def test_a_callback_stops_the_training() -> None:
    result = run(Line(slope()), callback=lambda progress: progress.epoch == 2)
    assert len(result.loss_curve) == 2


def test_a_loss_that_is_not_finite_is_named() -> None:
    objective = Line(slope())
    objective.x = objective.x * math.inf
    with pytest.raises(FloatingPointError, match="Lower learning_rate"):
        run(objective)


def test_schedules() -> None:
    assert [factor("cosine", step, 8, 0) for step in (0, 4, 8)] == pytest.approx([1, 0.5, 0])
    assert [factor("constant", step, 8, 4) for step in (0, 3, 4, 7)] == [0.25, 1, 1, 1]
    assert factor("cosine", 5, None, 0) == 1


class Recorder(TopKRouter):
    """A router that counts the calls of `update`."""

    def __init__(self):
        super().__init__(3, 4, 1)
        self.updates: list[tuple[float, int]] = []

    def update(self, stats, clock=None):
        assert not stats.weight_sum.requires_grad
        self.updates.append((stats.n_units.item(), clock.step))


class Routed(Line):
    """A loss of routing weights."""

    def step(self, index, clock, generator):
        router = self.module
        x = torch.randn(len(index), 3, generator=generator)
        routing = router(RoutingInputs(x, clock=clock, generator=generator))
        return Step(routing.weight.mean(), [(router, routing)])


def test_routers_are_updated_once_a_step() -> None:
    router = Recorder()
    run(Routed(router, n=6), max_epochs=2, batch_size=3)
    assert router.updates == [(3, 0), (3, 1), (3, 2), (3, 3)]


def test_auxiliary_losses_are_weighed_by_name_and_reported_unscaled() -> None:
    def weight_after(coefficient):
        torch.manual_seed(0)
        router, told = Recorder(), []
        run(
            Routed(router), max_epochs=1, batch_size=None, callback=told.append,
            loss_weights={"load_balancing": coefficient},
        )  # fmt: skip
        return router.score.weight.detach(), told[0].auxiliary["load_balancing"]

    small, one = weight_after(0.0)
    large, same = weight_after(10.0)
    assert one == same >= 1 - 1e-6
    assert not torch.equal(small, large)


def test_unknown_losses_are_named() -> None:
    routing = TopKRouter(3, 4)(RoutingInputs(torch.ones(2, 3)))
    with pytest.raises(ValueError, match=r"names 'entropi'.*load_balancing"):
        auxiliary_losses([routing], ["entropi"])


@pytest.mark.parametrize(
    "settings",
    [
        {"max_epochs": 0},
        {"batch_size": 1.5},
        {"learning_rate": 0.0},
        {"schedule": "linear"},
        {"validation_fraction": 1.0},
    ],
)
def test_settings_out_of_range_are_named(settings) -> None:
    with pytest.raises(ValueError, match=next(iter(settings))):
        Training(**settings).check()
