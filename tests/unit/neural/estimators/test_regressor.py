"""`NeuralMoERegressor`: laws of weights, densities and experts; files; named errors."""

from __future__ import annotations

import functools
import pickle

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.datasets import make_friedman1

import mixexp.neural as neural
from mixexp._persistence import PersistenceError
from mixexp.neural import (
    GumbelRouter,
    NeuralMoEClassifier,
    NeuralMoERegressor,
    PeriodicEmbedding,
    PiecewiseLinearEmbedding,
    RouterFlags,
    TopKRouter,
    Training,
)

SHORT = Training(3, batch_size=32)
LONG = Training(40, batch_size=32, learning_rate=0.01)


def frame(n=120, seed=0):
    rng = np.random.default_rng(seed)
    X = pd.DataFrame(
        {
            "a": rng.standard_normal(n),
            "kind": rng.choice(["u", "v", "w"], n),
            "b": rng.integers(0, 4, n),
        }
    )
    return X, (X["a"] * np.where(X["kind"] == "u", 2, -1) + X["b"]).to_numpy()


@pytest.fixture(scope="module")
def density():
    X, y = make_friedman1(200, random_state=0)
    model = NeuralMoERegressor(3, head="density", d_expert=8, training=LONG)
    return model.fit(X, y), X, y


@pytest.mark.parametrize("embedding", [None, PiecewiseLinearEmbedding(5, 3), PeriodicEmbedding(3)])
def test_weight_two_is_the_row_twice_and_order_does_not_matter(embedding) -> None:
    """With batches, gate noise, validation rows, embeddings and categories: to the last bit."""
    X, y = frame()
    weight = np.random.default_rng(1).integers(0, 3, len(y))
    model = NeuralMoERegressor(2, d_expert=4, numeric_embedding=embedding, training=SHORT)
    times = np.repeat(np.arange(len(y)), weight)
    order = np.random.default_rng(2).permutation(times)
    weighted = model.fit(X, y, sample_weight=weight).predict(X)
    repeated = model.fit(X.iloc[order], y[order]).predict(X)
    assert_array_equal(weighted, repeated)


def test_rows_without_weight_leave_no_trace_in_the_vocabulary() -> None:
    X, y = frame()
    weight = (X["kind"] != "w").to_numpy(dtype=float)
    model = NeuralMoERegressor(2, training=SHORT).fit(X, y, sample_weight=weight)
    other = X.assign(kind=X["kind"].replace("w", "never seen"))
    assert_array_equal(model.predict(X), model.predict(other))


def test_missing_categories_are_a_category() -> None:
    X, y = frame()
    X.loc[::3, "kind"] = None
    model = NeuralMoERegressor(2, training=LONG).fit(X, y)
    unseen = X.assign(kind="never seen")
    assert not np.array_equal(model.predict(X)[::3], model.predict(unseen)[::3])


def test_categorical_features_of_an_array() -> None:
    X, y = frame()
    codes = np.c_[X["a"], X["b"]]
    own = NeuralMoERegressor(2, categorical_features=[1], training=SHORT).fit(codes, y)
    named = X[["a", "b"]].astype({"b": str})
    assert_array_equal(
        own.predict(codes), NeuralMoERegressor(2, training=SHORT).fit(named, y).predict(named)
    )


def test_predictions_of_the_mean_head_are_experts_weighted_by_the_gate() -> None:
    X, y = frame()
    for router in ("gumbel", functools.partial(TopKRouter, k=2, normalize="sum")):
        model = NeuralMoERegressor(3, router=router, training=SHORT, dtype="float64").fit(X, y)
        gate, experts = model.gate_proba(X), model.predict_experts(X)
        assert_allclose(gate.sum(axis=1), 1)
        assert_allclose(model.predict(X), (gate * experts).sum(axis=1))
        assert_allclose(model.expert_usage(X), gate.mean(axis=0))


def test_signal_is_found() -> None:
    X, y = make_friedman1(400, random_state=0)
    X_new, y_new = make_friedman1(400, random_state=1)
    training = Training(25, batch_size=64, learning_rate=0.02)
    for settings in ({"numeric_embedding": "piecewise_linear"}, {"n_blocks": 2}):
        model = NeuralMoERegressor(4, d_expert=16, training=training, **settings).fit(X, y)
        assert model.score(X_new, y_new) > 0.85


def test_density_integrates_to_one_and_has_the_mean_and_variance_that_are_told(density) -> None:
    model, X, _ = density
    X = X[:5]
    grid = np.linspace(-40, 80, 20_001)
    p = model.predict_density(X, grid)
    step = grid[1] - grid[0]
    assert_allclose(p.sum(axis=1) * step, 1, rtol=1e-6)
    mean = (p * grid).sum(axis=1) * step
    assert_allclose(model.predict(X), mean, rtol=1e-5)
    assert_allclose(
        model.predict_variance(X), (p * grid**2).sum(axis=1) * step - mean**2, rtol=1e-4
    )
    low, high = model.predict_interval(X, 0.8).T
    for row, a, b in zip(p, low, high, strict=True):
        assert_allclose(row[grid <= a].sum() * step, 0.1, atol=2e-3)
        assert_allclose(row[grid <= b].sum() * step, 0.9, atol=2e-3)


def test_training_loss_of_the_density_head_is_the_log_density() -> None:
    """On the scale of the standardised target, in float64 and without gate noise."""
    X, y = make_friedman1(50, random_state=0)
    settings = Training(2, batch_size=None, early_stopping=False, schedule="constant")
    model = NeuralMoERegressor(
        2, head="density", router=functools.partial(TopKRouter, k=1), dtype="float64"
    )
    before = model.set_params(training=settings).fit(X, y)
    told = model.set_params(training=Training(**{**settings.get_params(), "max_epochs": 3}))
    logs = before.log_prob(X, y)
    after = told.fit(X, y)
    assert_allclose(after.loss_curve_[2], -(logs + np.log(y.std())).mean())


def test_likelihood_sees_a_spread_that_changes(density) -> None:
    rng = np.random.default_rng(0)
    X = rng.uniform(-1, 1, (600, 1))
    y = np.where(X[:, 0] > 0, 2.0, 0.1) * rng.standard_normal(600)
    training = Training(40, batch_size=100, learning_rate=0.03)
    model = NeuralMoERegressor(2, head="density", d_expert=8, training=training).fit(X, y)
    spread = np.sqrt(model.predict_variance([[-0.5], [0.5]]))
    assert 0.05 < spread[0] < 0.3 and 1.5 < spread[1] < 2.5


def test_the_density_on_a_grid_is_the_one_of_each_row(density) -> None:
    model, X, y = density
    grid = y[:5]
    rows = [np.exp(model.log_prob(np.tile(x, (5, 1)), grid)) for x in X[:3]]
    assert_allclose(model.predict_density(X[:3], grid), rows, rtol=1e-6)


def test_a_failed_fit_leaves_the_fitted_model_as_it_was() -> None:
    """A fit refused late, when the columns of the new table are known, and one interrupted."""
    X, y = frame()
    model = NeuralMoERegressor(2, training=SHORT).fit(X, y)
    before, attributes = model.predict(X), set(vars(model))

    class Stopped(Exception):
        pass

    def stop(progress):
        raise Stopped

    other = X[["a"]].assign(c=1.5)
    late = {"router": TopKRouter(7, 2), "training": SHORT}
    stopped = {"router": "gumbel", "training": Training(3, callback=stop)}
    for settings, error in ((late, ValueError), (stopped, Stopped)):
        with pytest.raises(error):
            model.set_params(**settings).fit(other, y)
        assert_array_equal(model.predict(X), before)
        assert set(vars(model)) == attributes
    first = NeuralMoERegressor(2, training=Training(3, callback=stop))
    with pytest.raises(Stopped):
        first.partial_fit(X, y)
    assert not hasattr(first, "module_")
    assert len(first.set_params(training=SHORT).partial_fit(X, y).loss_curve_) == 1


def test_the_summary_says_what_was_fitted() -> None:
    X, y = frame()
    model = NeuralMoERegressor(2, router="top_k", training=SHORT).fit(X, y)
    text = model.summary()
    assert "2 experts, TopKRouter, MeanHead" in text
    model.set_params(n_experts=5, head="density", dtype="float64")  # parameters, and no fit
    assert model.summary() == text and model.predict(X).shape == y.shape
    assert "2 numeric, 1 categorical" in text
    total = sum(p.numel() for p in model.module_.parameters())
    experts = sum(p.numel() for p in model.module_.top.experts.parameters())
    assert f"parameters: {total:,}, of them experts {experts:,}" in text
    least = min(model.validation_curve_)
    assert f"kept is epoch {model.best_epoch_}, of least validation loss {least:.4g}" in text
    without = NeuralMoERegressor(2, training=Training(1, early_stopping=False)).fit(X, y)
    assert without.summary().endswith(f"training: 1 epoch, loss {without.loss_curve_[-1]:.4g}")


def test_experts_that_choose_by_their_own_activations() -> None:
    X, y = frame()
    model = NeuralMoERegressor(3, router="activation_norm", n_layers=2, training=SHORT).fit(X, y)
    inputs = X.assign(kind="u")
    assert_allclose((model.gate_proba(inputs) > 0).sum(axis=1), 2)
    bank, router = model.module_.top.experts, model.module_.top.router
    units = torch.randn(5, bank.dim, generator=torch.Generator().manual_seed(0))
    first = torch.stack([units @ w + b for w, b in zip(bank.weights[0], bank.biases[0])], 1)
    best = first.norm(dim=-1).argsort(descending=True)[:, :2]
    routing = router(model.module_.top.inputs(units))
    chosen = torch.stack([routing.expert[routing.unit == t].sort().values for t in range(5)])
    assert torch.equal(chosen, best.sort().values)


def test_several_targets() -> None:
    X, y = frame()
    Y = np.c_[y, -y]
    model = NeuralMoERegressor(2, head="density", training=SHORT).fit(X, Y)
    assert model.predict(X).shape == (120, 2)
    assert model.predict_interval(X).shape == (120, 2, 2)
    assert model.predict_experts(X).shape == (120, 2, 2)
    assert model.log_prob(X, Y).shape == (120,)
    assert model.predict_density(X[:4], [0.0, 1.0, 2.0]).shape == (4, 2, 3)
    gate, means = model.gate_proba(X), model.predict_experts(X)
    assert_allclose(np.einsum("ne,nem->nm", gate, means), model.predict(X), rtol=1e-5)


def test_a_model_without_density_says_so() -> None:
    X, y = frame()
    model = NeuralMoERegressor(2, training=SHORT).fit(X, y)
    with pytest.raises(ValueError, match='head="density"'):
        model.predict_interval(X)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"head": "density", "router": functools.partial(TopKRouter, k=1)},
        {"numeric_embedding": PiecewiseLinearEmbedding(4, None), "n_blocks": 2},
        {"numeric_embedding": "periodic", "router": GumbelRouter, "n_layers": 2},
    ],
)
def test_a_loaded_model_predicts_bit_for_bit(settings, tmp_path) -> None:
    X, y = frame()
    model = NeuralMoERegressor(3, training=SHORT, **settings).fit(X, y)
    model.save(tmp_path / "model.mixexp")
    copy = NeuralMoERegressor.load(tmp_path / "model.mixexp")
    assert_array_equal(copy.predict(X), model.predict(X))
    assert_array_equal(copy.feature_names_in_, model.feature_names_in_)
    assert_array_equal(pickle.loads(pickle.dumps(model)).predict(X), model.predict(X))
    with pytest.raises(PersistenceError, match="not a NeuralMoEClassifier"):
        NeuralMoEClassifier.load(tmp_path / "model.mixexp")


def test_a_router_that_no_file_can_describe_is_refused(tmp_path) -> None:
    X, y = frame()
    model = NeuralMoERegressor(2, router=GumbelRouter(4, 2), training=SHORT)
    model.fit(X.drop(columns="kind").assign(c=0.0, d=1.0), y)
    with pytest.raises(PersistenceError, match="partial"):
        model.save(tmp_path / "model.mixexp")


def test_an_instance_of_a_router_is_copied_and_never_trained() -> None:
    X, y = make_friedman1(60, random_state=0)
    router = TopKRouter(10, 2, 1)
    before = router.score.weight.detach().clone()
    model = NeuralMoERegressor(2, router=router, training=SHORT).fit(X, y)
    assert torch.equal(router.score.weight, before)
    assert not torch.equal(model.module_.top.router.score.weight, before)


@pytest.mark.parametrize(
    ("router", "error", "text"),
    [
        ("tok_p", ValueError, "known are"),
        ("task", TypeError, "functools.partial"),
        ("soft", ValueError, "routes by .*segment.*do not have. Use"),
        (TopKRouter(3, 2), ValueError, "dim=3 and n_experts=2; this layer needs dim=10"),
        (functools.partial(TopKRouter, level="task"), ValueError, "task_id"),
        (lambda dim, n_experts: 3, TypeError, "router must be"),
    ],
)
def test_routers_that_do_not_fit_are_named(router, error, text) -> None:
    X, y = make_friedman1(40, random_state=0)
    with pytest.raises(error, match=text):
        NeuralMoERegressor(2, router=router, training=SHORT).fit(X, y)


class MeanRouter(TopKRouter):
    """Routes all rows by the mean of the batch."""

    def flags(self, training):
        return RouterFlags(batch_independent=False, causal=False)

    def route(self, inputs):
        return super().route(inputs.replace(x=inputs.x - inputs.x.mean(0)))


def test_routers_that_mix_rows_are_refused_unless_told() -> None:
    X, y = make_friedman1(60, random_state=0)
    model = NeuralMoERegressor(3, router=MeanRouter, training=SHORT)
    with pytest.raises(ValueError, match="allow_batch_dependence=True"):  # before the training
        model.fit(X, y)
    told = model.set_params(allow_batch_dependence=True).fit(X, y)
    assert not np.allclose(told.predict(X)[:5], told.predict(X[:5]))
    with pytest.raises(ValueError, match="allow_batch_dependence=True"):
        told.set_params(allow_batch_dependence=False).predict(X)


@pytest.mark.parametrize(
    ("settings", "error", "text"),
    [
        ({"router": "top-k"}, ValueError, "Did you mean 'top_k'"),
        ({"router": "product_key"}, ValueError, r"router='product_key'.*partial\(ProductKeyRouter"),
        ({"random_state": "seed"}, ValueError, "random_state must be .* got 'seed'"),
        ({"categorical_features": None}, ValueError, "text 'a'.*categorical_features"),
        ({"training": Training(1, callback=3)}, TypeError, "callback must be callable"),
        ({"training": Training(1, clip_norm=0)}, ValueError, "clip_norm must be positive"),
        ({"training": Training(1, warmup=-1)}, ValueError, "warmup must be"),
    ],
)
def test_settings_out_of_range_are_named_before_the_training(settings, error, text) -> None:
    frame = pd.DataFrame({"letter": list("abcdef"), "number": range(6)})
    with pytest.raises(error, match=text):
        NeuralMoERegressor(2, **settings).fit(frame, np.arange(6.0))


def test_texts_in_place_of_numbers_are_named() -> None:
    frame = pd.DataFrame({"letter": list("abcdef"), "number": range(6)})
    with pytest.raises(ValueError, match="text 'a'. For classes use NeuralMoEClassifier"):
        NeuralMoERegressor(2).fit(frame, frame["letter"])
    model = NeuralMoERegressor(2, training=Training(1)).fit(frame, np.arange(6.0))
    with pytest.raises(ValueError, match="text 'many'.*In the fit"):
        model.predict(frame.assign(number="many"))


def test_partial_fit_goes_on_and_fixes_the_scale_at_first() -> None:
    X, y = make_friedman1(400, random_state=0)
    model = NeuralMoERegressor(4, training=Training(learning_rate=0.02, batch_size=25))
    for _ in range(4):
        for part in np.array_split(np.arange(300), 3):
            model.partial_fit(X[part], y[part])
    assert len(model.loss_curve_) == 12 and model.loss_curve_[-1] < model.loss_curve_[0] / 2
    assert model.score(X[300:], y[300:]) > 0.6
    model.set_params(training=SHORT).fit(X, y)  # a fit starts anew
    assert len(model.loss_curve_) == model.n_iter_ == 3


def test_one_seed_is_one_fit_and_others_differ() -> None:
    X, y = frame()
    one, same, other = (
        NeuralMoERegressor(2, training=SHORT, random_state=seed).fit(X, y).predict(X)
        for seed in (1, 1, 2)
    )
    assert_array_equal(one, same)
    assert not np.array_equal(one, other)


def test_the_random_state_of_the_process_is_left_alone() -> None:
    X, y = frame()
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    NeuralMoERegressor(2, dropout=0.2, training=SHORT).fit(X, y).predict(X)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_explanation_finds_the_columns_of_each_expert() -> None:
    rng = np.random.default_rng(0)
    X = pd.DataFrame(rng.standard_normal((400, 3)), columns=["left", "right", "none"])
    X["side"] = rng.integers(0, 2, 400)
    y = np.where(X["side"] == 1, 3 * X["left"], -3 * X["right"]).ravel()
    training = Training(40, batch_size=50, learning_rate=0.02)
    model = NeuralMoERegressor(4, router=TopKRouter, training=training).fit(X, y)
    for target in (None, y):
        table = model.explain_experts(X, target)
        used = table[table["n_rows"] >= 20]
        assert table["usage"].sum() == pytest.approx(1) and table["n_rows"].sum() == 400
        assert (used["importance of none"] < used["importance of left"]).all()
        wide = used["importance of left"] + used["importance of right"]
        assert (used["importance of none"] < 0.25 * wide).all()


def test_settings_out_of_range_are_named() -> None:
    X, y = frame(20)
    for settings in (
        {"n_experts": 0}, {"d_expert": 0}, {"n_blocks": 1.5}, {"dropout": 1.0}, {"dtype": "half"},
        {"head": "median"}, {"numeric_embedding": "linear"},
    ):  # fmt: skip
        with pytest.raises(ValueError, match=next(iter(settings))):
            NeuralMoERegressor(**settings).fit(X, y)
    with pytest.raises(TypeError, match="training must be"):
        NeuralMoERegressor(training="adam").fit(X, y)
    with pytest.raises(ValueError, match="dates"):
        NeuralMoERegressor().fit(X.assign(day=pd.Timestamp("2020-01-01")), y)


def test_public_names_are_there() -> None:
    for name in ("NeuralMoERegressor", "Training", "PiecewiseLinearEmbedding", "MLPExperts"):
        assert name in neural.__all__ and getattr(neural, name).__doc__


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_device_that_is_not_here_is_named_before_any_work(tmp_path) -> None:
    X, y = frame(20)
    for device, text in {"cuda": "PyTorch sees none here", "gpu": "must be None, 'auto'"}.items():
        with pytest.raises(ValueError, match=text):
            NeuralMoERegressor(device=device, training=SHORT).fit(X, y)
    model = NeuralMoERegressor(training=SHORT).fit(X, y).set_params(device="cuda:0")
    model.save(tmp_path / "model.mixexp")
    with pytest.warns(UserWarning, match="'cuda:0', which is not here"):
        loaded = NeuralMoERegressor.load(tmp_path / "model.mixexp")
    assert loaded.device == "auto"
    assert_array_equal(loaded.predict(X), model.set_params(device=None).predict(X))
