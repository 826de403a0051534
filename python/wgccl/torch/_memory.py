"""Memory that processes share. It has no name, so nothing of it is left when they end, however they end."""

from __future__ import annotations

import mmap
import os
import tempfile
from dataclasses import dataclass, field
from typing import Any

import torch

_LEAST = 1 << 16


@dataclass
class Buffer:
    """Shared memory that this process made. The descriptor is there until it was sent."""

    number: int
    memory: mmap.mmap
    descriptor: int | None

    def sent(self) -> None:
        if self.descriptor is not None:
            os.close(self.descriptor)
            self.descriptor = None


def shared(size: int) -> tuple[mmap.mmap, int]:
    """So many bytes, and a descriptor by which another process gets them."""
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("wgccl", os.MFD_CLOEXEC)
    else:
        with tempfile.TemporaryFile() as file:
            descriptor = os.dup(file.fileno())
    try:
        os.ftruncate(descriptor, size)
        return mmap.mmap(descriptor, size), descriptor
    except BaseException:
        os.close(descriptor)
        raise


def received(descriptor: int, size: int) -> mmap.mmap:
    """The memory of a descriptor that came from another process; it is closed."""
    try:
        return mmap.mmap(descriptor, size)
    finally:
        os.close(descriptor)


@dataclass
class Pool:
    """Buffers that are used again, so that a call need not wait for fresh pages."""

    _free: list[Buffer] = field(default_factory=list)
    _made: int = 0

    def take(self, size: int) -> tuple[Buffer, int | None]:
        """One of at least this size, and the number of one that nobody needs any more."""
        fits = [buffer for buffer in self._free if len(buffer.memory) >= size]
        if fits:
            best = min(fits, key=lambda buffer: len(buffer.memory))
            self._free.remove(best)
            return best, None
        # As many as there were calls at a time: one that was too small makes room for one that is not.
        dropped = self._free.pop().number if self._free else None
        memory, descriptor = shared(max(_LEAST, 1 << (size - 1).bit_length()))
        self._made += 1
        return Buffer(self._made, memory, descriptor), dropped

    def give_back(self, buffer: Buffer) -> None:
        self._free.append(buffer)


def view(memory: mmap.mmap, offset: int, like: Any) -> Any:
    """A tensor in it, of the type and shape of another."""
    return torch.frombuffer(memory, dtype=like.dtype, count=like.numel(), offset=offset).view(like.shape)


def put(memory: mmap.mmap, tensors: list[Any]) -> None:
    """Copies tensors of one type into it, one after the other."""
    offset = 0
    for tensor in tensors:
        if tensor.numel():
            view(memory, offset, tensor).copy_(tensor.detach())
        offset += size(tensor)


def get(memory: mmap.mmap, offset: int, tensors: list[Any]) -> None:
    """Copies what lies there into tensors, one after the other."""
    for tensor in tensors:
        if tensor.numel():
            tensor.detach().copy_(view(memory, offset, tensor))
        offset += size(tensor)


def size(tensor: Any) -> int:
    """In bytes."""
    length: int = tensor.numel() * tensor.element_size()
    return length
