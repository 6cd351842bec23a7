"""The command line: what it writes, and one line with exit code 2 for whatever is wrong."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

import mixexp
from mixexp.cli import main, parse_experts
from mixexp.tables.model import TableModel

FAST = ["--experts", "1-2", "--folds", "0", "--jobs", "1", "--quiet"]
SCRIPT, DOLLAR = "<script>alert(1)</script>", "$x_1$ & \\frac{"


def example(n: int = 40) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    x = rng.uniform(-2, 2, size=n)
    y = np.where(x < 0, 1 + 2 * x, 1 - 2 * x) + 0.2 * rng.normal(size=n)
    return pd.DataFrame({"y": y, "x": x, "w": 1.0})


@pytest.fixture
def csv(tmp_path: Path) -> Path:
    path = tmp_path / "data.csv"
    example().to_csv(path, index=False)
    return path


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report of a table whose names are hostile."""
    folder = tmp_path_factory.mktemp("study")
    table = example().rename(columns={"x": SCRIPT, "y": "_y $2^2$"}).drop(columns="w")
    rng = np.random.default_rng(0)
    table[DOLLAR] = rng.choice(["<b>bold</b>", "plain"], len(table))
    table.to_csv(folder / "data<i>.csv", index=False)
    code = main(
        ["study", str(folder / "data<i>.csv"), "--target", "_y $2^2$"]
        + ["--out", str(folder / "report"), *FAST]
    )
    assert code == 0
    return folder


def test_the_report_is_whole(done: Path) -> None:
    assert sorted(path.name for path in (done / "report").iterdir()) == [
        "model.mixexp",
        "report.html",
        "study.json",
    ]
    assert not [path for path in done.iterdir() if path.name.startswith(".")]


def test_the_page_is_self_contained_and_escaped(done: Path) -> None:
    page = (done / "report" / "report.html").read_text(encoding="utf-8")
    assert "<script" not in page and "<b>bold" not in page and "data<i>" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert 'src="http' not in page and 'href="http' not in page
    assert page.count("<img ") == page.count("alt=")


def test_the_summary_loads(done: Path) -> None:
    content = json.loads((done / "report" / "study.json").read_text(encoding="utf-8"))
    assert content["format"] == "mixexp-study"
    assert content["target"] == "_y $2^2$"
    assert content["command"].startswith("mixexp study ")
    assert len(content["file"]["sha256"]) == 64


def test_predictions_equal_those_from_python(done: Path) -> None:
    model, out = done / "report" / "model.mixexp", done / "pred.csv"
    data = done / "data<i>.csv"
    assert main(["predict", str(model), str(data), "--out", str(out), "--quiet"]) == 0
    found, table = pd.read_csv(out), pd.read_csv(data)
    loaded = TableModel.load(model)
    X = loaded.preprocessor.transform(table)
    assert_allclose(found["mean"], loaded.estimator.predict(X), rtol=1e-12)
    assert_allclose(found["std"], loaded.estimator.predict_std(X), rtol=1e-12)
    assert_allclose(found[["lower", "upper"]], loaded.estimator.predict_interval(X, 0.9))
    gate = found[[name for name in found if name.startswith("gate_")]]
    assert_allclose(gate, loaded.estimator.gate_proba(X), rtol=1e-12)


def test_class_predictions_close_the_circle(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"a": rng.normal(size=60), "b": rng.normal(size=60)})
    table["kind"] = np.where(table["a"] + 0.5 * rng.normal(size=60) > 0, "yes", "no")
    path, out = tmp_path / "c.csv", tmp_path / "p.csv"
    table.to_csv(path, index=False)
    report = ["--target", "kind", "--out", str(tmp_path / "r"), *FAST, "--experts", "1"]
    assert main(["study", str(path), *report]) == 0
    assert (
        main(["predict", str(tmp_path / "r" / "model.mixexp"), str(path), "--out", str(out)]) == 0
    )
    found = pd.read_csv(out)
    assert list(found.columns) == ["predicted", "proba_no", "proba_yes", "gate_1"]
    assert (found["predicted"] == table["kind"]).mean() > 0.7


def test_counts_with_exposure(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"x": rng.normal(size=50), "days": rng.integers(1, 9, size=50)})
    table["n"] = rng.poisson(table["days"] * np.exp(0.5 * table["x"]))
    path, out = tmp_path / "n.csv", tmp_path / "p.csv"
    table.to_csv(path, index=False)
    report = ["--target", "n", "--exposure", "days", "--out", str(tmp_path / "r"), *FAST]
    assert main(["study", str(path), *report, "--experts", "1"]) == 0
    model = tmp_path / "r" / "model.mixexp"
    assert main(["predict", str(model), str(path), "--out", str(out), "--quiet"]) == 0
    whole = pd.read_csv(out)["mean"]
    table.drop(columns="days").to_csv(path, index=False)
    assert main(["predict", str(model), str(path), "--out", str(out), "--force"]) == 0
    assert "predictions are for one unit of exposure" in capsys.readouterr().err
    assert_allclose(whole, pd.read_csv(out)["mean"] * table["days"])


def refused(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> str:
    """The one line that a wrong command says."""
    try:
        code = main(arguments)
    except SystemExit as stop:
        code = int(str(stop.code))
    out, err = capsys.readouterr()
    assert code == 2
    assert out == ""
    assert err.count("\n") == 1 and err.endswith("\n")
    assert "Traceback" not in err
    return err


def changed(**columns: object) -> pd.DataFrame:
    return example().assign(**columns)


STRAY = [str(i) if i != 7 else "seven" for i in range(40)]
CASES: dict[str, tuple[pd.DataFrame, list[str], str]] = {
    "missing target": (example(), ["--target", "Y2"], "no column 'Y2' for the target"),
    "near target": (changed(price=1.0), ["--target", "prise"], "did you mean 'price'"),
    "constant target": (changed(y=1.0), [], "is constant"),
    "one row": (example(1), [], "has 1 row "),
    "junk": (changed(x=STRAY), [], "'x' looks numeric .* row 8 has 'seven'"),
    "junk target": (changed(y=STRAY), ["--family", "gaussian"], "row 8 has 'seven'"),
    "too many experts": (example(), ["--experts", "1-30"], "beyond reason for 40 rows"),
    "absurd experts": (example(), ["--experts", "5000"], "beyond 50"),
    "experts backwards": (example(), ["--experts", "4-2"], "count upwards"),
    "experts junk": (example(), ["--experts", "many"], "not understood"),
    "family": (example(), ["--family", "poisson"], "whole numbers"),
    "unknown family": (example(), ["--family", "normal"], "invalid choice"),
    "gamma": (example(), ["--family", "gamma"], "positive numbers"),
    "negative weights": (changed(w=-1.0), ["--weights", "w"], r"row 1 has -1"),
    "zero exposure": (changed(w=0.0), ["--exposure", "w"], "must be positive"),
    "absent weights": (example(), ["--weights", "ww"], "'ww' for the weights; did you mean 'w'"),
    "target twice": (example(), ["--weights", "y"], "cannot be both target and weights"),
    "gate column": (example(), ["--gate-columns", "z"], "no column 'z'"),
    "nothing left": (example(), ["--drop", "x,w"], "no column is left"),
    "penalties": (example(), ["--penalty", "0,0.1"], "need --criterion cv"),
    "penalty text": (example(), ["--penalty", "big"], "no list of numbers"),
    "cv without folds": (example(), ["--criterion", "cv", "--folds", "0"], "needs --folds"),
    "no folds": (example(), ["--folds", "1"], "at least 2 folds"),
    "exposure of a normal": (changed(w=2.0), ["--exposure", "w"], "chosen for 'y'. takes no expos"),
    "exposure of a class": (
        changed(y=["a", "b"] * 20),
        ["--exposure", "w"],
        "multinomial .* takes no exposure",
    ),
    "offset of a class": (
        changed(y=["a", "b"] * 20),
        ["--offset", "w"],
        "multinomial .* takes no offset",
    ),
}


@pytest.mark.parametrize("name", sorted(CASES))
def test_wrong_input_is_one_line_and_nothing_written(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table, options, says = CASES[name]
    path = tmp_path / "data.csv"
    table.to_csv(path, index=False)
    target = [] if "--target" in options else ["--target", "y"]
    line = refused(
        capsys,
        ["study", str(path), *FAST, *target, *options, "--out", str(tmp_path / "report")],
    )
    assert pd.Series([line]).str.contains(says, regex=True).all(), line
    assert [entry.name for entry in tmp_path.iterdir()] == ["data.csv"]


@pytest.mark.parametrize("arguments", [["study"], ["study", "x.csv"], ["fit"], ["predict", "m"]])
def test_wrong_commands_are_one_line(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    refused(capsys, arguments)


def test_wrong_file_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["study", str(tmp_path / "no.csv"), "--target", "y", "--out", str(tmp_path / "r")]
    assert "there is no file" in refused(capsys, arguments)


def test_foreign_folders_are_left_alone(csv: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = csv.parent / "mine"
    out.mkdir()
    (out / "thesis.txt").write_text("keep")
    arguments = ["study", str(csv), "--target", "y", "--out", str(out), *FAST]
    assert "is no report of mixexp" in refused(capsys, arguments)
    assert [path.name for path in out.iterdir()] == ["thesis.txt"]
    assert main([*arguments, "--force"]) == 0
    assert (out / "thesis.txt").read_text() == "keep"
    assert (out / "report.html").exists()
    assert main(arguments) == 0  # now it is one of ours


@pytest.mark.parametrize(
    ("out", "says"), [("no/where/report", "does not exist"), ("data.csv", "is a file")]
)
def test_impossible_folders_are_one_line(
    out: str, says: str, csv: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["study", str(csv), "--target", "y", "--out", str(csv.parent / out), *FAST]
    assert says in refused(capsys, arguments)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root writes anywhere")
def test_unwritable_folder_is_one_line(csv: Path, capsys: pytest.CaptureFixture[str]) -> None:
    closed = csv.parent / "closed"
    closed.mkdir(mode=0o500)
    arguments = ["study", str(csv), "--target", "y", "--out", str(closed / "r"), *FAST]
    assert "permission" in refused(capsys, arguments)


def test_a_failure_while_writing_leaves_nothing(
    csv: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: TableModel, path: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(TableModel, "save", full)
    arguments = ["study", str(csv), "--target", "y", "--out", str(csv.parent / "r"), *FAST]
    assert "No space left" in refused(capsys, arguments)
    assert [path.name for path in csv.parent.iterdir()] == ["data.csv"]


PREDICT_CASES = {
    "absent column": ("x", ["--out", "p.csv"], "has no column"),
    "level": ("", ["--out", "p.csv", "--level", "2"], "between 0 and 1"),
    "folder": ("", ["--out", "."], "is a folder"),
    "no folder": ("", ["--out", "no/p.csv"], "folder does not exist"),
    "existing": ("", ["--out", "data.csv"], "--force replaces it"),
}


@pytest.mark.parametrize("name", sorted(PREDICT_CASES))
def test_wrong_predictions_are_one_line(
    name: str, done: Path, csv: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    _, options, says = PREDICT_CASES[name]
    monkeypatch.chdir(csv.parent)
    model = str(done / "report" / "model.mixexp")
    assert says in refused(capsys, ["predict", model, "data.csv", *options])
    assert [path.name for path in csv.parent.iterdir()] == ["data.csv"]


def test_a_file_that_is_no_model_is_one_line(csv: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = refused(capsys, ["predict", str(csv), str(csv), "--out", str(csv.parent / "p.csv")])
    assert "is not a mixexp file" in line


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["--version"])
    assert stop.value.code == 0
    assert capsys.readouterr().out == f"mixexp {mixexp.__version__}\n"


@pytest.mark.parametrize(
    ("text", "numbers"), [("3", [3]), ("1-3", [1, 2, 3]), ("4,1-2", [1, 2, 4])]
)
def test_experts_are_read(text: str, numbers: list[int]) -> None:
    assert parse_experts(text) == numbers


def test_a_collection_of_gates_degrees_and_covariances(csv: Path, tmp_path: Path) -> None:
    out = tmp_path / "report"
    command = ["study", str(csv), "--target", "y", "--drop", "w", "--out", str(out), *FAST]
    command += ["--gate", "gaussian", "--gate-covariance", "full,spherical", "--degree", "1,2"]
    assert main(command) == 0
    content = json.loads((out / "study.json").read_text(encoding="utf-8"))
    labels = {row["cell"] for row in content["table"]}
    assert labels == {
        f"expert degree {degree}, gate covariance {covariance}"
        for degree in (1, 2)
        for covariance in ("full", "spherical")
    }
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "What each criterion chooses" in page
    assert "a normal distribution of the columns for every expert" in page


def test_several_gates_are_compared_by_cross_validation(csv: Path, tmp_path: Path) -> None:
    command = ["study", str(csv), "--target", "y", "--drop", "w", "--out", str(tmp_path / "r")]
    command += ["--experts", "1-2", "--folds", "2", "--criterion", "cv", "--quiet", "--jobs", "1"]
    assert main([*command, "--gate", "softmax,gaussian,constant"]) == 0
    content = json.loads((tmp_path / "r" / "study.json").read_text(encoding="utf-8"))
    cells = {row["cell"].split(",")[0] for row in content["table"]}
    assert cells == {"gate softmax", "gate gaussian", "gate constant"}


def test_sparse_penalties_are_compared_by_any_criterion(csv: Path, tmp_path: Path) -> None:
    out = tmp_path / "report"
    command = ["study", str(csv), "--target", "y", "--drop", "w", "--out", str(out), *FAST]
    assert main([*command, "--penalty", "l1:0.01,0.5"]) == 0
    content = json.loads((out / "study.json").read_text(encoding="utf-8"))
    free = {row["cell"]: row["n_free"] for row in content["table"] if row["n_experts"] == 1}
    assert len(free) == 2 and min(free.values()) == 2  # the stronger one leaves no slope


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--gate", "soft"], "no list of softmax, gaussian, constant"),
        (["--gate", "softmax,gaussian"], "--criterion cv"),
        (["--gate-covariance", "round"], "no list of full, diagonal, spherical"),
        (["--degree", "0"], "must count upwards"),
        (["--degree", "2", "--family", "poisson"], "--degree is for Gaussian experts"),
        (["--penalty", "l3:0.1"], "none of the penalties"),
        (["--penalty", "l1:a"], "no list of numbers"),
        (["--penalty", "0.1,0.2"], "need --criterion cv"),
    ],
)
def test_a_collection_that_makes_no_sense_is_refused(
    csv: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], words: str
) -> None:
    table = pd.read_csv(csv).assign(y=lambda frame: frame["y"].round().abs())
    table.to_csv(csv, index=False)
    command = ["study", str(csv), "--target", "y", "--out", str(tmp_path / "r"), *FAST, *options]
    try:
        code = main(command)
    except SystemExit as stop:
        code = stop.code
    message = capsys.readouterr().err
    assert code == 2 and words in message and len(message.strip().splitlines()) == 1
    assert not (tmp_path / "r").exists()
