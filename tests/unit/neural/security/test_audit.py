"""The audit finds dependence where there is some, says where, and finds none elsewhere."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from mixexp.neural import (
    CapacityLimiter,
    FeedForwardExperts,
    MoELayer,
    NeuralMoEClassifier,
    TopKRouter,
    Training,
    audit_batch_dependence,
)

DIM, N_EXPERTS = 6, 4


class Net(nn.Module):
    """Two mixture layers; the second one may have a limit."""

    def __init__(self, limiter=None, middle=None):
        super().__init__()
        self.first = self._layer(None)
        self.middle = middle
        self.second = self._layer(limiter)

    @staticmethod
    def _layer(limiter):
        router, experts = TopKRouter(DIM, N_EXPERTS), FeedForwardExperts(N_EXPERTS, DIM, 5)
        return MoELayer(router, experts, residual=True, limiter=limiter)

    def forward(self, x):
        x = self.first(x)
        return self.second(x if self.middle is None else self.middle(x))


class Mixing(nn.Module):
    """A layer of another kind that looks at the whole batch."""

    def forward(self, x):
        return x - x.mean(0, keepdim=True)


def net(*arguments, **named) -> Net:
    torch.manual_seed(0)
    return Net(*arguments, **named)


def rows(*shape) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("shape", [(12, DIM), (5, 4, DIM)], ids=["rows", "sequences"])
def test_dropless_token_choice_is_independent(shape) -> None:
    found = audit_batch_dependence(net(), rows(*shape))
    assert not found.dependent and not found.layers and not found.changed_rows
    assert found.max_difference < 1e-5
    assert "No audited row's answer depends" in found.sentence == str(found)


@pytest.mark.parametrize("policy", ["position", "probability"])
def test_a_capacity_over_the_batch_is_found_and_named(policy) -> None:
    limiter = CapacityLimiter(1.0, policy=policy, training_only=False)
    found = audit_batch_dependence(net(limiter), rows(12, DIM))
    assert found.dependent and found.max_difference > 0.01
    (layer,) = found.layers
    assert layer.name == "second" and layer.router == "TopKRouter"
    assert layer.n_choices > 0 and "CapacityLimiter" in layer.limiter
    assert set(found.changed_rows) <= set(found.rows)
    assert "'second' (TopKRouter behind CapacityLimiter(1.0" in found.sentence


def test_the_mode_decides_and_is_put_back() -> None:
    """A limit in training alone is no matter at prediction."""
    model = net(CapacityLimiter(1.0)).train()
    model.first.eval()
    before = [module.training for module in model.modules()]
    assert not audit_batch_dependence(model, rows(12, DIM)).dependent
    assert audit_batch_dependence(model, rows(12, DIM), training=True).dependent
    assert before == [module.training for module in model.modules()]
    assert "route" not in vars(model.second)


def test_sequence_scope_is_independent_of_other_sequences_only() -> None:
    limiter = CapacityLimiter(1.0, scope="sequence", training_only=False)
    x = rows(5, 8, DIM)
    assert not audit_batch_dependence(net(limiter), x).dependent
    flat = {"x": x.flatten(0, 1)}
    one = {**flat, "segment": torch.zeros(40, dtype=torch.long)}
    found = audit_batch_dependence(net(limiter).second, one)
    assert found.dependent and found.layers[0].name == ""


def test_dependence_outside_mixture_layers_is_not_blamed_on_them() -> None:
    found = audit_batch_dependence(net(middle=Mixing()), rows(12, DIM))
    assert found.dependent and not found.layers
    assert "does not begin in a mixture layer" in found.sentence


def test_every_layer_where_it_begins_is_named() -> None:
    limiter = CapacityLimiter(0.5, training_only=False)
    model = nn.Sequential(net(limiter).second, net(limiter).second)
    found = audit_batch_dependence(model, rows(16, DIM), n_draws=8)
    assert found.layers[0].name == "0"
    assert all(layer.n_outputs >= layer.n_choices > 0 for layer in found.layers)


def test_models_that_draw_by_place_are_audited_in_their_places() -> None:
    router = TopKRouter(DIM, N_EXPERTS, jitter=0.5)
    layer = MoELayer(router, FeedForwardExperts(N_EXPERTS, DIM, 5))
    found = audit_batch_dependence(layer, rows(10, DIM), training=True)
    assert not found.dependent and set(found.differences) == {
        "replaced",
        "turned into copies of the row",
    }


def test_estimators_arrays_and_frames() -> None:
    X = rows(40, 3).numpy()
    y = np.where(X[:, 0] > 0, "yes", "no")
    model = NeuralMoEClassifier(3, training=Training(max_epochs=3), random_state=0)
    model.fit(X, y)
    for given in (X, pd.DataFrame(X)):
        model.fit(given, y)
        found = audit_batch_dependence(model, given, n_rows=3)
        assert not found.dependent and found.max_difference < 1e-5
    labels = audit_batch_dependence(model, given, n_rows=3, call=lambda m, X: m.predict(X))
    assert not labels.dependent and labels.max_difference == 0


class Ranking:
    """A predictor whose labels say whether a row is above the batch's median."""

    def predict(self, X):
        return np.where(X[:, 0] > np.median(X[:, 0]), "high", "low")


def test_labels_that_depend_on_the_batch_are_found() -> None:
    found = audit_batch_dependence(Ranking(), rows(20, 2).numpy())
    assert found.dependent and found.max_difference == 1.0


def test_what_cannot_be_audited_is_named() -> None:
    with pytest.raises(ValueError, match="at least two rows"):
        audit_batch_dependence(net(), rows(1, DIM))
    with pytest.raises(ValueError, match="pass call="):
        audit_batch_dependence(object(), rows(4, DIM))
    with pytest.raises(ValueError, match="one answer a row"):
        audit_batch_dependence(net(), rows(4, DIM), call=lambda model, X: model(X).sum())
    drawn = np.random.default_rng(0)
    with pytest.raises(ValueError, match="from pass to pass"):
        audit_batch_dependence(net(), rows(4, DIM), call=lambda model, X: drawn.random(len(X)))


def test_batch_normalisation_in_training_is_found() -> None:
    """It has no answer for a row alone, so that rows are audited among others."""
    model = net(middle=nn.BatchNorm1d(DIM))
    before = model.middle.running_mean.clone()
    found = audit_batch_dependence(model, rows(12, DIM), training=True)
    assert found.dependent and not found.layers and "removed" not in found.differences
    assert torch.equal(model.middle.running_mean, before)
    assert not audit_batch_dependence(model, rows(12, DIM)).dependent
