"""`BaseMultiTaskMoE`: several targets by shared experts, whatever the kind of target."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import torch
from sklearn.utils.validation import check_is_fitted

from ..training import train
from ._data import TabularObjective
from ._heads import gate_shares
from ._rows import held_out
from ._tabular import DTYPES, TabularEstimator, unchanged_on_failure
from ._task_module import MultiTaskMoE, OneTask


class BaseMultiTaskMoE(TabularEstimator):
    """Several targets of the rows of a table; see the concrete estimators."""

    module_: MultiTaskMoE
    _classifies: bool

    def __init__(
        self,
        n_experts=8,
        *,
        router="gumbel",
        d_expert=32,
        n_layers=1,
        width=32,
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
        self.d_expert = d_expert
        self.n_layers = n_layers
        self.width = width
        self.dropout = dropout
        self.numeric_embedding = numeric_embedding
        self.categorical_features = categorical_features
        self.training = training
        self.allow_batch_dependence = allow_batch_dependence
        self.dtype = dtype
        self.device = device
        self.random_state = random_state

    def _out_dims(self) -> list[int]:
        """Outputs of each task."""
        raise NotImplementedError

    def _known(self, coded: np.ndarray) -> np.ndarray:
        """Mask of the known entries of a target of shape (n, tasks)."""
        raise NotImplementedError

    def _make_module(self, encoder):
        return MultiTaskMoE(
            encoder,
            self._out_dims(),
            classifies=self._classifies,
            router=self.router,
            n_experts=int(self.n_experts),
            d_expert=int(self.d_expert),
            n_layers=int(self.n_layers),
            width=int(self.width),
            dropout=self.dropout,
        )

    def _build(self, table, target, weight):
        super()._build(table, target, weight)
        self._set_known(target, weight, range(target.shape[1]))

    def _set_known(self, target, weight, tasks) -> None:
        """The shares of known targets, by which the losses of the tasks are divided."""
        shares = weight @ self._known(target) / weight.sum()
        for task in tasks:
            if not shares[task] > 0:
                raise ValueError(f"task {task} has no known target among the training rows.")
            self.module_.known[task] = float(shares[task])

    def add_task(self, X, y, sample_weight=None, *, like=None):
        """Learn one more task with a gate and a tower of its own over the experts as they are.

        Nothing that other tasks use changes: their predictions stay the same to the last bit.

        Parameters
        ----------
        X : array-like or data frame of shape (n, p)
            With the columns of the fit.
        y : array-like of shape (n,)
        sample_weight : array-like of shape (n,), optional
        like : int, optional
            A task whose gate the new one begins with; a fresh gate by default.

        Returns
        -------
        self
        """
        check_is_fitted(self)
        with unchanged_on_failure(self):
            self.module_ = copy.deepcopy(self.module_)  # the fitted one stays as it is
            return self._add_task(X, y, sample_weight, like)

    def _add_task(self, X, y, sample_weight, like: int | None):
        task = len(self.module_.layers)
        if like is not None and not 0 <= like < task:
            raise ValueError(f"like must be a task from 0 to {task - 1}; got {like!r}.")
        settings = self._settings()
        table, target, weight = self._read_task(X, y, sample_weight)
        mask = np.zeros(len(weight), dtype=bool)
        if settings.early_stopping:
            mask = held_out(len(weight), settings.validation_fraction, self._seed, None)
        self._extend_target(target[~mask], weight[~mask])
        full = np.full((len(weight), task + 1), self._unknown, dtype=target.dtype)
        full[:, task] = target
        self._extend_module(self._out_dims()[task], like)
        self._set_known(full[~mask], weight[~mask], [task])
        parts = [self._as_rows(table.take(m), full[m], weight[m]) for m in (~mask, mask)]
        one = OneTask(self.module_, task)
        objective = TabularObjective(
            one,
            parts[0],
            parts[1] if mask.any() else None,
            self._seed,
        )
        try:
            train(one, objective, settings, self._generator(task))
        finally:
            for parameter in self.module_.parameters():
                parameter.requires_grad_(True)
        self.__dict__.pop("_optimizer", None)  # it does not know the new task
        return self

    def _extend_module(self, out_dim: int, like: int | None) -> None:
        module = self.module_
        task = len(module.layers)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self._seed + task)
            gate = module.new_gate(out_dim).to(self._device(), DTYPES[self.dtype])
        if like is not None:
            gate.router.load_state_dict(module.layers[like].router.state_dict())
        module.layers.append(gate)
        module.known = torch.cat([module.known, module.known.new_ones(1)])

    def _read_task(self, X, y, sample_weight):
        """Distinct rows with a known target of a new task, as one column."""
        before = self._column_alone
        self._column_alone = True
        try:
            return self._read(X, y, sample_weight, first=False)
        finally:
            self._column_alone = before

    _column_alone = False
    _unknown: Any

    def _extend_target(self, target: np.ndarray, weight: np.ndarray) -> None:
        raise NotImplementedError

    def gate_proba(self, X) -> np.ndarray:
        """Shares of the experts in every task, shape (n, n_tasks, n_experts)."""

        def shares(passed):
            return {"gate": torch.stack([gate_shares(r) for r in passed.routings], 1)}

        return self._map(X, shares)["gate"]

    def _outputs(self, X) -> list[np.ndarray]:
        """Outputs of every task, each of shape (n, out_dim)."""
        found = self._map(X, lambda passed: {str(t): out for t, out in enumerate(passed.outputs)})
        return [found[str(task)] for task in range(len(found))]

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        tags.target_tags.single_output = True
        return tags
