"""A rank's end of a process group: it hands calls to the executor, and hears how they ended.

Inputs are copied into shared memory by the thread that calls, results out of it by a thread of this module's, so that calls can be
under way while the program goes on.
"""

from __future__ import annotations

import select
import threading
import time
from dataclasses import dataclass
from typing import Any

import torch

from .._errors import Error, InputError
from . import _memory as memory
from ._call import Call, told
from ._wire import Closed, Message, Wire
from ._work import GRACE, GroupError, Work

_LOOK = 0.5


@dataclass
class _Pending:
    work: Work
    deadline: float
    get: list[Any]
    offset: int = 0
    buffer: memory.Buffer | None = None


class Member:
    """One rank. Its methods can be called from several threads, in the order in which all ranks call them."""

    def __init__(self, wire: Wire, executor: str, ranks: list[int]) -> None:
        self._wire, self._executor, self._ranks = wire, executor, ranks
        self._lock = threading.Lock()
        self._pending: dict[str, _Pending] = {}
        self._pool = memory.Pool()
        self._calls = self._messages = 0
        self._why: str | None = None
        self._left = False
        self._idle = threading.Condition(self._lock)
        self._reader = threading.Thread(target=self._read, name="wgccl answers", daemon=True)
        self._reader.start()

    def call(self, what: Call, give: list[Any], get: list[Any], timeout: float, gets: int | None = None) -> Work:
        """A collective: `give` is what this rank has, `get` where its part of the result goes. `gets` are the bytes of the
        result, where they are not all copied."""
        _check([*give, *get])
        gives = sum(map(memory.size, give))
        gets = sum(map(memory.size, get)) if gets is None else gets
        offset = -(-gives // 64) * 64
        with self._lock:
            if self._why is not None:
                raise GroupError(self._why)
            buffer, dropped = self._pool.take(offset + gets)
        work = Work(told(what), get)
        pending = _Pending(work, time.monotonic() + timeout, get, offset, buffer)
        request: Message = {"kind": "call", "what": what, "gives": gives, "gets": gets, "offset": offset}
        request |= {"buffer": buffer.number, "size": len(buffer.memory), "dropped": dropped}
        try:
            memory.put(buffer.memory, give)
            self._post(request, pending, timeout, buffer.descriptor)
        finally:
            buffer.sent()
        return work

    def send(self, tensor: Any, to: int, tag: int) -> Work:
        """A message, which is on its way when this returns: the receiver gets its memory."""
        _check([tensor])
        size = memory.size(tensor)
        mapped, descriptor = memory.shared(max(size, 1))
        buffer = memory.Buffer(0, mapped, descriptor)
        try:
            memory.put(mapped, [tensor])
            message: Message = {"kind": "send", "to": to, "tag": tag, "what": _content(tensor), "size": size}
            self._post(message, None, 0.0, descriptor)
        finally:
            buffer.sent()
        work = Work("send", [tensor])
        work.finish()
        return work

    def receive(self, tensor: Any, source: int | None, tag: int, timeout: float) -> Work:
        """A message of `source`, or of anyone."""
        _check([tensor])
        whose = "anyone" if source is None else f"rank {self._ranks[source]}"
        work = Work(f"recv from {whose}", [tensor])
        pending = _Pending(work, time.monotonic() + timeout, [tensor])
        self._post({"kind": "receive", "from": source, "tag": tag, "what": _content(tensor)}, pending, timeout, None)
        return work

    def leave(self) -> None:
        """Waits for what is under way, then leaves the group."""
        with self._lock:
            while self._pending:
                self._idle.wait(_LOOK)
            if self._left:
                return
            self._left = True
            self._why = self._why or "the process group was destroyed"
            try:
                self._wire.send({"kind": "bye"})
            except OSError:
                pass
            self._wire.shut()
        self._reader.join()
        self._wire.close()

    def abort(self) -> None:
        """Ends what is under way with an error, and leaves without a word."""
        self._fail("the process group was aborted")

    def _post(self, message: Message, pending: _Pending | None, timeout: float, descriptor: int | None) -> None:
        """Tells the executor. In one order for all threads: the n-th call of a rank is the n-th of all others."""
        with self._lock:
            if self._why is not None:
                raise GroupError(self._why)
            if message["kind"] == "call":
                self._calls += 1
                key = f"call {self._calls}"
            else:
                self._messages += 1
                key = f"message {self._messages}"
            message |= {"key": key, "seconds": timeout}
            if pending is not None:
                self._pending[key] = pending
            try:
                self._wire.send(message, descriptor)
                return
            except OSError as error:
                why = f"{self._executor}, which executes for all, cannot be reached: {error}"
        # It may have said why, which the reader hears before it hears the end.
        self._reader.join(GRACE)
        self._fail(why)
        raise GroupError(self._why)

    def _read(self) -> None:
        """The thread that hears answers."""
        poll = select.poll()
        try:
            poll.register(self._wire.fileno(), select.POLLIN)
            # Tensors of inference are written to as well.
            with torch.inference_mode():
                while self._why is None:
                    if poll.poll(_LOOK * 1000):
                        self._heard(*self._wire.receive())
                    else:
                        self._look()
        except (Closed, ConnectionError):
            self._fail(f"{self._executor}, which executes for all, has ended")
        except OSError as error:
            self._fail(f"{self._executor}, which executes for all, cannot be understood: {error}")
        except BaseException as error:
            self._fail(f"an answer could not be taken: {error!r}")
            raise

    def _heard(self, message: Message, descriptor: int | None) -> None:
        if message["kind"] == "broken":
            return self._fail(message["why"])
        with self._lock:
            pending = self._pending.pop(message["key"])
        error: Error | None = None
        if message["kind"] == "refused":
            error = InputError(message["why"])
        elif pending.buffer is not None:
            memory.get(pending.buffer.memory, pending.offset, pending.get)
        elif descriptor is not None:
            memory.get(memory.received(descriptor, max(message["size"], 1)), 0, pending.get)
        with self._lock:
            if pending.buffer is not None:
                self._pool.give_back(pending.buffer)
            self._idle.notify_all()
        pending.work.finish(error, message.get("from", -1))

    def _look(self) -> None:
        """Whether the executor is silent for too long, though it says itself when a rank is late."""
        now = time.monotonic()
        with self._lock:
            late = [pending for pending in self._pending.values() if now > pending.deadline + GRACE]
        if late:
            self._fail(
                f"{self._executor}, which executes for all, has not answered in time: it is stopped, or waits for the "
                "interpreter"
            )

    def _fail(self, why: str) -> None:
        with self._lock:
            self._why = self._why or why
            failed, self._pending = list(self._pending.values()), {}
            self._idle.notify_all()
        self._wire.shut()
        for pending in failed:
            pending.work.finish(GroupError(why))


def _content(tensor: Any) -> Call:
    """What sender and receiver must agree on."""
    return {"type": str(tensor.dtype).removeprefix("torch."), "count": tensor.numel()}


def _check(tensors: list[Any]) -> None:
    for tensor in tensors:
        if tensor.device.type != "cpu" or tensor.layout != torch.strided:
            raise InputError(
                f"backend wgccl takes dense tensors in the processor's memory, not {tensor.layout} on {tensor.device}"
            )
    if len({tensor.dtype for tensor in tensors}) > 1:
        raise InputError(f"tensors of one call have one type, not {sorted({str(of.dtype) for of in tensors})}")
