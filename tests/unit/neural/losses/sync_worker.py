"""One of several processes that each route a part of a batch; run by test_sync.py.

Usage: sync_worker.py RANK N_RANKS FOLDER. Writes losses and gradients to FOLDER.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
import torch.distributed as dist

import mixexp.neural as neural

LOSSES = {
    "balance": lambda stats: neural.load_balancing_loss(stats, scope="global"),
    "importance": neural.importance_loss,
    "z": neural.router_z_loss,
    "entropy": neural.router_entropy_loss,
    "information": neural.mutual_information_loss,
    "penalty": lambda stats: neural.parameter_penalty_loss(stats, [1.0, 2.0, 1.0, 4.0]),
}


def router_and_inputs():
    """A router and a batch of three sequences, the last one half padding."""
    torch.manual_seed(0)
    router = neural.TopKRouter(6, 4, k=2).double()
    x = torch.randn(18, 6, dtype=torch.float64) + 0.5
    valid = torch.arange(18) < 15
    segment = torch.arange(3).repeat_interleave(6)
    return router, neural.RoutingInputs(x, segment=segment, valid=valid)


def losses_and_gradients(router, stats) -> dict:
    """Value and gradient of every loss."""
    found = {}
    for name, loss in LOSSES.items():
        value = loss(stats)
        gradient = torch.autograd.grad(value, router.score.weight, retain_graph=True)[0]
        found[name] = (value.detach(), gradient)
    return found


def main(rank: int, n_ranks: int, folder: Path) -> None:
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=n_ranks
    )
    router, inputs = router_and_inputs()
    # unequal parts: a mean of means would be wrong
    mine = inputs.segment == 0 if rank == 0 else inputs.segment > 0
    stats = router(inputs.take(mine)).stats
    found = {
        gradients: losses_and_gradients(
            router, neural.sync_routing_stats(stats, gradients=gradients)
        )
        for gradients in ("mean", "sum")
    }
    # one process has a smooth load and the other has none: then there is none, as in a merge
    partial = stats.replace(load_sum=stats.counts if rank == 0 else None)
    synced = neural.sync_routing_stats(partial)
    found["partial"] = {"load_sum": synced.load_sum, "counts": synced.counts}
    alone = [dist.new_group([each]) for each in range(n_ranks)][rank]
    found["own"] = losses_and_gradients(router, stats)
    found["alone"] = losses_and_gradients(router, neural.sync_routing_stats(stats, alone))
    torch.save(found, folder / f"{rank}.pt")
    dist.destroy_process_group()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
