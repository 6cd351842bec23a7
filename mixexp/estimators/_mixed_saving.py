"""Files of fits with random effects: arrays and plain values, as of other estimators."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import clone

from .._persistence import (
    PersistenceError,
    component_from_tree,
    component_to_tree,
    namedtuple_to_tree,
    save_tree,
)
from ..em.mixed.effects import Effects
from ..em.mixed.prediction import Fitted, FittedEffects
from ..em.mixed.problem import MixedParams
from ..em.mixed.reported import Reported
from ..em.model import MoEModel
from ..em.status import Status
from ._saving import known_classes

KIND = "mixed effects estimator"
_PLAIN = (
    "n_features_in_", "loglik_", "certificate_", "n_free_", "n_bounded_", "starts_", "_n_rows"
)  # fmt: skip
_LATER = {"n_bounded_": 0}  # what files of earlier versions lack
_TUPLES = (Fitted, FittedEffects, Effects, MixedParams, Reported, MoEModel)


def _classes() -> dict[str, type]:
    from .mixed import MixedEffectsMoERegressor

    own = (MixedEffectsMoERegressor, *_TUPLES)
    return {**known_classes(), **{cls.__name__: cls for cls in own}}


def save(model, path) -> None:
    """Write a fitted estimator; see `mixexp.load`."""
    from .. import __version__

    save_tree(path, to_tree(model), kind=KIND, version=__version__)


def to_tree(model) -> dict[str, Any]:
    """A fitted estimator as nested dicts of arrays and plain values."""
    classes = _classes()
    plain = clone(model)
    if isinstance(plain.random_state, np.random.RandomState | np.random.Generator):
        plain.random_state = None
    fitted: dict[str, Any] = {name: getattr(model, name) for name in _PLAIN}
    fitted["status_"] = model.status_.name
    fitted["factors"] = list(model._factor_names)
    fitted["fitted"] = namedtuple_to_tree(model._fitted, classes)
    fitted["reported"] = namedtuple_to_tree(model._reported, classes)
    if hasattr(model, "feature_names_in_"):
        fitted["feature_names_in_"] = model.feature_names_in_.astype(str)
    return {"estimator": component_to_tree(plain, classes), "fitted": fitted}


def from_tree(tree: dict[str, Any]) -> Any:
    """The inverse of `to_tree`."""
    classes = _classes()
    try:
        model = component_from_tree(tree["estimator"], classes)
        fitted = tree["fitted"]
        for name in _PLAIN:
            setattr(model, name, (_LATER | fitted)[name])
        model.status_ = Status[fitted["status_"]]
        model._factor_names = list(fitted["factors"])
        model._fitted = component_from_tree(fitted["fitted"], classes)
        model._reported = component_from_tree(fitted["reported"], classes)
        if "feature_names_in_" in fitted:
            model.feature_names_in_ = fitted["feature_names_in_"].astype(object)
        model._set_derived()
    except (KeyError, TypeError, AttributeError) as error:
        raise PersistenceError(
            f"the file lacks or misnames a part of the model ({error}); save it again."
        ) from error
    return model
