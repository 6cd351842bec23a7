"""Which models diagnostics and pictures are of."""

from __future__ import annotations

from typing import Any

from sklearn.utils.validation import check_is_fitted


def check_rowwise(model: Any, what: str, instead: str) -> None:
    """Refuse what is no fitted mixture of rows that are given as X and y.

    Raises
    ------
    ValueError
        For another kind of model, with what there is instead; NotFittedError before `fit`.
    """
    if hasattr(model, "formula") or not hasattr(model, "_rows"):
        raise ValueError(
            f"{what} needs a fitted MoERegressor or MoEClassifier; got {type(model).__name__}. "
            + instead
        )
    check_is_fitted(model)
