"""The families row by row: log density, score, information and extra of one expert.

The common pairs of family and link have a block function of their own, which LLVM vectorises;
every other pair goes through the scalar `glm_unit`. Codes of families and links are those of
`reference` and `links`.

Legend: eta linear predictor, y target, m trials; value is the log density less the row's own
part; score and information are derivatives by eta times the dispersion factor.
"""

from __future__ import annotations

import math

import numpy as np

from ._compile import helper
from .elementary import HALF_LOG_2PI, fast_exp, fast_log, log_ndtr

IMPOSSIBLE = -1e30
LARGEST_LOG_RATIO = 600.0


@helper
def _mean_and_slope(link, eta):
    """Mean and its derivative; NaN outside the link's range."""
    if link == 0:
        return eta, 1.0
    if link == 1:
        mean = math.exp(min(eta, 700.0))
        return mean, mean
    if link == 2:
        mean = 1.0 / (1.0 + math.exp(-eta)) if eta > -700.0 else math.exp(eta)
        return mean, mean * (1.0 / (1.0 + math.exp(min(eta, 700.0))))
    if link == 3:
        return 0.5 * math.erfc(-eta / math.sqrt(2.0)), math.exp(-0.5 * eta * eta - HALF_LOG_2PI)
    if link == 4:
        rate = math.exp(min(eta, 700.0))
        return -math.expm1(-rate), math.exp(eta - rate)
    if eta <= 0.0:
        return np.nan, np.nan
    return 1.0 / eta, -1.0 / (eta * eta)


@helper
def _binomial_logs(link, eta):
    """log p, log(1 - p) and log |dp / deta|."""
    if link == 2:
        soft = math.log1p(math.exp(-abs(eta)))
        log_p = min(eta, 0.0) - soft
        log_q = -max(eta, 0.0) - soft
        return log_p, log_q, log_p + log_q
    if link == 3:
        return log_ndtr(eta), log_ndtr(-eta), -0.5 * eta * eta - HALF_LOG_2PI
    if link == 4:
        rate = math.exp(min(eta, 700.0))
        log_p = math.log(-math.expm1(-rate)) if rate > 1e-8 else eta - 0.5 * rate
        return log_p, -rate, eta - rate
    mean, slope = _mean_and_slope(link, eta)
    if not (0.0 < mean < 1.0):
        return np.nan, np.nan, np.nan
    return math.log(mean), math.log1p(-mean), math.log(abs(slope))


@helper
def glm_unit(family, link, eta, y, log_y, trials, dispersion, constant):
    """Log density less the row's part, score, information and extra of one row and expert.

    `constant` is the part of the log density that depends on the dispersion alone.
    """
    if family == 0:
        mean, slope = _mean_and_slope(link, eta)
        residual = y - mean
        scaled = residual / dispersion
        value = constant - 0.5 * scaled * scaled
        score, information, extra = residual * slope, slope * slope, residual * residual
    elif family == 1:
        mean, slope = _mean_and_slope(link, eta)
        if link == 1:
            value, score, information = y * eta - mean, y - mean, mean
        elif mean > 0.0:
            ratio = slope / mean
            value, score, information = (
                y * math.log(mean) - mean,
                (y - mean) * ratio,
                slope * ratio,
            )
        else:
            value, score, information = np.nan, 0.0, 0.0
        extra = 0.0
    elif family == 2:
        log_p, log_q, log_slope = _binomial_logs(link, eta)
        failures = trials - y
        value = y * log_p + failures * log_q
        score = y * math.exp(log_slope - log_p) - failures * math.exp(log_slope - log_q)
        information = trials * math.exp(2.0 * log_slope - log_p - log_q)
        extra = 0.0
    else:
        mean, slope = _mean_and_slope(link, eta)
        if link == 1:
            log_ratio, relative = log_y - eta, 1.0
        elif mean > 0.0:
            log_ratio, relative = log_y - math.log(mean), slope / mean
        else:
            log_ratio, relative = np.nan, 0.0
        ratio = math.exp(min(log_ratio, LARGEST_LOG_RATIO))
        value = constant + dispersion * (log_ratio - ratio) - log_y
        score, information = (ratio - 1.0) * relative, relative * relative
        extra = log_ratio - ratio + 1.0
    if not math.isfinite(value):
        return IMPOSSIBLE, 0.0, 0.0, 0.0
    return value, score, information, extra


@helper
def _gaussian_identity(eta, y, sigma, constant, value, score, extra):
    factor = -0.5 / (sigma * sigma)
    for i in range(len(y)):
        residual = y[i] - eta[i]
        square = residual * residual
        score[i] = residual
        extra[i] = square
        value[i] = constant + factor * square


@helper
def _poisson_log(eta, y, value, score, information):
    for i in range(len(y)):
        mean = fast_exp(min(eta[i], 700.0))
        log_density = y[i] * eta[i] - mean
        possible = abs(log_density) < np.inf
        value[i] = log_density if possible else IMPOSSIBLE
        score[i] = y[i] - mean if possible else 0.0
        information[i] = mean if possible else 0.0


@helper
def _binomial_logit(eta, y, m, value, score, information):
    for i in range(len(y)):
        small = fast_exp(-abs(eta[i]))
        one_more = 1.0 + small
        # log1p(small), accurate in both limits (Kahan)
        soft = fast_log(one_more) * (small / (one_more - 1.0)) if one_more > 1.0 else small
        larger = 1.0 / one_more
        smaller = small * larger
        p = larger if eta[i] > 0.0 else smaller
        q = smaller if eta[i] > 0.0 else larger
        log_density = y[i] * min(eta[i], 0.0) - (m[i] - y[i]) * max(eta[i], 0.0) - m[i] * soft
        possible = abs(log_density) < np.inf
        value[i] = log_density if possible else IMPOSSIBLE
        score[i] = y[i] * q - (m[i] - y[i]) * p if possible else 0.0
        information[i] = m[i] * (p * q) if possible else 0.0


@helper
def _gamma_log(eta, y, log_y, shape, constant, value, score, extra):
    for i in range(len(y)):
        log_ratio = log_y[i] - eta[i]
        ratio = fast_exp(min(log_ratio, LARGEST_LOG_RATIO))
        log_density = constant + shape * (log_ratio - ratio) - log_y[i]
        possible = abs(log_density) < np.inf
        value[i] = log_density if possible else IMPOSSIBLE
        score[i] = ratio - 1.0 if possible else 0.0
        extra[i] = log_ratio - ratio + 1.0 if possible else 0.0


@helper
def family_rows(
    family, link, eta, y, log_y, m, dispersion, constant, value, score, information, extra
):
    """Fill value, score, information and extra of one expert's block of rows.

    A family without a dispersion, or with a constant information, leaves `extra` or
    `information` as they are: zeros and ones.
    """
    if family == 0 and link == 0:
        _gaussian_identity(eta, y, dispersion, constant, value, score, extra)
    elif family == 1 and link == 1:
        _poisson_log(eta, y, value, score, information)
    elif family == 2 and link == 2:
        _binomial_logit(eta, y, m, value, score, information)
    elif family == 3 and link == 1:
        _gamma_log(eta, y, log_y, dispersion, constant, value, score, extra)
    else:
        for i in range(len(y)):
            value[i], score[i], information[i], extra[i] = glm_unit(
                family, link, eta[i], y[i], log_y[i], m[i], dispersion, constant
            )
