"""Gates from outside: a classifier of one source of data chooses the expert of another (LLMoE)."""

from __future__ import annotations

import torch
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.naive_bayes import MultinomialNB
from torch import nn

from mixexp.neural import CallableRouter, Clock, FeedForwardExperts, MoELayer, TopKRouter

GOOD, BAD = ("gain", "record", "strong", "beat"), ("loss", "fraud", "weak", "miss")
PLAIN = ("shares", "market", "report", "today", "quarter")


def _days(n, source, *, informative=True):
    """Headlines, prices and returns whose dependence on prices has the sign of the mood."""
    mood = torch.randint(2, (n,), generator=source)
    shown = mood if informative else torch.randint(2, (n,), generator=source)
    pick = torch.randint(4, (n, 2), generator=source)
    texts = []
    for day in range(n):
        words = GOOD if shown[day] else BAD
        texts.append(" ".join((words[pick[day, 0]], PLAIN[day % 5], words[pick[day, 1]])))
    prices = torch.randn(n, 4, generator=source)
    law = torch.tensor([1.0, -0.5, 0.5, 1.0])
    y = (2 * mood - 1) * (prices @ law) + 0.3 * torch.randn(n, generator=source)
    return texts, shown, prices, y[:, None]


def _error(gate, *, informative=True, seed=0):
    """Mean squared error over the variance, on days not seen."""
    source = torch.Generator().manual_seed(seed)
    texts, shown, prices, y = _days(600, source, informative=informative)
    words = CountVectorizer().fit(texts)
    torch.manual_seed(seed)
    if gate == "text":
        model = MultinomialNB().fit(words.transform(texts), shown.numpy())
        router = CallableRouter(4, 2, model, "context", k=1)
    else:
        router = TopKRouter(4, 2, 1)
    layer = MoELayer(router, FeedForwardExperts(2, 4, 8, out_dim=1))

    def counts(texts):
        return torch.as_tensor(words.transform(texts).toarray(), dtype=torch.float32)

    seen = counts(texts)
    optimiser = torch.optim.Adam(layer.parameters(), lr=2e-2)
    for _ in range(120):
        out = layer(prices, context=seen, clock=Clock(training=True))
        loss = nn.functional.mse_loss(out, y)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    texts, _, prices, y = _days(1_000, source, informative=informative)
    with torch.no_grad():
        out = layer.eval()(prices, context=counts(texts))
        return (nn.functional.mse_loss(out, y) / y.var()).item()


def test_a_text_gate_helps_where_the_text_tells_and_only_there() -> None:
    assert _error("text") < 0.2
    assert _error("prices") > 0.8
    assert _error("text", informative=False) > 0.8
