"""`relax`: a sparse fit again on its support, with less of its penalty or none."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import clone
from sklearn.utils.validation import check_is_fitted

from mixexp._component import EXPERTS, GATES, resolve
from mixexp.penalties import L1


def relax(
    model: Any,
    X: Any,
    y: Any,
    *,
    shrinkage: float = 0.0,
    sample_weight: Any = None,
    **inputs: Any,
) -> Any:
    """Refit a sparse mixture on its support: the slopes that are zero stay zero, one by one.

    A penalty that is strong enough to keep noise out shrinks what it lets in. The refit keeps the
    choice and undoes the shrinkage. It goes uphill from the given fit, so that its
    log-likelihood is at least that of the given fit on the same rows. It is a new fit of
    its own, judged like any other: an expert with more slopes than its rows bear is `DEGENERATE`.

    Parameters
    ----------
    model : MoERegressor or MoEClassifier, or a search that has fitted one
        Fitted, with a sparse penalty on gate, experts or both. A part without one is refitted
        with the penalty that it has.
    X, y : array-like
        The rows of the fit; or others, for an estimate that the choice has not seen.
    shrinkage : float in [0, 1], default=0
        Share of the penalty that is kept on the support. 0: maximum likelihood there, the mixture
        as a least-squares fit after the Lasso; 1: the fit as it is.
    sample_weight, **inputs
        As in the estimator's ``fit``.

    Returns
    -------
    MoERegressor or MoEClassifier
        Fitted; the weights of its penalties, 0 or ``inf``, hold the support.

    Raises
    ------
    ValueError
        Without a sparse penalty; or for a share of a penalty that is not a sum over slopes.

    References
    ----------
    Meinshausen (2007), "Relaxed Lasso", Comput. Stat. Data Anal. 52, 374-393; Belloni and
    Chernozhukov (2013), "Least squares after model selection in high-dimensional sparse models",
    Bernoulli 19, 521-547.

    Examples
    --------
    >>> from mixexp import MoEPath, MoERegressor
    >>> from mixexp.datasets import load_ethanol
    >>> from mixexp.selection import relax
    >>> X, y = load_ethanol(return_X_y=True)
    >>> path = MoEPath(MoERegressor(2), penalties_expert=5, random_state=0).fit(X, y).result_
    >>> model = path.model("bic")
    >>> free = relax(model, X, y)
    >>> bool(free.loglik_ >= model.loglik_), bool(((free.coef_ != 0) == (model.coef_ != 0)).all())
    (True, True)
    """
    model = getattr(model, "best_estimator_", model)
    check_is_fitted(model)
    if not 0 <= shrinkage <= 1:
        raise ValueError(f"shrinkage must lie in [0, 1]; got {shrinkage!r}.")
    inner, params = model._model_, model._params_
    if not inner.sparse:
        raise ValueError(
            "relax needs a penalty that sets slopes to zero, such as L1(), on gate or experts: "
            "without one every slope is in the support and free already."
        )
    gate = resolve(clone(model.gate, safe=False), GATES, "gate")
    expert = resolve(clone(model.expert, safe=False), EXPERTS, "expert")
    if inner.gate.sparse:
        support = params.gate.coef[..., 1:] != 0
        gate.set_params(penalty=_on_support(inner.gate.penalty, support, shrinkage))
    if inner.expert.sparse:
        support = inner.expert.penalised_slopes(params.expert) != 0
        support = support[0] if len(support) == 1 else support  # of one response
        expert.set_params(penalty=_on_support(inner.expert.penalty, support, shrinkage))
    refitted = clone(model).set_params(gate=gate, expert=expert, start=model, warm_start=False)
    refitted.fit(X, y, sample_weight, **inputs)
    # the fit before is no setting of this one, and a clone of it would not be fitted
    return refitted.set_params(start="default")


def _on_support(penalty, support, shrinkage: float):
    """A penalty that keeps slopes outside the support out, and a share of its own inside."""
    if shrinkage == 0:
        return L1(1.0, weights=np.where(support, 0.0, np.inf))
    if not penalty.separable:
        raise ValueError(
            f"shrinkage={shrinkage} needs a penalty that is a sum over slopes, such as L1; "
            f"{type(penalty).__name__} is not: take shrinkage=0."
        )
    own = np.ones(support.shape) if penalty.weights is None else np.asarray(penalty.weights)
    return clone(penalty).set_params(weights=np.where(support, shrinkage * own, np.inf))
