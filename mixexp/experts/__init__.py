"""Expert families: the density of y given x inside one expert."""

from .base import Expert

# the first family of the registry is the default
from .gaussian import GaussianExpert

# isort: split
from .beta import BetaExpert
from .binomial import BinomialExpert
from .counts import (
    HurdleNegativeBinomialExpert,
    HurdlePoissonExpert,
    NegativeBinomialExpert,
    ZeroInflatedNegativeBinomialExpert,
    ZeroInflatedPoissonExpert,
)
from .distributional import (
    DistributionalExpert,
    DistributionalParams,
    DistributionalStatistics,
    RowParameter,
)
from .gamma import GammaExpert
from .glm import GLMExpert, GLMParams, GLMStatistics
from .heteroscedastic import HeteroscedasticGaussianExpert
from .inverse_gaussian import InverseGaussianExpert
from .lognormal import LognormalExpert
from .multinomial import MultinomialExpert, MultinomialParams, MultinomialStatistics
from .multivariate import (
    MultivariateGaussianExpert,
    MultivariateParams,
    MultivariateStatistics,
)
from .poisson import PoissonExpert
from .skew_normal import SkewNormalExpert
from .student import StudentExpert
from .weibull import WeibullExpert

__all__ = [
    "BetaExpert",
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
    "HeteroscedasticGaussianExpert",
    "HurdleNegativeBinomialExpert",
    "HurdlePoissonExpert",
    "InverseGaussianExpert",
    "LognormalExpert",
    "MultinomialExpert",
    "MultinomialParams",
    "MultinomialStatistics",
    "MultivariateGaussianExpert",
    "MultivariateParams",
    "MultivariateStatistics",
    "NegativeBinomialExpert",
    "PoissonExpert",
    "RowParameter",
    "SkewNormalExpert",
    "StudentExpert",
    "WeibullExpert",
    "ZeroInflatedNegativeBinomialExpert",
    "ZeroInflatedPoissonExpert",
]
