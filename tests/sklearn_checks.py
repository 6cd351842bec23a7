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

# Checks whose outcome is made by gate and family: numbers of fits, and tables that strain them. The
# others are about the class: its parameters, tags and messages, and what it refuses.
OF_THE_MODEL = (
    "check_class_weight_classifiers",
    "check_classifiers_classes",
    "check_classifiers_one_label",
    "check_classifiers_train",
    "check_decision_proba_consistency",
    "check_estimator_sparse_array",
    "check_estimators_dtypes",
    "check_estimators_pickle",
    "check_f_contiguous_array_estimator",
    "check_fit2d_1feature",
    "check_fit2d_1sample",
    "check_fit_idempotent",
    "check_methods_sample_order_invariance",
    "check_methods_subset_invariance",
    "check_pipeline_consistency",
    "check_regressors_int",
    "check_regressors_train",
    "check_sample_weight_equivalence_on_dense_data",
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
