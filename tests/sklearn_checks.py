"""scikit-learn's checks as parameters of a test."""

from __future__ import annotations

import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

# Checks that fit many times, or to many rows; the others take half of the time together.
LONG = (
    "check_class_weight_classifiers",
    "check_classifier_data_not_an_array",
    "check_classifiers_classes",
    "check_classifiers_train",
    "check_estimator_sparse_array",
    "check_estimator_sparse_matrix",
    "check_estimators_dtypes",
    "check_regressor_data_not_an_array",
    "check_regressors_int",
    "check_regressors_train",
    "check_sample_weight_equivalence_on_sparse_data",
)


def checks_of(estimators, names=None, *, long=True):
    """A parametrisation by (estimator, check).

    Parameters
    ----------
    names : collection of str, optional
        The checks to run; all by default.
    long : bool
        False marks those of `LONG` slow.
    """
    mark = parametrize_with_checks(estimators)
    argnames, values = mark.args  # 1.7 gives a generator, which pytest 9.1 deprecates
    chosen = []
    for estimator, check in values:
        name = getattr(check, "func", check).__name__
        if names is None or name in names:
            slow = [] if long or name not in LONG else [pytest.mark.slow]
            chosen.append(pytest.param(estimator, check, marks=slow))
    return pytest.mark.parametrize(argnames, chosen, **mark.kwargs)
