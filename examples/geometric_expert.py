"""
A new family: geometric experts
===============================

The geometric distribution counts failures before the first success. Its variance, mean + mean^2,
is larger than that of the Poisson. The family is written as a `GLMExpert`: the log density, score
and information of a row, and what predictions need. Everything else is inherited.
"""

# begin of the family
import numpy as np
from scipy import stats

from mixexp._component import EXPERTS, register
from mixexp.experts import GLMExpert
from mixexp.kernels.reference import Unit


@register(EXPERTS, "geometric")
class GeometricExpert(GLMExpert):
    """P(y | x) = p (1 - p)^y for y = 0, 1, ...; mean (1 - p) / p = exp(a_k + b_k' x + offset)."""

    links = ("log",)
    discrete = True
    takes = ("offset", "exposure")

    def __init__(self, penalty=None, link=None, tied=None):
        self.penalty, self.link, self.tied = penalty, link, tied

    def check_target(self, y, trials=None):
        if y.min() < 0 or np.any(y != np.floor(y)):
            raise ValueError(f"GeometricExpert needs counts 0, 1, 2 ...; got min(y) = {y.min():g}.")

    def unit(self, eta, y, trials, dispersion):
        mean = np.exp(np.minimum(eta, 700))
        log_failure = -np.logaddexp(0, -eta)  # log(mean / (1 + mean))
        share = 1 / (1 + mean)
        log_density = y * log_failure - np.logaddexp(0, eta)
        return Unit(log_density, (y - mean) * share, mean * share, np.zeros_like(eta))

    def variance(self, mean, trials, dispersion):
        return mean * (1 + mean)

    def cdf(self, y, mean, trials, dispersion):
        return stats.geom.cdf(y + 1, 1 / (1 + mean))

    def quantile(self, probability, mean, trials, dispersion):
        return stats.geom.ppf(probability, 1 / (1 + mean)) - 1

    def draw(self, mean, trials, dispersion, rng):
        return rng.geometric(1 / (1 + mean)) - 1.0


# end of the family

# %%
# It is registered, so its name works wherever an expert is asked for. Here two kinds of visitors
# are told apart by one column.

from mixexp import MoERegressor

rng = np.random.default_rng(0)
X = rng.uniform(-2, 2, size=(500, 1))
mean = np.exp(np.where(X[:, 0] < 0, 2 + X[:, 0], 0.5 + X[:, 0]))
y = rng.geometric(1 / (1 + mean)) - 1

for expert in ("geometric", "poisson"):
    model = MoERegressor(n_experts=2, expert=expert).fit(X, y)
    print(f"{expert:9} log-likelihood {model.loglik_:.1f}")
    print(model.coef_.ravel().round(2), model.intercept_.round(2))
