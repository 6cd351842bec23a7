"""`MoEClassifier`: mixtures of softmax regressions."""

from __future__ import annotations

import warnings

import numpy as np
from sklearn.base import ClassifierMixin
from sklearn.utils.class_weight import compute_class_weight, compute_sample_weight
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import column_or_1d

from .._validation import check_X_y
from ..em import predictive
from ..experts import ExpertList
from ..sources.values import label_order
from ._base import BaseMoE
from ._blocked import Codes, Labels, codes_among
from ._lazy import lazy, single
from ._online import learns_online
from ._scoring import accuracy_over, source_given
from ._settings import resolve_expert
from .intervals import Intervals

MOST_ENTRIES = 2e6  # of the information between classes: many starts hold it at once


def _of_classes(estimator, settings):
    """Shape of one value for each class."""
    return (len(estimator.classes_),)


def _of_experts_and_classes(estimator, settings):
    return (estimator.n_experts_, len(estimator.classes_))


class MoEClassifier(ClassifierMixin, BaseMoE):
    """Mixture of classification experts with a gate, fitted by maximum likelihood.

    P(y = c | x) = sum_k pi_k(x) P_k(y = c | x), each expert a softmax regression, or, for ordered
    classes, a cumulative link model.

    Parameters
    ----------
    n_experts : int, default=2
    gate : {"softmax", "constant"} or Gate, default="softmax"
    expert : {"multinomial", "ordinal"} or Expert, default="multinomial"
        Ordered classes: numbers come in their order, an ordered pandas categorical in that of its
        categories, other labels sorted (in `partial_fit`, as ``classes`` lists them).
    gate_features, expert_features, start, solver, engine, warm_start, n_jobs, random_state
        As for `MoERegressor`.
    class_weight : dict, "balanced" or None
        Weights of the classes, multiplied into ``sample_weight``.

    Attributes
    ----------
    classes_ : ndarray of shape (C,)
    coef_ : ndarray of shape (K, C, p)
        Experts' slopes on the user's scale, centred over the classes; (K, p) of ordinal experts.
    intercept_ : ndarray of shape (K, C)
        Of ordinal experts (K,), and ``thresholds_`` (K, C - 1) beside it.
    gate_coef_, gate_intercept_, loglik_, status_, starts_, expert_sizes_
        These and the others are those of `MoERegressor`.

    References
    ----------
    Jordan and Jacobs (1994), "Hierarchical mixtures of experts and the EM algorithm", Neural
    Computation 6, 181-214.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from mixexp import L2, MoEClassifier, MultinomialExpert
    >>> X, y = load_iris(return_X_y=True)
    >>> model = MoEClassifier(expert=MultinomialExpert(penalty=L2(0.01))).fit(X, y)
    >>> model.predict_proba(X).shape
    (150, 3)
    """

    takes_device = True

    def __init__(
        self,
        n_experts=2,
        *,
        gate="softmax",
        expert="multinomial",
        gate_features=None,
        expert_features=None,
        start="default",
        solver=None,
        engine="auto",
        warm_start=False,
        class_weight=None,
        n_jobs=None,
        random_state=None,
    ):
        super().__init__(
            n_experts,
            gate=gate,
            expert=expert,
            gate_features=gate_features,
            expert_features=expert_features,
            start=start,
            solver=solver,
            engine=engine,
            warm_start=warm_start,
            n_jobs=n_jobs,
            random_state=random_state,
        )
        self.class_weight = class_weight

    def fit(
        self,
        X,
        y=None,
        sample_weight=None,
        *,
        groups=None,
        expert_prior=None,
        prior_likelihood="evidential",
    ):
        """Fit by EM from many starts.

        Parameters
        ----------
        X : array-like, data frame, scipy sparse or Dask collection of shape (n, p), or a dataset
            As in `MoERegressor.fit`.
        y : array-like of shape (n,)
            Class labels of any type.
        sample_weight : array-like (n,) or None
            A weight of 2 equals the row twice.
        groups : array-like (n,) or None
            Labels: rows with one label share one expert; see `MoERegressor.fit`.
        expert_prior : array-like (n, K) or None
            Weights of what is known of the rows' experts; see `MoERegressor.fit`.
        prior_likelihood : {"evidential", "conditional"}, default="evidential"
            How the weights enter the objective; see `MoERegressor.fit`.

        Returns
        -------
        self
        """
        self._all_classes = None
        inputs = {}
        if expert_prior is not None:
            inputs = {"expert_prior": expert_prior, "prior_likelihood": prior_likelihood}
        if groups is None:
            return self._fit(X, y, sample_weight, **inputs)
        if self.class_weight is not None:
            raise ValueError(
                "class_weight= weights single rows, and with groups= it is the group that is "
                "weighted. Leave one of them out, or give sample_weight= group by group."
            )
        return self._fit(X, y, sample_weight, groups=groups, **inputs)

    def score(self, X, y=None, sample_weight=None):
        """Share of the rows, by weight, whose class is predicted.

        X may be a dataset that holds the target, such as a `FileDataset`, or Dask collections: it
        is then a sum over their blocks.
        """
        source = source_given(X, y, "score", weight=sample_weight)
        return super().score(X, y, sample_weight) if source is None else accuracy_over(self, source)

    @available_if(learns_online)
    def partial_fit(self, X, y=None, classes=None, sample_weight=None):
        """One step of online EM on a mini-batch; see `MoERegressor.partial_fit`.

        Parameters
        ----------
        classes : array-like or None
            All classes that will ever come; needed at the first call unless its batch holds
            them all, and the same at later ones. An ordinal expert takes them in the order given,
            or in that of the categories of an ordered pandas categorical.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            Where y holds other labels, or ``classes`` differs from an earlier call's or from the
            order of y's categories.
        """
        ordered = resolve_expert(self.expert).ordered
        self._all_classes = None if classes is None else _listed(classes, ordered)
        if self._all_classes is not None and hasattr(self, "_online_"):
            given, first = self._all_classes.tolist(), self.classes_.tolist()
            if given != first:
                raise ValueError(
                    f"classes={given!r} differs from that of the first call, {first!r}. Leave it "
                    "out of later calls, or start anew with a clone of the estimator."
                )
        return self._partial_fit(X, y, sample_weight)

    def _check_expert(self, expert):
        if not expert.classifies and isinstance(expert, ExpertList):
            raise ValueError(
                "MoEClassifier takes one family for all experts, expert='multinomial' or "
                f"'ordinal'; got the list {expert.title}."
            )
        if not expert.classifies:
            raise ValueError(
                f"{type(expert).__name__} is for numbers: use MoERegressor, or "
                "expert='multinomial' or 'ordinal'."
            )

    def _check_data(self, X, y, expert):
        if isinstance(y, Intervals):
            raise ValueError(
                "y holds intervals, and MoEClassifier needs classes: use MoERegressor."
            )
        order = label_order(y) if expert.ordered else None
        X, y = check_X_y(self, X, y, multi_output=False, numeric=False)
        check_classification_targets(y)
        self.classes_, codes = self._classes_of(y, order)
        self._check_classes(expert, X.shape[1], order)
        self._n_outputs = 0
        return X, codes.astype(np.float64)[:, None]

    def _blocked_codes(self, source, expert):
        found = source.reduce(Labels.of, Labels.merged)
        order = source.label_order if expert.ordered else None
        found = found if order is None else found.in_order(order)
        self.classes_ = found.classes
        self._check_classes(expert, source.n_features, order)
        if self.class_weight is None:
            return Codes(self.classes_, None)
        if isinstance(self.class_weight, str) and self.class_weight == "balanced":
            each = found.counts.sum() / (len(found.counts) * found.counts)
        else:
            each = compute_class_weight(self.class_weight, classes=self.classes_, y=self.classes_)
        return Codes(self.classes_, each)

    def _check_classes(self, expert, p, order=None):
        """Refuse one class alone, and more than memory holds."""
        if expert.ordered and order is None and not self._given_order():
            _warn_of_alphabet(self.classes_)
        if len(self.classes_) < 2:
            raise ValueError(
                f"MoEClassifier needs at least two classes; got one class "
                f"{self.classes_.tolist()[0]!r}."
            )
        if not expert.ordered:
            self._check_size(p)

    def _check_size(self, p):
        """Refuses what no memory holds, before any work: often a number was meant."""
        C = len(self.classes_)
        entries = C * (C - 1) / 2 * (p + 1) ** 2
        if entries > MOST_ENTRIES:
            raise ValueError(
                f"{C} classes in {p} columns are too many: the information of one expert has "
                f"{entries:.2g} entries between pairs of classes, and at most {MOST_ENTRIES:.0e} "
                "are taken. If y is a number use MoERegressor; else merge rare classes or use "
                "fewer columns."
            )

    def _classes_of(self, y, order):
        """The classes, sorted or in the order given, and the codes of y among them."""
        known = getattr(self, "_all_classes", None)
        if known is None:
            known = np.unique(y)
            if order is not None:
                known = np.array([label for label in order if label in known], dtype=known.dtype)
        elif order is not None:
            _check_order(known.tolist(), order)
        codes, unknown = codes_among(y, known)
        if unknown.any():
            raise ValueError(
                f"y holds the label {y[unknown].tolist()[0]!r}, which classes= does not list."
            )
        return known, codes

    def _given_order(self):
        """Whether partial_fit was told the classes, from the lowest to the highest."""
        return getattr(self, "_all_classes", None) is not None

    def _weights(self, weight, y):
        if self.class_weight is None:
            return weight
        balance = compute_sample_weight(self.class_weight, column_or_1d(np.asarray(y)))
        return balance if weight is None else balance * weight

    def _target(self, y, n):
        y = column_or_1d(np.asarray(y))
        if len(y) != n:
            raise ValueError(f"y has {len(y)} labels for {n} rows.")
        codes, unknown = codes_among(y, self.classes_)
        if unknown.any():
            raise ValueError(
                f"y holds the label {y[unknown].tolist()[0]!r}, which the model was not fitted "
                f"with; its classes are {self.classes_.tolist()!r}."
            )
        return codes.astype(np.float64)[:, None]

    @lazy(_of_classes)
    def predict_proba(self, X):
        """(n, C) class probabilities, in the order of ``classes_``."""
        rows = self._rows(X)
        found = self._map(
            rows,
            lambda part: predictive.mean(predictive.components(self._model_, self._params_, part)),
        )
        # Above: sums of rounded products; scikit-learn refuses 1 + 2e-16. Below: finite logarithms.
        return np.clip(found, 1e-300, 1.0)

    @lazy(_of_classes)
    def predict_log_proba(self, X):
        """(n, C) log class probabilities."""
        return np.log(self.predict_proba(X))

    @lazy(single, lambda estimator: estimator.classes_.dtype)
    def predict(self, X):
        """(n,) most probable classes."""
        best = self.predict_proba(X).argmax(axis=1)
        return self.classes_[best]

    @lazy(_of_experts_and_classes)
    def predict_experts(self, X):
        """(n, K, C) class probabilities of the single experts."""
        rows = self._rows(X)
        return self._map(
            rows, lambda part: predictive.components(self._model_, self._params_, part).mean
        )

    def sample(self, X, rng=None, *, groups=None):
        """(n,) drawn classes given x; rows with one label in ``groups`` are of one expert."""
        rows, back = self._units(self._rows(X), groups)
        draws, _ = predictive.sample(self._model_, self._params_, rows, np.random.default_rng(rng))
        return self.classes_[back(draws)[:, 0].astype(int)]


def _warn_of_alphabet(classes):
    """Texts have no order of their own but the alphabet's, which is rarely the one meant."""
    if len(classes) > 2 and isinstance(classes[0], str):
        warnings.warn(
            f"The classes are texts and taken in alphabetical order, {classes.tolist()!r}. An "
            "ordinal expert needs theirs: pass y as pandas.Categorical(y, "
            "categories=[lowest, ..., highest], ordered=True).",
            UserWarning,
            stacklevel=5,
        )


def _listed(classes, ordered):
    """The distinct classes of a list: sorted, or of ordered ones in the order given."""
    order = label_order(classes)
    labels = column_or_1d(np.asarray(classes))
    distinct, first = np.unique(labels, return_index=True)
    if not ordered:
        return distinct
    if order is None:
        return labels[np.sort(first)]
    return np.array([label for label in order if label in distinct], dtype=labels.dtype)


def _check_order(classes, order):
    """Raise a ValueError where ``classes`` has the categories of y in another order."""
    given = [label for label in classes if label in order]
    if given != [label for label in order if label in given]:
        raise ValueError(
            f"classes={classes!r} has another order than the categories of y, {list(order)!r}. "
            "List the classes from lowest to highest, in the order of the categories."
        )
