"""`aggregate`: from local fits to one fitted estimator, in one round."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from sklearn.base import clone

from .._component import GATES, resolve
from .._persistence import labels_from_array
from ..em.params import MoEParams
from ..em.regular import is_regular
from ..em.status import Status
from ..em.summary import FitSummary, counts
from ..em.threads import single_threaded_blas
from ..estimators import MoEClassifier, MoERegressor
from ..estimators._settings import resolve_expert
from ..estimators._starting import starts_table
from ..experts import GaussianExpert, MultinomialExpert
from ..gates import SoftmaxParams
from ..kernels.reference import log_softmax
from .averaging import aligned_average, middle, naive_average
from .divergence import relaxed
from .large import LargeMixture, on_support
from .local import LocalFit, difference, family_of_result
from .nearness import loss_of_fits
from .origin import WEIGHTINGS
from .reduction import reduce_mixture
from .screening import screen
from .support import check_support

METHODS = ("reduction", "aligned", "average", "middle")
PLANS = ("pointwise", "whole")


class Aggregation(NamedTuple):
    """How local fits were combined; the ``aggregation_`` of the result.

    Attributes
    ----------
    method : str
    divergence : float
        E_x sum_l pi^W_l(x) min_k c_lk(x) from the large mixture to the result's experts.
    path : ndarray
        Of the divergence, step by step; empty for methods without steps.
    converged : bool
    share : (M,) ndarray
        Weights of the local fits that were combined.
    kept : (M,) bool ndarray
        False for the fits that ``robust=True`` left out.
    scores : (M,) ndarray or None
        What they were judged by.
    n_support : int
    weight : float
        Total weight of the rows behind the kept fits, by which `refine` knows a missing partition.
    loss : float
        Expected log-likelihood a row that local fits lose by the combination, if y followed them:
        their mean Kullback-Leibler divergence to the result. NaN where a fit has more experts.
    """

    method: str
    divergence: float
    path: np.ndarray
    converged: bool
    share: np.ndarray
    kept: np.ndarray
    scores: np.ndarray | None
    n_support: int
    weight: float
    loss: float


@single_threaded_blas()
def aggregate(
    fits: Sequence[LocalFit],
    n_experts: int | None = None,
    *,
    support=None,
    method: str = "reduction",
    weighting: str = "sizes",
    robust: bool = False,
    estimator=None,
    plan: str = "pointwise",
    n_tries: int = 4,
    max_iter: int = 500,
    tol: float = 1e-6,
    random_state: int = 0,
) -> Any:
    """One mixture of ``n_experts`` experts from the fits of the partitions, without their rows.

    Parameters
    ----------
    fits : sequence of LocalFit
        Of the same columns, and of one family. Numbers of experts may differ.
    n_experts : int or None
        None: that of the local fits, where all have the same.
    support : (S, p) array, int or None
        Covariates on which divergences are averaged, such as public rows of the same population.
        An integer draws so many rows from the means and covariances that the fits hold
        (``LocalFit.of(model, X)``); None draws max(2000, 10 (K - 1) (p + 1)).
    method : {"reduction", "aligned", "average", "middle"}
        The reduction estimator; the weighted mean of parameters after matching experts (the
        Hungarian method); the mean without matching, which label switching ruins; the local fit
        nearest to all others.
    weighting : {"sizes", "covariates"}
        Of the local fits in the large mixture: by their numbers of rows, as in the paper; or at
        each x by how many rows a partition has there, from normal laws with the means and
        covariances that the fits hold (``LocalFit.of(model, X)``). The second is for partitions
        that see different parts of the population, and do not know the others.
    robust : bool, default=False
        Leave out fits whose divergence from the others is far beyond sampling error. Needs at
        least three fits, of which more than half are sound.
    estimator : MoERegressor, MoEClassifier or None
        Settings of gate and experts for the result; the default ones where None.
    plan : {"pointwise", "whole"}
        Of the reduction: at each x every local expert goes to the nearest reduced one, as in the
        paper; or to one and the same at all x, which does not mix experts up where their means
        cross, and leaves a better gate where the partitions are alike.
    n_tries : int
        Runs of the reduction from clusters of the local experts.
    max_iter, tol : int, float
        Of the reduction: limit of its steps, and the fall of the divergence at which it ends.
    random_state : int
        Seed of the clusters and of the drawn support.

    Returns
    -------
    MoERegressor or MoEClassifier
        Fitted, with `Aggregation` in ``aggregation_``. Its log-likelihood is NaN: no row was seen
        (`refine` computes it).

    Raises
    ------
    ValueError
        If the fits do not belong together, or the support is too small.

    Warns
    -----
    UserWarning
        If the local fits divide the data in different ways, so that the result may be worse than
        every one of them: see ``aggregation_.loss``. For the reduction and the aligned mean.

    References
    ----------
    Chamroukhi and Pham (2023), "Distributed learning of mixtures of experts", arXiv:2312.09877.

    Examples
    --------
    >>> from mixexp import MoERegressor
    >>> from mixexp.datasets import make_moe_regression
    >>> from mixexp.distributed import LocalFit, aggregate
    >>> X, y = make_moe_regression(3000, n_experts=2, random_state=0)
    >>> parts = [slice(0, 1000), slice(1000, 2000), slice(2000, 3000)]
    >>> fits = [LocalFit.of(MoERegressor(2).fit(X[part], y[part]), X[part]) for part in parts]
    >>> model = aggregate(fits, 2)
    >>> model.predict(X[:4]).shape
    (4,)
    """
    fits = list(fits)
    K = check_fits(fits, n_experts)
    if method not in METHODS:
        hint = " 'global' pools the rows: fit the estimator to them." if method == "global" else ""
        raise ValueError(f"method must be one of {METHODS}; got {method!r}.{hint}")
    if plan not in PLANS:
        raise ValueError(f"plan must be one of {PLANS}; got {plan!r}.")
    if weighting not in WEIGHTINGS:
        raise ValueError(f"weighting must be one of {WEIGHTINGS}; got {weighting!r}.")
    template = _template(estimator, fits[0], K)
    rows = check_support(support, fits, K, random_state)
    mixture = on_support(fits, K, rows, template, weighting)
    kept, found = np.ones(len(fits), dtype=bool), None
    if robust:
        dropped, found = screen(mixture)
        kept = ~dropped
        # anew: the target's scale was that of all
        fits = [fit for fit, ok in zip(fits, kept, strict=True) if ok]
        mixture = on_support(fits, K, rows, template, weighting) if dropped.any() else mixture
    search = {"plan": plan, "n_tries": n_tries, "max_iter": max_iter, "tol": tol}
    params, path, converged = _combined(mixture, method, search | {"seed": random_state})
    loss = loss_of_fits(mixture, params, random_state)
    logits = mixture.model.gate.temperature * params.gate.coef
    params = params._replace(gate=SoftmaxParams(logits))
    said = Aggregation(
        method,
        _divergence(mixture, params),
        path,
        converged,
        mixture.share,
        kept,
        found,
        len(rows),
        float(sum(fit.n_rows for fit in fits)),
        np.nan if loss is None else loss.value,
    )
    model = _fitted(template, mixture, params, said)
    # the middle is a local fit, and an average without matching says nothing about the fits
    if loss is not None and loss.is_disagreement and method in ("reduction", "aligned"):
        warnings.warn(str(loss), UserWarning, stacklevel=3)
    return model


def check_fits(fits, n_experts) -> int:
    """The number of experts of the result; an error where the fits do not belong together."""
    if not fits:
        raise ValueError("aggregate needs at least one LocalFit; got none.")
    for m, fit in enumerate(fits):
        if not isinstance(fit, LocalFit):
            raise TypeError(
                f"fits[{m}] is a {type(fit).__name__}; give LocalFit.of(model) of every fitted "
                "estimator, or LocalFit.load(path) of its file."
            )
        other = difference(fits[0], fit)
        if other:
            raise ValueError(f"fits[{m}] and fits[0] differ in {other}: they cannot be combined.")
    if n_experts is None:
        sizes = sorted({fit.n_experts for fit in fits})
        if len(sizes) > 1:
            raise ValueError(f"The local fits have {sizes} experts: give n_experts=.")
        return sizes[0]
    total = sum(fit.n_experts for fit in fits)
    whole = isinstance(n_experts, int | np.integer) and not isinstance(n_experts, bool)
    if not whole or not 1 <= n_experts <= total:
        raise ValueError(
            f"n_experts must be an integer from 1 to {total}, the experts of all local fits "
            f"together; got {n_experts!r}."
        )
    return int(n_experts)


def _template(estimator, first: LocalFit, K: int):
    """An unfitted estimator of the right kind, whose parts the result gets."""
    classifies = first.family == "multinomial"
    kind: Any = MoEClassifier if classifies else MoERegressor
    family: Any = MultinomialExpert if classifies else GaussianExpert
    chosen: Any = kind() if estimator is None else clone(estimator)
    if not isinstance(chosen, kind) or not isinstance(resolve_expert(chosen.expert), family):
        raise ValueError(
            f"estimator must be {kind.__name__} with gate='softmax' and {first.family} experts, "
            f"as the local fits; got {estimator!r}."
        )
    family_of_result(resolve(chosen.gate, GATES, "gate"), resolve_expert(chosen.expert))
    chosen.set_params(n_experts=K)
    for name, columns in (
        ("gate_features", first.gate_columns),
        ("expert_features", first.expert_columns),
    ):
        if estimator is None and len(columns) < first.n_features:
            chosen.set_params(**{name: columns.tolist()})
    return chosen


def _combined(mixture: LargeMixture, method: str, search) -> tuple[MoEParams, Any, bool]:
    """Parameters on the mixture's scale, path and whether it has converged."""
    if method == "reduction":
        found = reduce_mixture(mixture, **search)
        return found.params, found.path, found.converged
    rule: Any = {"aligned": aligned_average, "average": naive_average, "middle": middle}[method]
    return rule(mixture), np.empty(0), True


def _divergence(mixture, params: MoEParams) -> float:
    reduced = mixture.family.values(params.expert, mixture.X)
    return relaxed(mixture.family, mixture.weight, mixture.values, reduced, mixture.K)


def _fitted(template, mixture: LargeMixture, params: MoEParams, said: Aggregation):
    """The template with the attributes of a fit."""
    model, first = mixture.model, mixture.fits[0]
    gate = np.exp(log_softmax(mixture.X_gate @ params.gate.coef.T / model.gate.temperature))
    n = float(sum(fit.n_rows for fit in mixture.fits))
    own: dict[str, Any] = {
        "n_features_in_": first.n_features,
        "_n_outputs": first.n_outputs,
        "_gate_columns": model.gate_columns,
        "_expert_columns": model.expert_columns,
        "_monomials": [],
        "_model_": model,
        "_params_": params,
        "expert_sizes_": n * gate.mean(axis=0),
        "objective_path_": np.empty(0),
        "status_": Status.AGGREGATED,
        "certificate_": np.nan,
        "n_iter_": 0,
        "starts_": starts_table([]),
        "aggregation_": said,
    }
    if first.feature_names is not None:
        own["feature_names_in_"] = first.feature_names.astype(object)
    if first.classes is not None:
        own["classes_"] = labels_from_array(first.classes)
    for name, value in own.items():
        setattr(template, name, value)
    template.regular_ = bool(is_regular(model, params, template.expert_sizes_, n))
    template.fit_summary_ = FitSummary(
        np.nan, int(model.n_free(params)), n, np.nan, np.nan, **counts(model, params)
    )
    template._set_derived()
    return template
