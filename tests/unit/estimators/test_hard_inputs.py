"""Hard inputs have a defined answer: finite attributes and predictions, or an error that helps."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from numpy.testing import assert_allclose
from sklearn.exceptions import ConvergenceWarning

from mixexp import (
    EM,
    L2,
    GammaExpert,
    GaussianExpert,
    MoEClassifier,
    MoERegressor,
    MultinomialExpert,
    MultiStart,
    PoissonExpert,
    Status,
)

N = 60
FEW = MultiStart(n_starts=0.1, max_rounds=1)


@pytest.fixture
def X():
    return np.random.default_rng(0).standard_normal((N, 2))


@pytest.fixture
def y(X):
    noise = np.random.default_rng(1).standard_normal(N)
    return np.where(X[:, 0] > 0, 1 + X[:, 1], -1 - X[:, 1]) + 0.3 * noise


def fit(model, X, y, **inputs):
    """The fit, with the warning of a fit that did not go well allowed, and no other."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return model.fit(X, y, **inputs)


def assert_sound(model, X, **inputs):
    """Nothing in the fitted model or in what it predicts is NaN or infinite."""
    for name, value in vars(model).items():
        array = np.asarray(value) if isinstance(value, (np.ndarray, float, int)) else None
        if array is not None and array.dtype.kind == "f":
            assert np.isfinite(array).all(), name
    predict = model.predict_proba if hasattr(model, "classes_") else model.predict
    assert np.isfinite(predict(X, **inputs)).all()
    assert_allclose(model.gate_proba(X).sum(axis=1), 1, rtol=1e-9)
    if not hasattr(model, "classes_"):
        assert np.isfinite(model.predict_std(X, **inputs)).all()
        interval = model.predict_interval(X, **inputs)
        assert np.isfinite(interval).all()
        assert np.all(interval[:, 0] <= interval[:, 1])
    assert isinstance(model.status_, Status)
    assert np.all(np.diff(model.objective_path_) >= -1e-9 * (1 + np.abs(model.objective_path_[1:])))


GAUSSIAN = {
    "constant target": lambda X, y: (X, np.full(N, 3.0)),
    "zero target": lambda X, y: (X, np.zeros(N)),
    "constant columns": lambda X, y: (np.ones_like(X), y),
    "a column of zeros": lambda X, y: (X * [1, 0], y),
    "perfectly linear": lambda X, y: (X, 1 + X @ [2.0, -1.0]),
    "two perfect lines": lambda X, y: (X, np.where(X[:, 0] > 0, X[:, 1], -X[:, 1])),
    "heavy duplicates": lambda X, y: (X[np.arange(N) % 5], y[np.arange(N) % 5]),
    "two distinct rows": lambda X, y: (X[np.arange(N) % 2], y[np.arange(N) % 2]),
    "one distinct row": lambda X, y: (X[np.zeros(N, int)], y[np.zeros(N, int)]),
    "target of scale 1e-8": lambda X, y: (X, 1e-8 * y),
    "target of scale 1e8": lambda X, y: (X, 1e8 * y),
    "target far from zero": lambda X, y: (X, 1e9 + y),
    "an outlier": lambda X, y: (X, np.where(np.arange(N) == 7, 1e6, y)),
    "more columns than rows": lambda X, y: (np.random.default_rng(3).normal(size=(N, 90)), y),
    "few rows": lambda X, y: (X[:4], y[:4]),
}


@pytest.mark.parametrize("gate", ["softmax", "constant"])
@pytest.mark.parametrize("kind", GAUSSIAN)
def test_gaussian_fits_are_sound(X, y, kind, gate):
    A, b = GAUSSIAN[kind](X, y)
    assert_sound(fit(MoERegressor(2, gate=gate, start=FEW), A, b), A)


COUNTS = {
    "all zero": lambda: np.zeros(N),
    "one event": lambda: (np.arange(N) == 3).astype(float),
    "huge": lambda: 1e9 + np.arange(N) * 1e5,
    "constant": lambda: np.full(N, 4.0),
    "zero and huge": lambda: np.where(np.arange(N) % 2, 0.0, 1e9),
}


@pytest.mark.parametrize("kind", COUNTS)
def test_poisson_fits_are_sound(X, kind):
    counts = COUNTS[kind]()
    assert_sound(fit(MoERegressor(2, expert="poisson", start=FEW), X, counts), X)


GAMMA = {
    "constant": lambda y: np.full(N, 2.0),
    "tiny": lambda y: 1e-8 * np.exp(y),
    "huge": lambda y: 1e8 * np.exp(y),
    "wide": lambda y: np.exp(8 * y),
}


@pytest.mark.parametrize("kind", GAMMA)
def test_gamma_fits_are_sound(X, y, kind):
    assert_sound(fit(MoERegressor(2, expert="gamma", start=FEW), X, GAMMA[kind](y)), X)


BINOMIAL = {
    "no successes": lambda t: np.zeros(N),
    "all successes": lambda t: t,
    "separated": lambda t: np.where(np.arange(N) < N // 2, 0, t),
}


@pytest.mark.parametrize("kind", BINOMIAL)
def test_binomial_fits_are_sound(X, kind):
    trials = np.full(N, 7.0)
    model = MoERegressor(2, expert="binomial", start=FEW)
    fit(model, np.sort(X, axis=0), BINOMIAL[kind](trials), trials=trials)
    assert_sound(model, X, trials=trials)


def test_rows_without_trials_say_nothing(X):
    trials = np.where(np.arange(N) % 3 == 0, 0.0, 5.0)
    successes = np.minimum(trials, np.arange(N) % 4)
    start = np.arange(N) % 2
    with_them = fit(
        MoERegressor(2, gate="constant", expert="binomial", start=start),
        X,
        successes,
        trials=trials,
    )
    assert_sound(with_them, X, trials=trials)
    assert_allclose(with_them.log_prob(X[:1], [0.0], trials=[0.0]), 0, atol=1e-12)


@pytest.mark.parametrize("family", ["poisson", "gamma", "gaussian"])
def test_extreme_offsets_are_sound(X, y, family):
    target = np.round(np.exp(y)) + 1.0
    offset = np.linspace(-20, 20, N)
    model = MoERegressor(2, expert=family, start=FEW)
    fit(model, X, target, offset=offset)
    assert_sound(model, X, offset=offset)


@pytest.mark.parametrize(
    ("family", "value"), [("gamma", -1.0), ("poisson", -2.5), ("binomial", 9.0)]
)
def test_a_target_outside_the_support_may_have_weight_zero(X, family, value):
    target = np.where(np.arange(N) % 2, 1.0, 2.0 - (family == "binomial"))
    weight = np.ones(N)
    weight[:3], target[:3] = 0, value
    start = np.arange(N) % 2
    whole = fit(MoERegressor(2, expert=family, start=start), X, target, sample_weight=weight)
    fewer = fit(MoERegressor(2, expert=family, start=start[3:]), X[3:], target[3:])
    assert_allclose(whole.loglik_, fewer.loglik_, rtol=1e-8)


CLASSES = {
    "one of a class": lambda X: (np.arange(N) == 0).astype(int),
    "separated": lambda X: (X[:, 0] > 0).astype(int),
    "separated in three": lambda X: np.digitize(X[:, 0], [-0.5, 0.5]),
    "unrelated": lambda X: np.arange(N) % 2,
    "many": lambda X: np.arange(N) // 6,
}


@pytest.mark.parametrize("kind", CLASSES)
def test_classifications_are_sound(X, kind):
    model = fit(MoEClassifier(2, start=FEW), X, CLASSES[kind](X))
    assert_sound(model, X)
    assert_allclose(model.predict_proba(X).sum(axis=1), 1, rtol=1e-9)


def test_a_class_of_weight_zero_is_kept_and_never_expected(X):
    labels = np.arange(N) % 3
    model = fit(MoEClassifier(2, start=FEW), X, labels, sample_weight=(labels < 2).astype(float))
    assert model.classes_.tolist() == [0, 1, 2]
    assert model.predict_proba(X)[:, 2].max() < 1e-3


def test_a_class_may_come_with_a_later_batch(X):
    labels = np.arange(N) % 3
    model = MoEClassifier(1)
    model.partial_fit(X[labels < 2], labels[labels < 2], classes=[0, 1, 2])
    model.partial_fit(X, labels)
    assert model.predict_proba(X).shape == (N, 3)
    assert np.isfinite(model.predict_proba(X)).all()


@pytest.mark.parametrize("K", [5, N])
def test_more_experts_than_the_data_support_is_a_degenerate_fit(X, y, K):
    start = np.arange(N) % K
    with pytest.warns(ConvergenceWarning):
        model = MoERegressor(K, start=start, solver=EM(max_passes=200)).fit(X[:, :1], X[:, 1])
    assert_sound(model, X[:, :1])


def test_more_experts_than_rows_are_refused(X, y):
    with pytest.raises(ValueError, match="n_experts=7 needs at least 7 rows .* Use fewer experts"):
        MoERegressor(7).fit(X[:6], y[:6])


def test_an_empty_expert_is_kept_finite(X, y):
    resp = np.tile([1.0, 0.0], (N, 1))
    model = fit(MoERegressor(2, start=resp), X, y)
    assert_sound(model, X)


def test_duplicated_experts_have_the_likelihood_of_one(X, y):
    same = fit(MoERegressor(2, start=np.full((N, 2), 0.5)), X, y)
    one = MoERegressor(1).fit(X, y)
    assert_allclose(same.loglik_, one.loglik_, rtol=1e-9)


def test_a_separated_gate_is_named(X):
    noise = np.random.default_rng(1).standard_normal(N)
    x = np.sort(X[:, :1], axis=0)
    x[N // 2 :] += 2
    target = np.where(np.arange(N) < N // 2, -50 + 10 * x[:, 0], 50 - 10 * x[:, 0]) + noise
    model = MoERegressor(2, start=FEW).fit(x, target)
    assert model.status_ is Status.SEPARATED
    assert_sound(model, x)


def test_weights_that_sum_to_one_are_judged_as_rows_are(X, y):
    start = (X[:, 0] > 0).astype(int)
    plain = fit(MoERegressor(2, start=start), X, y)
    relative = fit(MoERegressor(2, start=start), X, y, sample_weight=np.full(N, 1 / N))
    assert relative.status_ is plain.status_
    assert relative.regular_ is plain.regular_ is True


@pytest.mark.parametrize("extra", ["constant", "copy"])
def test_a_steep_gate_is_not_called_separated_for_a_useless_column(extra):
    rng = np.random.default_rng(0)
    x = rng.uniform(-1, 1, 3000)
    upper = rng.random(3000) < 1 / (1 + np.exp(-60 * x))
    target = np.where(upper, 5 + x, -5 - x) + 0.3 * rng.standard_normal(3000)
    column = np.ones(3000) if extra == "constant" else x
    model = MoERegressor(2, start=upper.astype(int)).fit(np.column_stack([x, column]), target)
    assert model.status_ is Status.CONVERGED


@pytest.mark.parametrize("link", ["log", "inverse"])
def test_the_bound_of_a_scale_follows_the_unit_of_the_target(X, link):
    target = np.exp(2 + 0.3 * X[:, 0]) + 0.3 * np.random.default_rng(1).standard_normal(N)
    expert = GaussianExpert(link=link)
    one = fit(MoERegressor(1, expert=expert), X, target)
    small = fit(MoERegressor(1, expert=expert), X, 1e-6 * target)
    assert small.status_ is one.status_ is Status.CONVERGED
    assert_allclose(small.dispersion_, 1e-6 * one.dispersion_, rtol=1e-6)


def test_a_penalty_keeps_a_separated_gate_ordinary(X):
    from mixexp import SoftmaxGate

    noise = np.random.default_rng(1).standard_normal(N)
    x = np.sort(X[:, :1], axis=0)
    target = np.where(np.arange(N) < N // 2, -50 + 10 * x[:, 0], 50 - 10 * x[:, 0]) + noise
    model = MoERegressor(2, gate=SoftmaxGate(penalty=L2(0.01)), start=FEW).fit(x, target)
    assert model.status_ is Status.CONVERGED


@pytest.mark.parametrize(
    ("family", "link"), [("poisson", "identity"), ("gamma", "identity"), ("gamma", "inverse")]
)
def test_predictions_beyond_the_range_of_a_link(X, family, link):
    expert = {"poisson": PoissonExpert, "gamma": GammaExpert}[family](link=link)
    target = np.round(5 + np.random.default_rng(0).gamma(2, 2, N) + np.abs(X[:, 0]))
    model = fit(MoERegressor(2, expert=expert, start=(X[:, 0] > 0).astype(int)), X, target)
    far = 300 * X
    eta = np.einsum("np,kp->nk", far, model.coef_) + model.intercept_
    undefined = ~(eta > 0).any(axis=1)
    assert undefined.any() and not undefined.all()
    found = [model.predict(far), model.predict_std(far), model.sample(far, 0)]
    for values in (*found, model.predict_quantile(far, 0.5)):
        assert np.array_equal(np.isnan(values), undefined)
        assert (values[~undefined] >= 0).all()


def warm(X, y, **later):
    model = MoERegressor(2, start=FEW, warm_start=True)
    return fit(model, X, y).set_params(**later)


REFUSED = {
    "no passes between checkpoints": (
        lambda X, y: MoERegressor(1, solver=EM(checkpoint="x", checkpoint_every=0)).fit(X, y),
        "checkpoint_every",
    ),
    "responses the wrong way round": (
        lambda X, y: MoERegressor(1).fit(X, np.column_stack([y, y])).log_prob(X, np.ones((2, N))),
        "2 response",
    ),
    "a start with more experts": (
        lambda X, y: MoERegressor(1, start=MoERegressor(2, start=FEW).fit(X, y)).fit(X, y),
        "more than n_experts=1",
    ),
    "a warm start with fewer columns": (
        lambda X, y: warm(X, y).fit(X[:, :1], y),
        "other columns",
    ),
    "a warm start of another family": (
        lambda X, y: warm(X, y, expert="gamma").fit(X, np.exp(y)),
        "other columns, responses, classes, gate, family",
    ),
    "NaN in X": (lambda X, y: MoERegressor().fit(np.where(X > 2, np.nan, X), y), "NaN"),
    "infinite y": (lambda X, y: MoERegressor().fit(X, np.where(y > 1, np.inf, y)), "infinity"),
    "NaN weight": (lambda X, y: MoERegressor().fit(X, y, np.full(N, np.nan)), "NaN"),
    "negative weight": (lambda X, y: MoERegressor().fit(X, y, np.full(N, -1.0)), "[Nn]egative"),
    "no weight": (lambda X, y: MoERegressor().fit(X, y, np.zeros(N)), "zero"),
    "NaN offset": (lambda X, y: MoERegressor().fit(X, y, offset=np.full(N, np.nan)), "offset"),
    "short offset": (lambda X, y: MoERegressor().fit(X, y, offset=np.ones(3)), "one value per row"),
    "exposure for gaussian": (lambda X, y: MoERegressor().fit(X, y, exposure=1.0), "exposure"),
    "zero exposure": (
        lambda X, y: MoERegressor(expert="poisson").fit(X, np.abs(y) // 1, exposure=np.zeros(N)),
        "exposure must be positive",
    ),
    "half trials": (
        lambda X, y: MoERegressor(expert="binomial").fit(X, y > 0, trials=np.full(N, 1.5)),
        "whole numbers",
    ),
    "more successes than trials": (
        lambda X, y: MoERegressor(expert="binomial").fit(X, np.full(N, 3.0), trials=np.full(N, 2)),
        "successes between 0 and trials",
    ),
    "negative counts": (
        lambda X, y: MoERegressor(expert="poisson").fit(X, y),
        "non-negative integer",
    ),
    "negative gamma": (lambda X, y: MoERegressor(expert="gamma").fit(X, y), "positive targets"),
    "one class": (lambda X, y: MoEClassifier().fit(X, np.zeros(N)), "class"),
    "unknown family": (lambda X, y: MoERegressor(expert="gausian").fit(X, y), "Did you mean"),
    "unknown gate": (lambda X, y: MoERegressor(gate="softmx").fit(X, y), "Did you mean"),
    "unknown start": (lambda X, y: MoERegressor(start="kmeans").fit(X, y), "start='kmeans'"),
    "classes to a regressor": (
        lambda X, y: MoERegressor(expert="multinomial").fit(X, y),
        "MoEClassifier",
    ),
    "numbers to a classifier": (
        lambda X, y: MoEClassifier(expert="gaussian").fit(X, y > 0),
        "MoERegressor",
    ),
    "no experts": (lambda X, y: MoERegressor(0).fit(X, y), "n_experts must be an integer >= 1"),
    "half an expert": (lambda X, y: MoERegressor(1.5).fit(X, y), "n_experts"),
    "unknown link": (
        lambda X, y: MoERegressor(expert=_poisson("logit")).fit(X, np.abs(y) // 1),
        "links",
    ),
    "negative penalty": (
        lambda X, y: MoEClassifier(expert=MultinomialExpert(penalty=L2(-1))).fit(X, y > 0),
        "alpha",
    ),
    "column out of range": (
        lambda X, y: MoERegressor(gate_features=[5]).fit(X, y),
        "gate_features.*0..1",
    ),
    "names without a frame": (
        lambda X, y: MoERegressor(expert_features=["a"]).fit(X, y),
        "data frame",
    ),
    "labels of another length": (lambda X, y: MoERegressor(start=[0, 1]).fit(X, y), "start must"),
    "quantile out of range": (
        lambda X, y: MoERegressor(1).fit(X, y).predict_quantile(X, 1.5),
        "between 0 and 1",
    ),
    "unknown label": (
        lambda X, y: MoEClassifier(1).fit(X, y > 0).log_prob(X, np.full(N, 7)),
        "label",
    ),
}


def _poisson(link):
    from mixexp import PoissonExpert

    return PoissonExpert(link=link)


@pytest.mark.parametrize("kind", REFUSED)
def test_unusable_input_is_refused_in_words(X, y, kind):
    call, words = REFUSED[kind]
    with pytest.raises((ValueError, TypeError), match=words):
        call(X, y)


def test_a_number_given_as_classes_is_refused_before_any_work():
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((400, 10)), np.arange(400) % 190
    with pytest.raises(ValueError, match="190 classes in 10 columns .* use MoERegressor"):
        MoEClassifier(2).fit(X, y)
