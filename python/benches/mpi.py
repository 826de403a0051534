"""The other side of `calls.py`: nanoseconds of an Allreduce of as many processes as mpirun started, a line for each size."""

from __future__ import annotations

import sys
import time

import numpy as np
from mpi4py import MPI

SPAN = 0.4


def main() -> None:
    comm = MPI.COMM_WORLD
    for size in map(int, sys.argv[1:]):
        x, y = np.full(size // 4, comm.rank, np.float32), np.empty(size // 4, np.float32)
        batch = max(1, 65_536 // size)
        rounds = 5
        times: list[float] = []
        begin = time.perf_counter()
        while len(times) < rounds:
            comm.Barrier()
            start = time.perf_counter_ns()
            for _ in range(batch):
                comm.Allreduce(x, y, MPI.SUM)
            times.append((time.perf_counter_ns() - start) / batch)
            if len(times) == 5:
                # As many more as fit into the time, the same number in all processes.
                spent = comm.bcast(time.perf_counter() - begin, 0)
                rounds = max(5, int(5 * SPAN / spent))
        assert y[0] == sum(range(comm.size))
        if comm.rank == 0:
            print(sorted(times)[len(times) // 10], flush=True)


main()
