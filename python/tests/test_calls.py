"""Collectives over arrays: what they give, in which shapes, types and orders, and what is refused."""

from __future__ import annotations

import threading
from typing import Any, cast

import numpy as np
import pytest
from conftest import Array, inputs, uneven

import wgccl


def test_every_collective_gives_what_numpy_gives(ranks: int) -> None:
    x = inputs(ranks, (2 * ranks, 3))
    total, joined = np.sum(x, axis=0), np.concatenate(x)
    root = ranks - 1
    parts = [np.split(of, ranks) for of in x]
    for got, expected in [
        (wgccl.all_reduce(x), [total] * ranks),
        (wgccl.all_gather(x), [joined] * ranks),
        (wgccl.reduce_scatter(x), np.split(total, ranks)),
        (wgccl.broadcast(x[0], ranks, root), [x[0]] * ranks),
        (wgccl.scatter(x[0], ranks, root), parts[0]),
        (wgccl.all_to_all(x), [np.concatenate([of[rank] for of in parts]) for rank in range(ranks)]),
        (wgccl.send_recv(x), [x[rank - 1] for rank in range(ranks)]),
        (wgccl.send_recv(x, [root] * ranks), [x[root]] * ranks),
    ]:
        assert len(got) == ranks
        for a, b in zip(got, expected):
            np.testing.assert_array_equal(a, b)
            assert a.dtype == np.float32
    np.testing.assert_array_equal(wgccl.reduce(x, root=root), total)
    np.testing.assert_array_equal(wgccl.gather(x, root), joined)


@pytest.mark.parametrize(
    ("op", "expected"),
    [("sum", np.add), ("prod", np.multiply), ("min", np.minimum), ("max", np.maximum)],
)
def test_operations(op: Any, expected: np.ufunc) -> None:
    x = inputs(4, 10)
    for got in wgccl.all_reduce(x, op):
        np.testing.assert_array_equal(got, expected.reduce(x))


def test_an_average_is_of_floats() -> None:
    x = inputs(4, 10)
    np.testing.assert_array_equal(wgccl.all_reduce(x, "avg")[0], np.mean(x, axis=0))
    with pytest.raises(wgccl.InputError, match="avg of i32 is refused.*use sum and divide"):
        wgccl.all_reduce([a.astype(np.int32) for a in x], "avg")


@pytest.mark.parametrize("dtype", "float32 float16 float64 int32 uint32 int64 uint64 int8 uint8".split())
def test_types_of_numpy(dtype: str) -> None:
    x = inputs(3, 17, dtype)
    got = wgccl.all_reduce(x)
    assert all(a.dtype == dtype for a in got)
    np.testing.assert_array_equal(got[2], np.sum(x, axis=0, dtype=dtype))


@pytest.mark.parametrize("dtype", ["bfloat16", "float8_e4m3fn", "float8_e5m2"])
def test_types_of_ml_dtypes(dtype: str) -> None:
    of = getattr(pytest.importorskip("ml_dtypes"), dtype)
    x = inputs(3, 17, of)
    got = wgccl.all_reduce(x)
    assert all(a.dtype == of for a in got)
    expected = (x[0] + x[1]) + x[2]
    np.testing.assert_array_equal(got[1].astype(np.float32), expected.astype(np.float32))
    assert wgccl.verify(x, got).dtype == dtype


@pytest.mark.parametrize("dtype", ["int16", "complex64", "bool", "longdouble", "datetime64[s]", "U3", ">f4"])
def test_other_types_are_refused_by_name(dtype: str) -> None:
    x = [np.zeros(3, dtype)] * 2
    with pytest.raises(wgccl.InputError, match=f"the array of rank 0 holds .*(which no collective takes|byte order)"):
        wgccl.all_reduce(x)


@pytest.mark.parametrize("shape", [(), (1,), (7,), (0,), (3, 0), (2, 3, 4)])
def test_shapes_are_kept(shape: tuple[int, ...]) -> None:
    x = inputs(4, shape)
    for got in wgccl.all_reduce(x):
        assert got.shape == shape
        np.testing.assert_array_equal(got, np.sum(x, axis=0))


def test_one_array_whose_first_axis_is_ranks() -> None:
    x = np.stack(inputs(4, (8, 3)))
    assert wgccl.all_reduce(x).shape == (4, 8, 3)
    assert wgccl.all_gather(x).shape == (4, 32, 3)
    assert wgccl.reduce_scatter(x).shape == (4, 2, 3)
    assert wgccl.reduce(x).shape == (8, 3)
    np.testing.assert_array_equal(wgccl.reduce_scatter(x).reshape(8, 3), x.sum(axis=0))
    transposed = np.asfortranarray(x)
    np.testing.assert_array_equal(wgccl.all_reduce(transposed), wgccl.all_reduce(x))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_orders_of_memory(dtype: Any) -> None:
    c = uneven(4, (6, 5), dtype)
    f = [np.asfortranarray(a) for a in c]
    strided = [np.repeat(a, 2, axis=1)[:, ::2] for a in c]
    expected = np.sum(c, axis=0)
    for x, fortran in [(c, False), (f, True), (strided, False), ([c[0], f[1], strided[2], f[3]], False)]:
        got = wgccl.all_reduce(x, algorithm="direct")
        for a in got:
            np.testing.assert_allclose(a, expected, rtol=1e-5)
            assert a.flags.f_contiguous == fortran
    # What is joined is rows, whatever the order in memory.
    np.testing.assert_array_equal(wgccl.all_gather(f)[0], np.concatenate(c))


def test_elements_at_odd_addresses_are_copied() -> None:
    x = [np.frombuffer(b"\0" + a.tobytes(), np.uint8)[1:].view(np.float32) for a in inputs(2, 8)]
    assert not x[0].flags.aligned
    np.testing.assert_array_equal(wgccl.all_reduce(x)[0], x[0] + x[1])


def test_lists_of_numbers_are_arrays_of_numpy() -> None:
    assert [a.tolist() for a in wgccl.all_reduce([[1.0, 2.0], [3.0, 4.0]])] == [[4.0, 6.0]] * 2
    assert wgccl.reduce([1, 2, 3]).tolist() == 6
    with pytest.raises(wgccl.InputError, match="a dict is no array of numbers"):
        wgccl.all_reduce([{}, {}])  # type: ignore[list-item]


def test_results_go_to_out_and_nothing_else_is_written() -> None:
    x = inputs(4, 9)
    before = [a.copy() for a in x]
    out = [np.full(9, 7, np.float32) for _ in range(4)]
    assert wgccl.all_reduce(x, out=out) is out
    np.testing.assert_array_equal(out, [np.sum(x, axis=0)] * 4)
    np.testing.assert_array_equal(x, before)
    stacked = np.empty((4, 9), np.float32)
    assert wgccl.all_reduce(x, out=stacked) is stacked
    np.testing.assert_array_equal(stacked, out)
    root = np.empty(9, np.float32)
    assert wgccl.reduce(x, root=2, out=root) is root
    np.testing.assert_array_equal(root, out[0])
    # Joined parts have any shape that has room for them.
    joined = [np.empty((4, 9), np.float32) for _ in range(4)]
    wgccl.all_gather(x, out=joined)
    np.testing.assert_array_equal(joined[3], x)


def test_in_place_is_the_same_arrays_by_the_rules_of_nccl() -> None:
    x = inputs(4, 8)
    total, joined = np.sum(x, axis=0), np.concatenate(x)
    same = [a.copy() for a in x]
    wgccl.all_reduce(same, out=same)
    np.testing.assert_array_equal(same, [total] * 4)
    # The input of rank r is part r of its output.
    out = [np.zeros(32, np.float32) for _ in range(4)]
    for rank in range(4):
        out[rank][8 * rank : 8 * rank + 8] = x[rank]
    wgccl.all_gather([of[8 * rank : 8 * rank + 8] for rank, of in enumerate(out)], out=out)
    np.testing.assert_array_equal(out, [joined] * 4)
    # The output of rank r is part r of its input.
    given = [a.copy() for a in x]
    wgccl.reduce_scatter(given, out=[a[2 * rank : 2 * rank + 2] for rank, a in enumerate(given)])
    np.testing.assert_array_equal([a[2 * rank : 2 * rank + 2] for rank, a in enumerate(given)], total.reshape(4, 2))
    # Of the root alone.
    given = [a.copy() for a in x]
    assert wgccl.reduce(given, root=1, out=given[1]) is given[1]
    np.testing.assert_array_equal(given[1], total)
    np.testing.assert_array_equal(given[0], x[0])
    given = [a.copy() for a in x]
    wgccl.broadcast(given[2], root=2, out=given)
    np.testing.assert_array_equal(given, [x[2]] * 4)


def overlapping() -> list[tuple[str, Any, Any]]:
    memory = np.zeros(64, np.float32)
    x, many = inputs(4, 8), inputs(12, 8)
    many_out = [np.zeros(8, np.float32) for _ in range(12)]
    return [
        ("outputs of ranks 0 and 2 overlap", x, [memory[:8], memory[8:16], memory[7:15], memory[16:24]]),
        ("outputs of ranks 0 and 1 overlap", x, [memory[:8]] * 4),
        ("the input of rank 1 and the output of rank 0 overlap", x, [x[1], x[0], x[2], x[3]]),
        ("the input of rank 3 and the output of rank 3 overlap", x, [*np.zeros((3, 8), np.float32), x[3]]),
        ("outputs of ranks 3 and 11 overlap", many, [*many_out[:11], many_out[3]]),
        ("the input of rank 5 and the output of rank 2 overlap", many, [*many_out[:2], many[5], *many_out[3:]]),
    ]


@pytest.mark.parametrize("case", range(6))
def test_memory_that_overlaps_is_refused(case: int) -> None:
    message, x, out = overlapping()[case]
    with pytest.raises(wgccl.InputError, match=message):
        wgccl.all_reduce(x, out=out)


def test_inputs_may_be_one_array() -> None:
    x = np.arange(8, dtype=np.float32)
    np.testing.assert_array_equal(wgccl.all_reduce([x] * 12), [12 * x] * 12)


def read_only() -> Array:
    array = np.zeros(4, np.float32)
    array.flags.writeable = False
    return array


X = inputs(2, 4)
Z = np.zeros(4, np.float32)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: wgccl.all_reduce([]), "no arrays were given; give one for each rank"),
        (lambda: wgccl.all_reduce([X[0], X[1][:3]]), r"rank 1 has shape \(3,\), and that of rank 0 \(4,\)"),
        (lambda: wgccl.all_reduce([X[0], X[1].astype("f8")]), "rank 1 holds float64, and that of rank 0 float32"),
        (lambda: wgccl.all_reduce(np.float32(3)), "one array without axes"),
        (lambda: wgccl.all_reduce(np.zeros((0, 3))), "the first axis is ranks, and it is empty"),
        (lambda: wgccl.all_reduce(X, "summ"), "operation 'summ' does not exist here; choose one of: sum"),
        (lambda: wgccl.all_reduce(X, algorithm="rong"), "algorithm 'rong' does not exist here"),
        (lambda: wgccl.all_gather(X, algorithm="halving-doubling"), "halving-doubling"),
        (lambda: wgccl.reduce_scatter([np.ones(5), np.ones(5)]), r"first axis into 2 equal parts.*\(5,\)"),
        (lambda: wgccl.reduce(X, root=2), "root 2 is not a rank: there are ranks 0 to 1"),
        (lambda: wgccl.reduce(X, root=-1), "root is -1"),
        (lambda: wgccl.broadcast(X[0]), "give ranks= or out="),
        (lambda: wgccl.broadcast(X[0], 0), "0 ranks; give 1 to 4096"),
        (lambda: wgccl.broadcast(X[0], 2000), "2000 ranks are too many for the CPU executor"),
        (lambda: wgccl.send_recv(X, [0]), "1 sources for 2 ranks"),
        (lambda: wgccl.send_recv(X, [0, 9]), "rank 1 receives from rank 9, which does not exist"),
        (lambda: wgccl.all_reduce(X, out=[Z]), "out holds 1 arrays for 2 ranks"),
        (lambda: wgccl.all_reduce(X, out=[Z, np.zeros(5, "f4")]), r"out\[1\] has shape \(5,\), and the result has \(4,\)"),
        (lambda: wgccl.all_reduce(X, out=cast(Any, [Z, np.zeros(4)])), r"out\[1\] holds float64, and the result is float32"),
        (lambda: wgccl.all_reduce(X, out=[Z, np.zeros(8, "f4")[::2]]), r"out\[1\] has gaps or another order"),
        (lambda: wgccl.all_reduce(X, out=[read_only(), Z]), r"out\[0\] is read-only"),
        (lambda: wgccl.all_reduce(X, out=cast(Any, [Z, [0.0] * 4])), "a list cannot be written to"),
        (lambda: wgccl.Communicator(2).all_reduce([*X, X[0]]), "3 arrays for 2 ranks"),
        (lambda: wgccl.Communicator(2, timeout=-1), "timeout is -1; give a number of seconds above 0"),
        (lambda: wgccl.Communicator(2, timeout=1).all_reduce(X), "the CPU executor has no timeout; leave it out"),
    ],
)
def test_what_is_refused_says_what_to_do(call: Any, message: str) -> None:
    with pytest.raises(wgccl.InputError, match=message):
        call()


def test_exceptions_are_those_that_programs_catch() -> None:
    assert issubclass(wgccl.InputError, (ValueError,)) and issubclass(wgccl.InputError, TypeError)
    assert issubclass(wgccl.DeviceError, RuntimeError)
    assert all(issubclass(of, wgccl.Error) for of in (wgccl.InputError, wgccl.DeviceError, wgccl.ScheduleError))
    with pytest.raises(wgccl.DeviceError, match="there is no device 'no such device'"):
        wgccl.all_reduce(X, device="no such device")


def test_a_communicator_is_used_again_and_by_several_threads() -> None:
    comm = wgccl.Communicator(4, algorithm="ring", workers=2)
    assert (comm.ranks, comm.device, comm.algorithm) == (4, "auto", "ring")
    assert repr(comm) == "<Communicator: 4 ranks on auto, ring>"
    failed: list[BaseException] = []

    def work(seed: int) -> None:
        try:
            for count in range(1, 40):
                x = inputs(4, count * (seed + 1), seed=seed)
                np.testing.assert_array_equal(comm.all_reduce(x)[3], np.sum(x, axis=0))
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
    comm.release()
    with pytest.raises(wgccl.InputError, match="there is no barrier by ring; choose one of: mesh, dissemination"):
        comm.barrier()


def test_a_communicator_has_every_call() -> None:
    comm = wgccl.Communicator(4)
    comm.barrier()
    x = inputs(4, 8)
    np.testing.assert_array_equal(comm.reduce_scatter(x)[1], np.sum(x, axis=0)[2:4])
    np.testing.assert_array_equal(comm.gather(x, 3), np.concatenate(x))
    np.testing.assert_array_equal(comm.broadcast(x[1], 1)[2], x[1])
    np.testing.assert_array_equal(comm.scatter(x[1], 1)[2], x[1][4:6])
    np.testing.assert_array_equal(comm.reduce(x, "max"), np.max(x, axis=0))
    np.testing.assert_array_equal(comm.all_to_all(x)[0], np.concatenate([a[:2] for a in x]))
    np.testing.assert_array_equal(comm.send_recv(x)[0], x[3])
    np.testing.assert_array_equal(comm.all_gather(x)[0], np.concatenate(x))


def test_algorithms_are_those_of_the_collective() -> None:
    assert wgccl.algorithms()[0] == "ring"
    assert wgccl.algorithms("barrier")[0] == "mesh"
    x = uneven(4, 100)
    for algorithm in wgccl.algorithms():
        np.testing.assert_allclose(wgccl.all_reduce(x, algorithm=algorithm)[0], np.sum(x, axis=0), rtol=1e-4, atol=1e-5)
