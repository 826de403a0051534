"""Messages between processes of one machine: a JSON object each, and at most one file descriptor with it.

A message is its length, four bytes, and its text. When a process ends, however it ends, its wire is closed by the system.
"""

from __future__ import annotations

import array
import json
import os
import socket
import struct
import weakref
from typing import Any

Message = dict[str, Any]

_LENGTH = struct.Struct("!I")
_LONGEST = 1 << 20
_OPEN: weakref.WeakSet[Wire] = weakref.WeakSet()


class Closed(OSError):
    """The other end is gone."""


class Wire:
    """One end of a connection. Those who send share a lock of their own; one thread receives."""

    def __init__(self, connected: socket.socket, seconds: float) -> None:
        connected.settimeout(max(seconds, 0.001))
        self._socket = connected
        _OPEN.add(self)

    def fileno(self) -> int:
        return self._socket.fileno()

    def connect(self, address: str) -> None:
        """To who listens there. An address that begins with a null byte is a name without a file."""
        self._socket.connect(address.encode())

    def send(self, message: Message, descriptor: int | None = None) -> None:
        """Sends it whole. Blocks while the other end reads nothing."""
        text = json.dumps(message, separators=(",", ":")).encode()
        data = _LENGTH.pack(len(text)) + text
        if descriptor is not None:
            sent = socket.send_fds(self._socket, [data], [descriptor])
            data = data[sent:]
        self._socket.sendall(data)

    def receive(self) -> tuple[Message, int | None]:
        """The next one, and the descriptor that came with it, which is the caller's to close."""
        head, descriptors = b"", array.array("i")
        while len(head) < _LENGTH.size:
            some, told, _, _ = self._socket.recvmsg(_LENGTH.size - len(head), socket.CMSG_SPACE(descriptors.itemsize))
            if not some:
                raise Closed("closed by the other end")
            for level, kind, data in told:
                if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                    descriptors.frombytes(data[: len(data) - len(data) % descriptors.itemsize])
            head += some
        try:
            (length,) = _LENGTH.unpack(head)
            if length > _LONGEST:
                raise Closed("what came is no message of wgccl's")
            message = json.loads(self._exactly(length))
        except BaseException:
            for descriptor in descriptors:
                os.close(descriptor)
            raise
        return message, descriptors[0] if descriptors else None

    def _exactly(self, length: int) -> bytes:
        text = bytearray()
        while len(text) < length:
            some = self._socket.recv(length - len(text))
            if not some:
                raise Closed("closed by the other end")
            text += some
        return bytes(text)

    def shut(self) -> None:
        """Ends the connection: whoever waits for a message here learns it, too."""
        try:
            self._socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass

    def close(self) -> None:
        self._socket.close()


def _forked() -> None:
    """A process that was forked off holds no wire open, or nobody would learn that its parent has ended."""
    for wire in list(_OPEN):
        wire.close()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
