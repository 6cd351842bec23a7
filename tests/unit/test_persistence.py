"""The file of parameters: exact round trips, and no wrong tree from any damage."""

import hashlib
import io
import json
import math
import os
import pickle
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from mixexp._persistence import (
    FORMAT_VERSION,
    PersistenceError,
    _atomic,
    component_from_tree,
    component_to_tree,
    load_tree,
    namedtuple_from_tree,
    namedtuple_to_tree,
    save_tree,
)

FIXTURE = Path(__file__).parents[1] / "data" / "format_v1.mixexp"


def same(a: Any, b: Any) -> bool:
    """Equal in type, dtype, layout and bits (nan equals nan)."""
    if type(a) is not type(b):
        return False
    if isinstance(a, (np.ndarray, np.generic)):
        equal = a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
        return equal and a.flags.f_contiguous == b.flags.f_contiguous
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[k], b[k]) for k in a)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
    if isinstance(a, float):
        return a.hex() == b.hex()
    return bool(a == b)


def example_tree() -> dict[str, Any]:
    """What the stored fixture of format 1 holds; never to be changed."""
    return {
        "params": {"coef": np.arange(6.0).reshape(2, 3) / 7, "scale": np.array([0.5, np.inf])},
        "classes": np.array(["no", "yes", "\u00fc"]),
        "columns": np.array([0, 2], dtype=np.int32),
        "mask": np.array([[True], [False]]),
        "fortran": np.asfortranarray(np.arange(6, dtype=">f4").reshape(2, 3)),
        "empty": np.empty((0, 3)),
        "zero_d": np.array(3.5),
        "scalar": np.float32(0.1),
        "path": [-3.25, -0.0, math.inf, -math.inf, math.nan, 1e-320],
        "status": "CONVERGED",
        "pair": (1, "a", None, True, 2**70),
        "nested": {"dict": {"array": "text"}, "": []},
    }


def save_bytes(folder: Path, tree: Any, kind: str = "estimator") -> bytes:
    save_tree(folder / "x.mixexp", tree, kind=kind, version="0.1.0")
    return (folder / "x.mixexp").read_bytes()


def load_bytes(folder: Path, data: bytes, kind: str = "estimator") -> Any:
    (folder / "y.mixexp").write_bytes(data)
    return load_tree(folder / "y.mixexp", kind=kind)[0]


def rewrite(data: bytes, change: Any, *, manifest: Any = None) -> bytes:
    """The same zip with its parts changed by ``change(dict of bytes)`` and checksums mended."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    content = json.loads(parts["manifest.json"])
    if manifest is not None:
        manifest(content)
    parts["manifest.json"] = json.dumps(content).encode()
    parts["manifest.sha256"] = hashlib.sha256(parts["manifest.json"]).hexdigest().encode()
    change(parts)
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, part in parts.items():
            archive.writestr(name, part)
    return stream.getvalue()


# ---------------------------------------------------------------------- round trips

_arrays = hnp.arrays(
    dtype=st.one_of(
        hnp.boolean_dtypes(),
        hnp.integer_dtypes(),
        hnp.unsigned_integer_dtypes(),
        hnp.floating_dtypes(),
        hnp.complex_number_dtypes(),
        hnp.unicode_string_dtypes(),
    ),
    shape=hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4),
)
_leaves = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(),
    _arrays,
    _arrays.map(lambda a: a.T),
)
_trees = st.recursive(
    _leaves,
    lambda t: st.one_of(
        st.lists(t, max_size=4),
        st.lists(t, max_size=4).map(tuple),
        st.dictionaries(st.text(max_size=8), t, max_size=4),
    ),
    max_leaves=10,
)


@settings(max_examples=150, deadline=None)
@given(tree=_trees)
def test_round_trip(tmp_path_factory, tree):
    folder = tmp_path_factory.getbasetemp()
    assert same(load_bytes(folder, save_bytes(folder, tree)), tree)


def test_example_round_trip_and_meta(tmp_path):
    save_bytes(tmp_path, example_tree(), kind="checkpoint")
    tree, meta = load_tree(tmp_path / "x.mixexp", kind="checkpoint")
    assert same(tree, example_tree())
    assert meta == ("checkpoint", "0.1.0", FORMAT_VERSION)


def test_loaded_arrays_are_writable_and_own_their_data(tmp_path):
    tree = load_bytes(tmp_path, save_bytes(tmp_path, [np.zeros(3)]))
    tree[0][0] = 1.0
    assert tree[0].flags.owndata or tree[0].base.flags.writeable


def test_non_contiguous_array(tmp_path):
    array = np.arange(24.0).reshape(4, 6)[::2, ::3]
    np.testing.assert_array_equal(load_bytes(tmp_path, save_bytes(tmp_path, array)), array)


def test_equal_trees_give_equal_bytes(tmp_path):
    first = save_bytes(tmp_path, example_tree())
    assert save_bytes(tmp_path, example_tree()) == first


def test_format_1_loads_for_ever():
    tree, meta = load_tree(FIXTURE, kind="estimator")
    assert same(tree, example_tree())
    assert meta.format_version == 1


# ------------------------------------------------------------------- refused on saving


class Point(NamedTuple):
    x: Any
    y: Any


@pytest.mark.parametrize(
    ("tree", "message"),
    [
        ({"a": [np.array([None])]}, r"tree\['a'\]\[0\] has dtype object"),
        ({"a": np.array(["2020-01-01"], dtype="M8[D]")}, "dtype datetime64"),
        ({"a": np.zeros(2, dtype=[("f", float)])}, "dtype"),
        ({1: 2}, "keys must be strings"),
        ([lambda: 0], "is a function"),
        ([np.ma.masked_array([1.0])], "MaskedArray"),
        ([Point(1, 2)], "Point"),
        ({"a": {1, 2}}, "is a set"),
        (b"bytes", "is a bytes"),
        (2**10000, "8192"),
    ],
)
def test_what_cannot_be_stored_is_named_and_nothing_written(tmp_path, tree, message):
    with pytest.raises(PersistenceError, match=message):
        save_bytes(tmp_path, tree)
    assert list(tmp_path.iterdir()) == []


def test_endless_nesting_is_refused(tmp_path):
    tree: list[Any] = []
    tree.append(tree)
    with pytest.raises(PersistenceError, match="nested"):
        save_bytes(tmp_path, tree)


# ------------------------------------------------------------------- refused on loading


def check_loads_identical_or_fails(folder: Path, data: bytes, tree: Any) -> bool:
    """True when it loaded; asserts that a failure is a one-line PersistenceError."""
    try:
        found = load_bytes(folder, data)
    except PersistenceError as error:
        assert "\n" not in str(error) and "y.mixexp" in str(error)
        return False
    assert same(found, tree)
    return True


def test_flipped_bytes_never_give_a_wrong_tree(tmp_path):
    tree = example_tree()
    data = save_bytes(tmp_path, tree)
    rng = np.random.default_rng(0)
    positions = rng.choice(len(data), size=min(len(data), 1500), replace=False)
    loaded = 0
    for position in positions:
        damaged = bytearray(data)
        damaged[position] ^= int(rng.integers(1, 256))
        loaded += check_loads_identical_or_fails(tmp_path, bytes(damaged), tree)
    assert loaded < 0.25 * len(positions)  # only dates, attributes and the like are without effect


def test_truncation_at_every_length_fails(tmp_path):
    data = save_bytes(tmp_path, example_tree())
    lengths = {*range(0, len(data), 23), *range(len(data) - 64, len(data)), 1, 2, 3, 4, 5}
    for length in lengths:
        assert not check_loads_identical_or_fails(tmp_path, data[:length], example_tree())


def test_zeroed_blocks_fail_or_load_identically(tmp_path):
    data = save_bytes(tmp_path, example_tree())
    for start in range(0, len(data) - 64, 64):
        damaged = data[:start] + bytes(64) + data[start + 64 :]
        check_loads_identical_or_fails(tmp_path, damaged, example_tree())


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "is empty"),
        (pickle.dumps({"a": 1}), "pickle"),
        (b"a,b\n1,2\n", "not a mixexp file"),
        (b"\x93NUMPY\x01\x00", "numpy array"),
    ],
)
def test_foreign_files_are_named(tmp_path, data, message):
    with pytest.raises(PersistenceError, match=message):
        load_bytes(tmp_path, data)


def test_foreign_zip(tmp_path):
    np.savez(tmp_path / "a.npz", a=np.zeros(2))
    with pytest.raises(PersistenceError, match="without a mixexp manifest"):
        load_bytes(tmp_path, (tmp_path / "a.npz").read_bytes())


def test_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        load_tree(tmp_path / "none.mixexp", kind="estimator")


def test_newer_format_says_update(tmp_path):
    def newer(content):
        content.update(format_version=FORMAT_VERSION + 1, mixexp_version="9.0")

    data = rewrite(save_bytes(tmp_path, [1]), lambda parts: None, manifest=newer)
    with pytest.raises(PersistenceError, match=r"written by mixexp 9\.0.*Update mixexp"):
        load_bytes(tmp_path, data)


def test_other_kind_is_refused(tmp_path):
    data = save_bytes(tmp_path, [1], kind="checkpoint")
    with pytest.raises(PersistenceError, match="holds 'checkpoint' data, not the 'estimator'"):
        load_bytes(tmp_path, data)


class Bomb:
    """Unpickling this would create a file."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self):
        return (Path.touch, (self.target,))


def test_pickled_payload_is_refused_and_not_run(tmp_path):
    stream = io.BytesIO()
    payload = np.array([Bomb(tmp_path / "ran")], dtype=object)
    np.lib.format.write_array(stream, payload, allow_pickle=True)
    evil = stream.getvalue()

    def put(content):
        said = {"bytes": len(evil), "sha256": hashlib.sha256(evil).hexdigest()}
        content["members"]["arrays/000000.npy"] = said

    def change(parts):
        parts["arrays/000000.npy"] = evil

    data = rewrite(save_bytes(tmp_path, [np.zeros(2)]), change, manifest=put)
    with pytest.raises(PersistenceError, match="dtype object"):
        load_bytes(tmp_path, data)
    assert not (tmp_path / "ran").exists()


def test_path_traversal_is_refused(tmp_path):
    def move(content):
        content["members"]["../evil.npy"] = content["members"].pop("arrays/000000.npy")

    def change(parts):
        parts["../evil.npy"] = parts.pop("arrays/000000.npy")

    data = rewrite(save_bytes(tmp_path, [np.zeros(2)]), change, manifest=move)
    with pytest.raises(PersistenceError, match="unexpected name"):
        load_bytes(tmp_path, data)


def test_unexpected_member_is_refused(tmp_path):
    def change(parts):
        parts["arrays/000009.npy"] = b"x"

    with pytest.raises(PersistenceError, match="members"):
        load_bytes(tmp_path, rewrite(save_bytes(tmp_path, [1]), change))


def test_array_larger_than_its_bytes_is_refused_before_it_is_made(tmp_path):
    header = io.BytesIO()
    described = {"descr": "<f8", "fortran_order": False, "shape": (2**50,)}
    np.lib.format.write_array_header_1_0(header, described)
    huge = header.getvalue()

    def put(content):
        said = {"bytes": len(huge), "sha256": hashlib.sha256(huge).hexdigest()}
        content["members"]["arrays/000000.npy"] = said

    def change(parts):
        parts["arrays/000000.npy"] = huge

    data = rewrite(save_bytes(tmp_path, [np.zeros(2)]), change, manifest=put)
    with pytest.raises(PersistenceError, match="shape disagrees"):
        load_bytes(tmp_path, data)


def test_compressed_members_are_refused(tmp_path):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("manifest.json", b"0" * 10**7)
    with pytest.raises(PersistenceError, match="damaged"):
        load_bytes(tmp_path, stream.getvalue())


# -------------------------------------------------------------------- crash while writing


@pytest.mark.parametrize("step", ["write", "fsync", "replace"])
def test_failure_while_saving_leaves_the_old_file(tmp_path, monkeypatch, step):
    old = save_bytes(tmp_path, {"old": np.ones(3)})

    def fail(*args, **kwargs):
        raise KeyboardInterrupt

    if step == "write":
        monkeypatch.setattr(_atomic.os, "fdopen", fail)
    else:
        monkeypatch.setattr(_atomic.os, step, fail)
    with pytest.raises(KeyboardInterrupt):
        save_bytes(tmp_path, {"new": 1})
    monkeypatch.undo()
    assert (tmp_path / "x.mixexp").read_bytes() == old
    assert [entry.name for entry in tmp_path.iterdir()] == ["x.mixexp"]


_WRITER = """
import sys
import numpy as np
from mixexp._persistence import save_tree
for step in range(10**9):
    tree = {"step": step, "array": np.full(200_000, float(step))}
    save_tree(sys.argv[1], tree, kind="checkpoint", version="0")
    if step == 0:
        print("ready", flush=True)
"""


@pytest.mark.skipif(os.name != "posix", reason="needs SIGKILL")
def test_killed_writers_leave_a_whole_file_and_their_leftovers_are_removed(tmp_path):
    target = tmp_path / "c.mixexp"
    rng = np.random.default_rng(0)
    for _ in range(4):
        writer = subprocess.Popen(
            [sys.executable, "-c", _WRITER, str(target)],
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )
        assert writer.stdout is not None
        writer.stdout.readline()
        time.sleep(rng.uniform(0.0, 0.1))
        writer.send_signal(signal.SIGKILL)
        writer.communicate()
        tree, _ = load_tree(target, kind="checkpoint")
        assert (tree["array"] == tree["step"]).all()
    save_tree(target, [1], kind="checkpoint", version="0")
    assert [entry.name for entry in tmp_path.iterdir()] == ["c.mixexp"]


def test_temporary_files_of_living_writers_stay(tmp_path):
    mine = tmp_path / f".x.mixexp.{_atomic._node()}-{os.getpid()}-00.tmp"
    dead = tmp_path / f".x.mixexp.{_atomic._node()}-999999999-00.tmp"
    other = tmp_path / ".z.mixexp.00000000-1-00.tmp"
    for entry in (mine, dead, other):
        entry.touch()
    save_bytes(tmp_path, 1)
    assert mine.exists() and other.exists() and not dead.exists()


@pytest.mark.skipif(os.name != "posix", reason="symbolic links")
def test_symbolic_link_stays(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "real.mixexp")
    save_tree(tmp_path / "link", [1], kind="estimator", version="0")
    assert (tmp_path / "link").is_symlink()
    assert load_tree(tmp_path / "real.mixexp", kind="estimator")[0] == [1]


# ----------------------------------------------------------------------------- components


class Part:
    """A component as scikit-learn knows them."""

    def __init__(self, alpha=1.0, inner=None, extra=None):
        self.alpha, self.inner, self.extra = alpha, inner, extra

    def get_params(self, deep=True):
        return {"alpha": self.alpha, "inner": self.inner, "extra": self.extra}


class Stranger(Part):
    pass


REGISTRY = {"Part": Part, "Point": Point}


def test_component_round_trip_through_a_file(tmp_path):
    weights = np.array([1.0, 2.0])
    part = Part(0.5, Part(inner=slice(0, 3, None)), {"class": "x", "params": [Part(2), (1, "a")]})
    part.inner.extra = Point(weights, {"items": 3})
    tree = component_to_tree(part, REGISTRY)
    found = component_from_tree(load_bytes(tmp_path, save_bytes(tmp_path, tree)), REGISTRY)
    assert type(found) is Part and found.alpha == 0.5 and found.inner.inner == slice(0, 3, None)
    assert type(found.inner.extra) is Point and found.inner.extra.y == {"items": 3}
    np.testing.assert_array_equal(found.inner.extra.x, weights)
    assert found.extra["class"] == "x" and found.extra["params"][1] == (1, "a")
    assert found.extra["params"][0].alpha == 2


@pytest.mark.parametrize("value", [{1: 2.0, 2: "b"}, {True: 1}, {np.int64(3): {4: None}}], ids=str)
def test_a_dict_with_other_keys_than_text_comes_back(tmp_path, value):
    tree = load_bytes(tmp_path, save_bytes(tmp_path, component_to_tree(Part(value))))
    assert component_from_tree(tree, REGISTRY).alpha == value


def test_namedtuple_round_trip():
    assert namedtuple_from_tree(namedtuple_to_tree(Point(1, Point(2, None))), REGISTRY) == Point(
        1, Point(2, None)
    )


@pytest.mark.parametrize("name", ["os.system", "Stranger", "builtins.eval", None, 3, ["Part"]])
def test_only_registered_names_are_instantiated(name):
    with pytest.raises(PersistenceError, match="does not know"):
        component_from_tree({"class": name, "params": {}}, REGISTRY)


def test_unregistered_class_is_refused_on_saving():
    with pytest.raises(PersistenceError, match=r"Part\.inner is a Stranger"):
        component_to_tree(Part(inner=Stranger()), REGISTRY)


def test_parameters_of_another_version():
    with pytest.raises(PersistenceError, match="do not fit Part"):
        component_from_tree({"class": "Part", "params": {"beta": 1}}, REGISTRY)


@pytest.mark.parametrize("value", [len, object(), np.random.default_rng(0), {1: 2, "a": 3}, Part])
def test_parameter_that_is_no_data_is_named(value):
    with pytest.raises(PersistenceError, match=r"Part\.extra"):
        component_to_tree(Part(extra=value))


@pytest.mark.parametrize("tree", [{"x": 1}, {}, {"class": "Part"}, {"items": {}, "class": "Part"}])
def test_unknown_shapes_are_refused(tree):
    with pytest.raises(PersistenceError, match="unknown part"):
        component_from_tree(tree, REGISTRY)
