"""What ranks call, as they tell it to the executor, and as a person is told."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

TYPES = frozenset(
    "float16 float32 float64 bfloat16 float8_e4m3fn float8_e5m2 int8 int32 int64 uint8 uint32 uint64".split()
)
"""Those of torch's types that wgccl has. Of others only bytes can be moved."""

REDUCING = ("all-reduce", "reduce-scatter", "reduce")

Call = dict[str, Any]


def call(collective: str, like: Any = None, shapes: Sequence[Any] = (), op: str = "", root: int | None = None) -> Call:
    """What must be the same on all ranks. `shapes` are those of the parts that one rank has to do with."""
    kind = "" if like is None else str(like.dtype).removeprefix("torch.")
    return {"collective": collective, "type": kind, "shapes": [list(of) for of in shapes], "op": op, "root": root}


def told(of: Call) -> str:
    """ "all-reduce (sum) of float32 (3, 4)"."""
    text: str = of["collective"]
    if of["op"]:
        text += f" ({of['op']})"
    if of["shapes"]:
        text += f" of {of['type']} " + ", ".join(f"({', '.join(map(str, shape))})" for shape in of["shapes"][:3])
    if len(of["shapes"]) > 3:
        text += f" and {len(of['shapes']) - 3} more"
    if of["root"] is not None:
        text += f", root {of['root']}"
    return text


def several(names: list[str]) -> str:
    """ "rank 0", "ranks 0 and 1", "ranks 0, 1 and 2"."""
    if len(names) == 1:
        return f"rank {names[0]}"
    return f"ranks {', '.join(names[:-1])} and {names[-1]}"
