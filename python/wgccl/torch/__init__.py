"""`torch.distributed` with backend "wgccl": real processes of one machine, joined by proved schedules.

>>> import torch.distributed as dist, wgccl.torch
>>> dist.init_process_group("wgccl")

Tensors go through shared memory, and the process of rank 0 executes every collective for all, by the algorithm that is chosen:
the environment's `WGCCL_ALGORITHM=ring`, or `pg_options=wgccl.torch.Options(algorithm="ring")`. What ranks get has the bits of that
algorithm's golden. It is there to see models train over a schedule, not to be fast.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import torch.distributed as dist

from .._errors import InputError
from ._executor import Executor
from ._group import Group
from ._member import Member
from ._options import Options
from ._rendezvous import join
from ._work import GroupError

__all__ = ["GroupError", "Options", "register"]


def register() -> None:
    """Makes torch know the backend, as the import of this module does."""
    if not hasattr(dist.Backend, "WGCCL"):
        dist.Backend.register_backend("wgccl", _create, extended_api=True, devices=["cpu"])


def _create(asked: Any, options: object | None) -> Group:
    """The process group that torch asks for: called in every process that takes part."""
    if options is not None and not isinstance(options, Options):
        raise InputError(f"pg_options is a {type(options).__name__}; give a wgccl.torch.Options")
    chosen = (options or Options()).or_environment()
    timeout: timedelta = asked.timeout
    rank, size = asked.group_rank, asked.group_size
    ranks = list(asked.global_ranks_in_group) or list(range(size))
    chosen.check(size)
    joined = join(asked.store, rank, ranks, timeout.total_seconds(), chosen)
    if joined.peers is not None:
        Executor(joined.peers, ranks, chosen).start()
    return Group(Member(joined.wire, joined.executor, ranks), rank, size, timeout)


register()
