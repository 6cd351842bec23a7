"""Fits to datasets of blocks are the fits of the same rows in memory."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from mixexp import (
    EM,
    L1,
    ArrayDataset,
    BlockDataset,
    FileDataset,
    GaussianExpert,
    GLoMERegressor,
    MoEClassifier,
    MoERegressor,
    MultiStart,
    OnlineEM,
    SoftmaxGate,
    load,
)
from mixexp.em import survey

CUTS = [0, 1100, 1101, 1800, 3000]
QUICK = MultiStart(n_starts=0.1, max_rounds=1)


def two_regimes(n=3000, seed=0):
    """X, the means of the rows' regimes, and weights of which some are zero."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 3))
    first = rng.uniform(size=n) < 1 / (1 + np.exp(-2 * X[:, 0]))
    mean = np.where(first, 1 + X @ [0.8, 0.5, 0], -1 - X @ [0, 0.3, 0.6])
    return X, mean, rng.uniform(0.5, 2, n) * (rng.uniform(size=n) < 0.9)


def gaussian_target(mean, seed=1):
    return mean + 0.3 * np.random.default_rng(seed).normal(size=len(mean))


def ragged(**parts):
    """The rows in blocks of unequal sizes."""
    blocks = itertools.pairwise(CUTS)
    return BlockDataset([{name: a[i:j] for name, a in parts.items()} for i, j in blocks])


def assert_same_fit(memory, blocked, rtol=1e-9):
    assert (memory.engine_, blocked.engine_) == ("memory", "stream")
    pd.testing.assert_frame_equal(memory.starts_, blocked.starts_, rtol=1e-11)
    for name in ("entropy", "hard_entropy"):
        ours, theirs = (getattr(one.fit_summary_, name) for one in (blocked, memory))
        assert_allclose(ours, theirs, rtol=1e-6, atol=1e-9, err_msg=name)
    for name in ("coef_", "intercept_", "dispersion_", "expert_sizes_"):
        ours, theirs = getattr(blocked, name), getattr(memory, name)
        if theirs is not None:
            assert_allclose(ours, theirs, rtol=rtol, atol=rtol, err_msg=name)
    ours, theirs = (model._model_.gate.pack(model._params_.gate) for model in (blocked, memory))
    assert_allclose(ours, theirs, rtol=rtol, atol=rtol)
    assert_allclose(blocked.loglik_, memory.loglik_, rtol=1e-12)
    assert (blocked.n_free_, blocked.status_) == (memory.n_free_, memory.status_)


FAMILIES = {
    "gaussian": lambda mean, rng: mean + 0.3 * rng.normal(size=len(mean)),
    "poisson": lambda mean, rng: rng.poisson(np.exp(mean + 1)),
    "binomial": lambda mean, rng: rng.binomial(12, 1 / (1 + np.exp(-2 * mean))),
    "gamma": lambda mean, rng: rng.gamma(9.0, np.exp(mean) / 9),
    "lognormal": lambda mean, rng: np.exp(mean + 0.3 * rng.normal(size=len(mean))),
}


@pytest.mark.parametrize("family", FAMILIES)
def test_families_with_weights_offsets_and_trials(family):
    X, mean, weight = two_regimes()
    rng = np.random.default_rng(1)
    y = FAMILIES[family](mean, rng)
    given = {"offset": 0.1 * X[:, 1]} if family in ("gaussian", "poisson") else {}
    given |= {"trials": np.full(len(y), 12.0)} if family == "binomial" else {}
    model = MoERegressor(2, expert=family, start=QUICK)
    memory = model.fit(X, y, weight, **given)
    blocked = MoERegressor(2, expert=family, start=QUICK)
    assert_same_fit(memory, blocked.fit(ragged(X=X, y=y, weight=weight, **given)))


@pytest.mark.parametrize(
    "gate", ["constant", "gaussian", SoftmaxGate(transform="tanh"), "hierarchical"]
)
def test_gates(gate):
    X, mean, _ = two_regimes()
    y = gaussian_target(mean)
    memory = MoERegressor(2, gate=gate, start=QUICK).fit(X, y)
    assert_same_fit(memory, MoERegressor(2, gate=gate, start=QUICK).fit(ragged(X=X, y=y)))


def classes_of(X, seed=1):
    """Three classes whose order turns round behind the first column."""
    score = np.where(X[:, 0] > 0, 4 * X[:, 1], -4 * X[:, 1])
    score = score + np.random.default_rng(seed).logistic(size=len(X))
    return np.array(["high", "low", "none"])[np.digitize(score, [-1, 1])]


def test_classes_by_name_with_balanced_weights():
    X, _, weight = two_regimes()
    y = classes_of(X)
    model = MoEClassifier(2, class_weight="balanced", start=QUICK)
    memory = model.fit(X, y, weight)
    blocked = MoEClassifier(2, class_weight="balanced", start=QUICK)
    blocked.fit(ragged(X=X, y=y, weight=weight))
    assert_array_equal(blocked.classes_, memory.classes_)
    assert_same_fit(memory, blocked)
    assert blocked.score(X, y) > 0.7


def test_several_responses_and_degrees():
    X, mean, weight = two_regimes()
    y = np.column_stack([gaussian_target(mean), gaussian_target(-mean, 2)])
    memory = GLoMERegressor(2, degree=2, start=QUICK).fit(X, y, weight)
    blocked = GLoMERegressor(2, degree=2, start=QUICK).fit(ragged(X=X, y=y, weight=weight))
    assert_same_fit(memory, blocked)


def test_columns_without_a_density_are_left_out_of_a_joint_gate():
    X, mean, _ = two_regimes()
    y = gaussian_target(mean)
    X = np.column_stack([X, X[:, 0] + X[:, 1], np.full(len(X), 0.1)])
    settings = {"gate": "gaussian", "expert_features": [0, 1, 2], "start": QUICK}
    blocked = MoERegressor(2, **settings).fit(ragged(X=X, y=y))
    assert blocked._gate_columns.tolist() == [0, 1, 2]
    assert_same_fit(MoERegressor(2, **settings).fit(X, y), blocked)


def test_float32_columns_and_sparse_penalties():
    X, mean, _ = two_regimes()
    X, y = X.astype(np.float32), gaussian_target(mean)
    expert, gate = GaussianExpert(penalty=L1(0.05)), SoftmaxGate(penalty=L1(0.02))
    model = MoERegressor(2, expert=expert, gate=gate, start=QUICK)
    memory = model.fit(X, y)
    blocked = MoERegressor(2, expert=expert, gate=gate, start=QUICK).fit(ragged(X=X, y=y))
    assert_same_fit(memory, blocked)
    assert (blocked.coef_ == 0).any()


def test_few_distinct_rows_are_merged_as_in_memory():
    rng = np.random.default_rng(0)
    X = rng.integers(0, 6, (3000, 3)) / 3
    y = np.where(X[:, 0] > 0.7, 2 - X[:, 1], X[:, 1] + X[:, 2]) + rng.integers(0, 3, 3000) / 8
    memory = MoERegressor(2, start=QUICK).fit(X, y)
    blocked = MoERegressor(2, start=QUICK).fit(ragged(X=X, y=y))
    assert_array_equal(blocked.coef_, memory.coef_)
    assert blocked.loglik_ == memory.loglik_


@pytest.mark.parametrize("most", [500, 10**6])
def test_starts_are_those_of_memory_however_many_rows_are_told_apart(most, monkeypatch):
    monkeypatch.setattr(survey, "MANY", most)
    monkeypatch.setattr(survey.merged_keys, "__defaults__", (most,))
    X, mean, _ = two_regimes()
    y = gaussian_target(mean)
    small = MultiStart(n_starts=0.1, max_rounds=1, table_size=600)  # most rows are not drawn
    for start in (QUICK, small):
        memory = MoERegressor(2, start=start, random_state=3).fit(X, y)
        assert_same_fit(memory, MoERegressor(2, start=start, random_state=3).fit(ragged(X=X, y=y)))


def test_starts_take_all_rows_where_a_table_holds_more_than_are_told_apart(monkeypatch):
    monkeypatch.setattr(survey.merged_keys, "__defaults__", (500,))
    X, mean, weight = two_regimes()
    y = gaussian_target(mean)
    X, y, weight = (np.concatenate([one, one[:500]]) for one in (X, y, weight))
    start = MultiStart(n_starts=0.1, max_rounds=1, table_size=4000)
    memory = MoERegressor(2, start=start).fit(X, y, weight)
    blocks = BlockDataset([(X[i:j], y[i:j], weight[i:j]) for i, j in ((0, 900), (900, 3500))])
    assert_same_fit(memory, MoERegressor(2, start=start).fit(blocks))


def test_arrays_on_disk(tmp_path):
    X, mean, weight = two_regimes()
    y = gaussian_target(mean)
    np.save(tmp_path / "X.npy", X)
    mapped = np.load(tmp_path / "X.npy", mmap_mode="r")
    memory = MoERegressor(2, start=QUICK).fit(X, y, weight)
    given = {"offset": np.zeros(len(y))}
    blocked = MoERegressor(2, start=QUICK, engine="stream").fit(mapped, y, weight, **given)
    assert_same_fit(memory, blocked)
    again = MoERegressor(2, start=QUICK).fit(ArrayDataset(mapped, y, weight=weight, block_rows=700))
    assert_same_fit(memory, again)


def parquet(path, X, y, **more):
    names = [f"x{j}" for j in range(X.shape[1])]
    columns = dict(zip(names, X.T, strict=True))
    pq.write_table(pa.table(columns | {"y": y} | more), path, row_group_size=500)
    return names


def test_files_with_names(tmp_path):
    X, mean, weight = two_regimes()
    y = gaussian_target(mean)
    names = parquet(tmp_path / "rows.parquet", X, y, w=weight, o=0.1 * X[:, 0])
    roles = {"target": "y", "weight": "w", "offset": "o"}
    dataset = FileDataset(tmp_path / "rows.parquet", **roles, block_rows=800)
    model = MoERegressor(2, start=QUICK, gate_features=["x0"]).fit(dataset)
    memory = MoERegressor(2, start=QUICK, gate_features=[0])
    assert_same_fit(memory.fit(X, y, weight, offset=0.1 * X[:, 0]), model)
    assert model.feature_names_in_.tolist() == names
    in_memory = MoERegressor(2, start=QUICK, gate_features=["x0"], engine="memory").fit(dataset)
    assert in_memory.engine_ == "memory"
    assert_allclose(in_memory.coef_, memory.coef_, rtol=1e-12)


class Counted:
    """Blocks that are changed from some reading on."""

    def __init__(self, blocks, after, change):
        self.blocks, self.after, self.change = blocks, after, change
        self.reading = 0

    def __iter__(self):
        self.reading += 1
        changed = self.reading > self.after
        return iter(self.change(self.blocks) if changed else self.blocks)


@pytest.mark.parametrize("gate", ["softmax", "gaussian"])
def test_three_readings_come_besides_the_passes(gate):
    """The survey, the rows of the table, and what the fit is judged by."""
    X, mean, _ = two_regimes()
    y = gaussian_target(mean, 5)
    counted = Counted([(X[i:j], y[i:j]) for i, j in itertools.pairwise(CUTS)], 1000, None)
    dataset = BlockDataset(counted)
    before = counted.reading
    model = MoERegressor(2, gate=gate, start=QUICK).fit(dataset)
    own = 1 if gate == "gaussian" else 0  # the log-likelihood of y given x, of a joint fit
    assert counted.reading - before == model.n_iter_ + 3 + own


def without_a_value(blocks):
    X, y = blocks[-1]
    X = X.copy()
    X[7, 1] = np.nan
    return [*blocks[:-1], (X, y)]


def test_a_value_lost_in_the_last_block_leaves_the_last_checkpoint(tmp_path):
    X, mean, _ = two_regimes()
    y = gaussian_target(mean, 5) + 0.9 * np.random.default_rng(2).normal(size=len(mean))
    blocks = [(X[i:j], y[i:j]) for i, j in itertools.pairwise(CUTS)]
    solver = EM(checkpoint=tmp_path / "fit.mixexp", checkpoint_every=2)
    model = MoERegressor(2, start=QUICK, solver=solver)
    whole = MoERegressor(2, start=QUICK).fit(BlockDataset(blocks))
    assert whole.n_iter_ > 8
    breaks = BlockDataset(Counted(blocks, 9, without_a_value))
    with pytest.raises(ValueError, match=r"block 3, row 7 of it: column 'x1' holds nan"):
        model.fit(breaks)
    kept = (tmp_path / "fit.mixexp").read_bytes()
    broken = BlockDataset(without_a_value(blocks))
    with pytest.raises(ValueError, match="block 3, row 7 of it: column 'x1' holds nan"):
        model.fit(broken)
    assert (tmp_path / "fit.mixexp").read_bytes() == kept
    counted = Counted(blocks, 1000, None)
    model.fit(BlockDataset(counted))
    assert counted.reading < whole.n_iter_ + 4  # it went on where it had stopped
    assert_array_equal(model.coef_, whole.coef_)
    other = EM(checkpoint=tmp_path / "fit.mixexp")
    with pytest.raises(ValueError, match="another fit|other data"):
        MoERegressor(2, start=QUICK, solver=other).fit(BlockDataset([(2 * X, y)]))


class Fading(FileDataset):
    """Files of which the second is damaged before the ninth reading."""

    reading = 0

    def blocks(self):
        self.reading += 1
        if self.reading == 9:
            data = bytearray(self.files[1].read_bytes())
            data[4:200] = bytes(196)
            self.files[1].write_bytes(bytes(data))
        return super().blocks()


def test_a_file_damaged_during_a_fit_leaves_the_last_checkpoint(tmp_path):
    X, mean, _ = two_regimes()
    y = gaussian_target(mean, 5) + 0.9 * np.random.default_rng(2).normal(size=len(mean))
    folder = tmp_path / "data"
    folder.mkdir()
    for i in range(3):
        parquet(folder / f"part-{i}.parquet", X[1000 * i : 1000 * i + 1000], y[1000 * i :][:1000])
    whole = (folder / "part-1.parquet").read_bytes()
    solver = EM(checkpoint=tmp_path / "fit.mixexp", checkpoint_every=2)
    model = MoERegressor(2, start=QUICK, solver=solver)
    with pytest.raises(ValueError, match=r"part-1.parquet, row group 0: it cannot be read"):
        model.fit(Fading(folder, target="y", block_rows=1000))
    with pytest.raises(ValueError, match=r"part-1.parquet, row group 0: it cannot be read"):
        model.fit(FileDataset(folder, target="y"))
    (folder / "part-1.parquet").write_bytes(whole)
    mended = Fading(folder, target="y", block_rows=1000)
    mended.reading = 100
    model.fit(mended)
    once = Fading(folder, target="y", block_rows=1000)
    once.reading = 100
    straight = MoERegressor(2, start=QUICK).fit(once)
    assert mended.reading < once.reading - 2  # it went on where it had stopped
    assert_array_equal(model.coef_, straight.coef_)


def test_rows_that_come_and_go_are_noticed():
    X, mean, _ = two_regimes()
    y = gaussian_target(mean)
    blocks = [(X[i:j], y[i:j]) for i, j in itertools.pairwise(CUTS)]
    fewer = BlockDataset(Counted(blocks, 4, lambda blocks: blocks[:-1]))
    with pytest.raises(ValueError, match=r"changed during the fit: 3000 rows .* and 1800 now"):
        MoERegressor(2, start=QUICK).fit(fewer)
    others = BlockDataset(Counted(blocks, 2, lambda blocks: [(2 * X, y) for X, y in blocks]))
    with pytest.raises(ValueError, match="changed during the fit: some rows are others now"):
        MoERegressor(2, start=QUICK).fit(others)
    with pytest.raises(ValueError, match="iterated again; got generator"):
        BlockDataset((X, mean) for _ in range(3))


def test_targets_outside_the_support_are_named_with_their_block():
    X, mean, _ = two_regimes()
    y = np.random.default_rng(0).poisson(np.exp(mean)).astype(float)
    y[2500] = 0.5
    with pytest.raises(
        ValueError, match=r"block 3, row 700 of it: PoissonExpert needs non-negative integer"
    ):
        MoERegressor(2, expert="poisson").fit(ragged(X=X, y=y))
    with pytest.raises(ValueError, match=r"block 0: y needs labels of classes: Unknown label"):
        MoEClassifier(2).fit(ragged(X=X, y=mean))
    with pytest.raises(ValueError, match="block 0: y must be numbers.*use MoEClassifier"):
        MoERegressor(2).fit(ragged(X=X, y=classes_of(X)))


def test_a_value_lost_is_named_with_its_file_and_row_group(tmp_path):
    X, mean, weight = two_regimes()
    X[2603, 2], weight[700] = np.inf, np.nan
    path = tmp_path / "rows.parquet"
    parquet(path, X, mean, w=weight)
    with pytest.raises(ValueError, match=r"rows.parquet, row group 5, row 103 .*'x2' holds inf"):
        MoERegressor(2).fit(FileDataset(path, target="y", features=["x1", "x2"]))
    with pytest.raises(ValueError, match=r"rows.parquet, row group 1, row 200 .*weight is nan"):
        MoERegressor(2).fit(FileDataset(path, target="y", features=["x1"], weight="w"))


def test_targets_of_one_column_are_vectors():
    X, mean, _ = two_regimes()
    y = gaussian_target(mean)
    model = MoERegressor(1, expert="lognormal").fit(ragged(X=X, y=np.exp(y[:, None])))
    assert model.predict(X).shape == (3000,) and model.coef_.shape == (1, 3)
    model = MoERegressor(1).fit(ragged(X=X, y=y[:, None]))  # as in memory: one of several
    assert model.predict(X).shape == (3000, 1) and model.coef_.shape == (1, 1, 3)
    assert MoEClassifier(1).fit(ragged(X=X, y=classes_of(X)[:, None])).coef_.shape == (1, 3, 3)


def test_blocks_without_rows_change_nothing():
    X, mean, _ = two_regimes()
    y = classes_of(X)
    blocks = [(X[:0], y[:0]), (X[:1000], y[:1000]), (X[:0], y[:0]), (X[1000:], y[1000:])]
    model = MoEClassifier(1).fit(BlockDataset(blocks))
    assert_allclose(model.coef_, MoEClassifier(1).fit(X, y).coef_, rtol=1e-9)


def test_what_needs_rows_in_memory_is_refused_before_anything_is_read():
    X, mean, _ = two_regimes()
    counted = Counted([(X, mean)], 1000, None)
    dataset = BlockDataset(counted)
    read = counted.reading
    cases = [
        (MoERegressor(2, expert="laplace"), {}, "its statistics are the rows themselves"),
        (MoERegressor(2, gate="kmeans"), {}, "finds its partition"),
        (MoERegressor(2), {"groups": np.zeros(3000)}, "groups="),
        (MoERegressor(2), {"expert_prior": np.ones((3000, 2))}, "expert_prior="),
        (MoERegressor(2, start=np.zeros(3000)), {}, "one value per row"),
    ]
    for model, inputs, said in cases:
        with pytest.raises(ValueError, match=f"{said}.*not available with engine='stream'"):
            model.fit(dataset, **inputs)
    with pytest.raises(ValueError, match="sample_weight is part of a dataset"):
        MoERegressor(2).fit(dataset, sample_weight=np.ones(3000))
    with pytest.raises(ValueError, match="y is part of a dataset"):
        MoERegressor(2).fit(dataset, mean)
    with pytest.raises(ValueError, match="engine='gpu' does not take BlockDataset"):
        MoERegressor(2, engine="gpu").fit(dataset)
    with pytest.raises(ValueError, match="engine must be one of 'auto', 'memory'"):
        MoERegressor(2, engine="disk").fit(dataset)
    assert counted.reading == read


def test_predictions_go_block_by_block(tmp_path):
    X, _, _ = two_regimes()
    y = classes_of(X)
    parquet(tmp_path / "rows.parquet", X, y)
    dataset = FileDataset(tmp_path / "rows.parquet", target="y", block_rows=700)
    model = MoEClassifier(2, start=QUICK).fit(dataset)
    frame = pd.DataFrame(X, columns=dataset.feature_names)
    parts = list(model.predict_blocks(dataset, "predict_proba"))
    assert len(parts) == 6 and max(len(part) for part in parts) <= 700
    assert_array_equal(np.concatenate(parts), model.predict_proba(frame))
    total = sum(part.sum() for part in model.predict_blocks(dataset, "log_prob"))
    assert_allclose(total, model.loglik_, rtol=1e-12)
    model.predict_to(dataset, tmp_path / "out.parquet")
    assert pq.read_table(tmp_path / "out.parquet")["predict"].to_pylist() == (
        model.predict(frame).tolist()
    )
    model.predict_to(dataset, tmp_path / "out.parquet", "gate_proba")
    written = pq.read_table(tmp_path / "out.parquet").to_pandas()
    assert written.columns.tolist() == ["gate_proba_0", "gate_proba_1"]
    assert_array_equal(written, model.gate_proba(frame))
    assert sorted(file.name for file in tmp_path.iterdir()) == ["out.parquet", "rows.parquet"]


def test_predictions_say_what_they_need(tmp_path):
    X, mean, _ = two_regimes()
    model = MoERegressor(1).fit(X, mean)
    with pytest.raises(ValueError, match=r"got BlockDataset.*predict_blocks"):
        model.predict(ragged(X=X))
    with pytest.raises(ValueError, match="got ndarray. For rows in memory call predict itself"):
        model.predict_blocks(X)
    with pytest.raises(ValueError, match=r"got the path 'rows'. Give FileDataset\('rows'"):
        model.predict_blocks("rows")
    with pytest.raises(ValueError, match="log_prob needs rows in memory; got BlockDataset"):
        model.log_prob(ragged(X=X, y=mean))  # the target is in it
    with pytest.raises(ValueError, match=r"one method.*got \['predict', 'log_prob'\]"):
        model.predict_to(ragged(X=X), tmp_path / "out.parquet", ["predict", "log_prob"])
    with pytest.raises(ValueError, match="has no method 'predict_proba'"):
        model.predict_blocks(ragged(X=X), "predict_proba")
    with pytest.raises(ValueError, match="block 0: the method needs the target"):
        model.predict_to(ragged(X=X), tmp_path / "out.parquet", "log_prob")
    with pytest.raises(ValueError, match="block 3, row 7 of it: column 'x1' holds nan"):
        list(model.predict_blocks(BlockDataset(without_a_value([(X, mean)] * 4))))
    assert not list(tmp_path.iterdir())


def test_files_of_models_remember_the_engine(tmp_path):
    X, mean, _ = two_regimes()
    model = MoERegressor(1).fit(ragged(X=X, y=mean))
    model.save(tmp_path / "model.mixexp")
    assert load(tmp_path / "model.mixexp").engine_ == "stream"


def test_online_steps_take_the_blocks_in_order():
    X, mean, _ = two_regimes()
    y = gaussian_target(mean)
    best = MoERegressor(2, start=QUICK).fit(X, y)
    model = MoERegressor(2, start=QUICK, solver=OnlineEM(n_epochs=3, batch_size=300))
    model.fit(ragged(X=X, y=y))
    assert best.loglik_ - 3 < model.loglik_ <= best.loglik_


@pytest.mark.parametrize("kind", ["observed", "sandwich"])
def test_standard_errors_are_those_of_memory(kind):
    X, mean, weight = two_regimes()
    y = gaussian_target(mean)
    blocks = ragged(X=X, y=y, weight=weight)
    model = MoERegressor(2, start=QUICK).fit(blocks)
    ours = model.inference(blocks, covariance=kind)
    theirs = model.inference(X, y, weight, covariance=kind)
    assert ours.names == theirs.names and ours.notes == theirs.notes
    assert_allclose(ours.bse, theirs.bse, rtol=1e-9)
    assert_allclose(ours.cov_params(), theirs.cov_params(), rtol=1e-7, atol=1e-12)
    assert_allclose(ours.profile(ours.names[0]), theirs.profile(ours.names[0]), rtol=1e-6)
    with pytest.raises(ValueError, match="needs y"):
        model.inference(X)


def test_inference_over_blocks_says_what_it_has_not():
    X, mean, _ = two_regimes()
    blocks = ragged(X=X, y=gaussian_target(mean))
    model = MoERegressor(1).fit(blocks)
    with pytest.raises(ValueError, match="'bootstrap' .* needs rows in memory"):
        model.inference(blocks, covariance="bootstrap")
    with pytest.raises(ValueError, match="groups= goes with rows in memory"):
        model.inference(blocks, groups=np.zeros(3000))
    with pytest.raises(ValueError, match="margins needs .* in memory"):
        model.inference(blocks).margins()
    with pytest.raises(ValueError, match="another target"):
        model.inference(ragged(X=X, y=np.column_stack([mean, mean])))
