"""scikit-learn's own checks of the neural estimators, with no expected failure.

Equal rows are one row with summed weights, so that the weight-equivalence check holds with
mini-batches, gate noise and early stopping too.
"""

from __future__ import annotations

import pytest

from mixexp.neural import NeuralMoEClassifier, NeuralMoERegressor, Training
from tests.sklearn_checks import checks_of

WHOLE = {
    "n_experts": 2,
    "d_expert": 8,
    "dtype": "float64",
    "training": Training(60, batch_size=None, early_stopping=False, learning_rate=0.03),
}
BATCHES = {
    "n_experts": 2,
    "d_expert": 16,
    "dtype": "float64",
    "training": Training(20, batch_size=16, early_stopping=False, learning_rate=0.02),
}
FEW = {
    "n_experts": 2,
    "d_expert": 4,
    "dtype": "float64",
    "training": Training(4, batch_size=None, early_stopping=False, learning_rate=0.03),
}
FAST = (
    "check_sample_weight_equivalence_on_dense_data",
    "check_sample_weights_invariance",
    "check_dict_unchanged",
    "check_estimators_overwrite_params",
    "check_estimators_unfitted",
    "check_estimators_pickle",
    "check_estimators_nan_inf",
    "check_fit_idempotent",
    "check_methods_subset_invariance",
    "check_n_features_in",
    "check_dataframe_column_names_consistency",
    "check_readonly_memmap_input",
    "check_no_attributes_set_in_init",
    "check_parameters_default_constructible",
    "check_estimators_partial_fit_n_features",
    "check_supervised_y_2d",
    "check_estimators_dtypes",
)


@checks_of([NeuralMoERegressor(**FEW), NeuralMoEClassifier(**FEW)], FAST)
def test_scikit_learn_check(estimator, check) -> None:
    check(estimator)


@pytest.mark.slow
@checks_of(
    [
        NeuralMoERegressor(**WHOLE, router="top_k"),
        NeuralMoEClassifier(**WHOLE, router="top_k"),
        NeuralMoERegressor(**WHOLE, head="density"),
        NeuralMoEClassifier(**WHOLE, head="mixture", numeric_embedding="piecewise_linear"),
        NeuralMoERegressor(**BATCHES),
        NeuralMoEClassifier(**BATCHES),
    ]
)
def test_every_scikit_learn_check(estimator, check) -> None:
    check(estimator)
