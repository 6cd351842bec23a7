"""Inference after a fit: standard errors, tests, intervals and partial effects."""

from .assemble import FittedModel, infer
from .bootstrap import bootstrap
from .comparison import likelihood_ratio_test, vuong_test
from .covariances import NotRegularError
from .information import Information, information, row_scores
from .results import InferenceResult, TestResult

__all__ = [
    "FittedModel",
    "Information",
    "InferenceResult",
    "NotRegularError",
    "TestResult",
    "bootstrap",
    "infer",
    "information",
    "likelihood_ratio_test",
    "row_scores",
    "vuong_test",
]
