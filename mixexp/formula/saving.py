"""Files of formula models: the estimator, the formula and the numbers of its transforms."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sklearn.base import clone

from mixexp._persistence import (
    PersistenceError,
    component_from_tree,
    load_tree,
    namedtuple_to_tree,
    save_tree,
)
from mixexp.estimators import _saving
from mixexp.formula.aliasing import Aliasing
from mixexp.formula.encoding import Encoding, EncodingState
from mixexp.formula.model import OWN_FEATURES, FormulaMoE
from mixexp.formula.part import PartState
from mixexp.tables import loading

KIND = "formula model"


def save(model: FormulaMoE, path: str | Path) -> None:
    """Write a fitted `FormulaMoE`."""
    from mixexp import __version__

    tree = {
        "estimator": _saving.to_tree(model.estimator_),
        "encoding": namedtuple_to_tree(model.encoding_.to_state()),
        "missing": model.missing,
        "n_dropped": model.n_dropped_,
    }
    save_tree(path, tree, kind=KIND, version=__version__)


def load(path: str | Path) -> Any:
    """A fitted model from a file that ``save`` or ``mixexp study`` wrote.

    Loading executes nothing: the file holds arrays and plain values, and names only classes of
    this package. The formula of a `FormulaMoE` is checked as in a fit: it may hold columns,
    numbers, arithmetic and the functions that formulas know, and nothing else is evaluated.

    Parameters
    ----------
    path : path-like

    Returns
    -------
    MoERegressor, MoEClassifier, MixedEffectsMoERegressor, FormulaMoE or TableModel
        A `TableModel` (an estimator with the preprocessing of its table) from the file of a
        study on a table.

    Raises
    ------
    PersistenceError
        If the file is damaged, truncated, foreign or of a newer format (a ValueError).
    """
    tree, meta = load_tree(path, kind=None)
    return _from_tree(tree) if meta.kind == KIND else loading.from_tree(tree, meta, path)


def _from_tree(tree: Any) -> FormulaMoE:
    classes = {cls.__name__: cls for cls in (EncodingState, PartState, Aliasing)}
    try:
        state = component_from_tree(tree["encoding"], classes)
        encoding = Encoding.from_state(state)
        missing, n_dropped = str(tree["missing"]), int(tree["n_dropped"])
    except PersistenceError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise PersistenceError(f"the file lacks a part of the model ({error}).") from error
    estimator = _saving.from_tree(tree["estimator"])
    template = clone(estimator).set_params(**dict.fromkeys(OWN_FEATURES))
    roles = encoding.roles._asdict()
    model = FormulaMoE(encoding.formula, template, **roles, missing=missing)
    model.estimator_ = estimator
    model._set_fitted(encoding, n_dropped)
    return model
