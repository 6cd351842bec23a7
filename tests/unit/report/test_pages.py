"""Pages of whole studies: what they say of the chosen model is what the model says."""

from __future__ import annotations

import re
from html import unescape
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mixexp.cli import main
from mixexp.explain import diagnose
from mixexp.report.diagnostics import counted
from mixexp.report.html import number
from mixexp.report.precision import named, probability
from mixexp.tables.model import TableModel

FAST = ["--folds", "0", "--jobs", "1", "--quiet"]
N = 150


def regression() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"x": rng.uniform(-2, 2, N), "z": rng.normal(size=N)})
    first = rng.random(N) < 1 / (1 + np.exp(-2 * table["x"]))
    table["y"] = np.where(first, 1 + 2 * table["x"] - table["z"], -1 - table["x"])
    table["y"] += 0.5 * rng.normal(size=N)
    table.loc[2, "y"] = np.nan  # rows behind it keep their number in the file
    table.loc[70, "y"] += 9
    return table


def page_of(folder: Path, table: pd.DataFrame, *options: str) -> tuple[str, TableModel]:
    path, out = folder / "data.csv", folder / "report"
    table.to_csv(path, index=False)
    assert main(["study", str(path), "--out", str(out), *FAST, *options]) == 0
    text = (out / "report.html").read_text(encoding="utf-8")
    assert len(text) < 2_500_000
    return text, TableModel.load(out / "model.mixexp")


def section(page: str, key: str) -> list[list[str]]:
    """Cells of all table rows of a section, as plain texts."""
    part = page.split(f'<section id="{key}">', 1)[1].split("</section>", 1)[0]
    rows = re.findall(r"<tr[^>]*>(.*?)</tr>", part)
    cells = [re.findall(r"<t[dh][^>]*>(.*?)</t[dh]>", row) for row in rows]
    return [[unescape(re.sub(r"<[^>]+>", "", cell)) for cell in row] for row in cells]


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, TableModel]:
    options = ["--target", "y", "--experts", "2"]
    return page_of(tmp_path_factory.mktemp("regression"), regression(), *options)


@pytest.mark.slow
def test_standard_errors_are_those_of_the_model(study: tuple[str, TableModel]) -> None:
    page, model = study
    table = regression().dropna()
    X = model.preprocessor.transform(table)
    result = model.estimator.inference(X, table["y"].to_numpy())
    shown = section(page, "precision")
    body = [row for row in shown[1:] if row[1]]
    order = [n for head in dict.fromkeys(n.split(": ")[0] for n in result.names)
             for n in result.names if n.startswith(f"{head}: ")]  # fmt: skip
    assert [row[0] for row in body] == [name.split(": ")[1] for name in order]
    assert [row[2] for row in body] == [number(result.bse[name]) for name in order]
    assert [row[4] for row in body] == [unescape(probability(result.pvalues[n])) for n in order]
    heads = [row[0] for row in shown[1:] if not row[1]]
    assert heads == ["Gate, expert 2 against expert 1", "Expert 1", "Expert 2"]


def test_every_check_is_shown(study: tuple[str, TableModel]) -> None:
    page, model = study
    for alt in (
        "Worm plot of the quantile residuals", "Histogram of the probability transform",
        "Mean posterior probabilities of the experts", "Cook&#x27;s distance of every row",
        "Histogram of the rows&#x27; largest posterior", "Normal QQ plot",
    ):  # fmt: skip
        assert f'alt="{alt}' in page
    rows = section(page, "checks")
    table = regression().dropna()
    found = diagnose(model.estimator, model.preprocessor.transform(table), table["y"].to_numpy())
    start = [row[0] for row in rows].index("Row")
    worst = found.influence.largest(1)[0]
    assert rows[start + 1][:2] == [
        str(table.index[worst] + 1),
        number(found.influence.cook[worst], 3),
    ]
    assert rows[start + 1][0] == "71"  # the row that was moved, by its number in the file
    certain = [row[0] for row in rows].index("expert 1")
    assert rows[certain][1] == number(found.uncertainty.experts["rows"].iloc[0])


@pytest.mark.slow
def test_penalised_classes_say_why_they_have_no_standard_errors(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"a": rng.normal(size=N), "b": rng.normal(size=N)})
    table["kind"] = np.where(table["a"] + rng.normal(size=N) > 0, "yes", "no")
    page, _ = page_of(tmp_path, table, "--target", "kind", "--experts", "2")
    assert "There are no standard errors for this fit. The gate carries the penalty" in page
    assert "Does the gate foretell the experts?" in page
    assert "Observed class frequencies against predicted probabilities" in page
    assert "Worm plot" not in page and "Leverage within" not in page


def test_unpenalised_classes_are_named_in_the_table(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"a": rng.normal(size=N)})
    table["kind"] = np.where(table["a"] + 2 * rng.normal(size=N) > 0, "yes", "no")
    options = ["--experts", "1", "--penalty", "0", "--gate-penalty", "0"]
    page, _ = page_of(tmp_path, table, "--target", "kind", *options)
    heads = [row[0] for row in section(page, "precision")[1:] if not row[1]]
    assert heads == ["Expert 1, class yes against no"]


def test_counts_with_one_expert_have_no_gate(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"x": rng.normal(size=N), "days": rng.integers(1, 9, N)})
    table["n"] = rng.poisson(table["days"] * np.exp(0.5 * table["x"]))
    options = ["--target", "n", "--exposure", "days", "--experts", "1"]
    page, _ = page_of(tmp_path, table, *options)
    assert "Does the gate foretell" not in page and "How sure is the assignment" not in page
    assert "seeded random draw" in page
    leverage = next(row for row in section(page, "checks") if row[0] == "expert 1")
    assert leverage[1:3] == ["150.0", "2.000"]


def test_a_separated_gate_is_said_and_nothing_fails(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    x = rng.uniform(-2, 2, N)
    table = pd.DataFrame({"x": x, "y": np.where(x < 0, 1 + 2 * x, 1 - 2 * x)})
    table["y"] += 0.1 * rng.normal(size=N)
    page, _ = page_of(tmp_path, table, "--target", "y", "--experts", "2")
    assert "no standard errors for this fit. The gate separates" in page
    assert "Cook&#x27;s distance of every row" in page


def test_groups_share_an_expert_and_count_once(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    who, age = np.repeat(np.arange(40), 4), np.repeat(rng.normal(size=40), 4)
    kind = np.repeat(rng.random(40) < 1 / (1 + np.exp(-2 * age[::4])), 4)
    table = pd.DataFrame({"id": [f"s{w}" for w in who], "age": age, "t": np.tile(range(4), 40)})
    table["y"] = np.where(kind, 1 + table["t"], 3 - table["t"]) + 0.7 * rng.normal(size=160)
    options = ["--target", "y", "--groups", "id", "--experts", "1-2"]
    page, model = page_of(tmp_path, table, *options)
    assert list(model.estimator.gate_feature_names_) == ["age"]
    assert model.estimator.n_units_ == 40
    assert "<dt>Groups</dt><dd>40</dd>" in page
    assert "the columns that are constant within the groups: age." in page
    assert "Units are the 40 groups of 160 rows." in page
    assert "gate_calibration is for fits without groups=" in page
    assert "groups" not in model.inputs  # a prediction needs none
    where = ["--out", str(tmp_path / "p.csv"), "--quiet"]
    model_file, data = tmp_path / "report" / "model.mixexp", tmp_path / "data.csv"
    assert main(["predict", str(model_file), str(data), *where]) == 0


def test_a_row_without_a_group_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = regression().assign(id=[str(i // 2) if i != 9 else None for i in range(N)])
    table.to_csv(tmp_path / "data.csv", index=False)
    options = ["--target", "y", "--groups", "id", "--out", str(tmp_path / "r"), *FAST]
    assert main(["study", str(tmp_path / "data.csv"), *options]) == 2
    assert "column 'id' (groups) has no label in row 10" in capsys.readouterr().err


def test_groups_without_a_constant_column_have_a_constant_gate(tmp_path: Path) -> None:
    table = regression().dropna().assign(id=lambda t: np.arange(len(t)) // 5)
    options = ["--target", "y", "--groups", "id", "--experts", "1-2"]
    page, model = page_of(tmp_path, table, *options)
    assert "no column is constant within the groups" in page
    gate = model.gate(table)
    assert np.ptp(gate, axis=0).max() == 0


def test_a_gaussian_gate_has_standard_errors_of_its_centres(tmp_path: Path) -> None:
    options = ["--target", "y", "--experts", "2", "--gate", "gaussian"]
    page, _ = page_of(tmp_path, regression().drop(columns="z"), *options)
    terms = [row[0] for row in section(page, "precision")]
    assert terms.count("centre of x") == 2


@pytest.mark.parametrize(
    ("head", "shown"),
    [
        ("gate 1 vs 0", "Gate, expert 2 against expert 1"),
        ("expert 0", "Expert 1"),
        ("gate 2", "Gate, expert 3"),
        ("all experts", "All experts"),
        ("expert 1, class 2 vs 0", "Expert 2, class c against a"),
        ("gate left/right", "Gate left/right"),
    ],
)
def test_experts_count_from_one_and_classes_have_names(head: str, shown: str) -> None:
    assert named(head, ["a", "b", "c"]) == shown


@pytest.mark.parametrize(
    ("name", "shown"),
    [("expert 0: x 1", "expert 1: x 1"), ("gate 1: z", "gate 2: z"), ("odd", "odd")],
)
def test_parameters_count_from_one(name: str, shown: str) -> None:
    assert counted(name) == shown


@pytest.mark.parametrize(("p", "shown"), [(0.04321, "0.0432"), (1e-9, "&lt;0.0001"), (np.nan, "–")])
def test_p_values_are_short(p: float, shown: str) -> None:
    assert probability(p) == shown
