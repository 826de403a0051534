"""Collectives as data: schedules that are proved, run and drawn, over numpy arrays.

>>> import numpy as np, wgccl
>>> wgccl.all_reduce([np.ones(3), np.full(3, 2.0)])
[array([3., 3., 3.]), array([3., 3., 3.])]

`all_reduce`, `all_gather`, `reduce_scatter`, `broadcast`, `reduce`, `gather`, `scatter`, `all_to_all` and `send_recv` take
arrays of all ranks and return new ones, or write to `out`. A `Communicator` keeps what its calls have prepared.

A `Schedule` says what every rank does. Write one, `build` one, or `load` one from a file; then `check`, `prove`, `run` and `show`
it. `verify` holds what another program computed against the exact bits that a schedule gives.
"""

from __future__ import annotations

import os as _os

from . import _wgccl
from ._errors import DeviceError, Error, InputError, ScheduleError
from ._wgccl import (
    Address,
    Communicator,
    Device,
    Difference,
    Finding,
    Page,
    Proof,
    Rank,
    Report,
    Schedule,
    Verification,
    __version__,
    algorithms,
    all_gather,
    all_reduce,
    all_to_all,
    broadcast,
    build,
    devices,
    gather,
    load,
    loads,
    reduce,
    reduce_scatter,
    scatter,
    send_recv,
    verify,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ._bench import Record, Records, bench

__all__ = [
    "Address",
    "Communicator",
    "Device",
    "DeviceError",
    "Difference",
    "Error",
    "Finding",
    "InputError",
    "Page",
    "Proof",
    "Rank",
    "Record",
    "Records",
    "Report",
    "Schedule",
    "ScheduleError",
    "Verification",
    "__version__",
    "algorithms",
    "all_gather",
    "all_reduce",
    "all_to_all",
    "bench",
    "broadcast",
    "build",
    "devices",
    "gather",
    "load",
    "loads",
    "reduce",
    "reduce_scatter",
    "scatter",
    "send_recv",
    "verify",
]

if hasattr(_os, "register_at_fork"):
    # Worker threads are not there in a process that was forked off.
    _os.register_at_fork(after_in_child=_wgccl.forked)


def __getattr__(name: str) -> object:
    """What few programs need is imported when it is asked for."""
    if name in ("Record", "Records", "bench"):
        from . import _bench

        return getattr(_bench, name)
    raise AttributeError(f"module 'wgccl' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
