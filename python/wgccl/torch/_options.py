"""Which algorithm, or which schedule of the user's own, carries out which collective."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import wgccl

from .._errors import InputError


def _named(collective: str) -> str:
    return collective.strip().replace("_", "-")


def _algorithms(given: str | Mapping[str, str]) -> dict[str, str]:
    """Of a text: "ring" is what all-reduce takes; "all-reduce=ring,all-gather=mesh" names several."""
    if not isinstance(given, str):
        return {_named(collective): name for collective, name in given.items()}
    pairs = [part.rpartition("=") for part in given.split(",") if part.strip()]
    return {_named(collective) if equal else "all-reduce": name.strip() for collective, equal, name in pairs}


@dataclass(frozen=True)
class Options:
    """How the collectives of a process group are carried out. All ranks say the same."""

    algorithm: str | Mapping[str, str] | None = None
    """All-reduce's algorithm, or a mapping from collectives to algorithms. What is not named takes "auto"."""
    schedules: Sequence[wgccl.Schedule] = field(default=())
    """Schedules instead, one for each collective at most; they run in groups of as many ranks as they have."""
    device: str | int | None = None
    """Which of `wgccl.devices()` computes; the processor, unless one is named."""

    def or_environment(self) -> Options:
        """What is not said is as WGCCL_ALGORITHM, WGCCL_SCHEDULE (files, with commas between) and WGCCL_DEVICE say."""
        files = [path.strip() for path in os.environ.get("WGCCL_SCHEDULE", "").split(",") if path.strip()]
        return replace(
            self,
            algorithm=_algorithms(self.algorithm or os.environ.get("WGCCL_ALGORITHM") or {}),
            schedules=tuple(self.schedules or [wgccl.load(path) for path in files]),
            device=os.environ.get("WGCCL_DEVICE") if self.device is None else self.device,
        )

    @property
    def algorithms(self) -> dict[str, str]:
        """By collective."""
        return _algorithms(self.algorithm or {})

    def check(self, size: int) -> None:
        """Raises `InputError` unless there is all that was named; proves the schedules for `size` ranks."""
        for collective, name in self.algorithms.items():
            known = ["auto", *wgccl.algorithms(collective)]
            if name not in known:
                raise InputError(f"{collective} has no algorithm '{name}'; choose one of: {', '.join(known)}")
        of = [schedule.collective for schedule in self.schedules]
        for schedule in self.schedules:
            if of.count(schedule.collective) > 1 or schedule.collective in self.algorithms:
                raise InputError(f"{schedule.collective} is said twice; name one algorithm or one schedule for it")
            if schedule.ranks == size:
                schedule.prove()

    def digest(self) -> str:
        """The same where the same was asked for."""
        said = [self.algorithms, self.device, [schedule.to_json() for schedule in self.schedules]]
        return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()
