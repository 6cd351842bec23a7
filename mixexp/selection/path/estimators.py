"""`LassoMoERegressorCV` and `LassoMoEClassifierCV`: mixtures whose penalty strengths are chosen."""

from __future__ import annotations

import warnings
from typing import Any

from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.validation import check_is_fitted

from mixexp.estimators import MoEClassifier, MoERegressor
from mixexp.estimators._base import WARNED
from mixexp.selection.path.path import MoEPath
from mixexp.selection.path.result import LEARNT, PathResult

FROM_PATH = ("penalties_expert", "penalties_gate", "ratio", "searches", "n_jobs", "random_state")


class ChosenOnPath:
    """What the two estimators share: a path inside ``fit``, and the fitted state of its choice."""

    # what a path leaves no choice in: it warm-starts itself, and its rows are in memory
    solver = None
    engine = "auto"
    warm_start = False
    online = False
    kind: type
    path_: PathResult
    cv: Any
    criterion: Any
    one_se: bool

    def _fit(self, X, y, sample_weight, **inputs):
        own: Any = self
        settings = own.get_params(deep=False)
        estimator = self.kind()
        names = set(estimator.get_params(deep=False)) & set(settings) - set(FROM_PATH)
        estimator.set_params(**{name: settings[name] for name in names})
        by_folds = isinstance(self.criterion, str) and self.criterion == "cv"
        path = MoEPath(
            estimator,
            cv=self.cv if by_folds else None,
            **{name: settings[name] for name in FROM_PATH},
        )
        self.path_ = path.fit(X, y, sample_weight, **inputs).result_
        self.best_index_ = self.path_.best(self.criterion, one_se=self.one_se)
        self._take(self.path_.model(self.best_index_))
        if own.status_ in WARNED:
            warnings.warn(own.status_.value, ConvergenceWarning, stacklevel=3)
        return self

    def _take(self, chosen):
        """The fitted attributes of the chosen mixture become those of this estimator."""
        for name in LEARNT:  # names of columns, for example, that these rows do not have
            vars(self).pop(name, None)
        settings = chosen.get_params(deep=False)
        fitted = {name: value for name, value in vars(chosen).items() if name not in settings}
        vars(self).update(fitted)
        line = self.path_.table.iloc[self.best_index_]
        self.alpha_gate_, self.alpha_expert_ = line["alpha_gate"], line["alpha_expert"]

    @property
    def best_estimator_(self):
        """The chosen mixture as a plain estimator with the chosen strengths."""
        check_is_fitted(self)
        return self.path_.model(self.best_index_)

    def save(self, path) -> None:
        """Write the chosen mixture, without its path, to a file; see `mixexp.load`.

        What is loaded is ``best_estimator_``, a plain estimator with the same predictions.
        """
        self.best_estimator_.save(path)


class LassoMoERegressorCV(ChosenOnPath, MoERegressor):
    """Mixture of regression experts with Lasso penalties whose strengths are chosen by folds.

    `fit` walks a `MoEPath`, in every fold as well, chooses the strengths with the highest
    log-likelihood of rows kept aside, and is then the mixture fitted with them to all rows. It
    predicts like a `MoERegressor`.

    Parameters
    ----------
    n_experts : int, default=2
    gate : {"softmax", "constant"} or Gate, default="softmax"
        With a penalty of its own it keeps the penalty's kind, and the strength is varied.
    expert : str or Expert, default="gaussian"
        As for ``gate``; a Gaussian expert without a penalty is made ``scale_free``.
    gate_features, expert_features : None, slice, or sequence of names, positions or a mask
        As for `MoERegressor`.
    penalties_expert, penalties_gate, ratio, searches
        The grid and its walk, as for `MoEPath`.
    criterion : "cv", str or Criterion, default="cv"
        "cv": the cross-validated log-likelihood. Others, such as "bic" or "ebic", are computed
        from the path alone, and ``cv`` is not used.
    cv : int, splitter or iterable of (train, test), default=5
        As for `MoEPath`.
    one_se : bool, default=False
        With "cv": the fewest parameters within one paired standard error of the best.
    start : "default" or MultiStart
        Effort of the searches.
    n_jobs : int or None
        Processes for chains and folds.
    random_state : int, RandomState or None
        Seed of folds and starts; None is 0.

    Attributes
    ----------
    path_ : PathResult
        All fits of the path, with their held-out log-likelihoods.
    best_index_ : int
        Line of ``path_`` that was chosen.
    alpha_gate_, alpha_expert_ : float
        The chosen strengths; NaN for a gate whose penalty was not varied.
    best_estimator_ : MoERegressor
        The chosen mixture as a plain estimator.

    The other attributes are those of `MoERegressor`: ``coef_``, ``gate_coef_``, ``status_``, ...

    References
    ----------
    Friedman, Hastie and Tibshirani (2010), "Regularization paths for generalized linear models
    via coordinate descent", J. Stat. Softw. 33(1); van der Laan, Dudoit and Keles (2004),
    "Asymptotic optimality of likelihood-based cross-validation", Stat. Appl. Genet. Mol. Biol. 3.

    Examples
    --------
    >>> from mixexp import LassoMoERegressorCV
    >>> from mixexp.datasets import load_ethanol
    >>> X, y = load_ethanol(return_X_y=True)
    >>> model = LassoMoERegressorCV(2, penalties_expert=5, searches=1, cv=2).fit(X, y)
    >>> model.predict(X).shape, len(model.path_.table)
    ((88,), 5)
    """

    kind = MoERegressor

    def __init__(
        self,
        n_experts=2,
        *,
        gate="softmax",
        expert="gaussian",
        gate_features=None,
        expert_features=None,
        penalties_expert=50,
        penalties_gate="coupled",
        ratio=None,
        searches=3,
        criterion="cv",
        cv=5,
        one_se=False,
        start="default",
        n_jobs=None,
        random_state=None,
    ):
        self.n_experts = n_experts
        self.gate = gate
        self.expert = expert
        self.gate_features = gate_features
        self.expert_features = expert_features
        self.penalties_expert = penalties_expert
        self.penalties_gate = penalties_gate
        self.ratio = ratio
        self.searches = searches
        self.criterion = criterion
        self.cv = cv
        self.one_se = one_se
        self.start = start
        self.n_jobs = n_jobs
        self.random_state = random_state

    def fit(  # type: ignore[override]  # a path takes neither groups nor a prior
        self, X, y, sample_weight=None, *, offset=None, exposure=None, trials=None
    ):
        """Walk the path, choose the strengths, and keep the mixture that was fitted with them.

        Parameters
        ----------
        X, y, sample_weight, offset, exposure, trials
            As for `MoERegressor.fit`. Weights enter the fits and the held-out log-likelihoods.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If the input is unusable, or no column goes along with the target.
        """
        return super().fit(X, y, sample_weight, offset=offset, exposure=exposure, trials=trials)


class LassoMoEClassifierCV(ChosenOnPath, MoEClassifier):
    """Mixture of classification experts with Lasso penalties whose strengths are chosen by folds.

    `fit` walks a `MoEPath`, in every fold as well, chooses the strengths with the highest
    log-likelihood of rows kept aside, and is then the mixture fitted with them to all rows. It
    predicts like a `MoEClassifier`.

    Parameters
    ----------
    n_experts : int, default=2
    gate : {"softmax", "constant"} or Gate, default="softmax"
        With a penalty of its own it keeps the penalty's kind, and the strength is varied.
    expert : {"multinomial"} or Expert, default="multinomial"
        As for ``gate``.
    gate_features, expert_features, penalties_expert, penalties_gate, ratio, searches
        As for `LassoMoERegressorCV`.
    criterion, cv, one_se, start, n_jobs, random_state
        As for `LassoMoERegressorCV`. Folds are balanced over the classes.
    class_weight : dict, "balanced" or None
        Weights of the classes, multiplied into ``sample_weight``.

    Attributes
    ----------
    path_, best_index_, alpha_gate_, alpha_expert_, best_estimator_
        As for `LassoMoERegressorCV`.

    The other attributes are those of `MoEClassifier`: ``classes_``, ``coef_``, ``status_``, ...

    References
    ----------
    As for `LassoMoERegressorCV`.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from mixexp import LassoMoEClassifierCV
    >>> X, y = load_iris(return_X_y=True)
    >>> model = LassoMoEClassifierCV(1, penalties_expert=5, searches=1, cv=2).fit(X, y)
    >>> model.predict_proba(X).shape
    (150, 3)
    """

    kind = MoEClassifier

    def __init__(
        self,
        n_experts=2,
        *,
        gate="softmax",
        expert="multinomial",
        gate_features=None,
        expert_features=None,
        penalties_expert=50,
        penalties_gate="coupled",
        ratio=None,
        searches=3,
        criterion="cv",
        cv=5,
        one_se=False,
        start="default",
        class_weight=None,
        n_jobs=None,
        random_state=None,
    ):
        self.n_experts = n_experts
        self.gate = gate
        self.expert = expert
        self.gate_features = gate_features
        self.expert_features = expert_features
        self.penalties_expert = penalties_expert
        self.penalties_gate = penalties_gate
        self.ratio = ratio
        self.searches = searches
        self.criterion = criterion
        self.cv = cv
        self.one_se = one_se
        self.start = start
        self.class_weight = class_weight
        self.n_jobs = n_jobs
        self.random_state = random_state

    def fit(self, X, y, sample_weight=None):  # type: ignore[override]  # a path takes no groups
        """Walk the path, choose the strengths, and keep the mixture that was fitted with them.

        Parameters
        ----------
        X, y, sample_weight
            As for `MoEClassifier.fit`.

        Returns
        -------
        self
        """
        return super().fit(X, y, sample_weight)
