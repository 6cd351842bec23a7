"""Inference after a fit: standard errors, tests, intervals and partial effects."""

from .assemble import FittedModel, infer
from .bootstrap import bootstrap
from .comparison import likelihood_ratio_test, vuong_test
from .covariances import NotRegularError
from .information import Information, information, row_scores
from .mixing_measure import MixingMeasure
from .results import InferenceResult, TestResult
from .voronoi import voronoi_cells, voronoi_loss

__all__ = [
    "FittedModel",
    "Information",
    "InferenceResult",
    "MixingMeasure",
    "NotRegularError",
    "TestResult",
    "bootstrap",
    "infer",
    "information",
    "likelihood_ratio_test",
    "row_scores",
    "voronoi_cells",
    "voronoi_loss",
    "vuong_test",
]
