"""What torch's calls mean: which tensors a rank gives and gets, and what all ranks must say alike."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import torch.distributed as dist

from .._errors import InputError
from ._call import call
from ._memory import size as bytes_of
from ._member import Member
from ._work import Work

_OPS = {"SUM": "sum", "AVG": "avg", "PRODUCT": "prod", "MIN": "min", "MAX": "max"}

Tensor = Any
Tensors = list[Any]


class Group(dist.ProcessGroup):
    """A process group of torch's. The names of its methods, and of what they are given, are torch's too."""

    def __init__(self, member: Member, rank: int, size: int, timeout: timedelta) -> None:
        super().__init__(rank, size)
        self._member, self._rank, self._size, self._timeout = member, rank, size, timeout
        self._said = {"name": "", "description": ""}

    def getBackendName(self) -> str:
        return "wgccl"

    def __repr__(self) -> str:
        return f"<wgccl process group: rank {self._rank} of {self._size}>"

    # --- Reductions ---

    def allreduce(self, tensors: Tensors, opts: Any = None) -> Work:
        what = call("all-reduce", tensors[0], _shapes(tensors), _op(opts))
        return self._call(what, tensors, tensors, opts)

    def allreduce_coalesced(self, tensors: Tensors, opts: Any = None) -> Work:
        return self.allreduce(tensors, opts)

    def reduce(self, tensors: Tensors, opts: Any) -> Work:
        what = call("reduce", tensors[0], _shapes(tensors), _op(opts), opts.rootRank)
        return self._call(what, tensors, self._if_root(opts, tensors), opts)

    def reduce_scatter(self, outputs: Tensors, inputs: list[Tensors], opts: Any = None) -> Work:
        what = call("reduce-scatter", outputs[0], _shapes(outputs), _op(opts))
        self._parts([[given[rank] for given in inputs] for rank in range(len(inputs[0]))], outputs)
        return self._call(what, _transposed(inputs), outputs, opts)

    def reduce_scatter_single_coalesced(self, outputs: Tensors, inputs: Tensors, opts: Any = None) -> Work:
        return self.reduce_scatter(outputs, [self._cut(given, like) for given, like in zip(inputs, outputs)], opts)

    def reduce_scatter_single(self, output: Tensor, given: Tensor, opts: Any = None) -> Work:
        return self.reduce_scatter_single_coalesced([output], [given], opts)

    # --- What is only moved ---

    def broadcast(self, tensors: Tensors, opts: Any) -> Work:
        what = call("broadcast", tensors[0], _shapes(tensors), root=opts.rootRank)
        root = self._rank == opts.rootRank
        gets = sum(map(bytes_of, tensors))
        return self._call(what, tensors if root else [], [] if root else tensors, opts, gets)

    def allgather(self, outputs: list[Tensors], inputs: Tensors, opts: Any = None) -> Work:
        what = call("all-gather", inputs[0], _shapes(inputs))
        self._parts([[got[rank] for got in outputs] for rank in range(len(outputs[0]))], inputs)
        return self._call(what, inputs, _transposed(outputs), opts)

    def allgather_coalesced(self, outputs: list[Tensors], inputs: Tensors, opts: Any = None) -> Work:
        # Here torch has the ranks outside and the tensors inside.
        return self.allgather([list(of) for of in zip(*outputs)], inputs, opts)

    def all_gather_single_coalesced(self, outputs: Tensors, inputs: Tensors, opts: Any = None) -> Work:
        return self.allgather([self._cut(got, like) for got, like in zip(outputs, inputs)], inputs, opts)

    def all_gather_single(self, output: Tensor, given: Tensor, opts: Any = None) -> Work:
        return self.all_gather_single_coalesced([output], [given], opts)

    def gather(self, outputs: list[Tensors], inputs: Tensors, opts: Any) -> Work:
        what = call("gather", inputs[0], _shapes(inputs), root=opts.rootRank)
        if self._rank == opts.rootRank:
            self._parts([[got[rank] for got in outputs] for rank in range(len(outputs[0]))], inputs)
        return self._call(what, inputs, _transposed(outputs) if self._rank == opts.rootRank else [], opts)

    def gather_single(self, output: Tensor, given: Tensor, opts: Any) -> Work:
        return self.gather([self._cut(output, given)] if self._rank == opts.rootRank else [], [given], opts)

    def scatter(self, outputs: Tensors, inputs: list[Tensors], opts: Any) -> Work:
        what = call("scatter", outputs[0], _shapes(outputs), root=opts.rootRank)
        if self._rank == opts.rootRank:
            self._parts([[given[rank] for given in inputs] for rank in range(len(inputs[0]))], outputs)
        return self._call(what, _transposed(inputs) if self._rank == opts.rootRank else [], outputs, opts)

    def alltoall(self, outputs: Tensors, inputs: Tensors, opts: Any = None) -> Work:
        if len({of.numel() for of in [*outputs, *inputs]}) != 1 or len(outputs) != self._size or len(inputs) != self._size:
            raise InputError(f"all_to_all of backend wgccl exchanges {self._size} parts of one size with all ranks")
        return self._call(call("all-to-all", inputs[0], [[inputs[0].numel()]]), inputs, outputs, opts)

    def all_to_all_single(
        self, output: Tensor, given: Tensor, output_splits: list[int], input_splits: list[int], opts: Any = None
    ) -> Work:
        if len({*output_splits, *input_splits}) > 1 or output.numel() != given.numel():
            raise InputError("all_to_all of backend wgccl exchanges parts of one size; pad them to the largest")
        parts = self._cut(given, None)
        return self._call(call("all-to-all", given, _shapes(parts[:1])), [given], [output], opts)

    def barrier(self, opts: Any = None) -> Work:
        return self._call(call("barrier"), [], [], opts)

    # --- Messages ---

    def send(self, tensors: Tensors, to: int, tag: int = 0) -> Work:
        return self._member.send(_one(tensors), to, tag)

    def recv(self, tensors: Tensors, source: int, tag: int = 0) -> Work:
        return self._member.receive(_one(tensors), source, tag, self._timeout.total_seconds())

    def recv_anysource(self, tensors: Tensors, tag: int = 0) -> Work:
        return self._member.receive(_one(tensors), None, tag, self._timeout.total_seconds())

    # --- The group ---

    def shutdown(self) -> None:
        self._member.leave()

    def abort(self) -> None:
        self._member.abort()

    def set_timeout(self, timeout: timedelta) -> None:
        self._timeout = timeout

    # A group of torch's own keeps these in its backends.

    def setGroupName(self, name: str) -> None:
        self._said["name"] = name

    def getGroupName(self) -> str:
        return self._said["name"]

    def setGroupDesc(self, description: str) -> None:
        self._said["description"] = description

    def getGroupDesc(self) -> str:
        return self._said["description"]

    # Torch asks for the backend of a device, and whether that joins calls itself.
    supports_coalescing = False

    def _get_backend(self, device: Any) -> Group:
        return self

    # What torch has called the same before.
    _allgather_base = all_gather_single
    _reduce_scatter_base = reduce_scatter_single
    allgather_into_tensor_coalesced = all_gather_single_coalesced
    reduce_scatter_tensor_coalesced = reduce_scatter_single_coalesced
    alltoall_base = all_to_all_single
    gather_into_tensor = gather_single
    recvAnysource = recv_anysource

    # --- Parts ---

    def _call(self, what: Any, give: Tensors, get: Tensors, opts: Any, gets: int | None = None) -> Work:
        asked = getattr(opts, "timeout", None)
        timeout = asked if asked is not None and asked > timedelta() else self._timeout
        return self._member.call(what, give, get, timeout.total_seconds(), gets)

    def _if_root(self, opts: Any, tensors: Tensors) -> Tensors:
        return tensors if self._rank == opts.rootRank else []

    def _cut(self, joined: Tensor, like: Tensor | None) -> Tensors:
        """The parts of all ranks in one tensor, as views, of the shape of one of them."""
        if not joined.is_contiguous():
            raise InputError("a tensor of all ranks' parts must be contiguous")
        if joined.numel() % self._size or (like is not None and joined.numel() != like.numel() * self._size):
            raise InputError(
                f"a tensor of shape {tuple(joined.shape)} does not hold {self._size} parts"
                + ("" if like is None else f" of shape {tuple(like.shape)}")
            )
        parts = joined.view(self._size, -1).unbind() if joined.numel() else [joined.view(-1)] * self._size
        return [part if like is None else part.view(like.shape) for part in parts]

    def _parts(self, of_ranks: list[Tensors], like: Tensors) -> None:
        """Every rank's part is as long as this rank's own."""
        if len(of_ranks) != self._size or any(
            part.numel() != own.numel() for parts in of_ranks for part, own in zip(parts, like)
        ):
            raise InputError(
                f"give {self._size} tensors of {', '.join(str(of.numel()) for of in like)} elements, one for each rank"
            )


def _op(opts: Any) -> str:
    """The name of ours, or torch's where we have none, which the executor refuses."""
    if opts is None:
        return "sum"
    asked: str = getattr(opts.reduceOp, "op", opts.reduceOp).name
    return _OPS.get(asked, asked)


def _shapes(tensors: Tensors) -> list[Any]:
    return [tensor.shape for tensor in tensors]


def _transposed(of_tensors: list[Tensors]) -> Tensors:
    """Of lists of all ranks' parts: the parts of rank 0, of rank 1 and so on."""
    return [part for parts in zip(*of_tensors) for part in parts]


def _one(tensors: Tensors) -> Tensor:
    if len(tensors) != 1:
        raise InputError(f"a message is one tensor, not {len(tensors)}")
    return tensors[0]
