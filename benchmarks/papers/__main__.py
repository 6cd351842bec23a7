"""``python -m benchmarks.papers [NAME ...] [--list] [--full] [--out DIR]``: the experiments."""

from __future__ import annotations

import importlib

from ._report import parser, perform

EXPERIMENTS = (
    "glome_choice",
    "glome_decay",
    "ethanol",
    "blome_blocks",
    "lasso_objectives",
    "lasso_table",
    "lasso_path",
    "lasso_oracle",
    "dendrogram",
    "distributed",
)


def load(name: str):
    return importlib.import_module(f"{__package__}.{name}")


def main(given: list[str] | None = None) -> None:
    command = parser(__doc__)
    command.prog = "python -m benchmarks.papers"
    command.add_argument("names", nargs="*", metavar="NAME", help=", ".join(EXPERIMENTS))
    command.add_argument("--list", action="store_true", help="say what there is and stop")
    arguments = command.parse_args(given)
    unknown = sorted(set(arguments.names) - set(EXPERIMENTS))
    if unknown:
        command.error(f"unknown: {', '.join(unknown)}; there are {', '.join(EXPERIMENTS)}")
    for name in arguments.names or EXPERIMENTS:
        module = load(name)
        print(f"{name:18s}{(module.__doc__ or '').splitlines()[0]}", flush=True)
        if arguments.list:
            continue
        try:
            perform(name, module.run, arguments.full, arguments.out)
        except FileNotFoundError as error:  # data that are not part of this package
            print(f"left out: {error}\n", flush=True)


if __name__ == "__main__":
    main()
