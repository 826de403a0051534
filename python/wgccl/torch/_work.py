"""What a call gives back: torch's `Work`, completed by the thread that hears the executor's answers."""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist

from .._errors import DeviceError, Error


GRACE = 5.0
"""Seconds beyond a timeout in which the process of rank 0 still may say who was late."""


class GroupError(DeviceError, dist.DistBackendError):
    """A rank of a process group is lost, late or gone; the group can do nothing any more."""

    __module__ = "wgccl.torch"


class Work(dist._Work):
    """A call that is under way."""

    def __init__(self, called: str, result: list[Any]) -> None:
        super().__init__()
        self._called, self._result = called, result
        self._done = threading.Event()
        self._error: Error | None = None
        self._source = -1
        self._completed: Any = torch.futures.Future()
        self._future: Any = None
        self._lock = threading.Lock()

    def finish(self, error: Error | None = None, source: int = -1) -> None:
        """Called once."""
        with self._lock:
            self._error, self._source = error, source
            self._done.set()
            called_back = self._future is not None
            if not called_back:
                self._completed.set_result(None)
        if called_back:
            # What is called back may wait for other calls, and would keep this thread from hearing that they are done.
            threading.Thread(target=self._completed.set_result, args=(None,), daemon=True).start()

    def wait(self, timeout: timedelta | None = None) -> bool:
        """Until it is done: raises what went wrong. Without a timeout the one of the call counts, which others watch."""
        seconds = timeout.total_seconds() if timeout else None
        if not self._done.wait(seconds):
            raise GroupError(f"{self._called} is not complete after {seconds} s; it goes on")
        if self._error is not None:
            raise self._error
        return True

    def synchronize(self) -> None:
        self.wait()

    def is_completed(self) -> bool:
        return self._done.is_set()

    def is_success(self) -> bool:
        return self._done.is_set() and self._error is None

    def exception(self) -> Error | None:
        return self._error

    def result(self) -> list[Any]:
        self.wait()
        return self._result

    def source_rank(self) -> int:
        return self._source

    def _source_rank(self) -> int:
        return self._source

    def get_future(self) -> Any:
        """Of the tensors. A callback that raises makes it an error to C++ as well, where DDP waits for it."""
        with self._lock:
            if self._future is None:
                self._future = self._completed.then(lambda _: self.result())
            return self._future
