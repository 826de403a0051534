"""How the processes of a group find each other: rank 0 listens, and torch's store says where."""

from __future__ import annotations

import hmac
import json
import os
import platform
import secrets
import shutil
import socket
import sys
import tempfile
import time
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import wgccl

from .._errors import InputError
from ._call import several
from ._executor import Peer
from ._options import Options
from ._wire import Message, Wire
from ._work import GRACE, GroupError

_KEY = "wgccl"

_PATIENCE = 30.0
"""Seconds for which a rank may stop in the middle of a message, or read nothing while it has many to read."""


@dataclass
class Joined:
    """A rank's wire, who executes at its other end, and there all wires."""

    wire: Wire
    executor: str
    peers: list[Peer] | None = None


def join(store: Any, rank: int, ranks: list[int], seconds: float, options: Options) -> Joined:
    """Returns when all ranks have come."""
    if not hasattr(socket, "AF_UNIX") or not hasattr(socket, "send_fds"):
        raise InputError("backend wgccl needs sockets of Unix, which Windows has not; use gloo there")
    hello: Message = {
        "rank": rank,
        "process": os.getpid(),
        "version": wgccl.__version__,
        "options": options.digest(),
    }
    if rank == 0:
        return _gather(store, ranks, seconds, hello)
    store.wait([_KEY], timedelta(seconds=seconds))
    there = json.loads(store.get(_KEY))
    executor = f"rank {ranks[0]} (process {there['process']})"
    # Rank 0 says who is missing, a little later than it would be missed here.
    wire = Wire(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM), seconds + GRACE)
    try:
        wire.connect(there["address"])
        wire.send(hello | {"token": there["token"]})
    except OSError as error:
        wire.close()
        here = platform.node()
        where = "" if here == there["host"] else f": that is on {there['host']}, this on {here}"
        raise GroupError(
            f"{executor} cannot be reached{where}; backend wgccl joins processes of one machine ({error})"
        ) from error
    try:
        answer, _ = wire.receive()
    except OSError as error:
        wire.close()
        raise GroupError(f"{executor} did not welcome this process: {error}") from error
    if answer["kind"] != "welcome":
        wire.close()
        raise InputError(answer["why"])
    return Joined(wire, executor)


def _gather(store: Any, ranks: list[int], seconds: float, hello: Message) -> Joined:
    """Rank 0's side."""
    token, folder = secrets.token_hex(16), None
    if sys.platform == "linux":
        address = f"\0wgccl-{secrets.token_hex(16)}"
    else:
        folder = tempfile.mkdtemp(prefix="wgccl-")
        address = os.path.join(folder, "socket")
    peers: dict[int, Peer] = {}
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
            listener.bind(address.encode())
            listener.listen(len(ranks))
            there = {"address": address, "token": token, "host": platform.node(), "process": os.getpid()}
            store.set(_KEY, json.dumps(there))
            deadline = time.monotonic() + seconds
            while len(peers) < len(ranks) - 1:
                listener.settimeout(max(deadline - time.monotonic(), 0.001))
                _welcome(Wire(listener.accept()[0], min(seconds, _PATIENCE)), token, hello, len(ranks), peers)
    except TimeoutError as error:
        absent = several([str(of) for rank, of in enumerate(ranks) if rank and rank not in peers])
        why = f"{absent} did not join the process group within {seconds:g} s"
        _refuse(peers, why)
        raise GroupError(why) from error
    except InputError as error:
        _refuse(peers, str(error))
        raise
    finally:
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)
    # All have read it; another group of this name begins anew.
    store.delete_key(_KEY)
    own, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    peers[0] = Peer(Wire(own, seconds), os.getpid())
    for rank in range(1, len(ranks)):
        peers[rank].wire.send({"kind": "welcome"})
    executor = f"rank {ranks[0]} (process {os.getpid()})"
    return Joined(Wire(other, seconds), executor, [peers[rank] for rank in range(len(ranks))])


def _welcome(wire: Wire, token: str, own: Message, size: int, peers: dict[int, Peer]) -> None:
    """Takes one that has connected, unless it is a stranger."""
    try:
        hello, _ = wire.receive()
    except OSError:
        hello = {}
    rank = int(hello.get("rank", 0))
    if not hmac.compare_digest(str(hello.get("token")), token) or rank in peers or rank not in range(1, size):
        wire.close()
        return
    peers[rank] = Peer(wire, hello["process"])
    for what in ("version", "options"):
        if hello[what] != own[what]:
            said = f": {hello[what]}, not {own[what]}" if what == "version" else " (algorithm, schedules or device)"
            raise InputError(f"rank {rank} of the group has another {what} of wgccl than rank 0{said}")


def _refuse(peers: dict[int, Peer], why: str) -> None:
    for peer in peers.values():
        try:
            peer.wire.send({"kind": "refused", "why": why})
        except OSError:
            pass
        peer.wire.close()
