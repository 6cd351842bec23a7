"""The command line: `mixexp study` and `mixexp predict`."""

from __future__ import annotations

import argparse
import shlex
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from mixexp import __version__

FAMILIES = ("auto", "gaussian", "poisson", "gamma", "binomial", "multinomial")
# what decides: tests hold the list against the registry, which is costly to import here
GATES = ("softmax", "gaussian", "constant")
COVARIANCES = ("full", "diagonal", "spherical")
PENALTIES = ("l2", "l1", "mcp", "scad", "group")
CRITERIA = ("bic", "aic", "aicc", "aic3", "caic", "icl", "mbic", "ebic", "nec", "slope", "cv")
MAX_EXPERTS = 50
MAX_DEGREE = 5


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one line."""

    def error(self, message: str) -> NoReturn:
        """Leave with exit code 2."""
        self.exit(2, f"{self.prog}: error: {message} (see {self.prog} --help)\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command.

    Parameters
    ----------
    argv : sequence of str, optional
        Arguments without the program's name; those of the process by default.

    Returns
    -------
    int
        0, or 2 after an error of the user's input, with one line on the standard error; 130 after
        an interruption.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    options = parser().parse_args(arguments)
    if options.command is None:
        parser().print_help()
        return 0
    try:
        # ValueError is what every part raises for input that cannot be used; OSError is a file.
        return options.run(options, arguments)
    except (ValueError, OSError) as error:
        text = " ".join(_text(error).split())
        print(f"mixexp {options.command}: error: {text}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"mixexp {options.command}: interrupted, nothing was written", file=sys.stderr)
        return 130


def _text(error: Exception) -> str:
    if isinstance(error, OSError) and error.filename:
        return f"{error.strerror}: {str(error.filename)!r}"
    return str(error) or type(error).__name__


def parser() -> Parser:
    """The options of all commands."""
    top = Parser(prog="mixexp", description="Statistical mixtures of experts.")
    top.add_argument("--version", action="version", version=f"mixexp {__version__}")
    commands = top.add_subparsers(dest="command", parser_class=Parser)
    _add_study(commands.add_parser("study", help="fit, compare and explain mixtures for a table"))
    _add_predict(commands.add_parser("predict", help="predict with the model of a study"))
    return top


def _add_study(add: argparse.ArgumentParser) -> None:
    option = add.add_argument
    option("table", help="CSV or Parquet file with a header")
    option("--target", required=True, help="column to explain")
    option("--experts", default=None, help="numbers of experts, such as 1-6 or 1,2,4 (1-6)")
    option("--family", default="auto", choices=FAMILIES, help="family of the experts")
    option("--gate", type=_gates, default=GATES[:1], help="gates to compare (softmax)")
    option("--gate-covariance", type=_covariances, default=COVARIANCES[:1],
           help="covariances of Gaussian gates to compare (full)")  # fmt: skip
    option("--degree", type=_degrees, default=(1,), help="degrees of Gaussian experts, 1-3 (1)")
    option("--criterion", default="bic", choices=CRITERIA, help="what decides (bic)")
    option("--one-se", action="store_true", help="with cv: the simplest within one standard error")
    option("--folds", type=_whole, default=5, help="folds of the cross-validation, 0 for none (5)")
    option("--out", default="report", help="folder to write (report)")
    option("--force", action="store_true", help="write into a folder that holds other files")
    for name in ("weights", "exposure", "offset", "trials"):
        option(f"--{name}", metavar="COLUMN", help=f"column of {name}")
    option("--groups", metavar="COLUMN", help="column of labels: rows that share one expert")
    option("--gate-columns", type=_names, default=(), help="columns of the gate (all)")
    option("--expert-columns", type=_names, default=(), help="columns of the experts (all)")
    option("--categorical", type=_names, default=(), help="columns to treat as categories")
    option("--keep", type=_names, default=(), help="columns to use although they look like keys")
    option("--drop", type=_names, default=(), help="columns to leave out")
    option("--penalty", type=_strengths, default=None, help="penalties of the experts to compare: "
           "strengths of L2, such as 0,0.01, or of another kind, such as l1:0.01,0.03")  # fmt: skip
    option("--gate-penalty", type=_strengths, default=None, help="the same of the gate")
    option("--checkpoint", default=None, help="folder of finished fits, to continue from")
    option("--seed", type=_whole, default=0, help="seed of starts, folds and residuals (0)")
    option("--jobs", type=_whole, default=0, help="processes; 0 is one for each core")
    option("--quiet", action="store_true", help="no progress and no summary")
    add.set_defaults(run=study)


def _add_predict(add: argparse.ArgumentParser) -> None:
    option = add.add_argument
    option("model", help="model.mixexp of a study")
    option("table", help="CSV or Parquet file with the columns of the study")
    option("--out", required=True, help="CSV file to write")
    option("--level", type=float, default=0.9, help="level of the predictive interval (0.9)")
    option("--force", action="store_true", help="replace an existing file")
    option("--quiet", action="store_true", help="no messages")
    add.set_defaults(run=predict)


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _whole(text: str) -> int:
    try:
        value = int(text)
    except ValueError:
        value = -1
    if value < 0:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number of at least 0")
    return value


def _strengths(text: str) -> tuple[tuple[str, float], ...]:
    """Kinds and strengths of penalties, from "0,0.01" or "l1:0.01,0.03"."""
    kind, colon, numbers = text.rpartition(":")
    kind = kind.strip().lower() if colon else "l2"
    if kind not in PENALTIES:
        raise argparse.ArgumentTypeError(
            f"{kind!r} is none of the penalties {', '.join(PENALTIES)}"
        )
    try:
        values = tuple(float(part) for part in numbers.split(","))
    except ValueError:
        values = (-1.0,)
    if not all(0 <= value < float("inf") for value in values):
        raise argparse.ArgumentTypeError(f"{numbers!r} is no list of numbers of at least 0")
    return tuple((kind, value) for value in values)


def _gates(text: str) -> tuple[str, ...]:
    return _some_of(GATES, text)


def _covariances(text: str) -> tuple[str, ...]:
    return _some_of(COVARIANCES, text)


def _some_of(known: Sequence[str], text: str) -> tuple[str, ...]:
    names = _names(text)
    if not names or not set(names) <= set(known):
        raise argparse.ArgumentTypeError(f"{text!r} is no list of {', '.join(known)}")
    return tuple(dict.fromkeys(names))


def _degrees(text: str) -> tuple[int, ...]:
    try:
        found = parse_counts(text, "--degree", MAX_DEGREE)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return tuple(found)


def parse_experts(text: str) -> list[int]:
    """Numbers of experts from "3", "1-6" or "1,2,4-6"; see `parse_counts`."""
    return parse_counts(text, "--experts", MAX_EXPERTS)


def parse_counts(text: str, option: str, most: int) -> list[int]:
    """Whole numbers from "3", "1-6" or "1,2,4-6".

    Raises
    ------
    ValueError
        If the text says something else, or a number is out of reason.
    """
    found: set[int] = set()
    for part in text.split(","):
        ends = part.strip().split("-")
        if len(ends) > 2 or not all(end.strip().isdecimal() for end in ends):
            raise ValueError(f"{option} {text!r} is not understood; write 1-{most} or 1,2")
        first, last = int(ends[0]), int(ends[-1])
        if last < first or first < 1:
            raise ValueError(f"{option} {text!r} must count upwards from at least 1")
        if last > most:
            raise ValueError(f"{option} {text!r} goes beyond {most}, the most allowed")
        found.update(range(first, last + 1))
    return sorted(found)


def study(options: argparse.Namespace, arguments: Sequence[str]) -> int:
    """Fit, compare and explain; write the report."""
    from mixexp.report import check_folder, write_report
    from mixexp.report.run import StudyPlan, study_table
    from mixexp.tables.prepare import Roles

    _check_strengths(options)
    if "gaussian" in options.gate and len(options.gate) > 1 and options.criterion != "cv":
        raise ValueError(
            "a Gaussian gate models the columns as well, so that its criteria cannot be compared "
            "with those of other gates: compare them by --criterion cv, or study them apart"
        )
    if options.criterion == "cv" and options.folds == 0:
        raise ValueError("--criterion cv needs --folds of at least 2")
    check_folder(options.out, options.force)
    roles = Roles(
        options.target, options.family, options.weights, options.exposure, options.offset,
        options.trials, options.gate_columns, options.expert_columns, options.categorical,
        options.keep, options.drop, options.groups,
    )  # fmt: skip
    plan = StudyPlan(
        None if options.experts is None else parse_experts(options.experts), options.criterion,
        options.one_se, options.folds, options.penalty, options.gate_penalty, options.gate,
        options.gate_covariance, options.degree, options.seed, options.jobs, options.checkpoint,
    )  # fmt: skip
    command = f"mixexp {shlex.join(arguments)}"
    with progress(options.quiet) as report:
        found = study_table(options.table, roles, plan, command=command, progress=report)
    page = write_report(options.out, found, options.force)
    if not options.quiet:
        print(found.result.headline())
        print(f"Report: {page}")
    return 0


def _check_strengths(options: argparse.Namespace) -> None:
    for asked in (options.penalty or (), options.gate_penalty or ()):
        ridges = [value for kind, value in asked if kind == "l2"]
        if len(ridges) > 1 and options.criterion != "cv":
            raise ValueError(
                "several strengths of an L2 penalty need --criterion cv: information criteria "
                "count every parameter in full, whatever its penalty"
            )


def predict(options: argparse.Namespace, arguments: Sequence[str]) -> int:
    """Predictions for every row of a table, in its order."""
    from mixexp._persistence import write_atomic
    from mixexp.tables.model import TableModel
    from mixexp.tables.reading import read_table

    if not 0 < options.level < 1:
        raise ValueError(f"--level must lie between 0 and 1; got {options.level:g}")
    out = Path(options.out)
    if out.exists() and (out.is_dir() or not options.force):
        what = "is a folder" if out.is_dir() else "exists; --force replaces it"
        raise ValueError(f"cannot write {str(out)!r}: it {what}")
    if not out.resolve().parent.is_dir():
        raise ValueError(f"cannot write {str(out)!r}: its folder does not exist")
    if Path(options.model).is_dir():
        raise ValueError(f"{options.model!r} is a folder; name the model.mixexp in it")
    if not Path(options.model).exists():
        raise ValueError(f"there is no file {options.model!r}")
    model = TableModel.load(options.model)
    table, _ = read_table(options.table, least_columns=1)
    found = model.predict_table(table, options.level)
    write_atomic(out, found.to_csv(index=False, lineterminator="\n").encode("utf-8"))
    if not options.quiet:
        for note in (*model.absent_inputs(table), *model.preprocessor.unseen(table)):
            print(f"Note: {note}.", file=sys.stderr)
        print(f"{len(found)} predictions: {out}")
    return 0


class progress:
    """A progress bar on a terminal, one line elsewhere, nothing when quiet."""

    def __init__(self, quiet: bool) -> None:
        self.quiet = quiet
        self.bar: Any = None
        self.task: Any = None
        self.announced = False

    def __enter__(self) -> progress:
        return self

    def __exit__(self, *error: object) -> None:
        if self.bar is not None:
            self.bar.stop()

    def __call__(self, done: int, total: int, label: str) -> None:
        """Tell how many fits are done."""
        if self.quiet:
            return
        if not sys.stderr.isatty():
            if not self.announced:
                print(f"Fitting {total} model{'s' * (total != 1)} ...", file=sys.stderr)
            self.announced = True
            return
        if self.bar is None:
            self._start(total)
        self.bar.update(self.task, completed=done)

    def _start(self, total: int) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeElapsedColumn

        self.bar = Progress(
            "Fitting", BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
            console=Console(stderr=True), transient=True,
        )  # fmt: skip
        self.task = self.bar.add_task("fits", total=total)
        self.bar.start()


def run() -> NoReturn:
    """Entry point of ``python -m mixexp.cli``."""
    warnings.simplefilter("default")
    sys.exit(main())


if __name__ == "__main__":
    run()
