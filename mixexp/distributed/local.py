"""`LocalFit`: all that one partition sends to the centre, and its file."""

from __future__ import annotations

import functools
import os
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from scipy import sparse
from sklearn.utils.validation import check_is_fitted

from .._persistence import PersistenceError, labels_to_array, load_tree, save_tree
from .._validation import check_weight
from ..em.params import MoEParams
from ..estimators._scoring import source_given, summed
from ..experts import GaussianExpert, GLMParams, MultinomialExpert, MultinomialParams
from ..gates import SoftmaxGate, SoftmaxParams

KIND = "local fit"


class Moments(NamedTuple):
    """Of a partition's columns: mean (p,) and covariance (p, p), from which a support is drawn."""

    mean: np.ndarray
    covariance: np.ndarray


@dataclass(frozen=True, eq=False)
class LocalFit:
    """The parameters of one partition's fit, on the user's scale, and how many rows it had.

    Made by `LocalFit.of` where the rows are; `save` and `LocalFit.load` carry it as a file of
    arrays and plain values, which executes nothing.

    Attributes
    ----------
    family : {"gaussian", "multinomial"}
    gate_coef : (K, 1 + p_gate) ndarray
        Intercept first, centred over the experts.
    coef : (K, J, 1 + p_expert) ndarray
        Of J responses, or J classes.
    scale : (K, J) ndarray or None
        Standard deviations of Gaussian experts.
    n_rows : float
        Sum of the weights of the rows.
    n_features : int
    gate_columns, expert_columns : int ndarrays
    feature_names, classes : ndarray or None
    n_outputs : int
        0 where y has one dimension.
    status : str
        How the fit ended.
    moments : Moments or None
        Only where `of` was given X.
    """

    family: str
    gate_coef: np.ndarray
    coef: np.ndarray
    scale: np.ndarray | None
    n_rows: float
    n_features: int
    gate_columns: np.ndarray
    expert_columns: np.ndarray
    feature_names: np.ndarray | None
    classes: np.ndarray | None
    n_outputs: int
    status: str
    moments: Moments | None = None

    def __post_init__(self):
        complaint = _complaint(self)
        if complaint:
            raise ValueError(f"A LocalFit that is none: {complaint}.")

    @classmethod
    def of(cls, model, X=None, sample_weight=None) -> LocalFit:
        """What leaves the partition on which ``model`` was fitted.

        Parameters
        ----------
        model : fitted MoERegressor or MoEClassifier
            With a softmax gate, and Gaussian experts on the identity link or multinomial ones.
        X : array-like (n, p), dataset or Dask collection, or None
            Rows of the partition, of a dataset by one reading of its blocks: their mean and
            covariance are added, so that the centre can draw a support without seeing a row.
        sample_weight : array-like (n,) or None
            Weights of these rows: those of the fit. A weight of 2 equals the row twice.

        Raises
        ------
        ValueError
            If the model has another gate or family, or was fitted to groups; or X or its weights
            do not fit the model.
        """
        check_is_fitted(model)
        if X is None and sample_weight is not None:
            raise ValueError(
                "LocalFit.of takes sample_weight for the moments of X, and got no X: the fit has "
                "its weights already. Give X as well, or leave sample_weight out."
            )
        inner = model._model_
        family = _family(inner)
        user = inner.in_user_units(model._params_)
        names = getattr(model, "feature_names_in_", None)
        return cls(
            family=family,
            gate_coef=user.gate.coef / inner.gate.temperature,
            coef=user.expert.coef,
            scale=user.expert.dispersion if family == "gaussian" else None,
            n_rows=float(model.n_units_),
            n_features=int(model.n_features_in_),
            gate_columns=inner.gate_columns,
            expert_columns=inner.expert_columns,
            feature_names=None if names is None else np.array([str(name) for name in names]),
            classes=getattr(model, "classes_", None),
            n_outputs=int(model._n_outputs),
            status=model.status_.name,
            moments=None if X is None else _moments_of(model, X, sample_weight),
        )

    @property
    def n_experts(self) -> int:
        return len(self.gate_coef)

    @property
    def params(self) -> MoEParams:
        """The parameters as a model of unstandardised columns holds them."""
        if self.scale is not None:
            return MoEParams(SoftmaxParams(self.gate_coef), GLMParams(self.coef, self.scale))
        return MoEParams(SoftmaxParams(self.gate_coef), MultinomialParams(self.coef))

    def with_classes(self, classes) -> LocalFit:
        """The fit on a longer list of classes.

        A class that the n rows of the partition have not shown has no slopes and the intercept
        -log(2 n) there: a probability below that of half a row.
        """
        assert self.classes is not None
        place = np.array([list(classes).index(label) for label in self.classes])
        coef = np.zeros((self.n_experts, len(classes), self.coef.shape[2]))
        coef[:, :, 0] = -np.log(2 * max(self.n_rows, 1.0))
        coef[:, place] = self.coef
        return replace(self, coef=coef - coef.mean(axis=1, keepdims=True), classes=classes)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a file of arrays and plain values.

        Raises
        ------
        PersistenceError
            If class labels are Python objects of mixed types.
        """
        from .. import __version__

        tree = {name: getattr(self, name) for name in self.__dataclass_fields__}
        tree["classes"] = None if self.classes is None else labels_to_array(self.classes)
        tree["moments"] = None if self.moments is None else self.moments._asdict()
        save_tree(path, tree, kind=KIND, version=__version__)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> LocalFit:
        """Read a file that `save` wrote.

        Raises
        ------
        PersistenceError
            If the file is damaged, foreign, of a newer format, or no local fit (a ValueError).
        """
        tree, _ = load_tree(path, kind=KIND)
        try:
            moments = tree.pop("moments")
            return cls(**tree, moments=None if moments is None else Moments(**moments))
        except (TypeError, KeyError, AttributeError, IndexError, ValueError) as error:
            raise PersistenceError(
                f"{os.fspath(path)} lacks or misnames a part of a local fit ({error}); save it "
                "again."
            ) from error


def difference(one: LocalFit, other: LocalFit, *, laws_only: bool = False) -> str | None:
    """What keeps two local fits apart, as "responses (1, 2)"; None where nothing does.

    Laws of y given x can be compared with ``laws_only`` where the columns that gates and experts
    see differ, where one fit has no names of columns, or y has a second dimension of one.
    """
    named = one.feature_names is not None and other.feature_names is not None
    pairs = {
        "family": (one.family, other.family),
        "number of features": (one.n_features, other.n_features),
        "responses": (one.n_outputs, other.n_outputs),
        "names of the columns": (_listed(one.feature_names), _listed(other.feature_names)),
        "columns of the gate": (_listed(one.gate_columns), _listed(other.gate_columns)),
        "columns of the experts": (_listed(one.expert_columns), _listed(other.expert_columns)),
    }
    if laws_only:
        pairs["responses"] = (max(one.n_outputs, 1), max(other.n_outputs, 1))
        left_out = ["columns of the gate", "columns of the experts"]
        for what in left_out if named else [*left_out, "names of the columns"]:
            del pairs[what]
    found = next((what for what, (a, b) in pairs.items() if a != b), None)
    return None if found is None else f"{found} ({pairs[found][0]}, {pairs[found][1]})"


def _listed(values):
    return None if values is None else values.tolist()


def _family(inner) -> str:
    """Name of the model's family, or an error that says what cannot be combined."""
    inner.check_ungrouped("Aggregation")
    return family_of(inner.gate, inner.expert)


def family_of(gate, expert) -> str:
    """Name of the family, for a gate and experts whose fits can be combined.

    Raises
    ------
    ValueError
        For others, by name.
    """
    if type(gate) is not SoftmaxGate or gate.own_design:
        extra = " with a transform" if type(gate) is SoftmaxGate else ""
        raise ValueError(
            f"Aggregation is for the softmax gate on plain columns; got {gate.title}{extra}. Fit "
            "the partitions with gate='softmax'."
        )
    if isinstance(expert, GaussianExpert) and expert.link_name == "identity":
        if expert.degree > 1:
            raise ValueError(
                f"Aggregation is for linear experts; got degree={expert.degree}. Add the "
                "monomials as columns (sklearn's PolynomialFeatures) and fit with degree=1."
            )
        return "gaussian"
    if isinstance(expert, MultinomialExpert):
        return "multinomial"
    raise ValueError(
        f"Aggregation is for Gaussian experts on the identity link and for multinomial ones; got "
        f"{expert.title}. Divergences between other families' experts have no closed form here."
    )


def family_of_result(gate, expert) -> str:
    """`family_of`, for settings of a combined model: those that no combination keeps are refused.

    Raises
    ------
    ValueError
        For gates and experts that cannot be combined, and for experts that share parameters.
    """
    family = family_of(gate, expert)
    if family == "gaussian":
        expert.check_target(None)  # settings that do not go together
        for name, free in (("tied_scale", False), ("tied", None)):
            if getattr(expert, name) != free:
                raise ValueError(
                    f"Aggregation combines every expert alone and keeps nothing that experts "
                    f"share; got {name}={getattr(expert, name)!r}. Leave {name} out, or fit a "
                    "pooled sample of the rows with it."
                )
    return family


def _moments_of(model, X, weight) -> Moments:
    """Of rows in memory, or of those of a dataset."""
    source = source_given(X, None, "LocalFit.of", weight=weight)
    if source is None:
        return _moments(model._rows(X).X, weight)
    return summed(source, functools.partial(_of_block, model), _merged)[1]


def _of_block(model, X, block, weight):
    total = float(len(X) if weight is None else weight.sum())
    return total, _moments(model._rows(X).X, weight)


def _merged(left, right):
    """The moments of both, each with its total weight (Chan, Golub and LeVeque, 1983)."""
    (n, one), (m, other) = left, right
    gap, share = other.mean - one.mean, m / (n + m)
    within = (1 - share) * one.covariance + share * other.covariance
    between = share * (1 - share) * np.outer(gap, gap)
    return n + m, Moments(one.mean + share * gap, within + between)


def _moments(X, weight) -> Moments:
    X = X.toarray() if sparse.issparse(X) else np.asarray(X, dtype=float)
    weight = check_weight(weight, X)
    share = np.full(len(X), 1 / len(X)) if weight is None else weight / weight.sum()
    mean = share @ X
    around = X - mean
    return Moments(mean, around.T @ (share[:, None] * around))


def _complaint(fit: Any) -> str | None:
    """What is wrong with the shapes or values of a local fit; None for a sound one."""
    if fit.family not in ("gaussian", "multinomial"):
        return f"family={fit.family!r}"
    K = len(fit.gate_coef)
    if fit.gate_coef.shape != (K, len(fit.gate_columns) + 1) or K == 0:
        return f"gate_coef has shape {fit.gate_coef.shape}"
    J = fit.coef.shape[1]
    if fit.coef.shape != (K, J, len(fit.expert_columns) + 1):
        return f"coef has shape {fit.coef.shape}"
    columns = np.concatenate([fit.gate_columns, fit.expert_columns])
    if len(columns) and not 0 <= columns.min() <= columns.max() < fit.n_features:
        return f"columns {columns.min()} to {columns.max()} of {fit.n_features} features"
    if fit.family == "gaussian" and (fit.scale is None or fit.scale.shape != (K, J)):
        return "scale lacks a standard deviation for every expert and response"
    if fit.family == "gaussian" and not (fit.scale > 0).all():
        return f"the smallest scale is {fit.scale.min():g}"
    if fit.family == "multinomial" and (fit.classes is None or len(fit.classes) != J):
        return "classes do not match coef"
    if not (np.isfinite(fit.gate_coef).all() and np.isfinite(fit.coef).all()):
        return "a coefficient is not finite"
    return None if fit.n_rows > 0 else f"n_rows={fit.n_rows}"
