"""Who executes for all: a thread in the process of rank 0, which matches what ranks call and runs it over their memory.

It compares before anything runs, learns from the wires when a process ends, and tells all ranks what went wrong and whose it was.
"""

from __future__ import annotations

import mmap
import os
import selectors
import threading
import time
import traceback
from collections import deque
from dataclasses import dataclass, field
from typing import Any

import numpy as np

import wgccl

from .._errors import Error, InputError
from . import _memory as memory
from ._call import REDUCING, TYPES, Call, several, told
from ._options import Options
from ._wire import Closed, Message, Wire

_LOOK = 0.5


@dataclass
class Peer:
    """A rank, as the executor knows it."""

    wire: Wire
    process: int
    buffers: dict[int, mmap.mmap] = field(default_factory=dict)
    gone: str | None = None


@dataclass
class _Round:
    """What ranks have said of one call of theirs."""

    deadline: float
    seconds: float
    requests: dict[int, Message] = field(default_factory=dict)


@dataclass
class _Mail:
    """A message that nobody has received yet."""

    source: int
    what: Call
    size: int
    descriptor: int


class Executor:
    """Works until all ranks have gone."""

    def __init__(self, peers: list[Peer], ranks: list[int], options: Options) -> None:
        self._peers, self._ranks = peers, ranks
        self._rounds: dict[str, _Round] = {}
        self._mail: dict[tuple[int, int], deque[_Mail]] = {}
        self._receivers: dict[tuple[int, int], list[tuple[Message, float]]] = {}
        self._why: str | None = None
        self._runs = _Runs(len(peers), options)
        self._selector = selectors.DefaultSelector()

    def start(self) -> None:
        threading.Thread(target=self._work, name="wgccl executor", daemon=True).start()

    def _work(self) -> None:
        for rank, peer in enumerate(self._peers):
            self._selector.register(peer.wire, selectors.EVENT_READ, rank)
        try:
            while self._selector.get_map():
                for key, _ in self._selector.select(_LOOK if self._waits() else None):
                    self._hear(key.data)
                self._look()
        except BaseException:
            self._break(f"the executor failed; please report this: {traceback.format_exc()}")
        finally:
            for mail in [mail for box in self._mail.values() for mail in box]:
                os.close(mail.descriptor)
            self._selector.close()
            for peer in self._peers:
                peer.wire.close()

    def _waits(self) -> bool:
        return bool(self._rounds) or any(self._receivers.values())

    # --- What ranks say ---

    def _hear(self, rank: int) -> None:
        peer = self._peers[rank]
        if peer.gone is not None:
            return
        try:
            message, descriptor = peer.wire.receive()
        except OSError as error:
            how = "has ended" if isinstance(error, Closed | ConnectionError) else f"cannot be understood: {error}"
            self._gone(rank, f"{self._whose(rank)} {how}")
            self._break(f"{self._whose(rank)} {how}")
            return
        kind = message["kind"]
        if kind == "bye":
            self._gone(rank, f"{self._whose(rank)} has left the group (destroy_process_group)")
        elif kind == "call":
            self._called(rank, message, descriptor)
        elif kind == "send" and descriptor is not None:
            mail = _Mail(rank, message["what"], message["size"], descriptor)
            self._mail.setdefault((message["to"], message["tag"]), deque()).append(mail)
            self._deliver(message["to"], message["tag"])
        elif kind == "receive":
            receiver = (message, time.monotonic() + message["seconds"])
            self._receivers.setdefault((rank, message["tag"]), []).append(receiver)
            self._deliver(rank, message["tag"])

    def _gone(self, rank: int, how: str) -> None:
        """Nothing more comes from it."""
        peer = self._peers[rank]
        peer.gone = how
        peer.buffers.clear()
        self._selector.unregister(peer.wire)
        peer.wire.close()

    def _look(self) -> None:
        """Who is waited for in vain."""
        now = time.monotonic()
        for round in list(self._rounds.values()):
            absent = [rank for rank in range(len(self._peers)) if rank not in round.requests]
            gone = [self._peers[rank].gone for rank in absent if self._peers[rank].gone is not None]
            who, (first, *_) = self._several(round.requests), round.requests.values()
            if gone:
                return self._break(f"{gone[0]}; {who} wait in {told(first['what'])}")
            if now > round.deadline:
                late = ", ".join(self._whose(rank) for rank in absent)
                return self._break(
                    f"{late} did not come to {told(first['what'])} within {round.seconds:g} s; {who} waited there"
                )
        for (rank, _), receivers in self._receivers.items():
            for message, deadline in receivers:
                source = message["from"]
                gone_source = self._peers[source].gone if source is not None else None
                whose = "anyone" if source is None else self._whose(source)
                if gone_source is not None:
                    return self._break(f"{gone_source}; {self._whose(rank)} waits for its message")
                if now > deadline:
                    within = f"within {message['seconds']:g} s"
                    return self._break(f"{self._whose(rank)} received no message of {whose} {within}")

    def _break(self, why: str) -> None:
        """The group can do nothing any more: all that wait, and all that call later, are told why."""
        self._why = self._why or why
        self._rounds.clear()
        self._receivers.clear()
        for rank in range(len(self._peers)):
            self._tell(rank, {"kind": "broken", "why": self._why})

    def _tell(self, rank: int, message: Message, descriptor: int | None = None) -> None:
        peer = self._peers[rank]
        if peer.gone is None:
            try:
                peer.wire.send(message, descriptor)
            except OSError:
                # It ended; its wire says so as soon as it is read.
                peer.wire.shut()

    # --- Collectives ---

    def _called(self, rank: int, message: Message, descriptor: int | None) -> None:
        peer = self._peers[rank]
        if descriptor is not None:
            peer.buffers[message["buffer"]] = memory.received(descriptor, message["size"])
        if message["dropped"] is not None:
            peer.buffers.pop(message["dropped"], None)
        if self._why is not None:
            return
        key, seconds = message["key"], message["seconds"]
        deadline = time.monotonic() + seconds
        round = self._rounds.setdefault(key, _Round(deadline, seconds))
        if deadline < round.deadline:
            round.deadline, round.seconds = deadline, seconds
        round.requests[rank] = message
        if len(round.requests) == len(self._peers):
            del self._rounds[key]
            answer: Message = {"kind": "done", "key": key}
            try:
                self._compare(round.requests)
                self._execute(round.requests)
            except Error as error:
                answer = {"kind": "refused", "key": key, "why": str(error)}
            # The own process last: when it ends, the others have been told.
            for to in reversed(range(len(self._peers))):
                self._tell(to, answer)

    def _compare(self, requests: dict[int, Message]) -> None:
        calls: list[tuple[Call, list[int]]] = []
        for rank in sorted(requests):
            what = requests[rank]["what"]
            same = next((ranks for call, ranks in calls if call == what), None)
            if same is None:
                calls.append((what, [rank]))
            else:
                same.append(rank)
        if len(calls) > 1:
            said = "; ".join(f"{self._several(ranks)}: {told(call)}" for call, ranks in calls)
            raise InputError(f"ranks make different calls, so nothing is moved: {said}")

    def _execute(self, requests: dict[int, Message]) -> None:
        what = requests[0]["what"]
        kind = np.dtype(_numpy(what["type"])) if what["type"] in TYPES else np.dtype(np.uint8)
        if what["type"] not in TYPES and what["collective"] in REDUCING:
            types = ", ".join(sorted(TYPES))
            raise InputError(f"{what['collective']} adds no {what['type']}; give one of: {types}")

        def arrays(offset: str, size: str) -> list[Any]:
            return [
                np.ndarray(
                    (requests[rank][size] // kind.itemsize,),
                    kind,
                    self._peers[rank].buffers[requests[rank]["buffer"]],
                    requests[rank][offset] if offset else 0,
                )
                for rank in range(len(self._peers))
            ]

        self._runs.run(what, arrays("", "gives"), arrays("offset", "gets"))

    # --- Messages ---

    def _deliver(self, rank: int, tag: int) -> None:
        """What has come goes to those that wait for it, in the order in which either came."""
        box, receivers = self._mail.get((rank, tag)), self._receivers.get((rank, tag))
        if not box or not receivers:
            return
        for receiver in list(receivers):
            source = receiver[0]["from"]
            mail = next((mail for mail in box if source in (None, mail.source)), None)
            if mail is None:
                continue
            box.remove(mail)
            receivers.remove(receiver)
            self._hand_over(rank, receiver[0], mail)
        if not box:
            del self._mail[rank, tag]
        if not receivers:
            del self._receivers[rank, tag]

    def _hand_over(self, rank: int, receiver: Message, mail: _Mail) -> None:
        try:
            if receiver["what"] == mail.what:
                answer: Message = {"kind": "done", "key": receiver["key"], "from": mail.source, "size": mail.size}
                self._tell(rank, answer, mail.descriptor)
                return
            sent, wanted = (f"{what['count']} of {what['type']}" for what in (mail.what, receiver["what"]))
            why = f"{self._whose(mail.source)} sent {sent}, and {self._whose(rank)} receives {wanted}"
            self._tell(rank, {"kind": "refused", "key": receiver["key"], "why": why})
        finally:
            os.close(mail.descriptor)

    # --- Names ---

    def _whose(self, rank: int) -> str:
        return f"rank {self._ranks[rank]} (process {self._peers[rank].process})"

    def _several(self, ranks: Any) -> str:
        return several([str(self._ranks[rank]) for rank in sorted(ranks)])


class _Runs:
    """Collectives over arrays of all ranks, by the algorithms and schedules that were chosen."""

    def __init__(self, size: int, options: Options) -> None:
        self._size, self._options = size, options
        self._communicators: dict[str, wgccl.Communicator] = {}
        self._schedules = {schedule.collective: schedule for schedule in options.schedules}

    def run(self, what: Call, inputs: list[Any], outputs: list[Any]) -> None:
        collective, op, root = what["collective"], what["op"] or None, what["root"]
        if collective == "barrier" or not any(of.size for of in outputs):
            return
        given = inputs[root] if collective in ("broadcast", "scatter") else inputs
        out = outputs[root] if collective in ("reduce", "gather") else outputs
        schedule = self._schedules.get(collective)
        if schedule is not None:
            if schedule.ranks != self._size or (root is not None and schedule.root != root):
                of = f"{schedule.ranks} ranks" + ("" if root is None else f" with root {schedule.root}")
                raise InputError(
                    f"schedule '{schedule.name}' is of {of}, and this {collective} of {self._size}"
                    + ("" if root is None else f" with root {root}")
                    + "; give this group other pg_options"
                )
            schedule.run(given, op, self._options.device, out=out)
            return
        call = getattr(self._communicator(self._options.algorithms.get(collective, "auto")), collective.replace("-", "_"))
        said = {"op": op} if collective in REDUCING else {}
        call(given, **said, **({} if root is None else {"root": root}), out=out)

    def _communicator(self, algorithm: str) -> wgccl.Communicator:
        known = self._communicators.get(algorithm)
        if known is None:
            known = wgccl.Communicator(self._size, self._options.device, algorithm=algorithm)
            self._communicators[algorithm] = known
        return known


def _numpy(name: str) -> Any:
    """numpy has no bf16 and fp8 of its own."""
    if name.startswith(("bfloat", "float8")):
        try:
            import ml_dtypes
        except ImportError as error:
            raise InputError(f"{name} needs the package ml_dtypes in the process of rank 0") from error
        return getattr(ml_dtypes, name)
    return name
