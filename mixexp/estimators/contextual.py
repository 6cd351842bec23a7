"""`ContextualMoERegressor`: one expert for each context, and what is asserted of the contexts."""

from __future__ import annotations

from numbers import Integral

import numpy as np

from .._validation import PRIOR_LIKELIHOODS, check_weight, check_weights_of_experts
from ._agreement import ContextAgreement, agreement_of
from .possibility import context_weights
from .regressor import MoERegressor


class ContextualMoERegressor(MoERegressor):
    """Mixture with one expert for each context of a process, partly known in some of the rows.

    Operators often know in which context, regime or mode a process was, for some of its rows and
    not for certain. They say so by possibilities omega_ic in [0, 1], which enter the fit as
    log sum_c omega_ic pi_c(x_i) f_c(y_i | x_i). Predictions use the gate alone.

    Parameters
    ----------
    contexts : sequence of str or int, default=2
        Names of the contexts, or how many there are; then a frame of possibilities names them.
    gate : {"softmax", "constant"} or Gate, default="softmax"
        Penalised, such as ``SoftmaxGate(penalty=ElasticNet(0.01, 0.5))``, where that is wanted.
    expert : str or Expert, default="gaussian"
        The family of all contexts, with its penalty; or a list with one for each.
    prior_likelihood : {"evidential", "conditional"}, default="evidential"
        How possibilities enter the objective; see `MoERegressor.fit`.
    gate_features, expert_features, start, solver, engine, warm_start, n_jobs, random_state
        As for `MoERegressor`.

    Attributes
    ----------
    contexts_ : list of str
        Names of the experts, in the order of all arrays with K entries.

    The other attributes are those of `MoERegressor`.

    References
    ----------
    Souza, Offermans, Barendse, Postma and Jansen (2022), "Contextual mixture of experts",
    arXiv:2211.00558; the objective is that of Denoeux (2013), "Maximum likelihood estimation from
    uncertain data in the belief function framework", IEEE Trans. Knowl. Data Eng. 25, 119-130.

    Examples
    --------
    >>> from mixexp import ContextualMoERegressor, possibility_from_tags
    >>> from mixexp.datasets import load_ethanol
    >>> X, y = load_ethanol(return_X_y=True)
    >>> lean, rich = X[:, -1] < 0.7, X[:, -1] > 1.1
    >>> known = possibility_from_tags({"lean": 0.9 * lean, "rich": 0.9 * rich})
    >>> model = ContextualMoERegressor(["lean", "rich"]).fit(X, y, possibilities=known)
    >>> (model.coef_[:, 1] > 0).tolist()
    [True, False]
    """

    online = False

    def __init__(
        self,
        contexts=2,
        *,
        gate="softmax",
        expert="gaussian",
        prior_likelihood="evidential",
        gate_features=None,
        expert_features=None,
        start="default",
        solver=None,
        engine="auto",
        warm_start=False,
        n_jobs=None,
        random_state=None,
    ):
        self.contexts = contexts
        self.gate = gate
        self.expert = expert
        self.prior_likelihood = prior_likelihood
        self.gate_features = gate_features
        self.expert_features = expert_features
        self.start = start
        self.solver = solver
        self.engine = engine
        self.warm_start = warm_start
        self.n_jobs = n_jobs
        self.random_state = random_state

    @property
    def n_experts(self):
        """How many contexts there are."""
        return int(self.contexts) if isinstance(self.contexts, Integral) else len(self.contexts)

    def fit(  # type: ignore[override]  # no groups=, and possibilities= for expert_prior=
        self,
        X,
        y,
        sample_weight=None,
        *,
        possibilities=None,
        offset=None,
        exposure=None,
        trials=None,
    ):
        """Fit by EM from many starts.

        Parameters
        ----------
        X : array-like, data frame or scipy sparse of shape (n, p)
        y : array-like of shape (n,) or (n, m), or `intervals`
        sample_weight : array-like (n,) or None
            A weight of 2 equals the row twice.
        possibilities : DataFrame, mapping of names to (n,) arrays, array (n, C), or None
            Possibility of each context in each row: zero excludes it, one asserts nothing
            against it, and so does NaN. Columns of an array are in the order of ``contexts``.
            Rows go by position. None fits the mixture without assertions.
        offset, exposure, trials : array-like (n,) or None
            As in `MoERegressor.fit`.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If names or shapes differ, possibilities are not in [0, 1], a row excludes every
            context, or gate and penalty take no possibilities: the conditional likelihood needs
            the scores of a softmax, and sparse penalties are taken up to some hundreds of columns.
        """
        names, prior = context_weights(self.contexts, possibilities)
        if self.prior_likelihood not in PRIOR_LIKELIHOODS:
            raise ValueError(
                f"prior_likelihood must be one of {PRIOR_LIKELIHOODS}; got "
                f"{self.prior_likelihood!r}."
            )
        super().fit(
            X,
            y,
            sample_weight,
            offset=offset,
            exposure=exposure,
            trials=trials,
            expert_prior=prior,
            prior_likelihood=self.prior_likelihood,
        )
        self.contexts_ = names
        return self

    def responsibilities(
        self, X, y, *, possibilities=None, offset=None, exposure=None, trials=None
    ):
        """(n, C) posterior probabilities of the contexts given x, y and what is asserted, if any.

        Parameters
        ----------
        possibilities : DataFrame, mapping, array (n, C) or None
            As in `fit`.
        """
        inputs = {"offset": offset, "exposure": exposure, "trials": trials}
        prior = None if possibilities is None else self._possible(possibilities)
        return super().responsibilities(X, y, expert_prior=prior, **inputs)

    def inference(self, X=None, y=None, sample_weight=None, *, possibilities=None, **settings):
        """Standard errors, tests and intervals; see `MoERegressor.inference`.

        Parameters
        ----------
        possibilities : DataFrame, mapping, array (n, C) or None
            Those of the fit.
        """
        prior = None if possibilities is None else self._possible(possibilities)
        return super().inference(X, y, sample_weight, expert_prior=prior, **settings)

    def context_agreement(
        self,
        X,
        y,
        *,
        possibilities,
        sample_weight=None,
        offset=None,
        exposure=None,
        trials=None,
    ) -> ContextAgreement:
        """Agreement and conflict between what is asserted and what the data say.

        Parameters
        ----------
        X, y, sample_weight, offset, exposure, trials
            The rows of the fit, or new ones.
        possibilities : DataFrame, mapping or array (n, C)
            As in `fit`.

        Returns
        -------
        ContextAgreement
            By row and by context.
        """
        rows = self._rows(X, y, offset=offset, exposure=exposure, trials=trials)
        omega = check_weights_of_experts(self._possible(possibilities), rows.n, self.n_experts_)
        weight = check_weight(sample_weight, rows.X)
        weight = np.ones(rows.n) if weight is None else weight
        inner, params = self._model_, self._params_
        joint = self._map(rows, lambda part: inner.log_joint(params, part))
        return agreement_of(joint, omega, weight, self.contexts_)

    def _possible(self, possibilities):
        self._fitted_expert()
        return context_weights(self.contexts_, possibilities)[1]

    def _expert_labels(self):
        return list(self.contexts_)

    def _extra(self):
        return {"contexts": list(self.contexts_)}

    def _restore(self, extra):
        self.contexts_ = [str(name) for name in extra["contexts"]]
