"""`moe`: a mixture of experts said by a formula, in one call."""

from __future__ import annotations

from mixexp._component import EXPERTS, resolve
from mixexp.estimators import MoEClassifier, MoERegressor
from mixexp.formula.model import OWN_FEATURES, FormulaMoE


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
    groups=None,
    missing="drop",
    expert_prior=None,
    prior_likelihood="evidential",
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
    offset, exposure, trials, groups : str or None
        Names of columns; ``groups`` has labels of rows that share one expert.
    missing : {"drop", "raise"}
        What is done with rows that lack a value in a column that is used.
    expert_prior : array-like (n, K) or None
    prior_likelihood : {"evidential", "conditional"}
        What is known of the rows' experts, as in `MoERegressor.fit`.
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
        groups=groups,
        missing=missing,
    )
    return model.fit(
        data,
        sample_weight=None if by_name else weights,
        expert_prior=expert_prior,
        prior_likelihood=prior_likelihood,
    )
