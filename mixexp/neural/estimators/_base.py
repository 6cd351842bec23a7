"""`BaseNeuralMoE`: what regression and classification by one stack of MoE layers share."""

from __future__ import annotations

import numpy as np
from sklearn.utils.validation import check_is_fitted

from ._explain import ExplainMixin
from ._heads import Head, gate_shares
from ._module import TabularMoE
from ._tabular import TabularEstimator


class BaseNeuralMoE(ExplainMixin, TabularEstimator):
    """A mixture of experts over a table; see the concrete estimators."""

    module_: TabularMoE

    def __init__(
        self,
        n_experts=8,
        *,
        router="gumbel",
        head="mean",
        d_expert=32,
        n_layers=1,
        n_blocks=1,
        width=64,
        dropout=0.0,
        numeric_embedding=None,
        categorical_features="auto",
        training=None,
        allow_batch_dependence=False,
        dtype="float32",
        device=None,
        random_state=None,
    ):
        self.n_experts = n_experts
        self.router = router
        self.head = head
        self.d_expert = d_expert
        self.n_layers = n_layers
        self.n_blocks = n_blocks
        self.width = width
        self.dropout = dropout
        self.numeric_embedding = numeric_embedding
        self.categorical_features = categorical_features
        self.training = training
        self.allow_batch_dependence = allow_batch_dependence
        self.dtype = dtype
        self.device = device
        self.random_state = random_state

    def _make_head(self) -> Head:
        raise NotImplementedError

    def _make_module(self, encoder) -> TabularMoE:
        return TabularMoE(
            encoder,
            self._make_head(),
            router=self.router,
            n_experts=int(self.n_experts),
            d_expert=int(self.d_expert),
            n_layers=int(self.n_layers),
            n_blocks=int(self.n_blocks),
            width=int(self.width),
            dropout=self.dropout,
        )

    def _answers(self, X) -> dict[str, np.ndarray]:
        return self._map(X, lambda passed: self.module_.answer(passed))

    def gate_proba(self, X) -> np.ndarray:
        """Shares of the experts of the top layer, shape (n, n_experts); rows sum to one.

        A row for which the router chose no expert has zeros.
        """
        return self._map(X, lambda passed: {"gate": gate_shares(passed.routing)})["gate"]

    def predict_experts(self, X) -> np.ndarray:
        """What every expert of the top layer alone predicts, shape (n, n_experts, ...).

        With several blocks the experts of earlier blocks act as in `predict`.
        """
        check_is_fitted(self)
        top, head = self.module_.top.experts, self.module_.head
        return self._map(X, lambda passed: {"experts": head.experts(top, passed.x)})["experts"]
