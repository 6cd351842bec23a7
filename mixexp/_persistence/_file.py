"""Files of parameters that hold data only: a zip of one JSON manifest and plain ``.npy`` arrays.

A *tree* is what can be stored: nested dicts (string keys), lists and tuples of numpy arrays and
scalars (numeric, bool or unicode), str, int, float, bool and None. Reading a file parses JSON and
array headers and nothing else, so that no file can run code.

Layout of format 1, every member stored uncompressed with a fixed date, so that equal trees give
equal bytes and no member can be larger than the file::

    arrays/000000.npy ...   one array each, numpy's own format, never an object array
    manifest.json           {"format": "mixexp", "format_version": 1, "mixexp_version": ...,
                             "kind": ..., "tree": ..., "members": {name: {bytes, sha256}}}
    manifest.sha256         checksum of manifest.json

In the manifest's tree, None, bool, int, finite float, str and list are themselves; the rest is an
object with one key: ``{"dict": {...}}``, ``{"tuple": [...]}``, ``{"float": "nan" | "inf" |
"-inf"}``, ``{"array": member}``, ``{"scalar": member}`` (a numpy scalar).
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import os
import re
import struct
import tokenize
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mixexp._persistence._atomic import write_atomic

FORMAT_NAME = "mixexp"
FORMAT_VERSION = 1

_MANIFEST = "manifest.json"
_CHECKSUM = "manifest.sha256"
_MEMBER = re.compile(r"arrays/[0-9]{6,12}\.npy")
_DTYPE_KINDS = "biufcU"  # bool, integers, floats, complex, unicode text
_MAX_DEPTH = 100
_DAMAGE = (
    zipfile.BadZipFile,
    NotImplementedError,  # zipfile: an unknown compression or a flag it does not support
    RuntimeError,  # zipfile: encrypted member; RecursionError
    EOFError,
    OSError,
    struct.error,
    KeyError,
    IndexError,
    TypeError,
    ValueError,  # json and unicode decoding too
    OverflowError,
    SyntaxError,  # a damaged array header
    tokenize.TokenError,
)


class PersistenceError(ValueError):
    """A tree cannot be stored, or a file cannot be read; the message says what to do."""


class FileMeta(NamedTuple):
    """What a file says about itself."""

    kind: str
    mixexp_version: str
    format_version: int


# ---------------------------------------------------------------------------- tree -> JSON


def _checksum(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _array_bytes(array: np.ndarray, where: str) -> bytes:
    if array.dtype.kind not in _DTYPE_KINDS:
        raise PersistenceError(
            f"{where} has dtype {array.dtype}; only numbers, bool and text can be stored. "
            "Convert it, for example with .astype(str) or .astype(float)."
        )
    if array.dtype.itemsize == 0:
        array = array.astype("U1")
    stream = io.BytesIO()
    np.lib.format.write_array(stream, array, allow_pickle=False)
    return stream.getvalue()


def _encode_float(value: float) -> Any:
    return value if math.isfinite(value) else {"float": repr(value)}


def _encode_int(value: int, where: str) -> int:
    if value.bit_length() > 8192:  # Python refuses to parse integers of some thousand digits
        raise PersistenceError(f"{where} is an integer of {value.bit_length()} bits; 8192 at most.")
    return value


class _Encoder:
    """Turns a tree into JSON values, collecting the arrays as members."""

    def __init__(self) -> None:
        self.members: dict[str, bytes] = {}

    def _add(self, array: np.ndarray, where: str) -> str:
        name = f"arrays/{len(self.members):06d}.npy"
        self.members[name] = _array_bytes(array, where)
        return name

    def encode(self, value: Any, where: str = "tree", depth: int = 0) -> Any:
        """JSON value of a node; ``where`` is its place, for messages.

        Exact types only: a subclass (NamedTuple, Enum, masked array) would come back as
        something else than it was.
        """
        if depth > _MAX_DEPTH:
            raise PersistenceError(f"{where} is nested more than {_MAX_DEPTH} deep.")
        kind = type(value)
        if value is None or kind is bool or kind is str:
            return value
        if kind is int:
            return _encode_int(value, where)
        if kind is float:
            return _encode_float(value)
        if kind is dict:
            return {"dict": self._encode_dict(value, where, depth)}
        if kind is list or kind is tuple:
            items = [self.encode(v, f"{where}[{i}]", depth + 1) for i, v in enumerate(value)]
            return items if kind is list else {"tuple": items}
        if kind is np.ndarray or kind is np.memmap:
            return {"array": self._add(np.asarray(value), where)}
        if isinstance(value, np.generic):
            return {"scalar": self._add(np.asarray(value), where)}
        raise PersistenceError(
            f"{where} is a {kind.__name__}, which cannot be stored; use plain numbers, text, "
            "arrays, lists, tuples and dicts."
        )

    def _encode_dict(self, value: dict[Any, Any], where: str, depth: int) -> dict[str, Any]:
        for key in value:
            if type(key) is not str:
                raise PersistenceError(f"{where} has the key {key!r}; keys must be strings.")
        return {k: self.encode(v, f"{where}[{k!r}]", depth + 1) for k, v in value.items()}


def _to_bytes(tree: Any, kind: str, version: str) -> bytes:
    """The whole file, the same bytes for the same tree."""
    encoder = _Encoder()
    encoded = encoder.encode(tree)
    manifest = {
        "format": FORMAT_NAME,
        "format_version": FORMAT_VERSION,
        "mixexp_version": version,
        "kind": kind,
        "tree": encoded,
        "members": {
            name: {"bytes": len(data), "sha256": _checksum(data)}
            for name, data in encoder.members.items()
        },
    }
    text = json.dumps(manifest, allow_nan=False, indent=1).encode("ascii")
    parts = {**encoder.members, _MANIFEST: text, _CHECKSUM: _checksum(text).encode("ascii")}
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
        for name, data in parts.items():
            info = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
            info.create_system = 3  # else the bytes would depend on the operating system
            info.external_attr = 0o644 << 16
            archive.writestr(info, data)
    return stream.getvalue()


def save_tree(path: str | os.PathLike[str], tree: Any, *, kind: str, version: str) -> None:
    """Write a tree to a file, atomically: a crash at any moment leaves the old file or the new.

    Parameters
    ----------
    path : path-like
        Its folder must exist; an existing file is replaced.
    tree : dict, list, tuple, ndarray, str, int, float, bool or None
        Nested; dict keys are strings.
    kind : str
        What the tree is, such as "estimator" or "checkpoint"; :func:`load_tree` asks for it.
    version : str
        Version of mixexp, for the reader's messages.

    Raises
    ------
    PersistenceError
        When a part cannot be stored; the message names its place. Nothing is written then.
    OSError
        When the file cannot be written.
    """
    write_atomic(path, _to_bytes(tree, kind, version))


# --------------------------------------------------------------------------- file -> tree


def _foreign(data: bytes) -> str | None:
    """What a file is that is not a zip; None for a zip."""
    if not data:
        return "is empty"
    if data[:2] in (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05"):
        return "is a Python pickle, which can run code and is never opened"
    if data[:6] == b"\x93NUMPY":
        return "is a single numpy array"
    if data[:4] != b"PK\x03\x04":
        return "is not a mixexp file"
    return None


def _refuse_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("repeated key in the manifest")
    return result


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} in the manifest")


def _read_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
    if info.compress_type != zipfile.ZIP_STORED or info.flag_bits & 1:
        raise ValueError(f"{info.filename} is compressed or encrypted")
    return archive.read(info)


def _read_manifest(archive: zipfile.ZipFile, infos: dict[str, zipfile.ZipInfo]) -> dict[str, Any]:
    """The manifest of a file in a format that this version knows.

    Name and version are judged first: a newer format may differ in everything else.
    """
    if _MANIFEST not in infos:
        raise PersistenceError("is a zip file without a mixexp manifest")
    text = _read_member(archive, infos[_MANIFEST])
    manifest = json.loads(
        text.decode("ascii"),
        object_pairs_hook=_refuse_duplicates,
        parse_constant=_refuse_constant,
    )
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT_NAME:
        raise PersistenceError("is a zip file without a mixexp manifest")
    found = manifest["format_version"]
    if type(found) is not int or found < 1:
        raise ValueError("no format version")
    if found > FORMAT_VERSION:
        raise PersistenceError(
            f"has format {found}, written by mixexp {manifest.get('mixexp_version')}; this "
            f"version reads formats up to {FORMAT_VERSION}. Update mixexp"
        )
    if _read_member(archive, infos[_CHECKSUM]) != _checksum(text).encode("ascii"):
        raise ValueError("the manifest's checksum differs")
    return manifest


def _read_arrays(
    archive: zipfile.ZipFile, infos: dict[str, zipfile.ZipInfo], members: dict[str, Any]
) -> dict[str, np.ndarray]:
    """The arrays of all members, each exactly as the manifest describes it."""
    if set(infos) != {*members, _MANIFEST, _CHECKSUM}:
        raise ValueError("the members are not those of the manifest")
    arrays = {}
    for name, said in members.items():
        if not _MEMBER.fullmatch(name) or infos[name].file_size != said["bytes"]:
            raise ValueError(f"unexpected name or size of member {name!r}")
        data = _read_member(archive, infos[name])
        if _checksum(data) != said["sha256"]:
            raise ValueError(f"the checksum of {name} differs")
        arrays[name] = _parse_array(data)
    return arrays


def _parse_array(data: bytes) -> np.ndarray:
    """An array from the bytes of an ``.npy`` file; its size is checked before it is made."""
    stream = io.BytesIO(data)
    major, minor = np.lib.format.read_magic(stream)
    readers: dict[tuple[int, int], Callable[..., Any]] = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }
    shape, fortran, dtype = readers[major, minor](stream)
    if dtype.kind not in _DTYPE_KINDS or dtype.itemsize == 0:
        raise ValueError(f"an array of dtype {dtype}")
    payload = data[stream.tell() :]
    size = math.prod(shape)
    if any(length < 0 for length in shape) or size * dtype.itemsize != len(payload):
        raise ValueError("an array whose shape disagrees with its bytes")
    flat = np.frombuffer(payload, dtype, count=size) if payload else np.empty(size, dtype)
    return flat.reshape(shape, order="F" if fortran else "C").copy(order="K")


class _Decoder:
    """Turns the manifest's JSON values back into the tree; every array is used exactly once."""

    def __init__(self, arrays: dict[str, np.ndarray]) -> None:
        self.arrays = arrays

    def decode(self, value: Any, depth: int = 0) -> Any:
        """Tree node of a JSON value."""
        if depth > _MAX_DEPTH:
            raise ValueError("nested too deep")
        if isinstance(value, list):
            return [self.decode(item, depth + 1) for item in value]
        if not isinstance(value, dict):
            return value
        ((tag, content),) = value.items()
        if tag == "dict":
            return {key: self.decode(item, depth + 1) for key, item in content.items()}
        if tag == "tuple":
            return tuple(self.decode(item, depth + 1) for item in content)
        if tag == "float":
            return {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}[content]
        if tag == "array":
            return self.arrays.pop(content)
        if tag == "scalar":
            return self.arrays.pop(content)[()]
        raise ValueError(f"unknown tag {tag!r}")


def _from_bytes(data: bytes, kind: str | None) -> tuple[Any, FileMeta]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        listed = archive.infolist()
        infos = {info.filename: info for info in listed}
        if len(infos) != len(listed) or sum(info.file_size for info in listed) > len(data):
            raise ValueError("repeated or overlapping members")
        manifest = _read_manifest(archive, infos)
        if kind is not None and manifest["kind"] != kind:
            raise PersistenceError(
                f"holds {manifest['kind']!r} data, not the {kind!r} that is needed"
            )
        decoder = _Decoder(_read_arrays(archive, infos, manifest["members"]))
    tree = decoder.decode(manifest["tree"])
    if decoder.arrays:
        raise ValueError("an array that the tree does not use")
    return tree, FileMeta(manifest["kind"], manifest["mixexp_version"], manifest["format_version"])


def load_tree(path: str | os.PathLike[str], *, kind: str | None) -> tuple[Any, FileMeta]:
    """Read a tree that :func:`save_tree` wrote.

    Parameters
    ----------
    path : path-like
    kind : str or None
        What is wanted; a file that holds something else is refused. None takes any kind.

    Returns
    -------
    tree : nested dict, list, tuple, ndarray, str, int, float, bool or None
    meta : FileMeta

    Raises
    ------
    PersistenceError
        When the file is damaged, truncated, foreign, of a newer format or of another kind.
    OSError
        When the file does not exist or cannot be read.
    """
    data = Path(path).read_bytes()
    shown = os.fspath(path)
    foreign = _foreign(data)
    if foreign is not None:
        raise PersistenceError(f"{shown} {foreign}; expected a file written by mixexp's save.")
    try:
        return _from_bytes(data, kind)
    except PersistenceError as error:
        raise PersistenceError(f"{shown} {error}.") from None
    except _DAMAGE as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise PersistenceError(
            f"{shown} is damaged or truncated ({reason}); restore a copy, or save it again."
        ) from error
