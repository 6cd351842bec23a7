"""Expert families: the density of y given x inside one expert."""

from .base import Expert

# the first family of the registry is the default
from .gaussian import GaussianExpert

# isort: split
from .beta import BetaExpert
from .binomial import BinomialExpert
from .check_loss import CheckLossExpert, CheckLossStatistics
from .counts import (
    HurdleNegativeBinomialExpert,
    HurdlePoissonExpert,
    NegativeBinomialExpert,
    PoissonLaw,
    ZeroInflatedNegativeBinomialExpert,
    ZeroInflatedPoissonExpert,
)
from .distributional import (
    DistributionalExpert,
    DistributionalParams,
    DistributionalStatistics,
    RowParameter,
)
from .expectile import ExpectileExpert
from .gamma import GammaExpert
from .glm import GLMExpert, GLMParams, GLMStatistics
from .heteroscedastic import HeteroscedasticGaussianExpert
from .heteroscedastic_gamma import HeteroscedasticGammaExpert
from .interval import IntervalExpert
from .inverse_gaussian import InverseGaussianExpert
from .laplace import AsymmetricLaplaceExpert, LaplaceExpert
from .lognormal import LognormalExpert
from .multinomial import MultinomialExpert, MultinomialParams, MultinomialStatistics
from .multivariate import (
    MultivariateGaussianExpert,
    MultivariateParams,
    MultivariateStatistics,
)
from .ordinal import OrdinalExpert
from .poisson import PoissonExpert
from .rowwise import BinomialLaw, rowwise
from .several import ExpertList, MemberStatistics
from .skew_normal import SkewNormalExpert
from .skew_t import SkewTExpert
from .student import StudentExpert
from .target import Target, TargetSummary
from .weibull import WeibullExpert

__all__ = [
    "AsymmetricLaplaceExpert",
    "BetaExpert",
    "BinomialExpert",
    "BinomialLaw",
    "CheckLossExpert",
    "CheckLossStatistics",
    "DistributionalExpert",
    "DistributionalParams",
    "DistributionalStatistics",
    "ExpectileExpert",
    "Expert",
    "ExpertList",
    "GLMExpert",
    "GLMParams",
    "GLMStatistics",
    "GammaExpert",
    "GaussianExpert",
    "HeteroscedasticGammaExpert",
    "HeteroscedasticGaussianExpert",
    "HurdleNegativeBinomialExpert",
    "HurdlePoissonExpert",
    "IntervalExpert",
    "InverseGaussianExpert",
    "LaplaceExpert",
    "LognormalExpert",
    "MemberStatistics",
    "MultinomialExpert",
    "MultinomialParams",
    "MultinomialStatistics",
    "MultivariateGaussianExpert",
    "MultivariateParams",
    "MultivariateStatistics",
    "NegativeBinomialExpert",
    "OrdinalExpert",
    "PoissonExpert",
    "PoissonLaw",
    "RowParameter",
    "SkewNormalExpert",
    "SkewTExpert",
    "StudentExpert",
    "Target",
    "TargetSummary",
    "WeibullExpert",
    "ZeroInflatedNegativeBinomialExpert",
    "ZeroInflatedPoissonExpert",
    "rowwise",
]
