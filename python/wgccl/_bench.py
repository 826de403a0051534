"""Sweeps over sizes, algorithms and devices, as records."""

from __future__ import annotations

import html
import statistics
from collections.abc import Iterable, Sequence
from typing import Any, TypedDict

from ._errors import InputError
from ._wgccl import Row, bench_row

_UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}


class Record(TypedDict):
    """One algorithm over one size on one device. GB are 10^9 bytes."""

    collective: str
    algorithm: str
    device: str
    ranks: int
    dtype: str
    op: str
    bytes: int
    count: int
    iterations: int
    min_us: float
    median_us: float
    mean_us: float
    max_us: float
    algbw: float
    busbw: float
    wrong: int


class Records(list[Record]):
    """Records of a sweep: a list, and a table where it is shown."""

    def frame(self) -> Any:
        """The records as a pandas DataFrame."""
        import pandas

        return pandas.DataFrame(list(self))

    def __repr__(self) -> str:
        head = f"{'algorithm':<20} {'device':<20} {'size':>12} {'median us':>11} {'algbw':>8} {'busbw':>8} {'#wrong':>7}"
        rows = [
            f"{of['algorithm']:<20} {of['device'][:20]:<20} {of['bytes']:>12} {of['median_us']:>11.2f} "
            f"{of['algbw']:>8.2f} {of['busbw']:>8.2f} {of['wrong']:>7}"
            for of in self
        ]
        return "\n".join([head, *rows])

    def _repr_html_(self) -> str:
        rows = [_row("td", [_cell(of, name) for name in _SHOWN]) for of in self]
        return f"<table>{_row('th', _SHOWN)}{''.join(rows)}</table>"


_SHOWN = ("algorithm", "device", "ranks", "dtype", "bytes", "median_us", "algbw", "busbw", "wrong")


def _cell(record: Record, name: str) -> str:
    value = dict(record)[name]
    return html.escape(f"{value:.2f}" if isinstance(value, float) else str(value))


def _row(tag: str, cells: Iterable[str]) -> str:
    return "<tr>" + "".join(f"<{tag}>{cell}</{tag}>" for cell in cells) + "</tr>"


def _bytes(size: int | str) -> int:
    """A size as nccl-tests reads it: 1024, "64K", "1M"."""
    if isinstance(size, int):
        return size
    text = size.strip().lower().removesuffix("ib").removesuffix("b")
    number, unit = (text[:-1], text[-1]) if text[-1:] in ("k", "m", "g") else (text, "")
    try:
        return int(float(number) * _UNITS[unit])
    except ValueError:
        raise InputError(f"'{size}' is no size; give a number such as 1024, '64K' or '1M'") from None


def _several(given: Any) -> list[Any]:
    return list(given) if isinstance(given, Iterable) and not isinstance(given, str) else [given]


def bench(
    collective: str = "all-reduce",
    ranks: int | Sequence[int] = 4,
    sizes: int | str | Sequence[int | str] = ("1K", "32K", "1M"),
    algorithm: str | Sequence[str] = "auto",
    *,
    op: str = "sum",
    dtype: str = "float32",
    device: str | int | Sequence[str | int] = "cpu",
    warmup: int = 5,
    iterations: int = 20,
) -> Records:
    """Times a collective over sizes, algorithms, ranks and devices; each row is checked against its golden.

    Sizes are in bytes, as nccl-tests counts them. Times are those of the device's own clock where it has one.
    """
    if iterations < 1 or warmup < 0:
        raise InputError("give at least one iteration, and no fewer than 0 to warm up")
    records = Records()
    for where in _several(device):
        for number in _several(ranks):
            for name in _several(algorithm):
                for size in _several(sizes):
                    row = bench_row(collective, name, number, _bytes(size), dtype, op, where, warmup, iterations)
                    records.append(_record(row, number, dtype, op))
    return records


def _record(row: Row, ranks: int, dtype: str, op: str) -> Record:
    median = statistics.median(row.times)
    algbw = row.bytes / median / 1e3 if median else 0.0
    return Record(
        collective=row.collective,
        algorithm=row.algorithm,
        device=row.device,
        ranks=ranks,
        dtype=dtype,
        op=op,
        bytes=row.bytes,
        count=row.count,
        iterations=len(row.times),
        min_us=min(row.times),
        median_us=median,
        mean_us=statistics.fmean(row.times),
        max_us=max(row.times),
        algbw=algbw,
        busbw=algbw * row.bus_factor,
        wrong=row.wrong,
    )
