"""Two real processes with a part of the batch each equal one with all of it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch.testing import assert_close

from mixexp.neural import sync_routing_stats

from .sync_worker import LOSSES, losses_and_gradients, router_and_inputs

WORKER = Path(__file__).with_name("sync_worker.py")
ROOT = Path(__file__).resolve().parents[4]


@pytest.fixture(scope="module")
def found(tmp_path_factory) -> list[dict]:
    """What each of two processes computed."""
    folder = tmp_path_factory.mktemp("sync")
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    workers = [
        subprocess.Popen(
            [sys.executable, str(WORKER), str(rank), "2", str(folder)],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in range(2)
    ]
    try:
        for worker in workers:
            said, _ = worker.communicate(timeout=300)
            assert worker.returncode == 0, said
    finally:
        for worker in workers:
            worker.kill()
    return [torch.load(folder / f"{rank}.pt") for rank in range(2)]


@pytest.fixture(scope="module")
def whole() -> dict:
    """The same on one process with the whole batch."""
    router, inputs = router_and_inputs()
    return losses_and_gradients(router, router(inputs).stats)


@pytest.mark.parametrize("gradients", ["mean", "sum"])
@pytest.mark.parametrize("loss", LOSSES)
def test_value_and_gradient_are_those_of_the_whole_batch(found, whole, gradients, loss) -> None:
    value, gradient = whole[loss]
    (first, a), (second, b) = (rank[gradients][loss] for rank in found)
    assert_close(first, value)
    assert_close(second, value)
    combined = (a + b) / 2 if gradients == "mean" else a + b
    assert_close(combined, gradient)
    assert not torch.allclose(a, b)


def test_a_sum_that_one_process_lacks_is_left_out(found) -> None:
    router, inputs = router_and_inputs()
    for rank in found:
        assert rank["partial"]["load_sum"] is None
        assert_close(rank["partial"]["counts"], router(inputs).stats.counts)


def test_a_group_of_one_process_changes_nothing(found) -> None:
    for rank in found:
        assert_close(rank["alone"], rank["own"])


def test_without_processes_it_says_what_to_do() -> None:
    router, inputs = router_and_inputs()
    stats = router(inputs).stats
    with pytest.raises(RuntimeError, match="init_process_group"):
        sync_routing_stats(stats)
    with pytest.raises(ValueError, match="gradients must be one of"):
        sync_routing_stats(stats, gradients="average")
