"""Digests of settings: equal in every process for equal values, and different for others."""

from __future__ import annotations

import functools
import hashlib
import types
from typing import Any

import joblib
import numpy as np

from mixexp._component import Component
from mixexp._persistence._components import _is_namedtuple
from mixexp._persistence._file import PersistenceError

_ATOMS = (type(None), bool, int, float, complex, str, bytes)
_CONTAINERS = (list, tuple, dict, set, frozenset)
_CODE = (
    "co_code",
    "co_consts",
    "co_names",
    "co_varnames",
    "co_freevars",
    "co_cellvars",
    "co_argcount",
    "co_posonlyargcount",
    "co_kwonlyargcount",
    "co_flags",
    "co_exceptiontable",
)


def digest(value: Any) -> str:
    """SHA-256 of a component, or of nested settings, by what they hold and not by how they print.

    Parameters
    ----------
    value : object
        Components count by class and parameters, arrays by dtype, shape and bytes, plain values
        and containers by what they are. Classes count by module and qualified name, their code is
        not read. A Python function counts by module, qualified name, bytecode, defaults, what it
        encloses, and those of the globals it names that are numbers, text, arrays, lists of them,
        or functions of its module; two versions of Python have different bytecode. Other objects
        count by their pickles.

    Returns
    -------
    str
        64 hexadecimal digits.

    Raises
    ------
    PersistenceError
        When an object can be told from no other, as it cannot be pickled.
    """
    return _digest(value, {}).hex()


def _hashed(tag: str, *parts: bytes) -> bytes:
    out = hashlib.sha256(tag.encode())
    for part in parts:
        out.update(len(part).to_bytes(8, "little"))
        out.update(part)
    return out.digest()


def _digest(value: Any, seen: dict[int, int]) -> bytes:
    """``seen``: the functions met so far, by identity, and their numbers."""
    if type(value) in _ATOMS:
        return _hashed(type(value).__name__, repr(value).encode())  # of these it is exact
    if isinstance(value, np.generic) and type(value.item()) in _ATOMS:
        return _digest(value.item(), seen)
    if type(value) is np.ndarray:
        return _array(value, seen)
    if isinstance(value, Component):
        params = value.get_params(deep=False)
        return _hashed("component", _name(type(value)), _digest(params, seen))
    if _is_namedtuple(value):
        return _hashed("namedtuple", _name(type(value)), _digest(value._asdict(), seen))
    if type(value) in _CONTAINERS:
        return _container(value, seen)
    if isinstance(value, type):
        return _hashed("class", _name(value))
    if isinstance(value, types.ModuleType):
        return _hashed("module", value.__name__.encode())
    return _callable(value, seen)


def _name(named: Any) -> bytes:
    return f"{named.__module__}.{named.__qualname__}".encode()


def _array(value: np.ndarray, seen) -> bytes:
    head = f"{value.dtype} {value.dtype.str} {value.shape}".encode()
    if value.dtype.hasobject:
        return _hashed("array", head, _digest(value.tolist(), seen))
    return _hashed("array", head, np.ascontiguousarray(value).tobytes())


def _container(value: Any, seen) -> bytes:
    name = type(value).__name__
    if isinstance(value, dict):
        value = [item for pair in value.items() for item in pair]
    parts = [_digest(item, seen) for item in value]
    if name in ("set", "frozenset"):
        parts.sort()
    return _hashed(name, *parts)


def _callable(value: Any, seen) -> bytes:
    value = getattr(value, "py_func", value)  # what numba has compiled
    if isinstance(value, types.FunctionType):
        return _function(value, seen)
    if isinstance(value, types.MethodType):
        return _hashed("method", *(_digest(v, seen) for v in (value.__func__, value.__self__)))
    if type(value) is functools.partial:
        parts = (value.func, value.args, value.keywords)
        return _hashed("partial", *(_digest(part, seen) for part in parts))
    if isinstance(value, types.CodeType):
        return _hashed("code", *(_digest(getattr(value, name), seen) for name in _CODE))
    try:
        return _hashed("object", _name(type(value)), joblib.hash(value, "sha1").encode())
    except Exception as error:
        raise PersistenceError(
            f"a {type(value).__name__} among the settings cannot be told from another, as it "
            f"cannot be pickled ({error}). Use a function or an object of a class that a module "
            "defines, or leave the checkpoint out."
        ) from error


def _function(value: types.FunctionType, seen) -> bytes:
    if id(value) in seen:
        return _hashed("again", str(seen[id(value)]).encode())
    seen[id(value)] = len(seen)
    around = [_cell(cell, seen) for cell in value.__closure__ or ()]
    named = value.__globals__
    for name in sorted(_names(value.__code__) & named.keys()):
        if _is_data(named[name]) or getattr(named[name], "__globals__", None) is named:
            around += [name.encode(), _digest(named[name], seen)]
    own = (value.__code__, value.__defaults__, value.__kwdefaults__)
    return _hashed("function", _name(value), *(_digest(part, seen) for part in own), *around)


def _is_data(value: Any) -> bool:
    """What may stand beside a function as its data; a dict or a set may be its memory."""
    if type(value) in (list, tuple):
        return all(map(_is_data, value))
    return type(value) in (*_ATOMS, np.ndarray) or isinstance(value, np.generic)


def _names(code: types.CodeType) -> set[str]:
    """The names that a function and those inside it take from elsewhere."""
    inner = (const for const in code.co_consts if isinstance(const, types.CodeType))
    return set(code.co_names).union(*map(_names, inner))


def _cell(cell, seen) -> bytes:
    try:
        return _digest(cell.cell_contents, seen)
    except ValueError as error:
        if isinstance(error, PersistenceError):
            raise
        return _hashed("empty")
