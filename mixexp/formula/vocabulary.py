"""What an expression in a formula may say: columns, numbers, arithmetic and a list of functions.

Formulas are evaluated as Python. Since a file holds the formula of its model, only what is listed
here is evaluated: loading a file and predicting with it then runs no code of the file's.
"""

from __future__ import annotations

import ast
import re

import numpy as np

FUNCTIONS = frozenset(
    "log log2 log10 exp exp2 exp10 I Q C poly bs cr cs cc center scale standardize "
    "Treatment Sum Helmert Diff Poly".split()
)
NUMPY = frozenset(
    {name for name in dir(np) if isinstance(getattr(np, name), np.ufunc)}
    | {"where", "clip", "round", "pi", "e"}
)
CONTRASTS = frozenset({"treatment", "SAS", "sum", "helmert", "diff", "poly", "custom"})
_SPACES = {"np": NUMPY, "contr": CONTRASTS}
_ALLOWED = (
    ast.Expression,
    ast.Constant,
    ast.Name,
    ast.Load,
    ast.Call,
    ast.keyword,
    ast.Attribute,
    ast.BinOp,
    ast.UnaryOp,
    ast.Compare,
    ast.operator,
    ast.unaryop,
    ast.cmpop,
    ast.List,
    ast.Tuple,
    ast.Dict,
)


def variables_of(expression: str) -> frozenset[str]:
    """Names of the columns that an expression reads, after a check of all that it says.

    Parameters
    ----------
    expression : str
        Python, with names of columns that are no identifiers in backticks.

    Raises
    ------
    ValueError
        If it is no Python, or holds more than arithmetic, comparisons and the known functions.
    """
    quoted: list[str] = []

    def placeholder(match: re.Match[str]) -> str:
        quoted.append(match[1])
        return f"__quoted_{len(quoted) - 1}__"

    try:
        tree = ast.parse(re.sub(r"`([^`]*)`", placeholder, expression), mode="eval")
    except (SyntaxError, RecursionError) as error:
        raise ValueError(f"formula: {expression!r} cannot be read ({error}).") from error
    found: set[str] = set()
    functions = {id(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    spaces = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    for node in ast.walk(tree):
        _check(node, expression)
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Q":
            found |= {str(item.value) for item in node.args if isinstance(item, ast.Constant)}
        if isinstance(node, ast.Name) and id(node) not in functions | spaces:
            match = re.fullmatch(r"__quoted_(\d+)__", node.id)
            found.add(quoted[int(match[1])] if match else node.id)
    return frozenset(found)


def _check(node: ast.AST, expression: str) -> None:
    if isinstance(node, ast.Attribute):
        space = str(getattr(node.value, "id", ""))
        if node.attr in _SPACES.get(space, ()):
            return
        name = f"{space}.{node.attr}" if space else f".{node.attr}"
        hint = " A column whose name holds a dot needs backticks, as `a.b`."
        raise ValueError(f"formula: {name} in {expression!r} is not known.{hint}")
    if isinstance(node, ast.Call):
        name = str(getattr(node.func, "id", ""))
        if isinstance(node.func, ast.Attribute) or name in FUNCTIONS:
            return
        raise ValueError(
            f"formula: the function {name} in {expression!r} is not known. There are "
            f"{', '.join(sorted(FUNCTIONS))} and numpy's element-wise functions (np.sqrt); for "
            "others add a column to the data first."
        )
    if not isinstance(node, _ALLOWED):
        raise ValueError(
            f"formula: {expression!r} holds a {type(node).__name__}, which formulas do not take; "
            "add a column to the data instead."
        )
