"""What all estimators share: fitting, and what does not depend on the kind of target."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.validation import check_is_fitted

from .. import experts as _experts  # noqa: F401  (fills the registries)
from .._component import EXPERTS, GATES, resolve
from .._validation import (
    check_columns,
    check_expert_prior,
    check_n_experts,
    check_prior_alone,
    check_weight,
    check_weights_of_experts,
    check_X,
    check_X_y,
    row_inputs,
)
from ..em.driver import EM
from ..em.fitting import Fit, fit_rows
from ..em.model import MoEModel
from ..em.online import OnlineState, first_state, online_step
from ..em.params import MoEParams, stack, take
from ..em.regular import is_regular
from ..em.rows import Rows, Scaling, columns_with_density, scaling_for
from ..em.start import MultiStart
from ..em.starts.table import compact, count_distinct
from ..em.status import Status
from ..em.summary import FitSummary, counts
from ..experts import Expert, ExpertList, IntervalExpert, rowwise
from ..experts.degree import monomial_names, with_monomials
from ..gates import Gate
from ..penalties import MANY_ROWS, with_checked_penalty
from ._callbacks import CallbackSupportMixin, FitTasks, with_callbacks
from ._groups import GroupsMixin, group_means
from ._inference import InferenceMixin
from ._joint import JointMixin
from ._summary import summary_text
from .intervals import Intervals

WARNED = (Status.MAX_PASSES, Status.STALLED, Status.DEGENERATE)
BLOCK = 65536  # rows predicted at a time


class BaseMoE(InferenceMixin, JointMixin, GroupsMixin, CallbackSupportMixin, BaseEstimator):
    """Mixture of experts p(y | x) = sum_k pi_k(x) f_k(y | x); see the concrete estimators."""

    online = True  # False for an estimator without `partial_fit`
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

    def _prepare(self, X, y, sample_weight, **inputs) -> tuple[MoEModel, Rows]:
        """The model on standardised columns and the rows, from checked input."""
        gate, expert, rows = self._checked(X, y, sample_weight, **inputs)
        return self._model(gate, expert, rows), rows

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
        rows = Rows(X, target, weight, offset, trials)
        rows = rows if expert.classifies else silent_rows(rows)
        expert = on_intervals(expert) if isinstance(y, Intervals) else expert
        expert.check_target(rows.y, rows.trials)
        self._set_columns(gate, expert)
        rows = rows._replace(X=self._with_monomials(X, expert))
        check_prior_alone(expert_prior, groups)
        rows, _ = self._units(rows, groups, self._gate_columns)
        if gate.joint:
            chosen = columns_with_density(rows, self._gate_columns, gate.needs_independent_columns)
            self._gate_columns = chosen
        positive = int(np.count_nonzero(rows.unit_weight))
        K = check_n_experts(self.n_experts, positive, "rows" if rows.group is None else "groups")
        prior = check_expert_prior(expert_prior, rows.n, K, prior_likelihood, rows.weight)
        truncated = expert.truncates(rows.y)
        other = "expert_prior=" if prior is not None else "groups=" if groups is not None else None
        if truncated and other:
            raise ValueError(f"{other} and truncated rows do not go together; give one.")
        if prior is not None or truncated:
            gate = gate.for_prior()
        return gate, expert, rows._replace(prior=prior)

    @with_callbacks
    def _fit(self, X, y, sample_weight, **inputs):
        gate, expert, given_rows = self._checked(X, y, sample_weight, **inputs)
        rows = compact(given_rows)
        model = self._model(gate, expert, rows)
        if rows.prior is not None:
            likelihood = inputs.get("prior_likelihood", "evidential")
            model = model._replace(prior_likelihood=likelihood)
        model = model._replace(grouped=inputs.get("groups") is not None)
        start, given = self._start(model, given_rows, inputs.get("groups"))
        tasks = FitTasks(
            self,
            X,
            y,
            {"sample_weight": sample_weight},
            lambda vector: self._at(model, rows, vector),
        )
        model, fit = self._fit_model(
            model,
            rows,
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

    def _partial_fit(self, X, y, sample_weight, **inputs):
        """One online step; the first batch is fitted on its own, from many starts."""
        if not hasattr(self, "_online_"):
            self._fit(X, y, sample_weight, **inputs)
            rows = self._batch(X, y, sample_weight, **inputs)
            self._online_ = first_state(self._model_, self._params_, rows)
        else:
            rows = self._batch(X, y, sample_weight, **inputs)
            self._online_ = online_step(self._model_, self._online_, rows)
        self._store_online(self._online_)
        return self

    def _batch(self, X, y, sample_weight, **inputs) -> Rows:
        rows = self._rows(X, y, **inputs)
        weight = self._weights(check_weight(sample_weight, rows.X), y)
        rows = rows._replace(weight=weight)
        rows = rows if self._model_.expert.classifies else silent_rows(rows)
        self._model_.expert.check_target(rows.y, rows.trials)
        return rows

    def _store_online(self, state: OnlineState):
        self._params_ = state.params
        mass = state.statistics.expert.mass * state.weight
        soft, hard = (float(value) * state.weight for value in state.entropy)
        self.fit_summary_ = self.fit_summary_._replace(
            loglik=state.loglik * state.weight,
            n_units=state.weight,
            entropy=soft,
            hard_entropy=hard,
            **counts(self._model_, state.params),
            conditional_loglik=None,  # the batches were not kept
        )
        self.regular_ = bool(is_regular(self._model_, state.params, mass, state.weight))
        # nothing is maximised batch by batch: there is no path and no certificate
        self.objective_path_, self.certificate_ = np.empty(0), np.nan
        self.status_, self.n_iter_, self.expert_sizes_ = Status.ONLINE, state.n_batch, mass
        self._set_derived()

    def _parts(self):
        gate = resolve(self.gate, GATES, "gate")
        expert = resolve_expert(self.expert)
        if self.engine not in ("auto", "memory"):
            raise ValueError(f"engine must be 'auto' or 'memory'; got {self.engine!r}.")
        if self.solver is not None and not isinstance(self.solver, EM):
            raise TypeError(f"solver must be None or EM(...); got {self.solver!r}.")
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
        names = self._names()
        n_distinct = count_distinct(rows, MANY_ROWS)
        gate = with_checked_penalty(gate, names[self._gate_columns]).for_rows(n_distinct)
        unit_weight = None if rows.weight is None else rows.unit_weight
        gate = gate.for_columns(rows.unit_X, self._gate_columns, unit_weight, int(self.n_experts))
        expert = self._by_position(expert, names[self._expert_columns])
        expert = expert.for_target(rows.y, rows.weight, n_distinct)
        scaling = scaling_for(expert, rows)
        columns = self._gate_columns, self._expert_columns
        n_classes = len(getattr(self, "classes_", ()))
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

    def _start(self, model, rows, groups=None):
        """The start to search with (None: only the given parameters) and the given parameters."""
        if self.warm_start and hasattr(self, "_model_") and self._model_.K == model.K:
            return self._start_from(self, model)
        start = self.start
        if isinstance(start, str):
            if start != "default":
                raise ValueError(f"start={start!r} is unknown; use 'default' or MultiStart(...).")
            return MultiStart(), []
        if isinstance(start, MultiStart):
            return start, []
        if isinstance(start, BaseMoE):
            return self._start_from(start, model)
        responsibilities = self._given_responsibilities(start, model.K, rows.n)
        if groups is not None:  # they are those of the rows as given
            responsibilities = group_means(responsibilities, rows, groups)
        return None, [take(model.from_responsibilities(rows, responsibilities[None]), 0)]

    @staticmethod
    def _start_from(other, model):
        check_is_fitted(other)
        old = other._model_
        q_gate = len(model.gate_columns) + 1
        same = (
            len(old.scaling.x_scale) == len(model.scaling.x_scale)
            and len(old.scaling.y_scale) == len(model.scaling.y_scale)
            and np.array_equal(old.gate_columns, model.gate_columns)
            and np.array_equal(old.expert_columns, model.expert_columns)
            and type(old.expert) is type(model.expert)
            and type(getattr(old.expert, "family", None))
            is type(getattr(model.expert, "family", None))
            and getattr(old.expert, "link_name", None) == getattr(model.expert, "link_name", None)
            and old.n_classes == model.n_classes
            and same_shapes(other._params_.gate, model.gate.initial(old.K, q_gate))
        )
        if not same:
            raise ValueError(
                "start (or warm_start): the fitted model has other columns, responses, classes, "
                "gate, family or link."
            )
        if old.K > model.K:
            raise ValueError(
                f"start: the fitted model has {old.K} experts, more than n_experts={model.K}."
            )
        params = model.rescale(other._params_, old.scaling)
        search = other.start if isinstance(other.start, MultiStart) else MultiStart()
        return (None if old.K == model.K else search), [params]

    @staticmethod
    def _given_responsibilities(start, K, n):
        values = np.asarray(start)
        if values.ndim == 1 and len(values) == n:
            labels = values.astype(int)
            if np.any(labels != values) or labels.min() < 0 or labels.max() >= K:
                raise ValueError(f"start: labels must be integers 0..{K - 1}.")
            return np.eye(K)[labels]
        if values.shape != (n, K) or values.min() < 0 or not values.sum(axis=1).min() > 0:
            raise ValueError(
                f"start must be 'default', MultiStart(...), a fitted estimator, {n} labels, or "
                f"responsibilities of shape ({n}, {K}); got an array of shape {values.shape}."
            )
        return values / values.sum(axis=1, keepdims=True)

    def _at(self, model, rows, vector):
        """Fitted attributes at a packed parameter vector, for callbacks."""
        template = stack([model.initial(rows)])
        params = take(model.unpack(vector[:1], template), 0)
        names = ["n_features_in_", "feature_names_in_", "classes_", "_gate_columns"]
        names += ["_expert_columns", "_monomials"]
        own = {name: getattr(self, name) for name in names if hasattr(self, name)}
        return {**own, "_model_": model, "_params_": params, "_n_outputs": self._n_outputs}

    def _store(self, model: MoEModel, fit: Fit):
        """Set the fitted attributes: host arrays, no data."""
        self._model_ = model
        self._params_ = fit.params
        self.__dict__.pop("_online_", None)
        self.fit_summary_ = fit.summary
        self.objective_path_ = fit.objective_path
        self.status_ = fit.status
        self.certificate_ = fit.certificate
        self.n_iter_ = fit.n_pass
        self.expert_sizes_ = fit.mass
        self.regular_ = fit.regular
        self.starts_ = starts_table(fit.optima)
        self._set_derived()

    def _set_derived(self):
        """Attributes that follow from the others: what a loaded file need not hold."""
        self.n_experts_ = self._model_.K
        self.loglik_ = self.fit_summary_.loglik
        self.n_free_ = self.fit_summary_.n_free
        self.n_units_ = self.fit_summary_.n_units
        self.converged_ = self.status_.converged
        self._set_coefficients()

    def _set_coefficients(self):
        """Coefficients on the user's scale."""
        model, user = self._model_, self._user_params()
        names = self._names()
        self.gate_feature_names_ = names[model.gate_columns]
        self.expert_feature_names_ = names[model.expert_columns]
        shown = model.gate.display(user.gate, self.gate_feature_names_)
        for name, value in (shown | model.expert.display(user.expert)).items():
            setattr(self, name, value)
        own = model.expert.main_coef(user.expert)
        coef, intercept = own[..., 1:], own[..., 0]
        dispersion = getattr(user.expert, "dispersion", None)
        if not model.expert.classifies:
            coef, intercept = self._squeeze(coef, 1), self._squeeze(intercept, 1)
            dispersion = self._squeeze(dispersion, 1) if model.expert.has_dispersion else None
        self.coef_, self.intercept_, self.dispersion_ = coef, intercept, dispersion

    def _gate_table(self):
        """Title, row names and values of the gate on the user's scale."""
        gate = self._user_params().gate
        return self._model_.gate.table(gate, list(map(str, self.gate_feature_names_)))

    def _user_params(self):
        model = self._model_
        p, m = len(model.scaling.x_scale), len(model.scaling.y_scale)
        return model._replace(scaling=Scaling.identity(p, m)).rescale(self._params_, model.scaling)

    def _expert_labels(self) -> list[str]:
        """What the experts are called where they are shown."""
        return [f"expert {k}" for k in range(self._model_.K)]

    def _squeeze(self, array, axis):
        """Drop the axis of responses where y was one-dimensional."""
        return array if self._n_outputs else np.squeeze(array, axis=axis)

    def _names(self):
        given = getattr(self, "feature_names_in_", None)
        if given is None:
            given = [f"x{j}" for j in range(self.n_features_in_)]
        return np.array([*given, *getattr(self, "_monomials", ())], dtype=object)

    # --- what needs X alone -----------------------------------------------------------------

    def _rows(self, X, y=None, **inputs) -> Rows:
        """Rows of new data for a fitted model."""
        check_is_fitted(self)
        X = self._with_monomials(check_X(self, X), self._model_.expert)
        offset, trials = row_inputs(self._model_.expert, X.shape[0], **inputs)
        m = len(self._model_.scaling.y_scale)
        target = np.zeros((X.shape[0], m)) if y is None else self._target(y, X.shape[0])
        return Rows(X, target, None, offset, trials)

    def _map(self, rows: Rows, function, size=BLOCK):
        """``function`` of blocks of rows, concatenated: temporary arrays stay small."""
        parts = [function(rows.take(block)) for block in rows.blocks(size)]
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def gate_proba(self, X):
        """Gate probabilities pi_k(x).

        Parameters
        ----------
        X : array-like or sparse of shape (n, p)

        Returns
        -------
        (n, K) ndarray; rows sum to one.
        """
        rows = self._rows(X)
        model, params = self._model_, self._params_
        return self._map(rows, lambda part: np.exp(model.log_gate(params, part.X)))

    def predict_component(self, X):
        """(n,) index of the most probable expert given x alone."""
        return self.gate_proba(X).argmax(axis=1)

    def responsibilities(
        self,
        X,
        y,
        *,
        offset=None,
        exposure=None,
        trials=None,
        groups=None,
        expert_prior=None,
    ):
        """Posterior probabilities of the experts given x and y.

        Parameters
        ----------
        groups : array-like (n,) or None
            Rows with one label share one expert, and have its probabilities given all of them.
        expert_prior : array-like (n, K) or None
            What is known of the rows' experts, as in `MoERegressor.fit`.

        Returns
        -------
        (n, K) ndarray; rows sum to one.
        """
        rows = self._rows(X, y, offset=offset, exposure=exposure, trials=trials)
        check_prior_alone(expert_prior, groups)
        rows, back = self._units(rows, groups)
        if expert_prior is not None:
            rows = rows._replace(
                prior=check_weights_of_experts(expert_prior, rows.n, self.n_experts_)
            )
        return back(
            self._map(rows, lambda part: self._model_.responsibilities(self._params_, part))
        )

    def log_prob(self, X, y, *, offset=None, exposure=None, trials=None, groups=None):
        """(n,) log density (or probability) of y given x, all constants included.

        Parameters
        ----------
        groups : array-like (n,) or None
            Rows with one label share one expert.

        Returns
        -------
        (n,) ndarray; with groups (G,): of each group's rows together, in the order of
        ``numpy.unique(groups)``.
        """
        rows = self._rows(X, y, offset=offset, exposure=exposure, trials=trials)
        rows, _ = self._units(rows, groups)
        return self._map(rows, lambda part: self._model_.log_prob(self._params_, part))

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


def resolve_expert(expert):
    """The expert family, or one for each expert of a list."""
    if isinstance(expert, (list, tuple)):
        return ExpertList([resolve(member, EXPERTS, "expert") for member in expert])
    return resolve(expert, EXPERTS, "expert")


def on_intervals(expert):
    """The family as it is fitted to targets of intervals."""
    if isinstance(expert, ExpertList):
        return expert.with_members(on_intervals)
    return IntervalExpert(rowwise(expert))


def same_shapes(one, other) -> bool:
    """Whether two parameter sets are of one type and shape."""
    return type(one) is type(other) and all(
        np.shape(a) == np.shape(b) for a, b in zip(one, other, strict=True)
    )


def silent_rows(rows: Rows) -> Rows:
    """Rows of weight zero with the target of a row that counts: theirs may be any number."""
    if rows.weight is None or rows.weight.all():
        return rows
    silent = rows.weight == 0
    first = int(np.argmin(silent))
    y, trials = rows.y.copy(), rows.trials
    y[silent] = y[first]
    if trials is not None:
        trials = np.where(silent, trials[first], trials)
    return rows._replace(y=y, trials=trials)


def starts_table(optima) -> pd.DataFrame:
    """One row per distinct optimum that the starts met, best first."""
    columns = ["loglik", "hits", "regular", "smallest_expert", "kinds", "best"]
    records = [
        {**{name: getattr(optimum, name) for name in columns}, "kinds": ", ".join(optimum.kinds)}
        for optimum in optima
    ]
    return pd.DataFrame(records, columns=columns)


def learns_online(estimator) -> bool:
    """Whether the estimator offers `partial_fit`."""
    return estimator.online


def seed_of(random_state) -> int:
    """An integer seed; None is 0, so that a fit is reproducible unless asked otherwise."""
    if random_state is None:
        return 0
    if isinstance(random_state, np.random.RandomState):
        return int(random_state.randint(2**31 - 1))
    if isinstance(random_state, np.random.Generator):
        return int(random_state.integers(2**31 - 1))
    return int(random_state)


def n_threads(n_jobs) -> int:
    """Threads of a pass: None is 1 and negative counts from the number of cores, as in joblib."""
    import joblib

    return 1 if n_jobs is None else joblib.effective_n_jobs(n_jobs)


def check_multi_output(estimator, X, y, expert):
    """Validated X and y of a regression."""
    if isinstance(y, Intervals):
        X, _ = check_X_y(estimator, X, np.zeros(len(y)), multi_output=False, numeric=True)
        return X, y
    return check_X_y(estimator, X, y, multi_output=expert.multi_output, numeric=True)
