"""What the experts of a fitted model do: usage, predictions and columns that matter to them."""

from __future__ import annotations

import numpy as np
import pandas as pd
from sklearn.utils.validation import _check_sample_weight


class ExplainMixin:
    """Readings of the experts, for estimators with `gate_proba`."""

    def expert_usage(self, X, sample_weight=None) -> np.ndarray:
        """Mean share of every expert of the top layer over the rows, shape (n_experts,)."""
        gate = self.gate_proba(X)  # type: ignore[attr-defined]
        return np.average(gate, axis=0, weights=_check_sample_weight(sample_weight, gate))

    def explain_experts(self, X, y=None, *, n_repeats=5, random_state=0) -> pd.DataFrame:
        """A row for every expert: its usage, its rows, their predictions and important columns.

        An expert's rows are those where its share is largest. The importance of a column within
        them is found by permuting the column among these rows alone: without ``y`` it is the root
        mean square of the change of the prediction (regression) or of the class probabilities;
        with ``y`` it is the rise of the mean squared error or of the log loss.

        Parameters
        ----------
        X : array-like or data frame of shape (n, p)
        y : array-like, optional
        n_repeats : int
            Permutations a column.
        random_state : int

        Returns
        -------
        table : DataFrame
            Columns ``usage``, ``n_rows``, then predictions (``prediction``, or one a target or
            class), then ``importance of <column>``; NaN for an expert without rows.
        """
        gate = self.gate_proba(X)  # type: ignore[attr-defined]
        owner = gate.argmax(axis=1)
        frame = X if isinstance(X, pd.DataFrame) else pd.DataFrame(np.asarray(X))
        rng = np.random.default_rng(random_state)
        records = []
        for expert in range(gate.shape[1]):
            mine = np.flatnonzero(owner == expert)
            record = {"usage": gate[:, expert].mean(), "n_rows": len(mine)}
            if len(mine):
                own = frame.iloc[mine]
                target = None if y is None else np.asarray(y)[mine]
                record |= self._reading(own, target, n_repeats, rng)
            records.append(record)
        return pd.DataFrame(records).rename_axis("expert")

    def _reading(self, frame: pd.DataFrame, y, n_repeats: int, rng) -> dict[str, float]:
        """Mean predictions of some rows, and the importance of every column within them."""
        before = self._reading_of(frame)
        names = self._reading_names(before.shape[1])
        record = dict(zip(names, before.mean(axis=0), strict=True))
        loss = None if y is None else self._reading_loss(before, y)
        for j, name in enumerate(frame.columns):
            scores = []
            for _ in range(n_repeats):
                moved = frame.copy()
                order = rng.permutation(len(frame))
                moved.isetitem(j, frame.iloc[order, j].set_axis(frame.index))
                after = self._reading_of(moved)
                if loss is None:
                    scores.append(np.sqrt(np.mean((after - before) ** 2)))
                else:
                    scores.append(self._reading_loss(after, y) - loss)
            record[f"importance of {name}"] = float(np.mean(scores))
        return record

    def _reading_of(self, frame) -> np.ndarray:
        """(n, m) predictions; a frame that stands for an array is turned back into one."""
        named = hasattr(self, "feature_names_in_")
        return self._plain_predictions(frame if named else frame.to_numpy())

    def _plain_predictions(self, X) -> np.ndarray:
        raise NotImplementedError

    def _reading_names(self, m: int) -> list[str]:
        raise NotImplementedError

    def _reading_loss(self, predictions: np.ndarray, y) -> float:
        raise NotImplementedError
