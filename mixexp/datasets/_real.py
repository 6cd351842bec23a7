"""Loaders of the bundled real data sets (their sources are in ``_sources.py``)."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mixexp.datasets._sources import SPECS, Spec

_FOLDER = Path(__file__).parent / "data"


@dataclass(frozen=True, eq=False)
class Dataset:
    """One table with its target, in the manner of scikit-learn's ``Bunch``.

    Attributes
    ----------
    data : ndarray of shape (n, p) or DataFrame
        The features. A two-level factor is 0 for its first and 1 for its second level in the
        array, and keeps its labels in a frame.
    target : ndarray of shape (n,) or Series
        The response; for binomial data the number of successes among ``trials``.
    feature_names : list of str
    target_name : str
    frame : DataFrame or None
        Every column of the file, with ``as_frame=True`` only.
    DESCR : str
        What was measured, and the published source.
    filename : str
        Path of the CSV file.
    offset, exposure, trials : ndarray of shape (n,), Series or None
        What travels with the rows, where the data have it.
    """

    data: Any
    target: Any
    feature_names: list[str]
    target_name: str
    frame: Any
    DESCR: str
    filename: str
    offset: Any = None
    exposure: Any = None
    trials: Any = None

    def __getitem__(self, key: str) -> Any:
        """Attribute by name, so that ``ds["data"]`` works as with scikit-learn."""
        if key not in self.__dataclass_fields__:
            raise KeyError(f"{key!r}; a Dataset has {', '.join(self.__dataclass_fields__)}")
        return getattr(self, key)


def list_datasets() -> list[str]:
    """Names of the bundled data sets, sorted; ``load_<name>`` loads one."""
    return sorted(SPECS)


def path(name: str) -> str:
    """Path of a bundled CSV file.

    Parameters
    ----------
    name : str
        One of :func:`list_datasets`.

    Raises
    ------
    ValueError
        When there is no such data set.
    """
    if name not in SPECS:
        known = ", ".join(list_datasets())
        raise ValueError(f"there is no data set {name!r}; choose one of {known}.")
    return str(_FOLDER / f"{name}.csv")


def _read_columns(name: str) -> dict[str, list[str]]:
    """Columns of a bundled file as text, in file order."""
    with open(path(name), newline="", encoding="utf-8") as stream:
        header, *rows = csv.reader(stream)
    return {
        column: list(values) for column, values in zip(header, zip(*rows, strict=True), strict=True)
    }


def _number_column(spec: Spec, column: str, values: list[str]) -> np.ndarray:
    """One column as float64; a factor's levels become 0 and 1."""
    if column in spec.levels:
        codes = {level: float(code) for code, level in enumerate(spec.levels[column])}
        return np.array([codes[value] for value in values])
    return np.array(values, dtype=np.float64)


def _make_frame(spec: Spec, columns: dict[str, list[str]]) -> Any:
    """Every column of the file as a pandas DataFrame: integers, floats or text."""
    try:
        import pandas as pd
    except ImportError as error:
        raise ImportError("as_frame=True needs pandas: install it, or pass False.") from error
    frame = pd.DataFrame(columns)
    for column in frame.columns:
        if column in spec.text:
            continue
        if column in spec.levels:
            frame[column] = pd.Categorical(frame[column], categories=list(spec.levels[column]))
        else:
            frame[column] = pd.to_numeric(frame[column])
    return frame


def _load(name: str, return_X_y: bool, as_frame: bool) -> Any:
    spec = SPECS[name]
    columns = _read_columns(name)
    frame = _make_frame(spec, columns) if as_frame else None

    def column(key: str | None) -> Any:
        if key is None:
            return None
        return _number_column(spec, key, columns[key]) if frame is None else frame[key]

    names = list(spec.features)
    X = np.column_stack([column(key) for key in names]) if frame is None else frame[names]
    y = column(spec.target)
    if return_X_y:
        return X, y
    return Dataset(
        data=X,
        target=y,
        feature_names=names,
        target_name=spec.target,
        frame=frame,
        DESCR=spec.descr,
        filename=path(name),
        exposure=column(spec.exposure),
        trials=column(spec.trials),
    )


def load_ethanol(*, return_X_y: bool = False, as_frame: bool = False) -> Any:
    """Exhaust of an engine burning ethanol: NOx given C and E.

    88 rows, 2 features.

    Parameters
    ----------
    return_X_y : bool, default=False
        Return ``(data, target)`` instead of a :class:`Dataset`.
    as_frame : bool, default=False
        pandas objects instead of arrays.

    Returns
    -------
    Dataset or (data, target)
        ``DESCR`` names the published source.
    """
    return _load("ethanol", return_X_y, as_frame)


def load_tone(*, return_X_y: bool = False, as_frame: bool = False) -> Any:
    """Tone perception: tuned given stretchratio.

    150 rows, 1 feature.

    Parameters
    ----------
    return_X_y : bool, default=False
        Return ``(data, target)`` instead of a :class:`Dataset`.
    as_frame : bool, default=False
        pandas objects instead of arrays.

    Returns
    -------
    Dataset or (data, target)
        ``DESCR`` names the published source.
    """
    return _load("tone", return_X_y, as_frame)


def load_faithful(*, return_X_y: bool = False, as_frame: bool = False) -> Any:
    """Old Faithful: waiting given eruptions.

    272 rows, 1 feature.

    Parameters
    ----------
    return_X_y : bool, default=False
        Return ``(data, target)`` instead of a :class:`Dataset`.
    as_frame : bool, default=False
        pandas objects instead of arrays.

    Returns
    -------
    Dataset or (data, target)
        ``DESCR`` names the published source.
    """
    return _load("faithful", return_X_y, as_frame)


def load_geyser(*, return_X_y: bool = False, as_frame: bool = False) -> Any:
    """Old Faithful, August 1985: waiting given duration.

    299 rows, 1 feature.

    Parameters
    ----------
    return_X_y : bool, default=False
        Return ``(data, target)`` instead of a :class:`Dataset`.
    as_frame : bool, default=False
        pandas objects instead of arrays.

    Returns
    -------
    Dataset or (data, target)
        ``DESCR`` names the published source.
    """
    return _load("geyser", return_X_y, as_frame)


def load_patent(*, return_X_y: bool = False, as_frame: bool = False) -> Any:
    """Patents of firms: counts given lgRD and RDS.

    70 rows, 2 features.

    Parameters
    ----------
    return_X_y : bool, default=False
        Return ``(data, target)`` instead of a :class:`Dataset`.
    as_frame : bool, default=False
        pandas objects instead of arrays.

    Returns
    -------
    Dataset or (data, target)
        ``DESCR`` names the published source.
    """
    return _load("patent", return_X_y, as_frame)


def load_seizure(*, return_X_y: bool = False, as_frame: bool = False) -> Any:
    """Epileptic seizures: daily counts given Treatment and Day, exposure Hours.

    140 rows, 2 features.

    Parameters
    ----------
    return_X_y : bool, default=False
        Return ``(data, target)`` instead of a :class:`Dataset`.
    as_frame : bool, default=False
        pandas objects instead of arrays.

    Returns
    -------
    Dataset or (data, target)
        ``DESCR`` names the published source.
    """
    return _load("seizure", return_X_y, as_frame)


def load_fabric(*, return_X_y: bool = False, as_frame: bool = False) -> Any:
    """Faults in rolls of fabric: counts given Length, which is also the exposure.

    32 rows, 1 feature.

    Parameters
    ----------
    return_X_y : bool, default=False
        Return ``(data, target)`` instead of a :class:`Dataset`.
    as_frame : bool, default=False
        pandas objects instead of arrays.

    Returns
    -------
    Dataset or (data, target)
        ``DESCR`` names the published source.
    """
    return _load("fabric", return_X_y, as_frame)


def load_betablocker(*, return_X_y: bool = False, as_frame: bool = False) -> Any:
    """Deaths in clinical trials: binomial given Treatment and Center, with trials.

    44 rows, 2 features.

    Parameters
    ----------
    return_X_y : bool, default=False
        Return ``(data, target)`` instead of a :class:`Dataset`.
    as_frame : bool, default=False
        pandas objects instead of arrays.

    Returns
    -------
    Dataset or (data, target)
        ``DESCR`` names the published source.
    """
    return _load("betablocker", return_X_y, as_frame)


def load_temperature(*, return_X_y: bool = False, as_frame: bool = False) -> Any:
    """Temperature anomalies: AnnualAnomaly given Year.

    136 rows, 1 feature.

    Parameters
    ----------
    return_X_y : bool, default=False
        Return ``(data, target)`` instead of a :class:`Dataset`.
    as_frame : bool, default=False
        pandas objects instead of arrays.

    Returns
    -------
    Dataset or (data, target)
        ``DESCR`` names the published source.
    """
    return _load("temperature", return_X_y, as_frame)
