"""What another program computed, held against goldens; and benchmarks, whose rows are."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from conftest import Array, inputs, uneven

import wgccl


@pytest.mark.parametrize("algorithm", wgccl.algorithms())
def test_the_order_that_gave_these_bits_is_found(algorithm: str) -> None:
    x = uneven(8, 1000)
    y = wgccl.all_reduce(x, algorithm=algorithm)
    found = wgccl.verify(x, y)
    assert found and found.ok and found.differing == 0 and not found.first
    assert algorithm in found.equal and set(found.equal) <= set(found.tried)
    assert wgccl.verify(x, y, algorithm).equal == [algorithm]


def test_differences_are_told_by_bits() -> None:
    x = uneven(4, (10, 10))
    y = wgccl.all_reduce(x, algorithm="ring")
    found = wgccl.verify(x, y, "ring")
    assert repr(found) == "all-reduce: 4 ranks of 100 float32, sum\nequal in every bit to ring: 400 elements"
    y[2].view(np.uint32)[4, 7] ^= 1
    found = wgccl.verify(x, y, "ring")
    assert not found and (found.differing, found.elements, found.against) == (1, 400, "ring")
    (first,) = found.first
    assert (first.rank, first.index) == (2, 47)
    assert int(first.expected_bits, 16) ^ int(first.found_bits, 16) == 1
    assert found.max_ulp_apart == 1.0 and first.ulp == 1.0
    assert "rank 2 element 47: expected" in repr(found)
    assert wgccl.verify(x, y, "ring", rtol=1e-5) and not wgccl.verify(x, y, "ring", rtol=0)
    any_of_them = wgccl.verify(x, y)
    assert not any_of_them and any_of_them.equal == [] and any_of_them.against == "ring"
    assert "none of them gives these bits" in repr(any_of_them)


def test_every_collective_is_verified() -> None:
    x = inputs(4, (8, 2))
    cases: list[tuple[Any, Any, str]] = [
        (x, wgccl.all_gather(x), "all-gather"),
        (x, wgccl.reduce_scatter(x), "reduce-scatter"),
        (x, wgccl.all_to_all(x), "all-to-all"),
        (x, wgccl.send_recv(x), "send-recv"),
        (x, wgccl.reduce(x, root=2), "reduce"),
        (x, wgccl.gather(x, 2), "gather"),
        (x[0], wgccl.broadcast(x[0], 4, 2), "broadcast"),
        (x[0], wgccl.scatter(x[0], 4, 2), "scatter"),
    ]
    for given, got, collective in cases:
        found = wgccl.verify(given, got, collective=collective, root=2)
        assert found, found
        wrong = [a.copy() for a in got] if isinstance(got, list) else got.copy()
        (wrong[1] if isinstance(wrong, list) else wrong)[0] += 1
        assert wgccl.verify(given, wrong, collective=collective, root=2).differing > 0


def test_one_output_stands_for_all_that_are_the_same() -> None:
    x = inputs(4, 8)
    assert wgccl.verify(x, np.sum(x, axis=0)) and wgccl.verify(np.stack(x), np.sum(x, axis=0))
    assert wgccl.verify(x, np.concatenate(x), collective="all-gather")
    assert wgccl.verify(x, np.stack([np.sum(x, axis=0)] * 4))
    x = inputs(8, 8)
    assert wgccl.verify(x, np.sum(x, axis=0))


@pytest.mark.parametrize(
    ("outputs", "message"),
    [
        ([np.zeros(8, np.float32)] * 3, "3 outputs for 4 ranks"),
        ([np.zeros(7, np.float32)] * 4, "the output of rank 0 has 7 elements, but the payload has 8"),
        ([np.zeros(8)] * 4, "the outputs hold float64, and the inputs float32"),
    ],
)
def test_what_cannot_be_compared(outputs: list[Array], message: str) -> None:
    with pytest.raises(wgccl.InputError, match=message):
        wgccl.verify(inputs(4, 8), outputs)


def test_what_verify_cannot_take() -> None:
    x = inputs(4, 8)
    with pytest.raises(wgccl.InputError, match="rtol must be a number that is not negative"):
        wgccl.verify(x, x, rtol=-1)
    with pytest.raises(wgccl.InputError, match="algorithm 'rong' does not exist here"):
        wgccl.verify(x, x, "rong")
    with pytest.raises(wgccl.ScheduleError, match="not safe to run"):
        wgccl.verify(x, x, wgccl.Schedule("nothing", "all-reduce", 4))


def test_a_sweep_is_records() -> None:
    records = wgccl.bench(ranks=[2, 4], sizes=[1024, "4K"], algorithm=["ring", "direct"], iterations=3, warmup=1)
    assert [(of["ranks"], of["algorithm"], of["bytes"]) for of in records] == [
        (ranks, name, size) for ranks in (2, 4) for name in ("ring", "direct") for size in (1024, 4096)
    ]
    for of in records:
        assert of["wrong"] == 0 and of["iterations"] == 3
        assert 0 < of["min_us"] <= of["median_us"] <= of["max_us"]
        assert of["busbw"] == pytest.approx(of["algbw"] * (1.0 if of["ranks"] == 2 else 1.5))
    assert len(repr(records).splitlines()) == 9 and "<table>" in records._repr_html_()
    pandas = pytest.importorskip("pandas")
    assert isinstance(records.frame(), pandas.DataFrame) and len(pandas.DataFrame(records)) == 8
    for collective in ("barrier", "all-to-all", "broadcast"):
        (row,) = wgccl.bench(collective, sizes="1KiB", iterations=1)
        assert row["wrong"] == 0 and row["bytes"] == (0 if collective == "barrier" else 1024)
    for bad, message in [({"sizes": "1X"}, "'1X' is no size"), ({"sizes": 1}, "less than an element")]:
        with pytest.raises(wgccl.InputError, match=message):
            wgccl.bench(**bad)  # type: ignore[arg-type]
    with pytest.raises(wgccl.InputError, match="at least one iteration"):
        wgccl.bench(iterations=0)
