"""Possibility distributions of the contexts of rows: what an expert on the process asserts.

A possibility lies between zero (excluded) and one (nothing speaks against it). NaN is one.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np
import pandas as pd

COMBINATIONS = ("min", "product")
PROBABILITIES = ("pignistic", "normalised")


def possibility_trapezoid(t, support, core, *, floor=0.0):
    """Possibility that is one on the core and falls linearly to the ends of the support.

    Parameters
    ----------
    t : array-like of shape (n,)
        Numbers or dates, such as the time of each row. NaN stays NaN: nothing is known.
    support : pair (a, d)
        Outside it the possibility is ``floor``. An end may be infinite where the core's is.
    core : pair (b, c)
        With a <= b <= c <= d. Both ends belong to it.
    floor : float in [0, 1), default=0
        What remains possible outside the support.

    Returns
    -------
    (n,) ndarray

    Raises
    ------
    ValueError
        Unless a <= b <= c <= d.

    References
    ----------
    Souza, Offermans, Barendse, Postma and Jansen (2022), "Contextual mixture of experts",
    arXiv:2211.00558, where operators assert contexts so.

    Examples
    --------
    >>> from mixexp import possibility_trapezoid
    >>> possibility_trapezoid([0, 1, 1.5, 2, 3, 5], support=(1, 4), core=(2, 3))
    array([0. , 0. , 0.5, 1. , 1. , 0. ])
    """
    t, (a, d), (b, c) = _numbers(t, support, core)
    if not a <= b <= c <= d or (np.isinf([a, d]) & (np.array([a, d]) != [b, c])).any():
        raise ValueError(
            f"support={support!r} must hold core={core!r}, as (a, d) and (b, c) with a <= b <= c "
            "<= d; an end of the support is infinite only where that of the core is."
        )
    if not 0 <= floor < 1:
        raise ValueError(f"floor must be at least 0 and below 1; got {floor!r}.")
    rise = np.where(t >= b, 1.0, (t - a) / (b - a) if b > a else 0.0)
    fall = np.where(t <= c, 1.0, (d - t) / (d - c) if d > c else 0.0)
    values = floor + (1 - floor) * np.clip(np.minimum(rise, fall), 0, 1)
    return np.where(np.isnan(t), np.nan, values)


def _numbers(t, *pairs):
    """Numbers of t and of pairs of its kind; dates are nanoseconds."""
    t = np.asarray(t)
    if t.dtype.kind == "M":
        parts = [np.asarray(part, dtype="datetime64[ns]") for part in (t, *pairs)]
        numbers = [np.where(np.isnat(part), np.nan, part.astype(np.int64)) for part in parts]
    else:
        numbers = [np.asarray(part, dtype=np.float64) for part in (t, *pairs)]
    if any(part.shape != (2,) for part in numbers[1:]):
        raise ValueError("support and core are pairs: (start, end).")
    return numbers


def possibility_certain(mask, alpha=1.0):
    """Possibility of what is asserted with certainty alpha: one where so, 1 - alpha elsewhere.

    Parameters
    ----------
    mask : array-like of bool of shape (n,) or (n, C)
        Where the assertion holds.
    alpha : float in (0, 1]
        One excludes the rest.

    Returns
    -------
    ndarray, shaped as ``mask``
    """
    mask = np.asarray(mask)
    if mask.dtype != bool:
        raise ValueError(f"mask must be of booleans; got {mask.dtype}. Write mask != 0.")
    return np.where(mask, 1.0, 1.0 - _certainty(alpha))


def _certainty(alpha):
    if not 0 < alpha <= 1:
        raise ValueError(f"alpha must be above 0 and at most 1; got {alpha!r}.")
    return float(alpha)


def possibility_from_labels(labels, n_experts, alpha=1.0):
    """Possibilities of experts from labels of some of the rows.

    Parameters
    ----------
    labels : sequence of length n
        An expert 0..K-1; a collection of them, where the row is of one of these (a partial
        label); or -1, NaN or None, where nothing is known.
    n_experts : int
    alpha : float in (0, 1], default=1
        Certainty of the labels: the other experts keep the possibility 1 - alpha.

    Returns
    -------
    (n, K) ndarray, NaN in rows of which nothing is known

    Examples
    --------
    >>> from mixexp import possibility_from_labels
    >>> possibility_from_labels([0, -1, {1, 2}], 3)
    array([[ 1.,  0.,  0.],
           [nan, nan, nan],
           [ 0.,  1.,  1.]])
    """
    rest = 1.0 - _certainty(alpha)
    out = np.full((len(labels), n_experts), np.nan)
    for i, label in enumerate(labels):
        given = _candidates(label)
        if not given:
            continue
        if any(value != int(value) or not 0 <= value < n_experts for value in given):
            raise ValueError(
                f"labels: row {i} has {label!r}; experts are 0..{n_experts - 1}, and -1 or NaN "
                "is an unknown one."
            )
        out[i] = rest
        out[i, [int(value) for value in given]] = 1.0
    return out


def _candidates(label):
    """The experts that a label admits; none where it says nothing."""
    if isinstance(label, Collection) and not isinstance(label, str):
        if not len(label):
            raise ValueError("labels: an empty collection admits no expert; write -1 or NaN.")
        return [float(value) for value in label]
    return [] if pd.isna(label) or label == -1 else [float(label)]


def possibility_from_tags(tags):
    """Possibilities of all contexts from the certainty of single ones.

    A tag asserts its context: as far as it is certain the others are not possible, so that
    context c keeps 1 - max of the tags of the others. A row without tags says nothing.

    Parameters
    ----------
    tags : mapping of names to (n,) arrays, DataFrame, or array (n, C)
        Certainties in [0, 1], one column for each context; NaN is no tag.

    Returns
    -------
    DataFrame with the names, or (n, C) ndarray

    Raises
    ------
    ValueError
        If a row asserts two contexts with certainty.

    Examples
    --------
    >>> from mixexp import possibility_from_tags
    >>> possibility_from_tags({"day": [1.0, 0.3, 0.0], "night": [0.0, 0.0, 0.0]})
       day  night
    0  1.0    0.0
    1  1.0    0.7
    2  1.0    1.0
    """
    names, values = named_columns(tags, "tags")
    values = _unit_interval(np.where(np.isnan(values), 0.0, values), "tags")
    out = np.ones_like(values)
    for c in range(values.shape[1]):
        others = np.delete(values, c, axis=1)
        out[:, c] -= others.max(axis=1, initial=0.0)
    _check_possible(out, "tags")
    return out if names is None else pd.DataFrame(out, columns=names, index=_index(tags))


def combine_possibilities(*sources, how="min"):
    """What several sources leave possible together.

    Parameters
    ----------
    *sources : arrays of one shape (n,) or (n, C), or DataFrames of the same columns
        NaN is one: a source that knows nothing changes nothing.
    how : {"min", "product"}
        The minimum for sources that may share their grounds: saying a thing twice adds nothing.
        The product for independent ones.

    Returns
    -------
    ndarray, or DataFrame where the sources are

    Raises
    ------
    ValueError
        If shapes or names differ, or if sources of (n, C) leave nothing possible in a row.
    """
    if how not in COMBINATIONS:
        raise ValueError(f"how must be one of {COMBINATIONS}; got {how!r}.")
    if not sources:
        raise ValueError("combine_possibilities needs at least one source.")
    first = sources[0]
    frames = isinstance(first, pd.DataFrame)
    if frames:
        if not all(isinstance(s, pd.DataFrame) and set(s) == set(first) for s in sources):
            raise ValueError("the sources must be DataFrames with the same columns, or all arrays.")
        sources = tuple(source[list(first)].to_numpy() for source in sources)
    arrays = [np.asarray(source, dtype=np.float64) for source in sources]
    if len({array.shape for array in arrays}) > 1:
        shapes = ", ".join(str(array.shape) for array in arrays)
        raise ValueError(f"the sources must have one shape; got {shapes}.")
    filled = [_unit_interval(np.where(np.isnan(a), 1.0, a), "sources") for a in arrays]
    out = np.min(filled, axis=0) if how == "min" else np.prod(filled, axis=0)
    if out.ndim == 2:
        _check_possible(out, "sources")
    return pd.DataFrame(out, columns=first.columns, index=first.index) if frames else out


def to_probability(possibilities, method="pignistic"):
    """Probabilities of contexts from their possibilities.

    Parameters
    ----------
    possibilities : array-like or DataFrame of shape (n, C)
        Divided by the largest of the row. NaN is one, so that a row of NaN is uniform.
    method : {"pignistic", "normalised"}
        The pignistic transformation shares each difference of the sorted possibilities among
        the contexts above it, sum_{i >= j} (omega_(i) - omega_(i+1)) / i for the j-th largest
        (Dubois and Prade, 1982); "normalised" divides by the sum.

    Returns
    -------
    (n, C) ndarray or DataFrame; rows sum to one

    Examples
    --------
    >>> from mixexp import to_probability
    >>> to_probability([[1, 0.5, 0.0]])
    array([[0.75, 0.25, 0.  ]])
    """
    if method not in PROBABILITIES:
        raise ValueError(f"method must be one of {PROBABILITIES}; got {method!r}.")
    names, values = named_columns(possibilities, "possibilities")
    values = _unit_interval(np.where(np.isnan(values), 1.0, values), "possibilities")
    _check_possible(values, "possibilities")
    values = values / values.max(axis=1, keepdims=True)
    if method == "normalised":
        out = values / values.sum(axis=1, keepdims=True)
    else:
        order = np.argsort(-values, axis=1, kind="stable")
        down = np.take_along_axis(values, order, axis=1)
        steps = (down - np.pad(down[:, 1:], ((0, 0), (0, 1)))) / np.arange(1, values.shape[1] + 1)
        shares = np.cumsum(steps[:, ::-1], axis=1)[:, ::-1]
        out = np.empty_like(shares)
        np.put_along_axis(out, order, shares, axis=1)
    return out if names is None else pd.DataFrame(out, columns=names, index=_index(possibilities))


def named_columns(values, what):
    """Names of the columns, or None of an array, and the (n, C) numbers."""
    if isinstance(values, Mapping):
        values = pd.DataFrame({name: np.asarray(column) for name, column in values.items()})
    names = None
    if isinstance(values, pd.DataFrame):
        names = [str(name) for name in values.columns]
    numbers = np.array(values, dtype=np.float64)
    if numbers.ndim != 2:
        raise ValueError(f"{what} needs one column for each context; got shape {numbers.shape}.")
    return names, numbers


def _index(values):
    return values.index if isinstance(values, pd.DataFrame) else None


def _unit_interval(values, what):
    if values.size and not (values.min() >= 0 and values.max() <= 1):
        raise ValueError(
            f"{what} must lie between 0 and 1; got {values.min():.4g} to {values.max():.4g}."
        )
    return values


def _check_possible(values, what):
    none = values.max(axis=1) <= 0
    if none.any():
        raise ValueError(
            f"{what}: nothing remains possible in row {int(none.argmax())}, {int(none.sum())} such "
            "rows in all: the assertions contradict one another. Make some less certain, or write "
            "NaN where nothing is known."
        )


def context_weights(contexts, possibilities):
    """Names of the contexts and the (n, C) weights, or None where nothing is asserted.

    Raises
    ------
    ValueError
        On unusable contexts, columns with other names, and possibilities beyond [0, 1].
    """
    names = _names_of(contexts)
    if possibilities is None:
        return names or [f"context {c}" for c in range(contexts)], None
    given, values = named_columns(possibilities, "possibilities")
    expected = contexts if names is None else len(names)
    if names is None:
        names = given if given is not None else [f"context {c}" for c in range(contexts)]
    elif given is not None:
        if set(given) != set(names):
            raise ValueError(
                f"possibilities have the columns {given}, contexts are {names}. Give one column "
                "for each context; a column of NaN asserts nothing."
            )
        values = values[:, [given.index(name) for name in names]]
    if values.shape[1] != expected:
        raise ValueError(
            f"possibilities need one column for each of {expected} contexts; got {values.shape[1]}."
        )
    values = _unit_interval(np.where(np.isnan(values), 1.0, values), "possibilities")
    _check_possible(values, "possibilities")
    return names, values


def _names_of(contexts):
    """Names as a list; None where a number of contexts is given."""
    if isinstance(contexts, bool) or isinstance(contexts, str):
        raise ValueError(f"contexts must be names or their number; got {contexts!r}.")
    if isinstance(contexts, int | np.integer):
        if contexts < 1:
            raise ValueError(f"contexts must be names or a positive number; got {contexts!r}.")
        return None
    if not np.iterable(contexts):
        raise ValueError(f"contexts must be names or their number; got {contexts!r}.")
    names = [str(name) for name in contexts]
    if not names or len(set(names)) < len(names):
        raise ValueError(f"contexts need distinct names; got {names}.")
    return names
