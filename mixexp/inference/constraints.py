"""Linear hypotheses on named parameters: text, dictionaries or matrices."""

from __future__ import annotations

import numpy as np


def linear_constraints(hypothesis, names):
    """R (r, f) and q (r,) of the constraints R b = q.

    Parameters
    ----------
    hypothesis : str, sequence of str, (R, q), array (r, f), or dict
        Text such as "`expert 0: x` = `expert 1: x`", several separated by commas; a name alone
        means that it is zero. A dict gives values by name.
    names : sequence of str

    Raises
    ------
    ValueError
        If a name is unknown or the shapes do not fit.
    """
    if isinstance(hypothesis, dict):
        places = [_place(name, names) for name in hypothesis]
        return np.eye(len(names))[places], np.array(list(hypothesis.values()), dtype=float)
    if isinstance(hypothesis, str) and hypothesis in names:
        return np.eye(len(names))[[names.index(hypothesis)]], np.zeros(1)
    if isinstance(hypothesis, str):
        return _from_text(hypothesis, names)
    if isinstance(hypothesis, tuple) and len(hypothesis) == 2 and not _is_text(hypothesis[0]):
        R, q = np.atleast_2d(hypothesis[0]), np.atleast_1d(hypothesis[1])
    elif all(_is_text(item) for item in hypothesis):
        pairs = [linear_constraints(item, names) for item in hypothesis]
        return np.vstack([R for R, _ in pairs]), np.concatenate([q for _, q in pairs])
    else:
        R = np.atleast_2d(np.asarray(hypothesis, dtype=float))
        q = np.zeros(len(R))
    if R.shape[1] != len(names) or len(q) != len(R):
        raise ValueError(
            f"A hypothesis needs a matrix with {len(names)} columns and one value a row; got "
            f"shapes {R.shape} and {q.shape}."
        )
    return R.astype(float), q.astype(float)


def _is_text(item):
    return isinstance(item, str)


def _place(name, names):
    if name not in names:
        raise ValueError(f"No parameter is named {name!r}; they are {list(names)!r}.")
    return names.index(name)


def _from_text(text, names):
    from formulaic.utils.constraints import LinearConstraints

    try:
        parsed = LinearConstraints.from_spec(text, variable_names=list(names))
    except Exception as error:
        raise ValueError(
            f"The hypothesis {text!r} was not understood. Put names between backticks, as in "
            f"'`{names[-1]}` = 0'; the names are {list(names)!r}."
        ) from error
    if not np.size(parsed.constraint_matrix):
        raise ValueError(
            f"The hypothesis {text!r} holds no constraint; write one as '`{names[-1]}` = 0'."
        )
    return np.asarray(parsed.constraint_matrix, float), np.asarray(parsed.constraint_values, float)
