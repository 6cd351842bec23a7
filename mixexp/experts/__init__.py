"""Expert families: the density of y given x inside one expert."""

from .base import Expert
from .binomial import BinomialExpert
from .distributional import (
    DistributionalExpert,
    DistributionalParams,
    DistributionalStatistics,
    RowParameter,
)
from .gamma import GammaExpert
from .gaussian import GaussianExpert
from .glm import GLMExpert, GLMParams, GLMStatistics
from .multinomial import MultinomialExpert, MultinomialParams, MultinomialStatistics
from .multivariate import (
    MultivariateGaussianExpert,
    MultivariateParams,
    MultivariateStatistics,
)
from .poisson import PoissonExpert
from .student import StudentExpert

__all__ = [
    "BinomialExpert",
    "DistributionalExpert",
    "DistributionalParams",
    "DistributionalStatistics",
    "Expert",
    "GLMExpert",
    "GLMParams",
    "GLMStatistics",
    "GammaExpert",
    "GaussianExpert",
    "MultinomialExpert",
    "MultinomialParams",
    "MultinomialStatistics",
    "MultivariateGaussianExpert",
    "MultivariateParams",
    "MultivariateStatistics",
    "PoissonExpert",
    "RowParameter",
    "StudentExpert",
]
