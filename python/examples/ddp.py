"""Four processes train a small model of torch by DDP, and their gradients are averaged by a proved schedule.

It is DDP as everywhere; the backend's name is "wgccl". A hook looks at every bucket of gradients before and after it was averaged:
the averages have the bits of the schedule's golden, on all ranks.

    python ddp.py [ALGORITHM]
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing
from torch.nn.parallel import DistributedDataParallel

import wgccl
import wgccl.torch

RANKS, ROWS, STEPS = 4, 256, 60


def data(rank: int) -> tuple[Any, Any]:
    """What this rank sees: a function of eight numbers that has to be learned."""
    x = torch.randn(ROWS, 8, generator=torch.Generator().manual_seed(100 + rank))
    return x, (torch.sin(x[:, 0]) + 0.5 * x[:, 1] * (x[:, 2] > 0)).unsqueeze(1)


class Witness:
    """Averages gradients, and keeps each bucket as it was before and after."""

    def __init__(self) -> None:
        self.buckets: list[tuple[Any, Any]] = []

    def average(self, gradients: Any) -> Any:
        self.buckets.append((gradients.clone(), gradients))
        work = dist.all_reduce(gradients, op=dist.ReduceOp.AVG, async_op=True)
        return work.get_future().then(lambda done: done.value()[0])

    def check(self, schedule: wgccl.Schedule) -> int:
        """Compares with the golden, and counts what was compared."""
        elements = 0
        for before, after in self.buckets:
            gathered = [torch.empty_like(before) for _ in range(RANKS)]
            dist.all_gather(gathered, before)
            golden = schedule.golden([of.numpy() for of in gathered], "avg")
            assert after.numpy().tobytes() == golden[dist.get_rank()].tobytes()
            elements += after.numel()
        self.buckets.clear()
        return elements


def train(rank: int, store: str, algorithm: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group(
        "wgccl",
        init_method=Path(store).as_uri(),
        rank=rank,
        world_size=RANKS,
        pg_options=wgccl.torch.Options(algorithm),
    )
    schedule = wgccl.build(algorithm, ranks=RANKS)
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(8, 32), torch.nn.Tanh(), torch.nn.Linear(32, 1))
    ddp, witness = DistributedDataParallel(model), Witness()
    # Without a hook DDP sums and divides itself.
    ddp.register_comm_hook(witness, lambda witness, bucket: witness.average(bucket.buffer()))
    optimizer = torch.optim.SGD(ddp.parameters(), lr=0.1)
    x, y = data(rank)
    first, last, elements = 0.0, 0.0, 0
    for step in range(STEPS):
        optimizer.zero_grad()
        loss = torch.nn.functional.mse_loss(ddp(x), y)
        loss.backward()
        elements += witness.check(schedule)
        optimizer.step()
        mean = loss.detach().clone()
        dist.all_reduce(mean, op=dist.ReduceOp.AVG)
        first, last = (mean.item() if step == 0 else first), mean.item()
        if rank == 0 and step % 20 == 0:
            print(f"step {step:>2}: loss {last:.4f}", flush=True)
    assert last < first / 2
    if rank == 0:
        print(f"after {STEPS} steps: loss {last:.4f}; {elements} averages have the bits of {algorithm}'s golden", flush=True)
    dist.destroy_process_group()


def main(algorithm: str = "ring") -> None:
    with tempfile.TemporaryDirectory() as folder:
        torch.multiprocessing.spawn(train, (str(Path(folder) / "store"), algorithm), nprocs=RANKS)


if __name__ == "__main__":
    main(*sys.argv[1:2])
