"""Values that no fit can use are named by file or partition, and by the row in it."""

from __future__ import annotations

import dask.array as da
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mixexp import (
    BlockDataset,
    FileDataset,
    GammaExpert,
    GaussianExpert,
    MoEClassifier,
    MoERegressor,
)

PLACE = r"rows.parquet, row group 2, row 37 of it: "
BAD = 237  # row group 2, row 37
RNG = np.random.default_rng(0)
X = RNG.normal(size=(400, 1))


def rows_in_file(folder, y, **inputs):
    path = folder / "rows.parquet"
    pq.write_table(pa.table({"x": X[:, 0], "y": y, **inputs}), path, row_group_size=100)
    return FileDataset(path, target="y", features=["x"], **{name: name for name in inputs})


def spoilt(values, bad):
    values = np.array(values, dtype=float)
    values[BAD] = bad
    return values


COUNTS = RNG.poisson(2.0, 400)
CASES = {
    "poisson": (("poisson", spoilt(COUNTS, 1.5), {}), "PoissonExpert needs .* got 1.5"),
    "gamma": (("gamma", spoilt(COUNTS + 1, -0.3), {}), r"positive targets; got min\(y\) = -0.3"),
    "lognormal": (("lognormal", spoilt(COUNTS + 1, 0), {}), "positive"),
    "beta": (("beta", spoilt(np.full(400, 0.5), 1.25), {}), "1.25"),
    "binomial": (
        ("binomial", spoilt(COUNTS, 60), {"trials": np.full(400, 50)}),
        r"between 0 and trials; got y = \[60.0\] of 50",
    ),
    "trials": (
        ("binomial", COUNTS, {"trials": spoilt(np.full(400, 50), 50.5)}),
        "trials must be whole numbers",
    ),
    "exposure": (
        ("poisson", COUNTS, {"exposure": spoilt(np.ones(400), 0)}),
        "exposure must be positive; got 0",
    ),
    "weight": (
        ("gaussian", COUNTS, {"weight": spoilt(np.ones(400), -2)}),
        "weight is -2, and must not be negative",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_files(case, tmp_path):
    (expert, y, inputs), message = CASES[case]
    with pytest.raises(ValueError, match=PLACE + ".*" + message):
        MoERegressor(1, expert=expert).fit(rows_in_file(tmp_path, y, **inputs))


@pytest.mark.parametrize("case", CASES)
def test_partitions(case):
    (expert, y, inputs), message = CASES[case]
    cut = {name: da.from_array(values, chunks=100) for name, values in inputs.items()}
    weight = cut.pop("weight", None)
    with pytest.raises(ValueError, match="partition 2, row 37 of it: .*" + message):
        MoERegressor(1, expert=expert).fit(
            da.from_array(X, chunks=(100, 1)), da.from_array(y, chunks=100), weight, **cut
        )


def test_rows_without_weight_are_counted_but_not_asked(tmp_path):
    weight = np.ones(400)
    weight[200:230] = 0
    y = spoilt(COUNTS, -1)
    y[210] = -5
    with pytest.raises(ValueError, match=PLACE + ".* got -1"):
        MoERegressor(1, expert="poisson").fit(rows_in_file(tmp_path, y, weight=weight))


def test_settings_are_not_said_of_a_row(tmp_path):
    with pytest.raises(ValueError, match="row group 0 to .*row group 3: GaussianExpert.scale_free"):
        expert = GaussianExpert(scale_free=True)
        MoERegressor(1, expert=expert).fit(rows_in_file(tmp_path, COUNTS))
    with pytest.raises(ValueError, match="row group 0 to .*: GammaExpert takes no trials="):
        MoERegressor(1, expert=GammaExpert()).fit(
            rows_in_file(tmp_path, COUNTS + 1.0, trials=np.full(400, 5))
        )


def test_labels_that_were_not_there_before_are_named():
    class Changing(list):
        """Blocks whose last label is another in the second reading."""

        rounds = 0

        def __iter__(self):
            self.rounds += 1
            *first, (columns, labels) = list.__iter__(self)
            labels = labels.copy()
            labels[37] = "c" if self.rounds > 2 else labels[37]
            return iter([*first, (columns, labels)])

    labels = np.where(X[:, 0] > RNG.normal(size=400), "a", "b")
    blocks = Changing([(X[:200], labels[:200]), (X[200:], labels[200:])])
    with pytest.raises(ValueError, match="block 1, row 37 of it: y is the label 'c'"):
        MoEClassifier(1).fit(BlockDataset(blocks))
