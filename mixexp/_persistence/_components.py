"""Components (objects with ``get_params``) and NamedTuples as trees that a file can hold.

In such a tree every dict has one of five shapes, so that a user's own dict cannot be taken for a
component::

    {"class": name, "params": {...}}          a component
    {"namedtuple": name, "fields": {...}}     a NamedTuple
    {"slice": [start, stop, step]}            a slice
    {"items": {...}}                          a dict with string keys
    {"pairs": [[key, value], ...]}            a dict with other plain keys, such as class labels

Reading instantiates only classes of the caller's registry, by their bare name; nothing is imported.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from mixexp._persistence._file import PersistenceError

Registry = Mapping[str, type]


def _is_component(value: Any) -> bool:
    return hasattr(value, "get_params") and not isinstance(value, type)


def _is_namedtuple(value: Any) -> bool:
    return isinstance(value, tuple) and hasattr(value, "_fields")


def _check_registered(value: Any, registry: Registry | None, where: str) -> str:
    name = type(value).__name__
    if registry is not None and registry.get(name) is not type(value):
        raise PersistenceError(
            f"{where} is a {name}, which is not one of mixexp's classes; a file with it could not "
            "be loaded. Pass it in the registry, or use a built-in part."
        )
    return name


def _encode(value: Any, registry: Registry | None, where: str) -> Any:
    if _is_component(value):
        name = _check_registered(value, registry, where)
        params = value.get_params(deep=False)
        return {"class": name, "params": _encode_items(params, registry, name)}
    if _is_namedtuple(value):
        name = _check_registered(value, registry, where)
        return {"namedtuple": name, "fields": _encode_items(value._asdict(), registry, name)}
    if type(value) is slice:
        return {"slice": [value.start, value.stop, value.step]}
    if type(value) is dict and value and not any(type(key) is str for key in value):
        return {"pairs": [_encode(list(pair), registry, where) for pair in value.items()]}
    if type(value) is dict:
        return {"items": _encode_items(value, registry, where)}
    if type(value) in (list, tuple):
        return type(value)(_encode(v, registry, f"{where}[{i}]") for i, v in enumerate(value))
    if value is None or isinstance(value, np.generic):
        return value
    if type(value) in (bool, int, float, str, np.ndarray):
        return value
    raise PersistenceError(
        f"{where} is a {type(value).__name__}, which a file of parameters cannot hold; use plain "
        "numbers, text, arrays or mixexp's own parts."
    )


def _encode_items(items: Mapping[Any, Any], registry: Registry | None, where: str) -> dict:
    for key in items:
        if type(key) is not str:
            raise PersistenceError(f"{where} has the key {key!r}; keys must be strings.")
    return {key: _encode(value, registry, f"{where}.{key}") for key, value in items.items()}


def component_to_tree(obj: Any, registry: Registry | None = None) -> dict[str, Any]:
    """A component as ``{"class": name, "params": {...}}``, its nested parts likewise.

    Parameters
    ----------
    obj : object with ``get_params(deep=False)``
        Parameters are None, bool, int, float, str, arrays, slices, lists, tuples, dicts,
        NamedTuples and components again. Fitted attributes are not part of it.
    registry : mapping of str to class, optional
        When given, a class that is not in it is refused now rather than on loading.

    Raises
    ------
    PersistenceError
        When a parameter cannot be stored; the message names it.
    """
    if not _is_component(obj):
        raise PersistenceError(f"a {type(obj).__name__} is not a component with get_params.")
    return _encode(obj, registry, type(obj).__name__)


def namedtuple_to_tree(value: Any, registry: Registry | None = None) -> dict[str, Any]:
    """A NamedTuple as ``{"namedtuple": name, "fields": {...}}``; see :func:`component_to_tree`."""
    if not _is_namedtuple(value):
        raise PersistenceError(f"a {type(value).__name__} is not a NamedTuple.")
    return _encode(value, registry, type(value).__name__)


def _look_up(name: Any, registry: Registry) -> type:
    if type(name) is not str or name not in registry:
        raise PersistenceError(
            f"the file needs the class {name!r}, which this version does not know; update mixexp, "
            "or pass the class in the registry."
        )
    return registry[name]


def _build(name: Any, arguments: Any, registry: Registry) -> Any:
    cls = _look_up(name, registry)
    values = {key: _decode(value, registry) for key, value in arguments.items()}
    try:
        return cls(**values)
    except TypeError as error:
        raise PersistenceError(
            f"the file's parameters do not fit {name}: {error}; it may come from another version."
        ) from error


def _decode(tree: Any, registry: Registry) -> Any:
    if isinstance(tree, (list, tuple)):
        return type(tree)(_decode(item, registry) for item in tree)
    if not isinstance(tree, dict):
        return tree
    shape = set(tree)
    if shape == {"class", "params"}:
        return _build(tree["class"], tree["params"], registry)
    if shape == {"namedtuple", "fields"}:
        return _build(tree["namedtuple"], tree["fields"], registry)
    if shape == {"slice"}:
        return slice(*tree["slice"])
    if shape == {"items"}:
        return {key: _decode(value, registry) for key, value in tree["items"].items()}
    if shape == {"pairs"}:
        return {_decode(key, registry): _decode(value, registry) for key, value in tree["pairs"]}
    raise PersistenceError(f"the file has an unknown part with the keys {sorted(shape)}.")


def component_from_tree(tree: Any, registry: Registry) -> Any:
    """The inverse of :func:`component_to_tree` and :func:`namedtuple_to_tree`.

    Parameters
    ----------
    tree : dict
    registry : mapping of str to class
        The only classes that may be instantiated, by bare class name.

    Raises
    ------
    PersistenceError
        When a class is unknown or its parameters do not fit.
    """
    return _decode(tree, registry)


def namedtuple_from_tree(tree: Any, registry: Registry) -> Any:
    """The inverse of :func:`namedtuple_to_tree`; as :func:`component_from_tree`."""
    return component_from_tree(tree, registry)
