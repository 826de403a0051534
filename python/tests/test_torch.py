"""`torch.distributed` with backend "wgccl": processes of one machine, whose sums have the bits of the algorithm that was chosen."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="there is no torch here")

import torch.distributed as dist  # noqa: E402
import processes  # noqa: E402
from processes import Failed, Processes  # noqa: E402

import wgccl  # noqa: E402
import wgccl.torch  # noqa: E402

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="the backend needs sockets of Unix")

TYPES = (
    "float16 float32 float64 bfloat16 float8_e4m3fn float8_e5m2 int8 int32 int64 uint8 uint32 uint64".split()
)
FLOATS = [name for name in TYPES if "float" in name]
OPS = {"sum": dist.ReduceOp.SUM, "prod": dist.ReduceOp.PRODUCT, "min": dist.ReduceOp.MIN, "max": dist.ReduceOp.MAX}
COUNT = 11
RING = {"all-reduce": "ring", "reduce-scatter": "ring", "all-gather": "ring"}


@pytest.fixture(scope="module")
def four() -> Iterator[Processes]:
    """Four processes, of which groups are made and destroyed."""
    four = Processes(4)
    yield four
    four.close()


@pytest.fixture
def mortal() -> Iterator[Processes]:
    """Three that a test may kill."""
    three = Processes(3)
    yield three
    three.close()


# --- What ranks run. The processes find these by name. ---


def values(rank: int, name: str, count: int) -> Any:
    """Numbers whose sum depends on the order of additions, where the type is a float."""
    random = torch.Generator().manual_seed(100 * rank + count)
    dtype = getattr(torch, name)
    if name in FLOATS:
        return torch.randn(count, generator=random).to(dtype)
    return torch.randint(0, 100, (count,), generator=random, dtype=torch.int64).to(dtype)


def bits(tensor: Any) -> bytes:
    data: bytes = tensor.contiguous().view(torch.uint8).numpy().tobytes() if tensor.numel() else b""
    return data


def array(tensor: Any) -> Any:
    """As numpy has it."""
    name = str(tensor.dtype).removeprefix("torch.")
    if name in ("bfloat16", "float8_e4m3fn", "float8_e5m2"):
        import ml_dtypes

        return tensor.view(torch.uint8).numpy().view(getattr(ml_dtypes, name))
    return tensor.numpy()


def table(rank: int, size: int) -> dict[tuple[str, ...], list[bytes]]:
    """Every collective over every type."""
    got: dict[tuple[str, ...], list[bytes]] = {}
    root = size - 1
    for name in TYPES:
        mine, joined = values(rank, name, COUNT), values(rank, name, COUNT * size)
        parts = list(joined.chunk(size))

        def fresh(like: Any = mine) -> Any:
            # Ones of bytes: what is not written is seen.
            return torch.ones(like.numel() * like.element_size(), dtype=torch.uint8).view(like.dtype)

        for op, theirs in {**OPS, **({"avg": dist.ReduceOp.AVG} if name in FLOATS else {})}.items():
            one = mine.clone()
            dist.all_reduce(one, op=theirs)
            got["all-reduce", name, op] = [bits(one)]
            one = mine.clone()
            dist.reduce(one, root, op=theirs)
            got["reduce", name, op] = [bits(one)]
            first, second = fresh(), fresh()
            dist.reduce_scatter_tensor(first, joined, op=theirs)
            dist.reduce_scatter(second, parts, op=theirs)
            got["reduce-scatter", name, op] = [bits(first), bits(second)]
        one = mine.clone()
        dist.broadcast(one, root)
        got["broadcast", name] = [bits(one)]
        several, whole = [fresh() for _ in range(size)], fresh(joined)
        dist.all_gather(several, mine)
        dist.all_gather_into_tensor(whole, mine)
        got["all-gather", name] = [b"".join(map(bits, several)), bits(whole)]
        several = [fresh() for _ in range(size)]
        dist.gather(mine, several if rank == root else None, dst=root)
        got["gather", name] = [b"".join(map(bits, several))]
        one = fresh()
        dist.scatter(one, parts if rank == root else None, src=root)
        got["scatter", name] = [bits(one)]
        several, whole = [fresh() for _ in range(size)], fresh(joined)
        dist.all_to_all(several, parts)
        dist.all_to_all_single(whole, joined)
        got["all-to-all", name] = [b"".join(map(bits, several)), bits(whole)]
        dist.barrier()
    return got


def expected(what: tuple[str, ...], rank: int, size: int) -> bytes:
    """By the golden of the ring where there is a sum, else by what the collective means."""
    collective, name = what[:2]
    root, count = size - 1, COUNT
    mine = [values(of, name, count) for of in range(size)]
    joined = [values(of, name, count * size) for of in range(size)]
    parts = [list(of.chunk(size)) for of in joined]
    if collective in ("all-reduce", "reduce-scatter"):
        given = mine if collective == "all-reduce" else joined
        schedule = wgccl.build("ring", ranks=size, collective=collective)
        return bytes(schedule.golden([array(of) for of in given], what[2])[rank].tobytes())
    if collective == "reduce":
        if rank != root:
            return bits(mine[rank])
        return bytes(wgccl.reduce([array(of) for of in mine], what[2], root).tobytes())
    if collective == "gather" and rank != root:
        return b"\1" * size * len(bits(mine[0]))
    moved = {
        "broadcast": [mine[root]],
        "all-gather": mine,
        "gather": mine,
        "scatter": [parts[root][rank]],
        "all-to-all": [parts[of][rank] for of in range(size)],
    }
    return b"".join(map(bits, moved[collective]))


@pytest.mark.parametrize("size", [1, 2, 3, 4])
def test_collectives_over_types_and_sizes(four: Processes, size: int) -> None:
    with four.group(size, wgccl.torch.Options(RING)):
        results = four.run(table, size, only=list(range(size)))
    assert not [of for of in results if isinstance(of, Failed)], results
    assert len(results[0]) == len(TYPES) * (3 * len(OPS) + 5) + 3 * len(FLOATS)
    for rank, got in enumerate(results):
        for what, given in got.items():
            for data in given:
                assert data == expected(what, rank, size), (what, rank)


def odd_tensors(rank: int) -> None:
    """Tensors of all kinds. The processes are four."""
    # Not contiguous, and a leaf of autograd.
    strided = torch.zeros(6, 4)[::2, 1::2]
    strided += rank
    leaf = torch.full((3,), float(rank), requires_grad=True)
    scalar, nothing = torch.tensor(float(rank)), torch.empty(0, 5)
    for tensor in (strided, leaf, scalar, nothing):
        dist.all_reduce(tensor)
        assert tensor.eq(6).all(), tensor
    with torch.inference_mode():
        inferred = torch.ones(2)
        dist.all_reduce(inferred)
        assert inferred.eq(4).all()
    # Types that are only moved.
    for dtype in (torch.bool, torch.int16, torch.complex64):
        flag = torch.tensor([rank == 1, True]).to(dtype)
        dist.broadcast(flag, 1)
        assert flag.eq(torch.tensor([True, True]).to(dtype)).all()
        got = [torch.zeros(2, dtype=dtype) for _ in range(4)]
        dist.all_gather(got, torch.tensor([rank == 2, True]).to(dtype))
        assert [bool(of[0]) for of in got] == [False, False, True, False]
    # Complex numbers are summed as pairs.
    number = torch.tensor([rank + 2j])
    dist.all_reduce(number)
    assert number.item() == 6 + 8j
    # Several tensors in one call.
    with dist.distributed_c10d._coalescing_manager():
        pair = [torch.full((3,), float(rank)), torch.full((2, 2), 1.0)]
        for tensor in pair:
            dist.all_reduce(tensor)
    assert pair[0].eq(6).all() and pair[1].eq(4).all()
    # Objects.
    objects: list[Any] = [None] * 4
    dist.all_gather_object(objects, {"rank": rank, "more": "x" * rank * 1000})
    assert [of["rank"] for of in objects] == [0, 1, 2, 3]
    said = [f"from {rank}", rank]
    dist.broadcast_object_list(said, src=3)
    assert said == ["from 3", 3]
    # The collectives that compilers use.
    from torch.distributed import _functional_collectives as functional

    assert functional.all_reduce(torch.ones(3), "sum", dist.group.WORLD).eq(4).all()
    assert functional.all_gather_tensor(torch.full((1,), float(rank)), 0, dist.group.WORLD).tolist() == [0, 1, 2, 3]
    assert functional.reduce_scatter_tensor(torch.arange(4.0), "sum", 0, dist.group.WORLD).tolist() == [4.0 * rank]


def test_odd_tensors(four: Processes) -> None:
    with four.group(4):
        assert four.run(odd_tensors) == [None] * 4


def works(rank: int) -> None:
    """Calls that are under way together."""
    tensors = [torch.full((1 + 997 * turn,), float(rank + turn)) for turn in range(30)]
    under_way = [dist.all_reduce(tensor, async_op=True) for tensor in tensors]
    for turn in reversed(range(30)):
        assert under_way[turn].wait()
        assert under_way[turn].is_completed() and under_way[turn].is_success()
        assert tensors[turn].eq(6 + 4 * turn).all()
        assert under_way[turn].result()[0] is tensors[turn]
    one = torch.ones(3)
    doubled = dist.all_reduce(one, async_op=True).get_future().then(lambda done: done.value()[0] * 2)
    assert doubled.wait().tolist() == [8.0] * 3
    # What is called back may wait for another call.
    nested = dist.all_reduce(one, async_op=True).get_future()
    nested = nested.then(lambda done: dist.all_reduce(done.value()[0], async_op=True).get_future().wait()[0])
    assert nested.wait().tolist() == [64.0] * 3
    # Rank 3 comes late: nobody has anything before.
    if rank == 3:
        time.sleep(0.5)
    waited = dist.barrier(async_op=True)
    assert rank == 3 or not waited.is_completed()
    waited.wait()
    # Groups of one process, each used by a thread.
    groups = [dist.new_group([0, 1, 2, 3]) for _ in range(2)]

    def turns(group: Any) -> None:
        for turn in range(50):
            number = torch.tensor(rank + turn)
            dist.all_reduce(number, group=group)
            assert number == 6 + 4 * turn

    threads = [threading.Thread(target=turns, args=(group,)) for group in groups]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_works(four: Processes) -> None:
    with four.group(4):
        assert four.run(works) == [None] * 4


def subgroups(rank: int) -> None:
    even, odd = dist.new_group([0, 2]), dist.new_group([1, 3])
    mine = odd if rank % 2 else even
    tensor = torch.tensor([float(rank)])
    dist.all_reduce(tensor, group=mine)
    assert tensor.item() == (4 if rank % 2 else 2)
    dist.all_reduce(tensor)
    assert tensor.item() == 12
    # Roots are said as ranks of all.
    tensor = torch.tensor([rank])
    dist.broadcast(tensor, 2 + rank % 2, group=mine)
    assert tensor.item() == 2 + rank % 2
    if rank != 1:
        triple = dist.new_group([3, 0, 2], use_local_synchronization=True)
        got = [torch.zeros(1) for _ in range(3)]
        dist.all_gather(got, torch.tensor([float(rank)]), group=triple)
        assert [of.item() for of in got] == [0, 2, 3]
        dist.destroy_process_group(triple)
    dist.barrier()


def test_subgroups(four: Processes) -> None:
    with four.group(4):
        assert four.run(subgroups) == [None] * 4


def messages(rank: int) -> None:
    left, right = (rank - 1) % 4, (rank + 1) % 4
    # Both ways at once, without a rank that begins.
    given, got = torch.full((50_000,), rank, dtype=torch.bfloat16), torch.empty(50_000, dtype=torch.bfloat16)
    under_way = dist.batch_isend_irecv([dist.P2POp(dist.isend, given, right), dist.P2POp(dist.irecv, got, left)])
    for work in under_way:
        work.wait()
    assert got.eq(left).all()
    # A sender may write to its tensor again at once.
    given.fill_(99)
    if rank == 0:
        for turn in range(3):
            dist.send(torch.tensor([turn]), 1, tag=turn)
    if rank == 1:
        for tag in (2, 0, 1):
            number = torch.tensor([-1])
            dist.recv(number, 0, tag=tag)
            assert number.item() == tag
    # Of anyone, between collectives.
    dist.barrier()
    if rank == 0:
        sources = []
        for _ in range(3):
            number = torch.tensor([-1])
            source = dist.recv(number)
            assert number.item() == 10 * source
            sources.append(source)
        assert sorted(sources) == [1, 2, 3]
    else:
        dist.send(torch.tensor([10 * rank]), 0)
    dist.barrier()
    # Of one, though others' came before.
    for order in ([1, 2, 3], [3, 2, 1]):
        if rank:
            dist.send(torch.tensor([rank]), 0)
        dist.barrier()
        if rank == 0:
            for source in order:
                number = torch.tensor([-1])
                dist.recv(number, source)
                assert number.item() == source
    dist.barrier()
    if rank == 2:
        dist.send(torch.ones(5), 3)
    if rank == 3:
        with pytest.raises(wgccl.InputError, match=r"rank 2 \(.*\) sent 5 of float32, and rank 3 \(.*\) receives 4 of"):
            dist.recv(torch.ones(4), 2)
    dist.barrier()


def test_messages(four: Processes) -> None:
    with four.group(4):
        assert four.run(messages) == [None] * 4


# --- What is refused ---


def different(rank: int, how: str) -> None:
    """Rank 2 of four does something else."""
    odd = rank == 2
    tensor = torch.full((3, 2), float(rank))
    if how == "shape":
        dist.all_reduce(torch.ones(2, 3) if odd else tensor)
    elif how == "type":
        dist.all_reduce(tensor.double() if odd else tensor)
    elif how == "operation":
        dist.all_reduce(tensor, op=dist.ReduceOp.MAX if odd else dist.ReduceOp.SUM)
    elif how == "root":
        dist.broadcast(tensor, 1 if odd else 0)
    elif how == "collective":
        dist.broadcast(tensor, 0) if odd else dist.all_reduce(tensor)
    elif how == "int16":
        dist.all_reduce(tensor.to(torch.int16))
    elif how == "bits":
        dist.all_reduce(tensor.int(), op=dist.ReduceOp.BAND)
    elif how == "average":
        dist.all_reduce(tensor.int(), op=dist.ReduceOp.AVG)
    elif how == "uneven":
        dist.all_to_all_single(torch.ones(4), torch.ones(4), [1, 1, 1, 1], [2, 1, 1, 0])
    elif how == "device":
        dist.all_reduce(torch.ones(4, device="meta"))


REFUSED = {
    "shape": r"ranks make different calls, so nothing is moved: ranks 0, 1 and 3: all-reduce \(sum\) of float32 \(3, 2\); "
    r"rank 2: all-reduce \(sum\) of float32 \(2, 3\)",
    "type": r"ranks 0, 1 and 3: .* float32 \(3, 2\); rank 2: .* float64 \(3, 2\)",
    "operation": r"ranks 0, 1 and 3: all-reduce \(sum\) .*; rank 2: all-reduce \(max\)",
    "root": r"ranks 0, 1 and 3: broadcast of float32 \(3, 2\), root 0; rank 2: broadcast of float32 \(3, 2\), root 1",
    "collective": r"ranks 0, 1 and 3: all-reduce .*; rank 2: broadcast",
    "int16": r"all-reduce adds no int16; give one of: bfloat16, float16",
    "bits": r"operation 'BAND' does not exist here; choose one of: sum, prod, min, max, avg",
    "average": r"avg",
    "uneven": r"exchanges parts of one size",
    "device": r"dense tensors in the processor's memory, not torch.strided on meta",
}


def test_what_is_refused(four: Processes) -> None:
    with four.group(4):
        for how, said in REFUSED.items():
            for got in four.run(different, how):
                assert isinstance(got, Failed), how
                assert got.classes[0] == "InputError" and re.search(said, got.text), (how, got)
        # Nothing was moved, and the group goes on.
        assert four.run(different, "none") == [None] * 4
        assert four.run(subgroups) == [None] * 4


def join_with(rank: int, path: str, algorithm: str | None, size: int = 2, seconds: float = 20.0) -> None:
    processes.join(rank, size, path, wgccl.torch.Options(algorithm), seconds)


def test_options_are_the_same_everywhere(mortal: Processes, tmp_path: Path) -> None:
    def begin(first: str | None, second: str | None) -> list[Any]:
        path = str(tmp_path / f"{first} {second}")
        mortal.start(join_with, path, first, only=[0])
        mortal.start(join_with, path, second, only=[1])
        return mortal.results(only=[0, 1])

    for got in begin("ring", "tree"):
        assert "rank 1 of the group has another options of wgccl than rank 0" in got.text
    for got in begin("rings", "rings"):
        assert "all-reduce has no algorithm 'rings'; choose one of: auto, " in got.text
    mortal.start(join_with, str(tmp_path / "alone"), None, 3, 1.0, only=[0])
    mortal.start(join_with, str(tmp_path / "alone"), None, 3, 1.0, only=[1])
    for got in mortal.results(only=[0, 1]):
        assert "rank 2 did not join the process group within 1 s" in got.text


# --- By which schedule ---


def sums(rank: int, count: int) -> bytes:
    tensor = values(rank, "float32", count)
    dist.all_reduce(tensor)
    return bits(tensor)


@pytest.mark.parametrize("algorithm", wgccl.algorithms())
def test_sums_have_the_bits_of_the_algorithm(four: Processes, algorithm: str) -> None:
    given = [array(values(rank, "float32", 1000)) for rank in range(4)]
    try:
        schedule = wgccl.build(algorithm, ranks=4)
    except wgccl.Error:
        pytest.skip(f"{algorithm} has no schedule of four ranks")
    with four.group(4, wgccl.torch.Options(algorithm)):
        results = four.run(sums, 1000)
    assert results == [of.tobytes() for of in schedule.golden(given)]


def test_a_schedule_of_ones_own(four: Processes, tmp_path: Path) -> None:
    """Built by hand: rank 0 adds in the order 3, 2, 1, 0, which no algorithm does."""
    schedule = wgccl.Schedule("mine", "all-reduce", ranks=4)
    me = schedule.rank(0)
    me.reduce(*[schedule.input(rank) for rank in (3, 2, 1, 0)]).to(me.output())
    for rank in (1, 2, 3):
        me.notify(rank, "sum")
    for rank in (1, 2, 3):
        schedule.rank(rank).wait(0, "sum").get(schedule.output(rank), schedule.output(0))
    given = [array(values(rank, "float32", 1000)) for rank in range(4)]
    golden = [of.tobytes() for of in schedule.golden(given)]
    assert not wgccl.verify(given, [np.frombuffer(of, np.float32) for of in golden]).equal
    with four.group(4, wgccl.torch.Options(schedules=[schedule])):
        assert four.run(sums, 1000) == golden
        # Options are of one group; what the environment says is of all.
        assert four.run(pairs, None) == [None] * 4
        for got in four.run(pairs, wgccl.torch.Options(schedules=[schedule])):
            assert "schedule 'mine' is of 4 ranks, and this all-reduce of 2; give this group other pg_options" in got.text


def pairs(rank: int, options: Any) -> None:
    groups = [dist.new_group(ranks, pg_options=options) for ranks in ([0, 1], [2, 3])]
    dist.all_reduce(torch.ones(1), group=groups[rank // 2])


# --- DDP ---


def model(width: int = 33) -> Any:
    torch.manual_seed(7)
    middle = torch.nn.Linear(width, width)
    return torch.nn.Sequential(torch.nn.Linear(8, width), torch.nn.Tanh(), middle, torch.nn.Linear(width, 3))


def batch(rank: int, step: int) -> tuple[Any, Any]:
    random = torch.Generator().manual_seed(1000 * step + rank)
    return torch.randn(16, 8, generator=random), torch.randn(16, 3, generator=random)


def train(rank: int, steps: int) -> tuple[list[bytes], list[tuple[bytes, bytes]]]:
    """The parameters after each step, and every bucket before and after it was reduced."""
    # Gradients of more than a megabyte, which is what torch's first bucket holds at least.
    net = model(600)
    ddp = torch.nn.parallel.DistributedDataParallel(net, bucket_cap_mb=0.5)
    buckets: list[tuple[bytes, bytes]] = []

    def average(bucket: Any) -> Any:
        before, turn = bits(bucket.buffer()), len(buckets)
        buckets.append((before, b""))

        def note(done: Any) -> Any:
            buckets[turn] = (before, bits(done.value()[0]))
            return done.value()[0]

        return dist.all_reduce(bucket.buffer(), op=dist.ReduceOp.AVG, async_op=True).get_future().then(note)

    ddp.register_comm_hook(None, lambda state, bucket: average(bucket))
    optimizer = torch.optim.SGD(ddp.parameters(), lr=0.1)
    after = []
    for step in range(steps):
        x, y = batch(rank, step)
        optimizer.zero_grad()
        torch.nn.functional.mse_loss(ddp(x), y).backward()
        optimizer.step()
        after.append(b"".join(bits(of.detach()) for of in net.parameters()))
    return after, buckets


def test_ddp_has_the_bits_of_the_golden(four: Processes) -> None:
    with four.group(4, wgccl.torch.Options("ring")):
        results = four.run(train, 4)
    assert not [of for of in results if isinstance(of, Failed)], results
    schedule = wgccl.build("ring", ranks=4)
    parameters, buckets = zip(*results)
    assert all(of == parameters[0] for of in parameters)
    assert len({*parameters[0]}) == 4 and len(buckets[0]) > 4
    for turn in range(len(buckets[0])):
        given = [np.frombuffer(buckets[rank][turn][0], np.float32) for rank in range(4)]
        golden = schedule.golden(given, "avg")
        assert [of.tobytes() for of in golden] == [buckets[rank][turn][1] for rank in range(4)]


def plain(rank: int, steps: int) -> list[bytes]:
    """DDP as everybody uses it."""
    net = model()
    ddp = torch.nn.parallel.DistributedDataParallel(net)
    optimizer = torch.optim.SGD(ddp.parameters(), lr=0.1)
    for step in range(steps):
        x, y = batch(rank, step)
        optimizer.zero_grad()
        torch.nn.functional.mse_loss(ddp(x), y).backward()
        optimizer.step()
    return [bits(of.detach()) for of in net.parameters()]


def test_ddp_does_what_one_process_does(four: Processes) -> None:
    """Of two ranks: a sum of two has one order, so that one process can compute it."""
    with four.group(2):
        results = four.run(plain, 5, only=[0, 1])
    torch.set_num_threads(1)
    net = model()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    for step in range(5):
        gradients = []
        for rank in range(2):
            x, y = batch(rank, step)
            gradients.append(torch.autograd.grad(torch.nn.functional.mse_loss(net(x), y), list(net.parameters())))
        for parameter, first, second in zip(net.parameters(), *gradients):
            parameter.grad = first / 2 + second / 2
        optimizer.step()
    alone = [bits(of.detach()) for of in net.parameters()]
    assert results == [alone, alone]


def build_on_it(rank: int) -> None:
    """Meshes, sharded tensors and models, compressed gradients, a sharded optimiser."""
    from torch.distributed.algorithms.ddp_comm_hooks import powerSGD_hook
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard
    from torch.distributed.optim import ZeroRedundancyOptimizer
    from torch.distributed.tensor import Shard, distribute_tensor

    mesh, square = init_device_mesh("cpu", (4,)), init_device_mesh("cpu", (2, 2), mesh_dim_names=("rows", "columns"))
    for name, sums in (("rows", [2, 4, 2, 4]), ("columns", [1, 1, 5, 5])):
        number = torch.tensor(rank)
        dist.all_reduce(number, group=square[name].get_group())
        assert number == sums[rank]
    sharded = distribute_tensor(torch.arange(16.0).reshape(8, 2), mesh, [Shard(0)])
    assert sharded.full_tensor().flatten().tolist() == list(range(16))

    def train(net: Any, optimizer: Any) -> None:
        for step in range(5):
            x, y = batch(rank, step)
            optimizer.zero_grad()
            torch.nn.functional.mse_loss(net(x), y).backward()
            optimizer.step()

    net = model()
    fully_shard(net, mesh=mesh)
    train(net, torch.optim.SGD(net.parameters(), lr=0.1))
    ddp = torch.nn.parallel.DistributedDataParallel(model())
    # Its callbacks wait for calls of their own.
    state = powerSGD_hook.PowerSGDState(None, matrix_approximation_rank=1, start_powerSGD_iter=2)
    ddp.register_comm_hook(state, powerSGD_hook.powerSGD_hook)
    train(ddp, ZeroRedundancyOptimizer(ddp.parameters(), torch.optim.SGD, lr=0.1))


def test_what_torch_builds_on_it(four: Processes) -> None:
    with four.group(4):
        assert four.run(build_on_it) == [None] * 4


# --- When a process ends, or does not come ---


def keep_going(rank: int, how: str) -> None:
    """Without end."""
    if how == "ddp":
        ddp = torch.nn.parallel.DistributedDataParallel(model())
        while True:
            x, y = batch(rank, 0)
            torch.nn.functional.mse_loss(ddp(x), y).backward()
    if how == "receive" and rank == 0:
        dist.recv(torch.ones(1), 1)
    while rank or how != "receive":
        time.sleep(0.01 if how == "receive" else 0)
        if how != "receive":
            dist.all_reduce(torch.ones(1000))


def once(rank: int) -> None:
    dist.all_reduce(torch.ones(3))


def told_of(got: Any, victim: int, pid: int | None) -> None:
    assert isinstance(got, Failed), got
    assert f"rank {victim} (process {pid})" in got.text and "has ended" in got.text, got


@pytest.mark.parametrize("how", ["all-reduce", "ddp"])
@pytest.mark.parametrize("victim", [0, 1])
def test_a_process_that_was_killed_is_an_error_on_all_others(mortal: Processes, victim: int, how: str) -> None:
    mortal.join(3, seconds=100.0)
    others = [rank for rank in range(3) if rank != victim]
    mortal.start(keep_going, how)
    time.sleep(0.7)
    killed = time.monotonic()
    mortal.kill(victim, signal.SIGKILL)
    for got in mortal.results(50.0, only=others):
        told_of(got, victim, mortal.processes[victim].pid)
    # By the end of its wire, and not by the timeout.
    assert time.monotonic() - killed < 50
    # And so in every call after.
    for got in mortal.run(once, only=others):
        told_of(got, victim, mortal.processes[victim].pid)
        assert "GroupError" in got.classes and "DistBackendError" in got.classes and "DeviceError" in got.classes


def come(rank: int) -> None:
    dist.all_reduce(torch.ones(3), async_op=True)


def test_a_process_that_was_killed_after_it_had_come(mortal: Processes) -> None:
    mortal.join(3, seconds=100.0)
    mortal.run(come, only=[0, 1])
    mortal.kill(1, signal.SIGKILL)
    mortal.processes[1].join()
    time.sleep(0.3)
    told_of(mortal.run(once, only=[2])[0], 1, mortal.processes[1].pid)


def test_a_message_of_a_process_that_was_killed(mortal: Processes) -> None:
    mortal.join(3, seconds=100.0)
    mortal.start(keep_going, "receive")
    time.sleep(0.5)
    mortal.kill(1, signal.SIGKILL)
    told_of(mortal.results(50.0, only=[0])[0], 1, mortal.processes[1].pid)


@pytest.mark.parametrize("victim", [0, 2])
def test_a_process_that_is_stopped_is_named_after_the_timeout(mortal: Processes, victim: int) -> None:
    mortal.join(3, seconds=3.0)
    others = [rank for rank in range(3) if rank != victim]
    mortal.kill(victim, signal.SIGSTOP)
    for got in mortal.run(once, only=others):
        assert isinstance(got, Failed) and f"rank {victim} (process {mortal.processes[victim].pid})" in got.text, got
        if victim:
            assert "did not come to all-reduce (sum) of float32 (3) within 3 s; ranks 0 and 1 waited there" in got.text
        else:
            assert "has not answered in time" in got.text


def leave(rank: int) -> None:
    dist.destroy_process_group()


def test_a_rank_that_has_left_and_one_that_is_late(mortal: Processes) -> None:
    mortal.join(3)
    mortal.run(leave, only=[2])
    for got in mortal.run(once, only=[0, 1]):
        assert "rank 2" in got.text and "has left the group (destroy_process_group)" in got.text, got


# --- What is left ---


def turns(rank: int, number: int) -> tuple[int, int]:
    """Many calls of all kinds; then how much memory there is, and how many descriptors."""
    for turn in range(number):
        tensor = torch.ones(1 + turn % 50 * 100)
        dist.all_reduce(tensor)
        dist.all_reduce(tensor, async_op=True).get_future().wait()
        if rank == 0:
            dist.send(tensor, 1)
        elif rank == 1:
            dist.recv(tensor, 0)
        try:
            dist.all_reduce(tensor.to(torch.int16))
        except wgccl.InputError:
            pass
        if turn % 50 == 0:
            group = dist.new_group([0, 1, 2])
            dist.barrier(group=group)
            dist.destroy_process_group(group)
    dist.barrier()
    with open("/proc/self/statm", encoding="ascii") as file:
        resident = int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return resident, len(os.listdir("/proc/self/fd"))


def names() -> set[str]:
    """Of sockets that are ours, and of shared memory that is not other programs'."""
    sockets = Path("/proc/net/unix").read_text(encoding="utf-8").split()
    return {of for of in sockets if "wgccl" in of} | memory()


def memory() -> set[str]:
    return {of for of in os.listdir("/dev/shm") if of.startswith(("wgccl", "torch", "psm_", "tmp"))}


@pytest.mark.skipif(sys.platform != "linux", reason="there is no /proc here")
def test_nothing_leaks_and_nothing_is_left(mortal: Processes) -> None:
    before, shared = names(), memory()
    mortal.join(3)
    mortal.run(turns, 300)
    first = mortal.run(turns, 100)
    second = mortal.run(turns, 1000)
    for (resident, descriptors), (after, descriptors_after) in zip(first, second):
        assert after - resident < 8 << 20, (resident, after)
        # Those of a group that was just destroyed may be there for a moment.
        assert descriptors_after <= descriptors + 4
    assert memory() == shared
    mortal.kill(1, signal.SIGKILL)
    mortal.kill(0, signal.SIGKILL)
    mortal.run(once, only=[2])
    mortal.close()
    assert names() == before


def child(rank: int) -> None:
    """Rank 1 forks, and its child lives on."""
    if rank == 1:
        pid = os.fork()
        if pid == 0:
            time.sleep(30)
            os._exit(0)
    dist.all_reduce(torch.ones(1))


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_child_does_not_hide_that_its_parent_was_killed(mortal: Processes) -> None:
    mortal.join(3)
    assert mortal.run(child) == [None] * 3
    mortal.start(once, only=[0, 2])
    time.sleep(0.3)
    mortal.kill(1, signal.SIGKILL)
    for got in mortal.results(15.0, only=[0, 2]):
        told_of(got, 1, mortal.processes[1].pid)


def test_torchrun_and_the_environment(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        """
import torch, torch.distributed as dist
import wgccl.torch
dist.init_process_group("wgccl")
assert dist.get_backend() == "wgccl"
x = torch.full((1000,), 0.1 * (dist.get_rank() + 1))
dist.all_reduce(x)
import sys; sys.stdout.write(f"sum {x[0].item():.3f}\\n")
dist.destroy_process_group()
""",
        encoding="utf-8",
    )
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", str(program)]

    def run(algorithm: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command,
            env={**os.environ, "WGCCL_ALGORITHM": algorithm, "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            timeout=200,
            check=False,
        )

    done = run("ring,broadcast=auto")
    assert done.returncode == 0 and done.stdout.split() == ["sum", "0.300"] * 2, done
    done = run("all-gather=rings")
    assert done.returncode != 0 and "all-gather has no algorithm 'rings'" in done.stderr, done
