"""What an all-reduce of torch's costs by backend wgccl and by gloo: processes of this machine, both backends in turn.

    python gloo.py [PROCESSES ...]

A number is the median, over rounds, of a round's median time of a call on rank 0, in microseconds; a DDP step is forward, backward
and optimiser of a model of four million parameters.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing

import wgccl.torch

SIZES = {"1 KiB": 1 << 10, "32 KiB": 1 << 15, "1 MiB": 1 << 20, "16 MiB": 1 << 24}
BACKENDS = ("wgccl", "gloo")
ROUNDS, SECONDS = 7, 0.25


def median(call: Callable[[], Any], calls: int) -> float:
    """Microseconds; all ranks make as many calls."""
    times = []
    for _ in range(calls):
        began = time.perf_counter()
        call()
        times.append(time.perf_counter() - began)
    return 1e6 * statistics.median(times)


def calls_of(call: Callable[[], Any]) -> int:
    """How often it is called in a round, as all ranks agree."""
    call()
    spent = torch.tensor(median(call, 5))
    dist.all_reduce(spent, op=dist.ReduceOp.MAX)
    return max(5, min(300, int(SECONDS * 1e6 / spent.item())))


def step_of(group: Any) -> Callable[[], None]:
    model = torch.nn.Sequential(torch.nn.Linear(2000, 1000), torch.nn.ReLU(), torch.nn.Linear(1000, 2000))
    ddp = torch.nn.parallel.DistributedDataParallel(model, process_group=group)
    optimizer, x = torch.optim.SGD(ddp.parameters(), lr=0.01), torch.randn(8, 2000)

    def step() -> None:
        optimizer.zero_grad()
        ddp(x).square().mean().backward()
        optimizer.step()

    return step


def work(rank: int, processes: int, store: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=Path(store).as_uri(), rank=rank, world_size=processes)
    groups = {backend: dist.new_group(backend=backend) for backend in BACKENDS}
    tensors = {name: torch.ones(size // 4) for name, size in SIZES.items()}
    rows: dict[str, dict[str, Callable[[], Any]]] = {
        name: {
            backend: partial(dist.all_reduce, tensor, op=dist.ReduceOp.MAX, group=group)
            for backend, group in groups.items()
        }
        for name, tensor in tensors.items()
    }
    rows["DDP step"] = {backend: step_of(group) for backend, group in groups.items()}
    for name, calls in rows.items():
        number = {backend: calls_of(call) for backend, call in calls.items()}
        times: dict[str, list[float]] = {backend: [] for backend in BACKENDS}
        for _ in range(ROUNDS):
            for backend, call in calls.items():
                dist.barrier()
                times[backend].append(median(call, number[backend]))
        if rank == 0:
            said = " | ".join(f"{statistics.median(of):.0f} ({min(of):.0f} to {max(of):.0f})" for of in times.values())
            print(f"| {processes} | {name} | {said} |", flush=True)
    dist.destroy_process_group()


def main() -> None:
    print(f"| processes | what | {' | '.join(BACKENDS)} |\n| --- | --- | --- | --- |", flush=True)
    for processes in map(int, sys.argv[1:] or ["2", "4"]):
        with tempfile.TemporaryDirectory() as folder:
            torch.multiprocessing.spawn(work, (processes, str(Path(folder) / "store")), nprocs=processes)


if __name__ == "__main__":
    assert wgccl.torch
    main()
