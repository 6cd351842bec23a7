"""Expert families: the density of y given x inside one expert."""

from .base import Expert
from .binomial import BinomialExpert
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

__all__ = [
    "BinomialExpert",
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
]
