"""What an all-reduce of 4 ranks costs from Python: beside the same call in Rust, the same sums in numpy, and 4 processes of mpi4py.

All are measured in turn, round after round, so that what else the machine does falls on all of them. Of a round counts the first decile
of its calls; the record has every round, and its picture shows their medians.

    cargo build --release --example calls --no-default-features      # in python/
    python benches/calls.py --record benches/calls.json --picture ../docs/pictures/python-calls.svg
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import wgccl

RANKS = 4
SIZES = [1 << 10, 1 << 15, 1 << 20, 1 << 24]
SPAN = 0.4
HERE = Path(__file__).resolve().parent


def timed(size: int, call: Callable[[], object]) -> float:
    """Nanoseconds of a call: the first decile of batches, which is what it takes while nothing else runs."""
    batch = max(1, 65_536 // size)
    times: list[float] = []
    begin = time.perf_counter()
    while time.perf_counter() - begin < SPAN or len(times) < 5:
        start = time.perf_counter_ns()
        for _ in range(batch):
            call()
        times.append((time.perf_counter_ns() - start) / batch)
    return sorted(times)[len(times) // 10]


def arrays(size: int) -> tuple[list[Any], list[Any]]:
    x = [np.full(size // 4, rank, np.float32) for rank in range(RANKS)]
    return x, [np.zeros(size // 4, np.float32) for _ in range(RANKS)]


def by_numpy(x: list[Any], out: list[Any]) -> None:
    first = out[0]
    np.add(x[0], x[1], out=first)
    np.add(first, x[2], out=first)
    np.add(first, x[3], out=first)
    for other in out[1:]:
        np.copyto(other, first)


def lines(command: list[str]) -> list[float]:
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=600)
    return [float(line) for line in done.stdout.split()]


def measure(rounds: int, rust: Path) -> dict[str, dict[int, list[float]]]:
    comm = wgccl.Communicator(RANKS)
    mpirun = shutil.which("mpirun")
    names = [str(size) for size in SIZES]
    times: dict[str, dict[int, list[float]]] = {}

    def add(name: str, size: int, nanoseconds: float) -> None:
        times.setdefault(name, {}).setdefault(size, []).append(nanoseconds)

    for number in range(rounds):
        print(f"round {number + 1} of {rounds}", file=sys.stderr)
        for size, took in zip(SIZES, lines([str(rust), *names])):
            add("Rust", size, took)
        for size in SIZES:
            x, out = arrays(size)
            add("Communicator, out=", size, timed(size, lambda: comm.all_reduce(x, out=out)))
            add("wgccl, out=", size, timed(size, lambda: wgccl.all_reduce(x, out=out)))
            add("wgccl, new arrays", size, timed(size, lambda: wgccl.all_reduce(x)))
            add("numpy", size, timed(size, lambda: by_numpy(x, out)))
        if mpirun:
            root = ["--allow-run-as-root"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
            command = [mpirun, *root, "--oversubscribe", "-n", str(RANKS), sys.executable, str(HERE / "mpi.py"), *names]
            for size, took in zip(SIZES, lines(command)):
                add("mpi4py, 4 processes", size, took)
    return times


def processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            return next(line.split(":", 1)[1].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor()


def draw(record: dict[str, Any], path: Path) -> None:
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams.update({"svg.hashsalt": "wgccl", "svg.fonttype": "none", "font.family": "sans-serif", "font.size": 9})
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7.2, 4.2))
    for name, by_size in record["nanoseconds"].items():
        sizes = sorted(int(size) for size in by_size)
        medians = [statistics.median(by_size[str(size)]) / 1e3 for size in sizes]
        axes.plot(sizes, medians, marker="o", markersize=4, linestyle="--" if name == "Rust" else "-", label=name)
    axes.set(xscale="log", yscale="log", xlabel="bytes of each rank", ylabel="microseconds of a call")
    axes.set_xticks(SIZES, ["1 KiB", "32 KiB", "1 MiB", "16 MiB"])
    axes.minorticks_off()
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    axes.set_title(f"all-reduce of 4 ranks, float32, {record['processor']}, {record['cores']} cores", fontsize=9)
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})


def table(record: dict[str, Any]) -> str:
    rows = ["| microseconds of a call | " + " | ".join(["1 KiB", "32 KiB", "1 MiB", "16 MiB"]) + " |", "| --- |" + " --- |" * len(SIZES)]
    for name, by_size in record["nanoseconds"].items():
        cells = [f"{statistics.median(by_size[str(size)]) / 1e3:.3g}" for size in SIZES]
        rows.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rust", type=Path, default=HERE.parent / "target" / "release" / "examples" / "calls")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--record", type=Path, help="where the record goes, or the one to draw with --draw")
    parser.add_argument("--picture", type=Path)
    parser.add_argument("--draw", action="store_true", help="measure nothing")
    of = parser.parse_args()
    if of.draw:
        record = json.loads(of.record.read_text(encoding="utf-8"))
    else:
        record = {
            "processor": processor(),
            "cores": os.cpu_count(),
            "python": platform.python_version(),
            "numpy": np.__version__,
            "wgccl": wgccl.__version__,
            "nanoseconds": measure(of.rounds, of.rust),
        }
        # Keys of JSON are texts.
        record = json.loads(json.dumps(record))
        if of.record:
            of.record.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    if of.picture:
        draw(record, of.picture)
    print(table(record))


if __name__ == "__main__":
    main()
