"""The exceptions, which are Python's so that they can have several bases."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ._wgccl import Report


class Error(Exception):
    """Whatever wgccl refuses or cannot do."""

    __module__ = "wgccl"


class InputError(Error, ValueError, TypeError):
    """What was given cannot be taken: arrays, names, numbers."""

    __module__ = "wgccl"


class ScheduleError(Error):
    """A schedule was refused, or a file holds none."""

    __module__ = "wgccl"

    report: Report | None = None
    """The six proofs, where they were tried."""


class DeviceError(Error, RuntimeError):
    """A device failed, or there is none of that name."""

    __module__ = "wgccl"
