"""Saving and loading neural estimators: arrays and plain values, no pickles, nothing executed."""

from __future__ import annotations

import functools
import warnings
from typing import Any

import numpy as np
import torch
from sklearn.base import clone

from mixexp import __version__

from ..._component import resolve
from ..._persistence import (
    PersistenceError,
    component_from_tree,
    component_to_tree,
    labels_from_array,
    labels_to_array,
    load_tree,
    save_tree,
)
from ..embeddings import EMBEDDINGS, CategoricalEmbedding
from ..embeddings.numeric import PlainColumns
from ..routing import ROUTERS
from ..training import Training
from ._columns import Columns
from ._module import Encoder

KIND = "neural estimator"
# Fitted attributes that an estimator may have.
_PLAIN = (
    "n_features_in_", "loss_curve_", "validation_curve_", "best_epoch_", "n_iter_", "_seed",
    "_step", "_flat", "_n_targets", "temperature_", "_centre", "_scale",
)  # fmt: skip


def known_classes() -> dict[str, type]:
    """Every class that a file may name."""
    from . import (
        MultiTaskMoEClassifier,
        MultiTaskMoERegressor,
        NeuralMoEClassifier,
        NeuralMoERegressor,
    )

    estimators: list[type] = [NeuralMoERegressor, NeuralMoEClassifier]
    estimators += [MultiTaskMoERegressor, MultiTaskMoEClassifier]
    own = [*estimators, Training, *EMBEDDINGS.values()]
    return {cls.__name__: cls for cls in own}


def save(model, path) -> None:
    """Write a fitted estimator."""
    plain = clone(model)
    router = router_to_tree(plain.router)
    plain.set_params(router=None)
    if isinstance(plain.random_state, np.random.RandomState | np.random.Generator):
        plain.random_state = None
    if plain.training is not None:
        plain.training.set_params(callback=None)
    fitted = {name: getattr(model, name) for name in _PLAIN if hasattr(model, name)}
    fitted["columns"] = {
        name: list(value) if isinstance(value, list) else value
        for name, value in model._columns._asdict().items()
    }
    for name in ("feature_names_in_", "classes_"):
        if isinstance(getattr(model, name, None), np.ndarray):
            fitted[name] = labels_to_array(getattr(model, name))
    if hasattr(model, "_labels"):
        fitted["task_labels"] = [labels_to_array(labels) for labels in model._labels]
    state = {name: t.detach().cpu().numpy() for name, t in model.module_.state_dict().items()}
    tree = {
        "estimator": component_to_tree(plain, known_classes()),
        "router": router,
        "fitted": fitted,
        "state": state,
    }
    save_tree(path, tree, kind=KIND, version=__version__)


def load(path, cls=None):
    """Read an estimator that `save` wrote.

    Raises
    ------
    PersistenceError
        For a damaged or foreign file, or one of another class than asked for.
    """
    tree, _ = load_tree(path, kind=KIND)
    try:
        model = component_from_tree(tree["estimator"], known_classes())
        if cls is not None and not isinstance(model, cls):
            raise PersistenceError(f"{path} holds a {type(model).__name__}, not a {cls.__name__}.")
        model.router = router_from_tree(tree["router"])
        _restore(model, tree["fitted"], tree["state"])
    except (KeyError, TypeError, AttributeError, RuntimeError) as error:
        raise PersistenceError(
            f"{path} lacks or misnames a part of the model ({error}); save it again."
        ) from error
    return model


def _restore(model, fitted: dict[str, Any], state: dict[str, np.ndarray]) -> None:
    """Fitted attributes and the module with its state."""
    for name in _PLAIN:
        if name in fitted:
            setattr(model, name, fitted[name])
    for name in ("feature_names_in_", "classes_"):
        if name in fitted:
            setattr(model, name, labels_from_array(fitted[name]))
    if "task_labels" in fitted:
        model._labels = fitted["task_labels"]
        model.classes_ = model._labels[0] if model._flat else model._labels
    model._columns = Columns(**fitted["columns"])
    with torch.random.fork_rng(devices=[]):
        module = model._make_module(_encoder(model, state))
    if str(model.device).startswith("cuda") and not torch.cuda.is_available():
        warnings.warn(
            f"the model was fitted on {model.device!r}, which is not here: device is now 'auto'.",
            UserWarning,
            stacklevel=5,
        )
        model.device = "auto"
    kinds = {"float32": torch.float32, "float64": torch.float64}
    module.to(model._device(), kinds[model.dtype])
    module.load_state_dict({name: torch.from_numpy(array) for name, array in state.items()})
    model.module_ = module.eval()


def _encoder(model, state) -> Encoder:
    """An encoder of the sizes of the stored state."""
    columns = model._columns
    p = len(columns.numeric)
    plain = model.numeric_embedding is None or not p
    numeric = (
        PlainColumns(p)
        if plain
        else resolve(model.numeric_embedding, EMBEDDINGS, "numeric_embedding").rebuild(
            state, "encoder.numeric.", p
        )
    )
    return Encoder(numeric, CategoricalEmbedding(columns.shares) if columns.shares else None)


def router_to_tree(router) -> Any:
    """A router's name, or name and settings of a class or partial.

    Raises
    ------
    PersistenceError
        For routers that a file cannot describe.
    """
    if isinstance(router, str):
        return router
    settings: dict[str, Any] = {}
    cls = router
    if isinstance(router, functools.partial) and not router.args:
        cls, settings = router.func, dict(router.keywords)
    name = getattr(cls, "name", None) if isinstance(cls, type) else None
    if name is None or ROUTERS.get(name) is not cls:
        raise PersistenceError(
            f"router={router!r} cannot be stored; give a name of ROUTERS, or "
            "functools.partial(a registered class, setting=...)."
        )
    return {"router": name, "settings": settings}


def router_from_tree(tree) -> Any:
    """The inverse of `router_to_tree`."""
    if isinstance(tree, str):
        return tree
    if tree["router"] not in ROUTERS:
        raise PersistenceError(f"the file needs the router {tree['router']!r}; update mixexp.")
    return functools.partial(ROUTERS[tree["router"]], **tree["settings"])
