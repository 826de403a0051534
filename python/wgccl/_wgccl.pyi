"""What is written in Rust: collectives, schedules, devices."""

import os
from collections.abc import Sequence
from typing import Any, Literal, Protocol, TypeAlias, TypeVar, final, overload

from numpy.typing import NDArray

__version__: str

class _DLPack(Protocol):
    """A tensor of torch, jax or cupy."""

    # Stubs of packages declare its arguments as they like.
    @property
    def __dlpack__(self) -> Any: ...

_Op: TypeAlias = Literal["sum", "prod", "min", "max", "avg"] | str
_Array: TypeAlias = NDArray[Any]
_One: TypeAlias = NDArray[Any] | _DLPack | Sequence[Any] | float
"""What numpy makes an array of, and what has DLPack and lies in the host's memory."""
_All: TypeAlias = Sequence[_One]
"""An array of each rank, all of one type and shape."""
_DeviceName: TypeAlias = str | int
_Signal: TypeAlias = str | int
_Label: TypeAlias = str | tuple[str, int]
_Out = TypeVar("_Out", bound=_Array | _DLPack | Sequence[_Array | _DLPack])

@overload
def all_reduce(
    arrays: _Array,
    op: _Op | None = None,
    *,
    algorithm: str | None = None,
    device: _DeviceName | None = None,
    out: None = None,
) -> _Array:
    """Reduces over all ranks; every rank gets the result."""
@overload
def all_reduce(
    arrays: _All,
    op: _Op | None = None,
    *,
    algorithm: str | None = None,
    device: _DeviceName | None = None,
    out: None = None,
) -> list[_Array]: ...
@overload
def all_reduce(
    arrays: _Array | _All,
    op: _Op | None = None,
    *,
    algorithm: str | None = None,
    device: _DeviceName | None = None,
    out: _Out,
) -> _Out: ...

@overload
def all_gather(
    arrays: _Array,
    *,
    algorithm: str | None = None,
    device: _DeviceName | None = None,
    out: None = None,
) -> _Array:
    """Every rank gets the arrays of all ranks, joined along the first axis."""
@overload
def all_gather(
    arrays: _All,
    *,
    algorithm: str | None = None,
    device: _DeviceName | None = None,
    out: None = None,
) -> list[_Array]: ...
@overload
def all_gather(
    arrays: _Array | _All,
    *,
    algorithm: str | None = None,
    device: _DeviceName | None = None,
    out: _Out,
) -> _Out: ...

@overload
def reduce_scatter(
    arrays: _Array,
    op: _Op | None = None,
    *,
    algorithm: str | None = None,
    device: _DeviceName | None = None,
    out: None = None,
) -> _Array:
    """Reduces over all ranks; rank r gets part r of the result, which is cut along the first axis."""
@overload
def reduce_scatter(
    arrays: _All,
    op: _Op | None = None,
    *,
    algorithm: str | None = None,
    device: _DeviceName | None = None,
    out: None = None,
) -> list[_Array]: ...
@overload
def reduce_scatter(
    arrays: _Array | _All,
    op: _Op | None = None,
    *,
    algorithm: str | None = None,
    device: _DeviceName | None = None,
    out: _Out,
) -> _Out: ...

@overload
def broadcast(
    array: _One,
    ranks: int | None = None,
    root: int = 0,
    *,
    algorithm: str | None = None,
    device: _DeviceName | None = None,
    out: None = None,
) -> list[_Array]:
    """Every rank gets the root's array."""
@overload
def broadcast(
    array: _One,
    ranks: int | None = None,
    root: int = 0,
    *,
    algorithm: str | None = None,
    device: _DeviceName | None = None,
    out: _Out,
) -> _Out: ...

@overload
def reduce(
    arrays: _Array | _All,
    op: _Op | None = None,
    root: int = 0,
    *,
    algorithm: str | None = None,
    device: _DeviceName | None = None,
    out: None = None,
) -> _Array:
    """Reduces over all ranks; the root gets the result, which is returned."""
@overload
def reduce(
    arrays: _Array | _All,
    op: _Op | None = None,
    root: int = 0,
    *,
    algorithm: str | None = None,
    device: _DeviceName | None = None,
    out: _Out,
) -> _Out: ...

@overload
def gather(
    arrays: _Array | _All,
    root: int = 0,
    *,
    algorithm: str | None = None,
    device: _DeviceName | None = None,
    out: None = None,
) -> _Array:
    """The root gets the arrays of all ranks, joined along the first axis; that array is returned."""
@overload
def gather(
    arrays: _Array | _All,
    root: int = 0,
    *,
    algorithm: str | None = None,
    device: _DeviceName | None = None,
    out: _Out,
) -> _Out: ...

@overload
def scatter(
    array: _One,
    ranks: int | None = None,
    root: int = 0,
    *,
    algorithm: str | None = None,
    device: _DeviceName | None = None,
    out: None = None,
) -> list[_Array]:
    """Rank r gets part r of the root's array, which is cut along the first axis."""
@overload
def scatter(
    array: _One,
    ranks: int | None = None,
    root: int = 0,
    *,
    algorithm: str | None = None,
    device: _DeviceName | None = None,
    out: _Out,
) -> _Out: ...

@overload
def all_to_all(
    arrays: _Array,
    *,
    algorithm: str | None = None,
    device: _DeviceName | None = None,
    out: None = None,
) -> _Array:
    """Rank r gets part r of every rank's array, in rank order; arrays are cut and joined along the first axis."""
@overload
def all_to_all(
    arrays: _All,
    *,
    algorithm: str | None = None,
    device: _DeviceName | None = None,
    out: None = None,
) -> list[_Array]: ...
@overload
def all_to_all(
    arrays: _Array | _All,
    *,
    algorithm: str | None = None,
    device: _DeviceName | None = None,
    out: _Out,
) -> _Out: ...

@overload
def send_recv(
    arrays: _Array,
    sources: Sequence[int] | None = None,
    *,
    algorithm: str | None = None,
    device: _DeviceName | None = None,
    out: None = None,
) -> _Array:
    """Rank r gets the array of rank `sources[r]`, or of the one before it."""
@overload
def send_recv(
    arrays: _All,
    sources: Sequence[int] | None = None,
    *,
    algorithm: str | None = None,
    device: _DeviceName | None = None,
    out: None = None,
) -> list[_Array]: ...
@overload
def send_recv(
    arrays: _Array | _All,
    sources: Sequence[int] | None = None,
    *,
    algorithm: str | None = None,
    device: _DeviceName | None = None,
    out: _Out,
) -> _Out: ...

@final
class Communicator:
    """P ranks on a device, which keep what calls of a shape have prepared.

    Can be shared among threads: calls of unlike shapes run side by side, calls of one shape one after the other.
    """

    def __new__(
        cls,
        ranks: int,
        device: _DeviceName | None = None,
        *,
        algorithm: str | None = None,
        sync: str | None = None,
        channels: int | None = None,
        workers: int | None = None,
        timeout: float | None = None,
    ) -> Communicator: ...
    @property
    def ranks(self) -> int: ...
    @property
    def device(self) -> str: ...
    @property
    def algorithm(self) -> str: ...
    @overload
    def all_reduce(
        self,
        arrays: _Array,
        op: _Op | None = None,
        *,
        out: None = None,
    ) -> _Array:
        """As `wgccl.all_reduce`."""
    @overload
    def all_reduce(
        self,
        arrays: _All,
        op: _Op | None = None,
        *,
        out: None = None,
    ) -> list[_Array]: ...
    @overload
    def all_reduce(
        self,
        arrays: _Array | _All,
        op: _Op | None = None,
        *,
        out: _Out,
    ) -> _Out: ...
    @overload
    def all_gather(
        self,
        arrays: _Array,
        *,
        out: None = None,
    ) -> _Array:
        """As `wgccl.all_gather`."""
    @overload
    def all_gather(
        self,
        arrays: _All,
        *,
        out: None = None,
    ) -> list[_Array]: ...
    @overload
    def all_gather(
        self,
        arrays: _Array | _All,
        *,
        out: _Out,
    ) -> _Out: ...
    @overload
    def reduce_scatter(
        self,
        arrays: _Array,
        op: _Op | None = None,
        *,
        out: None = None,
    ) -> _Array:
        """As `wgccl.reduce_scatter`."""
    @overload
    def reduce_scatter(
        self,
        arrays: _All,
        op: _Op | None = None,
        *,
        out: None = None,
    ) -> list[_Array]: ...
    @overload
    def reduce_scatter(
        self,
        arrays: _Array | _All,
        op: _Op | None = None,
        *,
        out: _Out,
    ) -> _Out: ...
    @overload
    def broadcast(
        self,
        array: _One,
        root: int = 0,
        *,
        out: None = None,
    ) -> list[_Array]:
        """As `wgccl.broadcast`."""
    @overload
    def broadcast(
        self,
        array: _One,
        root: int = 0,
        *,
        out: _Out,
    ) -> _Out: ...
    @overload
    def reduce(
        self,
        arrays: _Array | _All,
        op: _Op | None = None,
        root: int = 0,
        *,
        out: None = None,
    ) -> _Array:
        """As `wgccl.reduce`."""
    @overload
    def reduce(
        self,
        arrays: _Array | _All,
        op: _Op | None = None,
        root: int = 0,
        *,
        out: _Out,
    ) -> _Out: ...
    @overload
    def gather(
        self,
        arrays: _Array | _All,
        root: int = 0,
        *,
        out: None = None,
    ) -> _Array:
        """As `wgccl.gather`."""
    @overload
    def gather(
        self,
        arrays: _Array | _All,
        root: int = 0,
        *,
        out: _Out,
    ) -> _Out: ...
    @overload
    def scatter(
        self,
        array: _One,
        root: int = 0,
        *,
        out: None = None,
    ) -> list[_Array]:
        """As `wgccl.scatter`."""
    @overload
    def scatter(
        self,
        array: _One,
        root: int = 0,
        *,
        out: _Out,
    ) -> _Out: ...
    @overload
    def all_to_all(
        self,
        arrays: _Array,
        *,
        out: None = None,
    ) -> _Array:
        """As `wgccl.all_to_all`."""
    @overload
    def all_to_all(
        self,
        arrays: _All,
        *,
        out: None = None,
    ) -> list[_Array]: ...
    @overload
    def all_to_all(
        self,
        arrays: _Array | _All,
        *,
        out: _Out,
    ) -> _Out: ...
    @overload
    def send_recv(
        self,
        arrays: _Array,
        sources: Sequence[int] | None = None,
        *,
        out: None = None,
    ) -> _Array:
        """As `wgccl.send_recv`."""
    @overload
    def send_recv(
        self,
        arrays: _All,
        sources: Sequence[int] | None = None,
        *,
        out: None = None,
    ) -> list[_Array]: ...
    @overload
    def send_recv(
        self,
        arrays: _Array | _All,
        sources: Sequence[int] | None = None,
        *,
        out: _Out,
    ) -> _Out: ...
    def barrier(self) -> None:
        """No rank goes on before all have arrived."""

    def release(self) -> None:
        """Drops what calls have prepared, with its memory."""

@final
class Device:
    """A device that a call can name."""

    @property
    def index(self) -> int | None:
        """What `device=` takes; None is the processor, "cpu"."""

    @property
    def name(self) -> str: ...
    @property
    def backend(self) -> str: ...
    @property
    def type(self) -> str: ...
    @property
    def driver(self) -> str | None: ...
    @property
    def max_buffer_bytes(self) -> int | None: ...

def devices() -> list[Device]:
    """All devices: GPUs, best first, then the processor."""

def algorithms(collective: str | None = None) -> list[str]:
    """The names of all algorithms of a collective, by default all-reduce; the one that `build` takes first."""

@final
class Address:
    """A chunk of some rank's memory."""

    @property
    def rank(self) -> int: ...
    @property
    def buffer(self) -> str: ...
    @property
    def chunk(self) -> int: ...
    def __hash__(self) -> int: ...

_Place: TypeAlias = Address | Sequence[Address]

@final
class Rank:
    """A chain of instructions of one rank: wait, move or reduce, notify.

    Verbs join into one instruction as long as they come in that order; one that cannot join begins the next.
    """

    @property
    def rank(self) -> int: ...
    def input(self, chunk: int = 0, *, part: int = 0) -> Address:
        """A chunk of this rank's input."""

    def output(self, chunk: int = 0, *, part: int = 0) -> Address:
        """A chunk of this rank's output."""

    def slot(self, slot: int = 0) -> Address:
        """A chunk slot in this rank's window."""

    def wait(self, sender: int, signal: _Signal | None = None, at_least: int | None = None) -> Rank:
        """Waits until `sender` has notified this rank's signal: once more than all waits for it before, or `at_least` times."""

    def notify(self, peer: int, signal: _Signal | None = None) -> Rank:
        """Notifies a signal of `peer`, once what was moved before is in memory."""

    def signal(self, peer: int, signal: _Signal | None = None) -> Rank:
        """As `notify`, which MSCCL++ calls so."""

    def copy(self, source: Address, to: _Place | None = None, *, chunks: int = 1) -> Rank:
        """Copies a chunk, or several one after the other, to where `to` says."""

    def reduce(self, *operands: _Place, to: _Place | None = None, chunks: int = 1) -> Rank:
        """Reduces chunks from left to right, to where `to` says."""

    def to(self, *places: _Place) -> Rank:
        """Where what was copied or reduced goes; several get the same."""

    def put(self, destination: Address, source: Address, *, chunks: int = 1) -> Rank:
        """Copies a chunk of this rank's own to `destination`, in another rank's memory."""

    def get(self, destination: Address, source: Address, *, chunks: int = 1) -> Rank:
        """Copies a chunk of another rank's to `destination`, in this rank's memory."""

@final
class Schedule:
    """What every rank does, step by step."""

    def __new__(
        cls,
        name: str,
        collective: str,
        ranks: int,
        chunks: int = 1,
        slots: int | Sequence[int] | None = None,
        *,
        root: int = 0,
        sources: Sequence[int] | None = None,
        divisible_by: int | None = None,
        in_place: bool = False,
    ) -> Schedule: ...
    @property
    def name(self) -> str: ...
    @property
    def collective(self) -> str: ...
    @property
    def root(self) -> int | None: ...
    @property
    def ranks(self) -> int: ...
    @property
    def chunks(self) -> int:
        """Equal pieces that each part of a buffer is cut into."""

    @property
    def slots(self) -> int:
        """Chunk slots in the largest window."""

    @property
    def signal_rows(self) -> int: ...
    @property
    def lanes(self) -> int: ...
    @property
    def instructions(self) -> int: ...
    @property
    def in_place(self) -> bool:
        """It is made for calls in place."""

    @property
    def warnings(self) -> list[str]:
        """What of a file may not be meant as it is written."""

    def rank(self, rank: int, label: _Label | None = None, *, lane: int = 0) -> Rank:
        """A chain of instructions of `rank`, which go behind those that its lane has."""

    def input(self, rank: int, chunk: int = 0, *, part: int = 0) -> Address:
        """A chunk of a rank's input."""

    def output(self, rank: int, chunk: int = 0, *, part: int = 0) -> Address:
        """A chunk of a rank's output."""

    def slot(self, rank: int, slot: int = 0) -> Address:
        """A chunk slot in a rank's window."""

    def check(self, *, in_place: bool | None = None) -> Report:
        """Tries the six proofs and says how each ended."""

    def prove(self, *, in_place: bool | None = None) -> Report:
        """Raises `ScheduleError` unless the schedule may be run."""

    def edit(self, edit: str) -> Schedule:
        """A copy with one thing broken, as `wgccl check --break` does it: "drop-wait:rank 1 RS round 3"."""

    def effect(self) -> str:
        """What a launch would do, right or wrong: of a race, a run that goes wrong."""

    def why(self, chunk: str) -> str:
        """Why a chunk holds what it holds: "2:1" is chunk 1 of rank 2's output, "2 slot 0" a slot."""

    def order(self, a: str, b: str) -> str:
        """What orders two instructions, by their names: "rank 0 RS round 1"."""

    @overload
    def run(
        self, arrays: _Array, op: _Op | None = None, device: _DeviceName | None = None, *, out: None = None
    ) -> _Array:
        """Proves the schedule and runs it over arrays of all ranks, or of the root where only it gives."""

    @overload
    def run(
        self, arrays: _All, op: _Op | None = None, device: _DeviceName | None = None, *, out: None = None
    ) -> list[_Array]: ...
    @overload
    def run(
        self, arrays: _Array | _All, op: _Op | None = None, device: _DeviceName | None = None, *, out: _Out
    ) -> _Out: ...
    @overload
    def golden(self, arrays: _Array, op: _Op | None = None) -> _Array:
        """What every rank must get, in every bit: evaluated on the processor in the schedule's own order."""

    @overload
    def golden(self, arrays: _All, op: _Op | None = None) -> list[_Array]: ...
    def show(self, *, height: int = 720) -> Page:
        """The page that plays it, whether it is right or wrong: shown by a notebook, or saved."""

    def svg(self, *, animated: bool = False) -> str:
        """The space-time diagram."""

    def to_json(self) -> str:
        """As a document of wgccl's, which `loads` reads."""

    def to_xml(self, *, proto: Literal["Simple", "LL", "LL128"] | None = None) -> str:
        """As MSCCL XML, which MSCCL, RCCL and the Azure executor run."""

    def to_chakra(self, *, count: int | None = None, dtype: str | None = None) -> list[bytes]:
        """As Chakra execution traces, which ASTRA-sim reads: the bytes of PREFIX.RANK.et, for each rank."""

    def to_goal(self, *, count: int | None = None, dtype: str | None = None) -> str:
        """As GOAL, which LogGOPSim reads."""

    def _repr_html_(self) -> str: ...
    def __copy__(self) -> Schedule: ...
    def __deepcopy__(self, memo: Any) -> Schedule: ...

def build(
    algorithm: str | None = None,
    ranks: int = 4,
    collective: str | None = None,
    *,
    sync: str | None = None,
    root: int = 0,
    sources: Sequence[int] | None = None,
    groups: int | Sequence[int] | None = None,
    count: int = 256,
    dtype: str | None = None,
    device: _DeviceName | None = None,
) -> Schedule:
    """The schedule of an algorithm. Only "auto" looks at count, dtype and device."""

def load(
    path: str | os.PathLike[str],
    *,
    collective: str | None = None,
    root: int = 0,
    fifo_slots: int | None = None,
    elide: bool = False,
) -> Schedule:
    """The schedule of a file: MSCCL XML, or a document of wgccl's. By its content, not by its name."""

def loads(
    text: str | bytes,
    *,
    collective: str | None = None,
    root: int = 0,
    fifo_slots: int | None = None,
    elide: bool = False,
) -> Schedule:
    """The schedule of a text, as `load` reads it from a file."""

@final
class Report:
    """Six proofs and how they ended."""

    @property
    def ok(self) -> bool:
        """Whether the schedule may be run: every proof holds, information aside."""

    @property
    def proofs(self) -> list[Proof]: ...
    @property
    def findings(self) -> list[Finding]: ...
    def __bool__(self) -> bool: ...
    def _repr_html_(self) -> str: ...

@final
class Proof:
    """One of the proofs."""

    @property
    def name(self) -> str: ...
    @property
    def verdict(self) -> str:
        """One of holds, fails, not-reached."""

    @property
    def ok(self) -> bool: ...
    @property
    def statement(self) -> str:
        """What was proved, or what is the case instead."""

    @property
    def findings(self) -> list[Finding]:
        """Up to eight."""

    @property
    def count(self) -> int:
        """All findings."""

    def __bool__(self) -> bool: ...

@final
class Finding:
    """One thing that is wrong, and where."""

    @property
    def message(self) -> str: ...
    @property
    def rank(self) -> int | None: ...
    @property
    def lane(self) -> int | None: ...
    @property
    def instruction(self) -> int | None: ...
    @property
    def label(self) -> str | None: ...
    @property
    def file(self) -> str | None:
        """The Python file that made the instruction."""

    @property
    def line(self) -> int | None: ...
    @property
    def lacks(self) -> list[int]:
        """Ranks whose contribution is missing."""

    @property
    def twice(self) -> list[int]:
        """Ranks whose contribution is there more than once."""

@final
class Page:
    """A page that plays a schedule: one file that needs nothing else."""

    @property
    def html(self) -> str: ...
    @property
    def height(self) -> int: ...
    def save(self, path: str | os.PathLike[str]) -> None: ...
    def _repr_html_(self) -> str: ...

def verify(
    inputs: _Array | _All | _One,
    outputs: _Array | _All,
    algorithm: str | Schedule | None = None,
    op: _Op | None = None,
    collective: str | None = None,
    *,
    ranks: int | None = None,
    root: int = 0,
    sources: Sequence[int] | None = None,
    rtol: float | None = None,
    atol: float | None = None,
) -> Verification:
    """Holds what another program computed against the golden of an algorithm, of a schedule, or of any that gives these bits.

    Without `rtol` and `atol` every bit must be equal.
    """

@final
class Verification:
    """What came of it."""

    @property
    def ok(self) -> bool:
        """Equal in every bit, or within the tolerance that was asked for."""

    @property
    def collective(self) -> str: ...
    @property
    def op(self) -> str | None: ...
    @property
    def dtype(self) -> str: ...
    @property
    def ranks(self) -> int: ...
    @property
    def count(self) -> int: ...
    @property
    def elements(self) -> int: ...
    @property
    def tried(self) -> list[str]:
        """Whose order of additions was tried."""

    @property
    def equal(self) -> list[str]:
        """Whose order gives these very bits."""

    @property
    def against(self) -> str:
        """Whose order the differences are from: of those that were tried, the first that differs least."""

    @property
    def differing(self) -> int: ...
    @property
    def flushed(self) -> int:
        """Elements that agree only where subnormals are flushed to zero."""

    @property
    def beyond(self) -> int:
        """Differing elements beyond the tolerance."""

    @property
    def max_ulp_apart(self) -> float: ...
    @property
    def backward_error(self) -> float | None:
        """The largest error of a reduction over the magnitudes of what was reduced."""

    @property
    def first(self) -> list[Difference]: ...
    def __bool__(self) -> bool: ...

@final
class Difference:
    """An element that differs."""

    @property
    def rank(self) -> int: ...
    @property
    def index(self) -> int: ...
    @property
    def expected(self) -> str: ...
    @property
    def found(self) -> str: ...
    @property
    def expected_bits(self) -> str: ...
    @property
    def found_bits(self) -> str: ...
    @property
    def ulp(self) -> float | None: ...

@final
class Row:
    @property
    def collective(self) -> str: ...
    @property
    def algorithm(self) -> str: ...
    @property
    def device(self) -> str: ...
    @property
    def count(self) -> int: ...
    @property
    def bytes(self) -> int: ...
    @property
    def bus_factor(self) -> float: ...
    @property
    def times(self) -> list[float]: ...
    @property
    def wrong(self) -> int: ...

def bench_row(
    collective: str,
    algorithm: str,
    ranks: int,
    bytes: int,
    dtype: str,
    op: str,
    device: _DeviceName,
    warmup: int,
    iterations: int,
) -> Row: ...
def forked() -> None: ...
