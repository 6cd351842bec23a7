"""The user's settings and input in the terms of `em`."""

from __future__ import annotations

import numpy as np

from .. import experts as _experts  # noqa: F401  (fills the registries)
from .._component import EXPERTS, resolve
from .._validation import check_X_y
from ..em.rows import Rows
from ..experts import ExpertList, IntervalExpert, rowwise
from .intervals import Intervals


def resolve_expert(expert):
    """The expert family, or one for each expert of a list."""
    if isinstance(expert, (list, tuple)):
        if not expert:
            raise ValueError(
                "expert=[] lists no family; give one for every expert, such as ['gaussian', "
                "'student'], or one name for all."
            )
        return ExpertList([resolve(member, EXPERTS, "expert") for member in expert])
    return resolve(expert, EXPERTS, "expert")


def on_intervals(expert):
    """The family as it is fitted to targets of intervals."""
    if isinstance(expert, ExpertList):
        return expert.with_members(on_intervals)
    return IntervalExpert(rowwise(expert))


def silent_rows(rows: Rows) -> Rows:
    """Rows of weight zero with the target of a row that counts: theirs may be any number."""
    if rows.weight is None or rows.weight.all():
        return rows
    silent = rows.weight == 0
    first = int(np.argmin(silent))
    y, trials = rows.y.copy(), rows.trials
    y[silent] = y[first]
    if trials is not None:
        trials = np.where(silent, trials[first], trials)
    return rows._replace(y=y, trials=trials)


def n_threads(n_jobs) -> int:
    """Threads of a pass: None is 1 and negative counts from the number of cores, as in joblib."""
    import joblib

    return 1 if n_jobs is None else joblib.effective_n_jobs(n_jobs)


def check_multi_output(estimator, X, y, expert):
    """Validated X and y of a regression."""
    if isinstance(y, Intervals):
        X, _ = check_X_y(estimator, X, np.zeros(len(y)), multi_output=False, numeric=True)
        return X, y
    return check_X_y(estimator, X, y, multi_output=expert.multi_output, numeric=True)
