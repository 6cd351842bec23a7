"""`TableModel`: a fitted mixture with the preprocessing of its table, as one file."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mixexp._persistence import PersistenceError, load_tree, save_tree
from mixexp.tables.preprocess import TablePreprocessor
from mixexp.tables.reading import TableError, did_you_mean, numbers

KIND = "table model"
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class TableModel:
    """A fitted estimator that takes raw tables.

    Attributes
    ----------
    estimator : MoERegressor or MoEClassifier
        The fitted model, on the preprocessor's columns.
    preprocessor : TablePreprocessor
        From raw columns to the model's.
    target : str
        Name of the target column.
    inputs : dict of str to str
        Columns of offset, exposure and trials, by keyword; a prediction uses them where the table
        has them, and one unit of exposure, one trial and no offset elsewhere.
    """

    estimator: Any
    preprocessor: TablePreprocessor
    target: str
    inputs: dict[str, str] = field(default_factory=dict)

    @property
    def classifies(self) -> bool:
        """Whether the target is a class."""
        return hasattr(self.estimator, "classes_")

    def gate(self, table: pd.DataFrame) -> Floats:
        """Gate probabilities (n, K)."""
        return self.estimator.gate_proba(self.preprocessor.transform(table))

    def class_probabilities(self, table: pd.DataFrame) -> Floats:
        """Class probabilities (n, C)."""
        return self.estimator.predict_proba(self.preprocessor.transform(table))

    def mean(self, table: pd.DataFrame, **inputs: Any) -> Floats:
        """Predicted means (n,)."""
        X = self.preprocessor.transform(table)
        return np.asarray(self.estimator.predict(X, **inputs), float).ravel()

    def experts(self, table: pd.DataFrame) -> Floats:
        """Means of the experts (n, K)."""
        return self.estimator.predict_experts(self.preprocessor.transform(table))

    def interval(self, table: pd.DataFrame, level: float, **inputs: Any) -> Floats:
        """Predictive intervals (n, 2)."""
        X = self.preprocessor.transform(table)
        return self.estimator.predict_interval(X, level=level, **inputs)

    def predict_table(self, table: pd.DataFrame, level: float = 0.9) -> pd.DataFrame:
        """Predictions for every row of a raw table.

        Returns
        -------
        DataFrame
            Regression: mean, std, lower, upper, gate_1 ... gate_K. Classification: predicted,
            proba_<class> ..., gate_1 ... gate_K.
        """
        X = self.preprocessor.transform(table)
        if self.classifies:
            out = {"predicted": self.estimator.predict(X)}
            proba = self.estimator.predict_proba(X)
            out |= {f"proba_{c}": proba[:, j] for j, c in enumerate(self.estimator.classes_)}
        else:
            inputs = self._inputs(table)
            interval = self.estimator.predict_interval(X, level=level, **inputs)
            out = {
                "mean": np.asarray(self.estimator.predict(X, **inputs)).ravel(),
                "std": np.asarray(self.estimator.predict_std(X, **inputs)).ravel(),
                "lower": interval[:, 0],
                "upper": interval[:, 1],
            }
        gate = self.estimator.gate_proba(X)
        out |= {f"gate_{k + 1}": gate[:, k] for k in range(gate.shape[1])}
        return pd.DataFrame(out)

    def absent_inputs(self, table: pd.DataFrame) -> list[str]:
        """One sentence for each row-wise input that a table lacks: what is predicted instead."""
        instead = {
            "exposure": "one unit of exposure", "trials": "one trial", "offset": "no offset"
        }  # fmt: skip
        return [
            f"the table has no column {name!r}: predictions are for {instead[role]}"
            for role, name in self.inputs.items()
            if name not in table.columns
        ]

    def _inputs(self, table: pd.DataFrame) -> dict[str, Any]:
        """Row-wise inputs from the table; all of the model's must be there, or none."""
        absent = [name for name in self.inputs.values() if name not in table.columns]
        if not self.inputs or len(absent) == len(self.inputs):
            return {}
        if absent:
            near = did_you_mean(absent[0], table.columns)
            raise TableError(f"the table has no column {absent[0]!r}, which the model needs{near}")
        return {role: numbers(table[name], role) for role, name in self.inputs.items()}

    def save(self, path: str | Path) -> None:
        """Write one checked file without pickle."""
        from mixexp import __version__
        from mixexp.estimators._saving import to_tree

        tree = {
            "estimator": to_tree(self.estimator),
            "preprocessor": self.preprocessor.to_tree(),
            "target": self.target,
            "inputs": dict(self.inputs),
        }
        save_tree(path, tree, kind=KIND, version=__version__)

    @classmethod
    def load(cls, path: str | Path) -> TableModel:
        """Read a file written by `save`; nothing in it is executed."""
        tree, _ = load_tree(path, kind=KIND)
        return cls.from_tree(tree)

    @classmethod
    def from_tree(cls, tree: Any) -> TableModel:
        """The model of a file's tree."""
        from mixexp.estimators._saving import from_tree

        try:
            parts = tree["preprocessor"], str(tree["target"]), dict(tree["inputs"])
            preprocessor = TablePreprocessor.from_tree(parts[0])
        except (KeyError, TypeError, ValueError) as error:
            raise PersistenceError(f"the file lacks a part of the model ({error}).") from error
        return cls(from_tree(tree["estimator"]), preprocessor, *parts[1:])
