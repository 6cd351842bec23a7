"""What all estimators share: fitting, and what does not depend on the kind of target."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.validation import check_is_fitted

from .. import experts as _experts  # noqa: F401  (fills the registries)
from .._component import GATES, resolve
from .._validation import (
    check_columns,
    check_expert_prior,
    check_n_experts,
    check_prior_alone,
    check_weight,
    check_X,
    row_inputs,
    seed_of,
)
from ..em.device import rows_of, to_host
from ..em.driver import EM
from ..em.fitting import Fit, fit_rows
from ..em.model import MoEModel
from ..em.params import MoEParams, stack, take
from ..em.rows import Rows, columns_with_density, scaling_for
from ..em.starts.table import compact, count_distinct
from ..em.status import Status
from ..em.summary import FitSummary
from ..experts import Expert, ExpertList
from ..experts.degree import monomial_names, with_monomials
from ..gates import Gate
from ..penalties import MANY_ROWS, with_checked_penalty
from ._blocked import BlockedMixin
from ._blockwise import BlockwiseMixin
from ._callbacks import CallbackSupportMixin, FitTasks, with_callbacks
from ._device import DeviceMixin
from ._groups import GroupsMixin
from ._inference import InferenceMixin
from ._joint import JointMixin
from ._online import OnlineMixin
from ._posterior import PosteriorMixin
from ._reading import ReadingMixin
from ._settings import n_threads, on_intervals, resolve_expert, silent_rows
from ._starting import StartMixin, starts_table
from ._summary import summary_text
from ._trees import TreeMixin
from .intervals import Intervals

WARNED = (Status.MAX_PASSES, Status.STALLED, Status.DEGENERATE)
BLOCK = 65536  # rows predicted at a time


class BaseMoE(
    InferenceMixin,
    JointMixin,
    DeviceMixin,
    BlockedMixin,
    BlockwiseMixin,
    GroupsMixin,
    StartMixin,
    OnlineMixin,
    PosteriorMixin,
    ReadingMixin,
    TreeMixin,
    CallbackSupportMixin,
    BaseEstimator,
):
    """Mixture of experts p(y | x) = sum_k pi_k(x) f_k(y | x); see the concrete estimators."""

    _params_: MoEParams
    fit_summary_: FitSummary
    _gate_columns: np.ndarray

    def __init__(
        self,
        n_experts=2,
        *,
        gate="softmax",
        expert="gaussian",
        gate_features=None,
        expert_features=None,
        start="default",
        solver=None,
        engine="auto",
        warm_start=False,
        n_jobs=None,
        random_state=None,
    ):
        self.n_experts = n_experts
        self.gate = gate
        self.expert = expert
        self.gate_features = gate_features
        self.expert_features = expert_features
        self.start = start
        self.solver = solver
        self.engine = engine
        self.warm_start = warm_start
        self.n_jobs = n_jobs
        self.random_state = random_state

    # --- fitting ----------------------------------------------------------------------------

    def _checked(
        self,
        X,
        y,
        sample_weight,
        *,
        expert_prior=None,
        prior_likelihood="evidential",
        groups=None,
        **inputs,
    ) -> tuple[Gate, Expert, Rows]:
        """The parts and the rows, from the user's input."""
        gate, expert = self._parts()
        X, target = self._check_data(X, y, expert)
        weight = self._weights(check_weight(sample_weight, X), y)
        offset, trials = row_inputs(expert, X.shape[0], **inputs)
        rows = rows_of(X, target, weight, offset, trials)
        rows = rows if expert.classifies else silent_rows(rows)
        expert = on_intervals(expert) if isinstance(y, Intervals) else expert
        expert.check_target(rows.y, rows.trials)
        self._set_columns(gate, expert)
        rows = rows._replace(X=self._with_monomials(X, expert))
        check_prior_alone(expert_prior, groups)
        rows, _ = self._units(rows, groups, self._gate_columns)
        if gate.joint or gate.uses_distances:
            chosen = columns_with_density(rows, self._gate_columns, gate.needs_independent_columns)
            self._gate_columns = chosen
        positive = int(np.count_nonzero(rows.unit_weight))
        K = check_n_experts(self.n_experts, positive, "rows" if rows.group is None else "groups")
        prior = check_expert_prior(expert_prior, rows.n, K, prior_likelihood, rows.weight)
        truncated = expert.truncates(rows.y)
        other = "expert_prior=" if prior is not None else "groups=" if groups is not None else None
        if truncated and other:
            raise ValueError(f"{other} and truncated rows do not go together; give one.")
        if truncated:
            gate = gate.for_truncation()
        elif prior is not None and prior_likelihood == "conditional":
            gate = gate.for_prior()
        return gate, expert, rows._replace(prior=prior)

    @with_callbacks
    def _fit(self, X, y, sample_weight, **inputs):
        X, y, sample_weight, inputs = self._as_placed(X, y, sample_weight, inputs)
        gate, expert, given_rows = self._checked_for(X, y, sample_weight, **inputs)
        rows = compact(given_rows)
        model = self._model(gate, expert, rows)
        if rows.prior is not None:
            likelihood = inputs.get("prior_likelihood", "evidential")
            model = model._replace(prior_likelihood=likelihood)
        model = model._replace(grouped=inputs.get("groups") is not None)
        placed = self._on_engine(model, rows, X)
        start, given = self._start(model, given_rows, rows, inputs.get("groups"))
        tasks = FitTasks(
            self,
            X,
            y,
            {"sample_weight": sample_weight},
            lambda vector: self._at(model, rows, vector),
        )
        model, fit = self._fit_model(
            model,
            placed,
            start=start,
            solver=EM() if self.solver is None else self.solver,
            seed=seed_of(self.random_state),
            n_jobs=n_threads(self.n_jobs),
            given=given,
            callback=tasks.passed if tasks.on else None,
            on_search=tasks.searched,
        )
        self._store(model, fit)
        tasks.finished()
        if fit.status in WARNED:
            warnings.warn(fit.status.value, ConvergenceWarning, stacklevel=4)
        return self

    def _fit_model(
        self, model, rows, *, start, given, callback, on_search, **settings
    ) -> tuple[MoEModel, Fit]:
        """The model that is fitted in the end, and its fit; estimators may choose among models."""
        search = {"start": start, "given": given, "callback": callback, "on_search": on_search}
        return model, fit_rows(model, rows, **search, **settings)

    def _parts(self):
        gate = resolve(self.gate, GATES, "gate")
        expert = resolve_expert(self.expert)
        self._check_solver(gate, expert)
        self._check_expert(expert)
        return gate, expert

    def _weights(self, weight, y):
        return weight

    def _set_columns(self, gate, expert):
        names = getattr(self, "feature_names_in_", None)
        p = self.n_features_in_
        self._gate_columns = (
            check_columns(self.gate_features, names, p, "gate_features")
            if gate.uses_columns
            else np.empty(0, dtype=int)
        )
        own = check_columns(self.expert_features, names, p, "expert_features")
        self._monomials: list[str] = []
        self._monomials = monomial_names(self._names()[own], expert.degree)
        self._expert_columns = np.concatenate([own, p + np.arange(len(self._monomials))])

    def _with_monomials(self, X, expert):
        """X with the monomials of a polynomial expert behind its columns."""
        own = self._expert_columns[self._expert_columns < self.n_features_in_]
        return with_monomials(X, own, expert.degree)

    def _model(self, gate, expert, rows) -> MoEModel:
        expert.check_number(int(self.n_experts))
        names = self._names()
        n_distinct = count_distinct(rows, MANY_ROWS)
        gate = with_checked_penalty(gate, names[self._gate_columns]).for_rows(n_distinct)
        gate.check_names(names[self._gate_columns] if hasattr(self, "feature_names_in_") else None)
        unit_weight = None if rows.weight is None else rows.unit_weight
        gate = gate.for_columns(rows.unit_X, self._gate_columns, unit_weight, int(self.n_experts))
        expert = self._by_position(expert, names[self._expert_columns])
        expert = expert.for_target(rows.target, n_distinct)
        n_classes = len(getattr(self, "classes_", ()))
        expert = expert.for_classes(n_classes)
        scaling = scaling_for(expert, rows)
        columns = self._gate_columns, self._expert_columns
        return MoEModel(gate, expert, int(self.n_experts), *columns, scaling, n_classes)

    def _by_position(self, expert, names):
        """The expert with names in settings that list columns turned into positions among them."""
        if isinstance(expert, ExpertList):
            return expert.with_members(lambda member: self._by_position(member, names))
        expert = with_checked_penalty(expert, names)
        own, positions = list(names), {}
        for setting in expert.column_settings:
            chosen = getattr(expert, setting, None)
            if chosen is None or isinstance(chosen, str):
                continue
            if not any(isinstance(item, str) for item in chosen):
                continue
            missing = [name for name in chosen if name not in own]
            if missing:
                raise ValueError(
                    f"{setting}: no expert column named {missing!r}; they are {own!r}."
                )
            positions[setting] = [own.index(name) for name in chosen]
        return clone(expert).set_params(**positions) if positions else expert

    def _at(self, model, rows, vector):
        """Fitted attributes at a packed parameter vector, for callbacks."""
        template = stack([model.initial(rows.example)])
        params = take(model.unpack(vector[:1], template), 0)
        names = ["n_features_in_", "feature_names_in_", "classes_", "_gate_columns"]
        names += ["_expert_columns", "_monomials"]
        own = {name: getattr(self, name) for name in names if hasattr(self, name)}
        return {**own, "_model_": model, "_params_": params, "_n_outputs": self._n_outputs}

    def _store(self, model: MoEModel, fit: Fit):
        """Set the fitted attributes: host arrays, no data."""
        self._model_ = model
        self._params_ = fit.params
        for earlier in ("_online_", "aggregation_", "pooled_"):
            self.__dict__.pop(earlier, None)
        self.fit_summary_ = fit.summary
        self.objective_path_ = fit.objective_path
        self.status_ = fit.status
        self.certificate_ = fit.certificate
        self.n_iter_ = fit.n_pass
        self.expert_sizes_ = fit.mass
        self.regular_ = fit.regular
        self.starts_ = starts_table(fit.optima)
        self._set_derived()

    # --- what needs X alone -----------------------------------------------------------------

    def _rows(self, X, y=None, **inputs) -> Rows:
        """Rows of new data for a fitted model."""
        check_is_fitted(self)
        X = self._with_monomials(check_X(self, X), self._model_.expert)
        offset, trials = row_inputs(self._model_.expert, X.shape[0], **inputs)
        m = len(self._model_.scaling.y_scale)
        target = np.zeros((X.shape[0], m)) if y is None else self._target(to_host(y), X.shape[0])
        return Rows(X, target, None, offset, trials)

    def _map(self, rows: Rows, function, size=BLOCK):
        """``function`` of blocks of rows, concatenated: temporary arrays stay small."""
        parts = [function(rows.take(block)) for block in rows.blocks(size)]
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def summary(self) -> str:
        """Readable table of the fit: gate and experts by feature name."""
        check_is_fitted(self)
        return summary_text(self)

    def __str__(self):
        return summary_text(self) if hasattr(self, "_params_") else repr(self)

    def save(self, path) -> None:
        """Write the fitted model to a versioned file without pickles; see `mixexp.load`."""
        from ._saving import save

        check_is_fitted(self)
        save(self, path)

    def __sklearn_is_fitted__(self):
        return hasattr(self, "_params_")

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags

    def _extra(self) -> dict[str, Any]:
        """What a file of this estimator holds beyond the model itself."""
        return {}

    def _restore(self, extra: dict[str, Any]) -> None:
        """The inverse of `_extra`."""

    def _check_data(self, X, y, expert) -> tuple[Any, np.ndarray]:
        raise NotImplementedError

    def _check_expert(self, expert) -> None:
        raise NotImplementedError

    def _target(self, y, n) -> np.ndarray:
        raise NotImplementedError
