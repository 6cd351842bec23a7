"""`FormulaMoE`: a mixture of experts said by a formula, on data frames."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, MetaEstimatorMixin, clone
from sklearn.utils import get_tags
from sklearn.utils.validation import check_is_fitted

from mixexp._component import EXPERTS, GATES, resolve
from mixexp.estimators import MoEClassifier, MoERegressor
from mixexp.explain import diagnose
from mixexp.formula.encoding import Encoding, Roles
from mixexp.formula.face import FrameFace
from mixexp.formula.frames import as_frame, check_columns, rows_of_prior
from mixexp.formula.summary import coefficient_table, gate_table, parameter_table
from mixexp.penalties import is_active

OWN_FEATURES = ("gate_features", "expert_features")


class FormulaMoE(FrameFace, MetaEstimatorMixin, BaseEstimator):
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
    groups : str or None
        Name of a column with labels of rows that share one expert, as in ``MoERegressor.fit``. New
        rows need it where the response is read.
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
    parameters_ : DataFrame
        Experts by their further parameters: standard deviations, shapes, inflation ...
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
        groups=None,
        missing="drop",
    ):
        self.formula = formula
        self.estimator = estimator
        self.weights = weights
        self.offset = offset
        self.exposure = exposure
        self.trials = trials
        self.groups = groups
        self.missing = missing

    # --- fitting ----------------------------------------------------------------------------

    def fit(
        self,
        data,
        y=None,
        sample_weight=None,
        *,
        expert_prior=None,
        prior_likelihood="evidential",
    ):
        """Fit to the rows of a data frame.

        Parameters
        ----------
        data : DataFrame of n rows, or mapping of names to columns
        y : array-like (n,) or None
            The response, for a frame that lacks its column; the formula's response must then be
            the name of a column.
        sample_weight : array-like (n,) or None
            Weights that are no column of the data.
        expert_prior : array-like (n, K) or None
        prior_likelihood : {"evidential", "conditional"}
            What is known of the rows' experts, as in `MoERegressor.fit`.

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
        _check_parts(encoding, expert, resolve(template.gate, GATES, "gate"))
        frame = _with_response(frame, y, encoding)
        weight = self._weight(sample_weight, len(frame))
        encoding, coded = encoding.fitted(frame, weight, self.missing)
        gate = resolve(template.gate, GATES, "gate")
        encoding = encoding.without_aliased(
            coded,
            experts=not penalised(expert),
            gate=not penalised(gate) and not gate.known,  # which needs the columns that it knows
        )
        estimator = template.set_params(
            gate_features=encoding.gate_columns, expert_features=encoding.expert_columns
        )
        _check_response(coded.y, encoding.response_name, expert.classifies)
        inputs = coded.with_groups
        if expert_prior is not None:
            prior = rows_of_prior(expert_prior, coded.kept)
            inputs = inputs | {"expert_prior": prior, "prior_likelihood": prior_likelihood}
        self.estimator_ = estimator.fit(coded.X, coded.y, coded.weight, **inputs)
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
        roles = Roles(self.weights, self.offset, self.exposure, self.trials, self.groups)
        for role, name in roles.given().items():
            if not isinstance(name, str):
                hint = " Pass an array as fit(data, sample_weight=...)." * (role == "weights")
                got = type(name).__name__
                raise ValueError(f"{role} must be the name of a column; got a {got}.{hint}")
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
            "experts": list(encoding.aliased_experts.names),
            "gate": list(encoding.aliased_gate.names),
        }
        self.coef_ = coefficient_table(self.estimator_)
        self.gate_coef_ = gate_table(self.estimator_)
        self.parameters_ = parameter_table(self.estimator_)

    # --- with weights ---------------------------------------------------------------------------

    def inference(self, data, *, sample_weight=None, **settings):
        """Standard errors, tests and intervals of gate and experts, by term.

        Parameters
        ----------
        data : DataFrame
            The rows of the fit; rows with missing values are treated as in `fit`.
        sample_weight : array-like (n,) or None
            The weights of the fit, unless they are a column.
        **settings
            As in `MoERegressor.inference`: ``covariance``, ``groups`` (for each row, or the name of
            a column; those of the fit if it has some), ``weights``, ``reference``, ``hold``,
            ``n_boot`` ...

        Returns
        -------
        InferenceResult

        Raises
        ------
        NotRegularError
            If the fit is no regular optimum, so that there are no standard errors.
        """
        coded, weight, settings = self._of_fit(data, sample_weight, settings)
        return self.estimator_.inference(coded.X, coded.y, weight, **settings, **coded.inputs)

    def diagnose(self, data, *, sample_weight=None, **settings):
        """Standard errors, residuals, calibration, influence and leverage of the fit, at once.

        Parameters
        ----------
        data, sample_weight
            As for `inference`.
        **settings
            As for `mixexp.explain.diagnose`: ``covariance``, ``groups``, ``random_state`` ...

        Returns
        -------
        Diagnosis
            What does not exist at this fit is None, with its reason in ``refused``. Rows are those
            without missing values, in their order.
        """
        coded, weight, settings = self._of_fit(data, sample_weight, settings)
        settings = {"sample_weight": weight} | settings | coded.inputs
        return diagnose(self.estimator_, coded.X, coded.y, **settings)

    def _of_fit(self, data, sample_weight, settings):
        """Coded rows of the fit, their weights, and the settings with the groups of these rows."""
        check_is_fitted(self, "estimator_")
        frame, settings = as_frame(data), dict(settings)
        given = self._weight(sample_weight, len(frame))
        coded = self._rows(frame, response=True, missing=self.missing)
        weight = coded.weight if given is None else given[coded.kept]
        groups = settings.pop("groups", self.encoding_.roles.groups)
        if isinstance(groups, str):
            check_columns(frame, [groups], {groups: "groups"})
            groups = frame[groups]
        if groups is not None:
            groups = np.asarray(groups)
            if groups.shape != (len(frame),):
                raise ValueError(f"groups has shape {groups.shape} for {len(frame)} rows.")
            settings["groups"] = groups[coded.kept]
        return coded, weight, settings

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


def _check_parts(encoding: Encoding, expert: Any, gate: Any) -> None:
    """Refuse an offset that the family does not take, and a gate that needs columns without any."""
    if encoding.offsets and "offset" not in expert.takes:
        raise ValueError(
            f"formula: {type(expert).__name__} takes no offset(...); leave the term out of "
            f"{encoding.formula!r}."
        )
    if gate.joint and not encoding.gate.variables:
        raise ValueError(
            f"formula: {type(gate).__name__} models the columns of the gate's part, and there are "
            'none; name some behind the bar, or use gate="constant".'
        )


def penalised(part: Any) -> bool:
    """Whether a part carries a penalty: it may then have columns that others span."""
    return is_active(getattr(part, "penalty", None))


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


def _check_response(y: np.ndarray | None, name: str, classifies: bool) -> None:
    if y is not None and not classifies and y.dtype.kind not in "biuf":
        raise ValueError(
            f"the response {name!r} is no number ({y.dtype}): for classes use "
            'family="multinomial", for two outcomes a column of 0 and 1 with family="binomial".'
        )
