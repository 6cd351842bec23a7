"""Models of the comparison with peers.

A regression model is ``f(X, y, X_test, y_test) -> (log density (n,), mean (n,))`` on the
standardised target; a classifier is ``f(X, y, X_test) -> (proba (n, C), classes)``.
"""

from __future__ import annotations

import importlib.util

import numpy as np
from scipy.special import logsumexp
from scipy.stats import norm

N_JOBS = None  # processes of our study
EXPERT_STRENGTHS = (0.003, 0.03, 0.1, 0.3, 1.0, 10.0)
GATE_STRENGTHS = (0.0003, 0.003, 0.03)
EFFORT = {"n_starts": 0.1, "max_rounds": 1}
MOST_SLOPES = 1500  # of the experts together: digits, ten classes of 64 columns, stops at K = 2
TOLERANCES = {"max_passes": 200, "tol": 1e-9, "gradient_tol": 1e-4}
CONFIGURATION = (
    f"SelectionStudy, n_experts 1-4 with at most {MOST_SLOPES} slopes, L2 on experts "
    f"{EXPERT_STRENGTHS} and on the gate {GATE_STRENGTHS}, follow=True, "
    "start=MultiStart(n_starts=0.1, max_rounds=1), "
    "solver=EM(max_passes=200, tol=1e-9, gradient_tol=1e-4), criterion='cv' with 10 folds inside "
    "the training fold, random_state 0"
)


def mixexp_regression(X, y, X_test, y_test):
    study = _study("MoERegressor", X.shape[1]).fit(X, y)
    return study.log_prob(X_test, y_test), study.predict(X_test), _chosen(study)


def mixexp_classes(X, y, X_test):
    study = _study("MoEClassifier", X.shape[1] * len(np.unique(y))).fit(X, y)
    return study.predict_proba(X_test), study.classes_, _chosen(study)


def _study(name, slopes):
    """The study for experts of so many slopes each."""
    import mixexp

    grid = {
        "n_experts": [K for K in (1, 2, 3, 4) if K * slopes <= MOST_SLOPES],
        "expert__penalty": EXPERT_STRENGTHS,
        "gate__penalty": GATE_STRENGTHS,
    }
    template = getattr(mixexp, name)(
        start=mixexp.MultiStart(**EFFORT), solver=mixexp.EM(**TOLERANCES)
    )
    return mixexp.SelectionStudy(
        template, grid, criterion="cv", cv=10, follow=True, n_jobs=N_JOBS, random_state=0
    )


def _chosen(study):
    """The choice in short: number of experts, strength of experts / of gate."""
    best = study.best_params_
    return f"{best['n_experts']}:{best['expert__penalty']:g}/{best['gate__penalty']:g}"


def single_expert(X, y, X_test, y_test):
    """The baseline: one expert, that is, ordinary least squares with its Gaussian density."""
    from mixexp import MoERegressor

    model = MoERegressor(1).fit(X, y)
    return model.log_prob(X_test, y_test), model.predict(X_test)


def cgmm_moe(K):
    def run(X, y, X_test, y_test):
        from cgmm import MixtureOfExpertsRegressor

        model = MixtureOfExpertsRegressor(n_components=K, n_init=2, random_state=0).fit(X, y)
        return np.ravel(model.log_prob(X_test, y_test)), np.ravel(model.predict(X_test))

    return run


def cgmm_joint(K):
    def run(X, y, X_test, y_test):
        from cgmm import ConditionalGMMRegressor

        model = ConditionalGMMRegressor(n_components=K, random_state=0).fit(X, y)
        return np.ravel(model.log_prob(X_test, y_test)), np.ravel(model.predict(X_test))

    return run


def gaussian_mixture(K):
    """Gaussian mixture regression: scikit-learn's mixture of (x, y), conditioned on x."""

    def run(X, y, X_test, y_test):
        from sklearn.mixture import GaussianMixture

        p = X.shape[1]
        joint = GaussianMixture(K, random_state=0, reg_covar=1e-3).fit(np.column_stack([X, y]))
        log_weight, means, sigmas = [], [], []
        for k in range(K):
            mean, cov = joint.means_[k], joint.covariances_[k]
            slope = np.linalg.solve(cov[:p, :p], cov[:p, p])
            residual = X_test - mean[:p]
            _, log_det = np.linalg.slogdet(cov[:p, :p])
            distance = np.einsum("ij,ij->i", residual, np.linalg.solve(cov[:p, :p], residual.T).T)
            log_weight.append(np.log(joint.weights_[k]) - 0.5 * (log_det + distance))
            means.append(mean[p] + residual @ slope)
            sigmas.append(np.sqrt(cov[p, p] - slope @ cov[:p, p]))
        log_weight = np.array(log_weight) - logsumexp(log_weight, axis=0)
        means, sigmas = np.array(means), np.array(sigmas)[:, None]
        log_density = logsumexp(log_weight + norm.logpdf(y_test, means, sigmas), axis=0)
        return log_density, (np.exp(log_weight) * means).sum(axis=0)

    return run


def gmr_mean(K):
    """gmr gives no conditional density of a row: only its error counts."""

    def run(X, y, X_test, y_test):
        from gmr import GMM

        model = GMM(n_components=K, random_state=0).from_samples(np.column_stack([X, y]))
        columns = np.arange(X.shape[1])
        return np.full(len(y_test), np.nan), np.ravel(model.predict(columns, X_test))

    return run


def stepmix_numbers(K):
    """Latent classes with covariates in the gate and a Gaussian of its own inside each."""

    def run(X, y, X_test, y_test):
        model = _stepmix(K, "gaussian_diag").fit(y[:, None], X)
        inside = model.get_parameters()["measurement"]
        means = np.ravel(inside["means"])
        sigmas = np.sqrt(np.ravel(inside["covariances"]))
        weights = _stepmix_gate(model, X_test)
        density = (weights * norm.pdf(y_test[:, None], means, sigmas)).sum(axis=1)
        return np.log(density), weights @ means

    return run


def boosting(X, y, X_test, y_test):
    from sklearn.ensemble import HistGradientBoostingRegressor

    model = HistGradientBoostingRegressor(random_state=0).fit(X, y)
    sigma = np.std(y - model.predict(X))
    mean = model.predict(X_test)
    return norm.logpdf(y_test, mean, sigma), mean


def stepmix_classes(K):
    """Latent classes with covariates in the gate and constant class probabilities inside."""

    def run(X, y, X_test):
        classes, codes = np.unique(y, return_inverse=True)
        model = _stepmix(K, "categorical").fit(codes[:, None], X)
        weights = _stepmix_gate(model, X_test)
        inside = np.asarray(model.get_parameters()["measurement"]["pis"])
        return weights @ inside.reshape(K, -1)[:, : len(classes)], classes

    return run


def _stepmix(K, measurement):
    from stepmix import StepMix

    return StepMix(
        n_components=K,
        measurement=measurement,
        structural="covariate",
        n_steps=1,
        n_init=5,
        random_state=0,
        verbose=0,
        progress_bar=0,
    )


def _stepmix_gate(model, X):
    """Class memberships given the covariates alone: the gate of a StepMix fit."""
    beta = np.asarray(model.get_parameters()["structural"]["beta"])
    logits = np.column_stack([np.ones(len(X)), X]) @ beta.T
    return np.exp(logits - logsumexp(logits, axis=1, keepdims=True))


def logistic(X, y, X_test):
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(max_iter=5000).fit(X, y)
    return model.predict_proba(X_test), model.classes_


def boosting_classes(X, y, X_test):
    from sklearn.ensemble import HistGradientBoostingClassifier

    model = HistGradientBoostingClassifier(random_state=0).fit(X, y)
    return model.predict_proba(X_test), model.classes_


def mixture_discriminant(K):
    """One scikit-learn Gaussian mixture per class: mixture discriminant analysis."""

    def run(X, y, X_test):
        from sklearn.mixture import GaussianMixture

        classes, counts = np.unique(y, return_counts=True)
        logs = [
            GaussianMixture(K, random_state=0, reg_covar=1e-2).fit(X[y == c]).score_samples(X_test)
            for c in classes
        ]
        joint = np.array(logs).T + np.log(counts / counts.sum())
        return np.exp(joint - logsumexp(joint, axis=1, keepdims=True)), classes

    return run


REGRESSORS = {
    "mixexp study": mixexp_regression,
    "single expert": single_expert,
    **{f"cgmm MoE K={K}": cgmm_moe(K) for K in (2, 3)},
    **{f"cgmm GMR K={K}": cgmm_joint(K) for K in (2, 3, 4)},
    **{f"GaussianMixture K={K}": gaussian_mixture(K) for K in (2, 3, 4)},
    **{f"gmr K={K}": gmr_mean(K) for K in (2, 3)},
    **{f"stepmix K={K}": stepmix_numbers(K) for K in (3, 4)},
    "boosting +": boosting,
}
CLASSIFIERS = {
    "mixexp study": mixexp_classes,
    "logistic": logistic,
    **{f"stepmix K={K}": stepmix_classes(K) for K in (3, 5)},
    **{f"GaussianMixture K={K}": mixture_discriminant(K) for K in (1, 2)},
    "boosting": boosting_classes,
}


def available() -> list[str]:
    """Drop the models whose package is missing; returns the packages' names."""
    missing = [name for name in ("cgmm", "gmr", "stepmix") if not importlib.util.find_spec(name)]
    for table in (REGRESSORS, CLASSIFIERS):
        for label in [label for label in table if label.startswith(tuple(missing or ["-"]))]:
            del table[label]
    return missing
