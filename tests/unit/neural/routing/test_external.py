"""Routing by a rule from outside: functions, modules and fitted classifiers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.tree import DecisionTreeClassifier
from torch import nn
from torch.testing import assert_close

from mixexp.neural import CallableRouter, RoutingInputs


def _inputs(n=40, **fields) -> RoutingInputs:
    source = torch.Generator().manual_seed(0)
    given = {"token_id": torch.arange(n) % 7, "context": torch.randn(n, 2, generator=source)}
    return RoutingInputs(torch.randn(n, 3, generator=source), **(given | fields))


@pytest.mark.parametrize("model", [LogisticRegression(), DecisionTreeClassifier(max_depth=2)])
@pytest.mark.parametrize("field", ["x", "context"])
def test_any_classifier_is_a_gate(model, field) -> None:
    given = _inputs()
    seen = getattr(given, field).numpy()
    labels = np.digitize(seen[:, 0], [-0.5, 0.5])
    model.fit(seen, labels)
    routing = CallableRouter(3, 3, model, field)(given)
    expected = torch.as_tensor(model.predict_proba(seen), dtype=torch.float32)
    assert_close(routing.weights(), expected)
    assert not list(CallableRouter(3, 3, model).parameters())


def test_the_largest_weights_are_kept_as_they_are() -> None:
    given = _inputs()
    rule = lambda x: torch.softmax(2 * x, 1)  # noqa: E731
    dense = rule(given.x)
    kept = CallableRouter(3, 3, rule, k=2)(given).weights()
    assert_close(kept, torch.where(dense > dense.min(1, keepdim=True).values, dense, 0.0))


def test_labels_are_experts_of_weight_one() -> None:
    router = CallableRouter(3, 7, lambda ids: 6 - ids, "token_id", returns="labels")
    weights = router(_inputs()).weights()
    assert_close(weights, torch.eye(7)[6 - torch.arange(40) % 7])
    hidden = router(_inputs(visible=torch.arange(7) != 2)).weights().argmax(1)
    assert hidden[:7].tolist() == [6, 5, 4, 3, 3, 1, 0]


def test_a_module_is_trained_and_saved_with_the_router() -> None:
    torch.manual_seed(0)
    router = CallableRouter(3, 4, nn.Sequential(nn.Linear(3, 4), nn.Softmax(-1)))
    assert router.flags(True).trainable
    router(_inputs()).weights().square().sum().backward()
    assert router.rule[0].weight.grad.abs().max() > 0
    assert set(router.state_dict()) == {"rule.0.weight", "rule.0.bias"}


def test_a_rule_never_sees_padding() -> None:
    seen = []

    def rule(x):
        seen.append(len(x))
        assert torch.isfinite(x).all()
        return torch.ones(len(x), 2)

    given = _inputs(5)
    x = given.x.clone()
    x[3] = torch.nan
    valid = torch.arange(5) != 3
    routing = CallableRouter(3, 2, rule)(given.replace(x=x, valid=valid))
    assert routing.stats.counts.tolist() == [4, 4]
    CallableRouter(3, 2, rule)(given.replace(x=x, valid=torch.zeros(5, dtype=torch.bool)))
    CallableRouter(3, 2, rule)(_inputs(0))
    assert seen == [4]


@pytest.mark.parametrize(
    ("rule", "options", "message"),
    [
        (lambda x: x[:, :2], {}, r"shape \(40, 3\)"),
        (lambda x: x - 10, {}, "at least 0"),
        (lambda x: x * torch.nan, {}, "finite"),
        (lambda x: torch.full((len(x),), 3), {"returns": "labels"}, "from 0 to 2"),
        (lambda x: x[:, 0], {"returns": "labels"}, "expert numbers"),
    ],
)
def test_answers_that_do_not_fit_are_named(rule, options, message) -> None:
    with pytest.raises(ValueError, match=message):
        CallableRouter(3, 3, rule, **options)(_inputs())


@pytest.mark.parametrize(
    "options", [{"rule": 3}, {"field": "valid"}, {"returns": "logits"}, {"k": 4}]
)
def test_impossible_settings_are_refused(options) -> None:
    with pytest.raises(ValueError, match="must be"):
        CallableRouter(3, 3, **({"rule": abs} | options))
