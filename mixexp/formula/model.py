"""`FormulaMoE`: a mixture of experts said by a formula, on data frames; and `moe`, in one call."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, MetaEstimatorMixin, clone
from sklearn.utils import get_tags
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from mixexp._component import EXPERTS, resolve
from mixexp.estimators import MoEClassifier, MoERegressor
from mixexp.formula.encoding import Coded, Encoding, Roles
from mixexp.formula.frames import as_frame
from mixexp.formula.summary import coefficient_table, gate_table, summary_text

OWN_FEATURES = ("gate_features", "expert_features")


def _has(name: str):
    """Whether the estimator inside has a method."""
    return lambda self: hasattr(getattr(self, "estimator_", self._template()), name)


class FormulaMoE(MetaEstimatorMixin, BaseEstimator):
    """A mixture of experts whose columns a formula says, fitted to data frames.

    ``response ~ experts | gate``: the terms before the bar are the columns of the experts, those
    behind it the columns of the gate. Without a bar both have the same; ``| 1`` makes a gate
    without columns. Terms are those of `formulaic`: names, ``a:b``, ``a * b``, ``C(g, contr.sum)``,
    ``poly(x, 2)``, ``bs(x, df=4)``, ``cr``, ``cc``, ``scale``, ``center``, ``I(x ** 2)``,
    ``np.sqrt(x)``, ``offset(log(t))``, and ``.`` for all other columns. Experts and gate always
    have intercepts.

    Parameters
    ----------
    formula : str
        The response is a column, an expression of columns (density, criteria and predictions then
        refer to the transformed response), ``cbind(successes, failures)`` for binomial experts,
        or ``cbind(y1, y2)`` for several responses.
    estimator : MoERegressor, MoEClassifier or None
        What is fitted, with all its settings except ``gate_features`` and ``expert_features``;
        None is ``MoERegressor()``.
    weights, offset, exposure, trials : str or None
        Names of columns with these row-wise inputs. An ``offset(...)`` term is added to ``offset``.
    missing : {"drop", "raise"}
        What `fit` and `score` do with rows that lack a value in a column that is used: leave them
        out (and count them in ``n_dropped_``) or raise. Predictions always raise.

    Attributes
    ----------
    estimator_ : MoERegressor or MoEClassifier
        The fitted estimator, on the design that `design` gives.
    encoding_ : Encoding
        Levels, knots and the like of the training rows.
    coef_ : DataFrame
        Experts by columns, the intercept first.
    gate_coef_ : DataFrame
        The gate by columns: for a softmax gate logits, centred over the experts.
    aliased_ : dict of str to list of str
        Columns of the "experts" and the "gate" that were left out since the columns before them
        determine them. A part with a penalty keeps all its columns.
    n_dropped_ : int
        Rows left out since values are missing.

    Examples
    --------
    >>> from mixexp.datasets import load_ethanol
    >>> from mixexp.formula import FormulaMoE
    >>> from mixexp import MoERegressor
    >>> frame = load_ethanol(as_frame=True).frame
    >>> model = FormulaMoE("NOx ~ C + E | E", MoERegressor(2)).fit(frame)
    >>> model.predict(frame.head(3)).shape
    (3,)
    """

    def __init__(
        self,
        formula,
        estimator=None,
        *,
        weights=None,
        offset=None,
        exposure=None,
        trials=None,
        missing="drop",
    ):
        self.formula = formula
        self.estimator = estimator
        self.weights = weights
        self.offset = offset
        self.exposure = exposure
        self.trials = trials
        self.missing = missing

    # --- fitting ----------------------------------------------------------------------------

    def fit(self, data, y=None, sample_weight=None):
        """Fit to the rows of a data frame.

        Parameters
        ----------
        data : DataFrame of n rows, or mapping of names to columns
        y : array-like (n,) or None
            The response, for a frame that lacks its column; the formula's response must then be
            the name of a column.
        sample_weight : array-like (n,) or None
            Weights that are no column of the data.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If the formula cannot be read or evaluated, a column is unknown, or the estimator
            refuses the rows.
        """
        frame = as_frame(data)
        template = self._template()
        expert = resolve(template.expert, EXPERTS, "expert")
        columns = [str(name) for name in frame.columns]
        encoding = Encoding.parse(
            self.formula, columns, self._roles(), takes_trials="trials" in expert.takes
        )
        frame = _with_response(frame, y, encoding)
        weight = self._weight(sample_weight, len(frame))
        encoding, coded = encoding.fitted(frame, weight, self.missing)
        encoding = encoding.without_aliased(
            coded, experts=not penalised(expert), gate=not penalised(template.gate)
        )
        estimator = template.set_params(
            gate_features=encoding.gate_columns, expert_features=encoding.expert_columns
        )
        assert coded.y is not None
        _check_response(coded.y, encoding.response_name, expert.classifies)
        self.estimator_ = estimator.fit(coded.X, coded.y, coded.weight, **coded.inputs)
        self._set_fitted(encoding, int((~coded.kept).sum()))
        return self

    def _template(self):
        template = MoERegressor() if self.estimator is None else clone(self.estimator)
        if not isinstance(template, MoERegressor | MoEClassifier) or not set(OWN_FEATURES) <= set(
            template.get_params(deep=False)
        ):
            raise ValueError(
                f"estimator must be MoERegressor(...) or MoEClassifier(...); got {template!r}."
            )
        given = [name for name in OWN_FEATURES if getattr(template, name) is not None]
        if given:
            raise ValueError(f"{given[0]}: the formula says the columns; leave it out.")
        return template

    def _roles(self) -> Roles:
        roles = Roles(self.weights, self.offset, self.exposure, self.trials)
        for role, name in roles.given().items():
            if not isinstance(name, str):
                hint = " Pass an array as fit(data, sample_weight=...)." * (role == "weights")
                raise ValueError(f"{role} must be the name of a column; got {name!r}.{hint}")
        return roles

    def _weight(self, sample_weight, n: int):
        if sample_weight is None:
            return None
        if self.weights is not None:
            raise ValueError(f"weights={self.weights!r} and sample_weight are both given.")
        weight = np.asarray(sample_weight, dtype=np.float64)
        if weight.shape != (n,):
            raise ValueError(
                f"the weights have shape {weight.shape}; the data have {n} rows, each needs one."
            )
        return weight

    def _set_fitted(self, encoding: Encoding, n_dropped: int) -> None:
        self.encoding_ = encoding
        self.n_dropped_ = n_dropped
        self.aliased_ = {
            "experts": list(encoding.aliased_experts), "gate": list(encoding.aliased_gate)
        }  # fmt: skip
        self.coef_ = coefficient_table(self.estimator_)
        self.gate_coef_ = gate_table(self.estimator_)

    # --- the estimator's face ---------------------------------------------------------------

    def _rows(self, data, *, response: bool = False, missing: str = "raise") -> Coded:
        check_is_fitted(self, "estimator_")
        return self.encoding_.rows(as_frame(data), response=response, missing=missing)

    def _given_x(self, method: str, data, *args, **settings):
        coded = self._rows(data)
        return getattr(self.estimator_, method)(coded.X, *args, **settings, **coded.inputs)

    def _given_xy(self, method: str, data):
        coded = self._rows(data, response=True)
        return getattr(self.estimator_, method)(coded.X, coded.y, **coded.inputs)

    def design(self, data) -> pd.DataFrame:
        """(n, p) columns of experts and gate together, as ``estimator_`` takes them."""
        return self._rows(data).X

    def response(self, data) -> np.ndarray:
        """(n,) or (n, m) response of the rows, transformed as the formula says."""
        y = self._rows(data, response=True).y
        assert y is not None
        return y

    def predict(self, data):
        """(n,) or (n, m) means of the response given the row; for classes the most probable."""
        return self._given_x("predict", data)

    def predict_experts(self, data):
        """(n, K, ...) means, or class probabilities, of the single experts."""
        return self._given_x("predict_experts", data)

    @available_if(_has("predict_proba"))
    def predict_proba(self, data):
        """(n, C) class probabilities, in the order of ``classes_``."""
        return self._given_x("predict_proba", data)

    @available_if(_has("predict_log_proba"))
    def predict_log_proba(self, data):
        """(n, C) log class probabilities."""
        return self._given_x("predict_log_proba", data)

    @available_if(_has("predict_std"))
    def predict_std(self, data):
        """(n,) or (n, m) predictive standard deviations."""
        return self._given_x("predict_std", data)

    @available_if(_has("predict_quantile"))
    def predict_quantile(self, data, q):
        """Predictive quantiles: (n,) for one q, a further last axis for several."""
        return self._given_x("predict_quantile", data, q)

    @available_if(_has("predict_interval"))
    def predict_interval(self, data, level=0.9):
        """(n, 2) equal-tailed predictive intervals."""
        return self._given_x("predict_interval", data, level=level)

    def sample(self, data, rng=None):
        """(n,) or (n, m) draws of the response given the row."""
        return self._given_x("sample", data, rng)

    def gate_proba(self, data):
        """(n, K) gate probabilities."""
        return self.estimator_.gate_proba(self._rows(data).X)

    def predict_component(self, data):
        """(n,) most probable expert given the row without its response."""
        return self.gate_proba(data).argmax(axis=1)

    def log_prob(self, data):
        """(n,) log density (or probability) of the response, which the data must hold."""
        return self._given_xy("log_prob", data)

    def responsibilities(self, data):
        """(n, K) probabilities of the experts given the row and its response."""
        return self._given_xy("responsibilities", data)

    @available_if(_has("cdf"))
    def cdf(self, data):
        """(n,) or (n, m) predictive distribution function at the response."""
        return self._given_xy("cdf", data)

    def score(self, data, y=None, sample_weight=None):
        """Coefficient of determination; accuracy for classes.

        Parameters
        ----------
        y, sample_weight
            As in `fit`; a weights column is used.
        """
        check_is_fitted(self, "estimator_")
        frame = _with_response(as_frame(data), y, self.encoding_)
        given = self._weight(sample_weight, len(frame))
        coded = self._rows(frame, response=True, missing=self.missing)
        weight = coded.weight if given is None else given[coded.kept]
        return self.estimator_.score(coded.X, coded.y, weight, **coded.inputs)

    # --- reading the fit --------------------------------------------------------------------

    def summary(self) -> str:
        """Readable text: how the fit ended, experts and gate by term."""
        check_is_fitted(self, "estimator_")
        return summary_text(self)

    def __str__(self):
        return summary_text(self) if hasattr(self, "estimator_") else repr(self)

    @property
    def fit_summary_(self):
        """What criteria read."""
        return self.estimator_.fit_summary_

    @property
    def n_free_(self) -> int:
        """Number of free parameters."""
        return self.estimator_.n_free_

    @property
    def loglik_(self) -> float:
        """Weighted log-likelihood of the response as the formula writes it."""
        return self.estimator_.loglik_

    @property
    def n_experts_(self) -> int:
        """Number of experts."""
        return self.estimator_.n_experts_

    @property
    def status_(self):
        """How the fit ended."""
        return self.estimator_.status_

    @property
    def converged_(self) -> bool:
        """Whether it ended at an optimum."""
        return self.estimator_.converged_

    @property
    def dispersion_(self):
        """Standard deviations or shapes of the experts, or None."""
        return self.estimator_.dispersion_

    @property
    def classes_(self):
        """Classes of the response, where it is one."""
        return self.estimator_.classes_

    # --- files ------------------------------------------------------------------------------

    def save(self, path: str | Path) -> None:
        """Write the fitted model to a versioned file without pickles; see `mixexp.load`."""
        from mixexp.formula.saving import save

        check_is_fitted(self, "estimator_")
        save(self, path)

    def __sklearn_is_fitted__(self):
        return hasattr(self, "estimator_")

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        inner = get_tags(MoERegressor() if self.estimator is None else self.estimator)
        tags.estimator_type = inner.estimator_type
        tags.classifier_tags, tags.regressor_tags = inner.classifier_tags, inner.regressor_tags
        tags.target_tags.required = False
        tags.input_tags.two_d_array = False
        return tags


def moe(
    formula,
    data,
    n_experts=2,
    *,
    family="gaussian",
    weights=None,
    offset=None,
    exposure=None,
    trials=None,
    missing="drop",
    **settings,
) -> FormulaMoE:
    """Fit a mixture of experts said by a formula.

    Parameters
    ----------
    formula : str
        ``response ~ experts | gate``; see `FormulaMoE`.
    data : DataFrame, or mapping of names to columns
    n_experts : int, default=2
    family : str or Expert, default="gaussian"
        The experts: a name of the registry ("gaussian", "poisson", "binomial", "gamma",
        "multinomial" ...) or an instance with its settings. A family for classes gives a
        `MoEClassifier`.
    weights : str, array-like (n,) or None
        Name of a column, or the weights themselves.
    offset, exposure, trials : str or None
        Names of columns.
    missing : {"drop", "raise"}
        What is done with rows that lack a value in a column that is used.
    **settings
        Further settings of the estimator: ``gate``, ``start``, ``solver``, ``n_jobs``,
        ``random_state`` ...

    Returns
    -------
    FormulaMoE
        Fitted.

    Raises
    ------
    ValueError
        As `FormulaMoE.fit`.

    Examples
    --------
    >>> from mixexp import moe
    >>> from mixexp.datasets import load_ethanol
    >>> frame = load_ethanol(as_frame=True).frame
    >>> model = moe("NOx ~ poly(E, 2) | E", frame, n_experts=2)
    >>> list(model.coef_.columns)
    ['(intercept)', 'poly(E, 2)[1]', 'poly(E, 2)[2]']
    """
    for name in (*OWN_FEATURES, "expert"):
        if name in settings:
            instead = "use family=" if name == "expert" else "the formula says the columns"
            raise ValueError(f"moe takes no {name}=: {instead}.")
    expert = resolve(family, EXPERTS, "family")
    kind = MoEClassifier if expert.classifies else MoERegressor
    known = kind().get_params(deep=False)
    for name in settings:
        if name not in known:
            raise ValueError(f"moe: {kind.__name__} has no setting {name!r}, only {sorted(known)}.")
    by_name = weights is None or isinstance(weights, str)
    model = FormulaMoE(
        formula,
        kind(n_experts, expert=family, **settings),
        weights=weights if by_name else None,
        offset=offset,
        exposure=exposure,
        trials=trials,
        missing=missing,
    )
    return model.fit(data, sample_weight=None if by_name else weights)


def penalised(part: Any) -> bool:
    """Whether a part carries a penalty: it may then have columns that others span."""
    return getattr(part, "penalty", None) is not None


def _with_response(frame: pd.DataFrame, y, encoding: Encoding) -> pd.DataFrame:
    """The frame with a response that was passed beside it."""
    if y is None:
        return frame
    name = encoding.response_column
    if name is None:
        raise ValueError(
            f"the response {encoding.response_name!r} is computed from columns: put them into the "
            "data frame and leave y out."
        )
    values = np.asarray(y)
    if values.shape != (len(frame),):
        raise ValueError(f"y has shape {values.shape}; the data have {len(frame)} rows.")
    return frame.assign(**{name: values})


def _check_response(y: np.ndarray, name: str, classifies: bool) -> None:
    if not classifies and y.dtype.kind not in "biuf":
        raise ValueError(
            f"the response {name!r} is no number ({y.dtype}): for classes use "
            'family="multinomial", for two outcomes a column of 0 and 1 with family="binomial".'
        )
