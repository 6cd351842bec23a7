"""The real scheduler of `distributed` and workers in processes of their own."""

from __future__ import annotations

import joblib
import numpy as np
import pytest

from mixexp import MoERegressor, SelectionStudy

distributed = pytest.importorskip("distributed")


@pytest.fixture(scope="module")
def client():
    """A client of two workers with one thread each."""
    options = {"n_workers": 2, "threads_per_worker": 1, "processes": True}
    with (
        distributed.LocalCluster(**options, dashboard_address=":0") as cluster,
        distributed.Client(cluster) as client,
    ):
        yield client


@pytest.mark.slow
def test_a_study_runs_on_the_workers(client, rng) -> None:
    X = rng.normal(size=(120, 2))
    y = np.where(X[:, 0] > 0, 2 + X[:, 1], -X[:, 1]) + 0.2 * rng.normal(size=120)
    study = SelectionStudy(MoERegressor(), {"n_experts": [1, 2]}, criterion="cv", cv=3)
    expected = study.fit(X, y).result_
    before = _transitions(client)
    with joblib.parallel_config(backend="dask"):
        found = study.fit(X, y).result_
    assert _transitions(client) > before
    assert found.best_params_ == expected.best_params_
    columns = ["loglik", "bic", "cv_loglik"]
    np.testing.assert_array_equal(found.table[columns], expected.table[columns])


def _transitions(client) -> int:
    """Changes of state that the scheduler's tasks have undergone."""
    return client.run_on_scheduler(lambda dask_scheduler: dask_scheduler.transition_counter)
