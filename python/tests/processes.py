"""Processes that stay, for tests of process groups: each is a rank, and runs the functions that it is sent."""

from __future__ import annotations

import multiprocessing
import os
import signal
import tempfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Failed:
    """How a function ended that raised: the exception's classes, and what it said."""

    classes: tuple[str, ...]
    text: str


class Processes:
    """So many processes; torch is imported once in each."""

    def __init__(self, number: int) -> None:
        context = multiprocessing.get_context("spawn")
        self._folder = tempfile.TemporaryDirectory(prefix="wgccl-tests-")
        self._pipes: list[Connection] = []
        self.processes = []
        for _ in range(number):
            here, there = context.Pipe()
            process = context.Process(target=_serve, args=(there,), daemon=True)
            process.start()
            there.close()
            self._pipes.append(here)
            self.processes.append(process)

    def start(self, function: Callable[..., Any], *args: Any, only: list[int] | None = None) -> None:
        for rank in self._which(only):
            self._pipes[rank].send((function, (rank, *args)))

    def results(self, seconds: float = 120.0, only: list[int] | None = None) -> list[Any]:
        """Of each, in the order of ranks: what it returned, or how it failed. None of one that ended."""
        results = []
        for rank in self._which(only):
            assert self._pipes[rank].poll(seconds), f"rank {rank} has not come back after {seconds} s"
            try:
                results.append(self._pipes[rank].recv())
            except EOFError:
                results.append(None)
        return results

    def run(self, function: Callable[..., Any], *args: Any, only: list[int] | None = None) -> list[Any]:
        self.start(function, *args, only=only)
        return self.results(only=only)

    def join(self, size: int, options: Any = None, seconds: float = 60.0) -> list[int]:
        """The first ones become a process group."""
        path, ranks = Path(self._folder.name) / uuid.uuid4().hex, list(range(size))
        joined = self.run(join, size, str(path), options, seconds, only=ranks)
        assert joined == [None] * size, joined
        return ranks

    @contextmanager
    def group(self, size: int, options: Any = None) -> Iterator[None]:
        """The first ones are a process group for a while."""
        ranks = self.join(size, options)
        try:
            yield
        finally:
            self.run(part, only=ranks)

    def kill(self, rank: int, number: signal.Signals) -> None:
        pid = self.processes[rank].pid
        assert pid is not None
        os.kill(pid, number)

    def close(self) -> None:
        for process in self.processes:
            process.kill()
            process.join()
        for pipe in self._pipes:
            pipe.close()
        self._folder.cleanup()

    def _which(self, only: list[int] | None) -> list[int]:
        return list(range(len(self._pipes))) if only is None else only


def _serve(pipe: Connection) -> None:
    import torch

    torch.set_num_threads(1)
    while True:
        try:
            function, args = pipe.recv()
        except EOFError:
            return
        try:
            result = function(*args)
        except Exception as error:
            result = Failed(tuple(of.__name__ for of in type(error).__mro__), str(error))
        pipe.send(result)


def join(rank: int, size: int, path: str, options: Any, seconds: float) -> None:
    import torch.distributed as dist

    import wgccl.torch  # noqa: F401

    store = dist.FileStore(path, size)
    dist.init_process_group(
        "wgccl", store=store, rank=rank, world_size=size, timeout=timedelta(seconds=seconds), pg_options=options
    )


def part(rank: int) -> None:
    """Leaves the group, unless it has left already."""
    import torch.distributed as dist

    if dist.is_initialized():
        dist.destroy_process_group()
